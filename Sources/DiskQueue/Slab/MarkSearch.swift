// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Finding marks in a slab whose frames cannot be walked, or would take too long to.

/// A mark and where it stands.
package struct MarkAt: Equatable, Sendable {
  package var address: UInt64
  package var mark: Mark

  /// The address behind it.
  package var end: UInt64 { address &+ UInt64(Mark.byteCount) }
}

/// Searches one slab for marks of one topic, through a buffer of its own.
struct MarkSearch: ~Copyable {
  let slab: SlabFile
  /// The topic's id; nil takes any.
  let topicID: UInt64?
  private var window = ByteWindow(capacity: MarkSearch.chunk)

  /// A little more than the spacing of marks, so that one read usually holds one.
  private static let chunk = Int(SlabFormat.markSpacing) + 4096

  init(_ slab: SlabFile, topicID: UInt64?) {
    self.slab = slab
    self.topicID = topicID
  }

  /// The first mark that starts at or behind `start` and ends at or before `limit`.
  mutating func first(from start: UInt64, limit: UInt64) throws(QueueError) -> MarkAt? {
    var from = start
    while from < limit {
      try window.fill(from: slab, at: from, limit: limit)
      let candidates = window.count - Mark.byteCount + 1
      guard candidates > 0 else { return nil }
      if let found = firstMark(in: 0..<candidates) { return found }
      // Overflow ends the address space, and the slab.
      let (next, overflow) = from.addingReportingOverflow(UInt64(candidates))
      guard !overflow else { return nil }
      from = next
    }
    return nil
  }

  /// The last mark that starts at or behind `start` and ends at or before `limit`.
  mutating func last(from start: UInt64, limit: UInt64) throws(QueueError) -> MarkAt? {
    var limit = min(limit, try slab.end())
    while limit > start, limit - start >= UInt64(Mark.byteCount) {
      let from = max(start, limit - min(limit, UInt64(MarkSearch.chunk)))
      try window.fill(from: slab, at: from, limit: limit)
      var candidate = window.count - Mark.byteCount
      while candidate >= 0 {
        if let found = mark(at: candidate) { return found }
        candidate -= 1
      }
      guard from > start else { return nil }
      // The next stretch ends so that a mark across its border is seen whole.
      limit = from + UInt64(Mark.byteCount - 1)
    }
    return nil
  }

  private func firstMark(in candidates: Range<Int>) -> MarkAt? {
    for candidate in candidates {
      if let found = mark(at: candidate) { return found }
    }
    return nil
  }

  @inline(__always)
  private func mark(at offset: Int) -> MarkAt? {
    guard window.bytes.u32(offset) == FrameHeader.markWord else { return nil }
    let address = window.start + UInt64(offset)
    let found = Mark.read(
      window.bytes.extracting(droppingFirst: offset), address: address, topicID: topicID
    ).map { MarkAt(address: address, mark: $0) }
    // No writer can know more to be durable than it has written.
    return found.flatMap { $0.mark.synced <= $0.end ? $0 : nil }
  }
}
