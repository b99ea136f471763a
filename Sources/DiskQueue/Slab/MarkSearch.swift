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
  /// The mark at an address, if it is shown whole.
  func mark(at address: UInt64, topicID: UInt64?) -> MarkAt? {
    guard count >= Mark.byteCount, address >= start,
      address - start <= UInt64(count - Mark.byteCount)
    else { return nil }
    return mark(atOffset: Int(address - start), topicID: topicID)
  }

  /// The first mark that is shown whole.
  ///
  /// - Parameter topicID: the topic's; nil takes any.
  func firstMark(topicID: UInt64?) -> MarkAt? {
    var block = 0
    while block < count {
      if mayHoldStart(block) {
        for word in words(in: block) where bytes.byte(4 * word + 3) == 0xFF {
          for offset in starts(in: word) {
            if let found = mark(atOffset: offset, topicID: topicID) { return found }
          }
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
        for word in words(in: block).reversed() where bytes.byte(4 * word + 3) == 0xFF {
          for offset in starts(in: word).reversed() where offset < end {
            if let found = mark(atOffset: offset, topicID: topicID) { return found }
          }
        }
      }
      block -= Self.block
    }
    return nil
  }

  // Every byte of a mark's first word is FF. Wherever it starts among the four bytes of an aligned
  // word, it covers that word's last byte: a block of 16 words of which none ends with FF, which most
  // are, is passed in one step.
  private static var block: Int { 64 }

  /// Whether a mark may start in the block at this offset; yes where it is not shown whole.
  @inline(__always)
  private func mayHoldStart(_ block: Int) -> Bool {
    block > count - Self.block || bytes.anyOf16WordsEndsWithFF(block)
  }

  /// The words of a block in which a mark may start that is shown whole, by their numbers.
  @inline(__always)
  private func words(in block: Int) -> Range<Int> {
    let end = min(block + Self.block, count - Mark.byteCount + 1)
    return block / 4..<max(block, end + 3) / 4
  }

  /// Where in one of these words it may.
  @inline(__always)
  private func starts(in word: Int) -> Range<Int> {
    4 * word..<min(4 * word + 4, count - Mark.byteCount + 1)
  }

  @inline(__always)
  private func mark(atOffset offset: Int, topicID: UInt64?) -> MarkAt? {
    guard bytes.u32(offset) == FrameHeader.markWord else { return nil }
    let address = start + UInt64(offset)
    let found = Mark.read(
      bytes.extracting(droppingFirst: offset), address: address, topicID: topicID
    ).map { MarkAt(address: address, mark: $0) }
    // No writer can know more to be durable than it has written.
    return found.flatMap { $0.mark.synced <= $0.end ? $0 : nil }
  }
}
