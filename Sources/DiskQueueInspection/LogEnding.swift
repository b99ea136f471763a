// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// How a topic's log ends.
public enum LogEnding: Sendable, Hashable {
  /// There is no slab yet.
  case empty
  /// The last writer closed it.
  case closed
  /// A writer has it open, or ended without closing it. In that case, the next writer recovers it.
  case open
  /// queuefka wrote it, which does not mark the end.
  case version1

  /// - Parameter walker: a walk that came to the end.
  init(_ walker: borrowing LogWalker) throws(QueueError) {
    let index = walker.index
    guard let last = index.bases.last else {
      self = .empty
      return
    }
    guard !index.holdsVersion1(last) else {
      self = .version1
      return
    }
    // As recovery decides it: a closing mark ends the last file.
    guard let mark = walker.lastMark, mark.mark.closes(at: mark.address),
      mark.end == walker.position, mark.address >= last,
      try SlabFile.open(last, in: index.storage)?.end() == mark.end
    else {
      self = .open
      return
    }
    self = .closed
  }
}

extension LogEnding: CustomStringConvertible {
  /// The ending in words.
  public var description: String {
    switch self {
    case .empty: "empty"
    case .closed: "closed"
    case .open: "not closed"
    case .version1: "written by queuefka"
    }
  }
}
