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
      if let found = window.firstMark(topicID: topicID) { return found }
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
      if let found = window.lastMark(topicID: topicID) { return found }
      guard from > start else { return nil }
      // The next stretch ends so that a mark across its border is seen whole.
      limit = from + UInt64(Mark.byteCount - 1)
    }
    return nil
  }
}

extension ByteWindow {
  /// The first mark that is shown whole.
  ///
  /// - Parameter topicID: the topic's; nil takes any.
  func firstMark(topicID: UInt64?) -> MarkAt? {
    var block = 0
    while block < count {
      if mayHoldStart(block) {
        for offset in starts(in: block) {
          if let found = mark(at: offset, topicID: topicID) { return found }
        }
      }
      block += Self.block
    }
    return nil
  }

  /// The last mark that is shown whole and starts before an offset.
  ///
  /// - Parameter topicID: the topic's; nil takes any.
  func lastMark(topicID: UInt64?, before end: Int = .max) -> MarkAt? {
    var block = max(0, min(count, end) - 1) / Self.block * Self.block
    while block >= 0 {
      if mayHoldStart(block) {
        for offset in starts(in: block).reversed() where offset < end {
          if let found = mark(at: offset, topicID: topicID) { return found }
        }
      }
      block -= Self.block
    }
    return nil
  }

  // Every byte of a mark's first word is FF. One that starts at the bytes 0 to 3 of a block of eight
  // covers byte 3, and one that starts at the bytes 4 to 7 covers byte 7: a block where neither is FF,
  // which is nearly every one, is passed with one load.
  private static var block: Int { 8 }

  /// Whether a mark may start in the block at this offset; yes where it is not shown whole.
  @inline(__always)
  private func mayHoldStart(_ block: Int) -> Bool {
    guard block <= count - Self.block else { return true }
    let bytes = bytes.u64(block)
    return bytes >> 56 == 0xFF || (bytes >> 24) & 0xFF == 0xFF
  }

  /// Where in a block a mark may start that is shown whole.
  private func starts(in block: Int) -> Range<Int> {
    let end = min(block + Self.block, count - Mark.byteCount + 1)
    return max(0, min(block, end))..<max(0, end)
  }

  @inline(__always)
  private func mark(at offset: Int, topicID: UInt64?) -> MarkAt? {
    guard bytes.u32(offset) == FrameHeader.markWord else { return nil }
    let address = start + UInt64(offset)
    let found = Mark.read(
      bytes.extracting(droppingFirst: offset), address: address, topicID: topicID
    ).map { MarkAt(address: address, mark: $0) }
    // No writer can know more to be durable than it has written.
    return found.flatMap { $0.mark.synced <= $0.end ? $0 : nil }
  }
}
