// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A name that must lead to one file for as long as a writer or a consumer has that file open.
///
/// A sync makes bytes durable in a file, whatever name leads to it. If the name was removed, or
/// leads to another file now, no reader finds those bytes again. So a holder that reports something
/// as durable checks the name after the sync and before the report.
package final class HeldName: Sendable {
  package let name: String
  /// Held open: otherwise the system may give the identity of a removed file to another one.
  private let opened: any AnyObject & Sendable
  private let identity: FileIdentity
  /// The directory's stamp when the name was last seen to lead to the file, or 0.
  private let seenAt = Atomic<UInt64>(0)

  /// - Complexity: one fstat(2).
  package init(_ name: String, leadingTo file: any StorageFile) throws(SystemError) {
    self.name = name
    opened = file
    identity = try file.identity()
  }

  /// - Parameter directory: just opened by the name, in `parent`.
  /// - Returns: nil if `parent` has no such name any more.
  /// - Complexity: one fstatat(2).
  package init?(
    _ name: String, leadingTo directory: any StorageDirectory, in parent: any StorageDirectory
  ) throws(SystemError) {
    guard let identity = try parent.identity(of: name) else { return nil }
    self.name = name
    self.identity = identity
    opened = directory
  }

  /// Whether the name leads to the file.
  ///
  /// - Complexity: one fstatat(2).
  package func leads(in directory: any StorageDirectory) throws(SystemError) -> Bool {
    try directory.identity(of: name) == identity
  }

  /// Throws if the name no longer leads to the file.
  ///
  /// - Parameters:
  ///   - directory: holds the name.
  ///   - stamp: of the directory's names, taken before this call. If the name was seen to lead to
  ///     the file under the same stamp, it still does.
  ///   - holder: has the file open, for the message.
  ///   - mayBeGone: whether it is right that the name is missing. Called only if it is.
  /// - Throws: `fileRemoved`. `syncFailed` if a system call fails. Both are final for the holder.
  /// - Complexity: one fstatat(2), or no call if the name was seen under this stamp.
  package func check(
    in directory: any StorageDirectory, at stamp: NamesStamp? = nil,
    heldBy holder: StaticString = "writer",
    unless mayBeGone: () throws(SystemError) -> Bool = { false }
  ) throws(QueueError) {
    if let stamp, seenAt.load(ordering: .relaxed) == stamp.rawValue { return }
    let found: FileIdentity?
    do throws(SystemError) {
      found = try directory.identity(of: name)
      if found == nil, try mayBeGone() { return }
    } catch {
      throw .syncFailed(error, path: directory.path + "/" + name)
    }
    guard found == identity else {
      throw .fileRemoved(name, isReplaced: found != nil, in: directory, heldBy: holder)
    }
    seenAt.store(stamp?.rawValue ?? 0, ordering: .relaxed)
  }
}

extension QueueError {
  /// A name that must lead to an open file is gone, or leads to another file.
  fileprivate static func fileRemoved(
    _ name: String, isReplaced: Bool, in directory: any StorageDirectory,
    heldBy holder: StaticString
  ) -> QueueError {
    let consequence =
      if name == TopicLayout.lockName || name.hasSuffix(CursorName.lockSuffix) {
        "another \(holder) may have been at work since then"
      } else {
        "the data stored in it is no longer in the topic"
      }
    return QueueError(
      .fileRemoved,
      "the file was \(isReplaced ? "replaced" : "removed or renamed") while this \(holder) had it"
        + " open: \(consequence). This \(holder) stores nothing more. Find out what changes the"
        + " topic's files, close this \(holder), and open a new one",
      path: directory.path + "/" + name)
  }
}
