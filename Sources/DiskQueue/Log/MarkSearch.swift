// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Finds marks in a slab whose frames cannot be walked, or would take too long to walk.

/// A mark and its address.
package struct MarkAt: Equatable, Sendable {
  package var address: UInt64
  package var mark: Mark

  package init(address: UInt64, mark: Mark) {
    self.address = address
    self.mark = mark
  }

  /// The address after it.
  package var end: UInt64 { address &+ UInt64(Mark.byteCount) }
}

/// Searches one slab for marks of one topic, through its own buffer.
///
/// A result is only a hint: a payload may hold bytes that pass for a mark. `FrameSearch` and the
/// walk decide whether a mark counts.
package struct MarkSearch: ~Copyable {
  let slab: SlabFile
  /// The topic's id. Nil accepts any id.
  let topicID: UInt64?
  private var window = ByteWindow(capacity: MarkSearch.chunk)

  /// A little more than the mark spacing, so that one read usually holds a mark.
  private static let chunk = Int(SlabFormat.markSpacing) + 4096

  package init(_ slab: SlabFile, topicID: UInt64?) {
    self.slab = slab
    self.topicID = topicID
  }

  /// The first mark that starts at or after `start` and ends at or before `limit`.
  package mutating func first(from start: UInt64, limit: UInt64) throws(QueueError) -> MarkAt? {
    var from = start
    while from < limit, limit - from >= UInt64(Mark.byteCount) {
      if !window.shows(Mark.byteCount, at: from) {
        try window.fill(from: slab, at: from, limit: .max)
        guard window.count >= Mark.byteCount else { return nil }
      }
      if let found = window.firstMark(topicID: topicID, from: Int(from - window.start)) {
        return found.end <= limit ? found : nil
      }
      // A mark across the window's end starts here at the earliest.
      from = window.end - UInt64(Mark.byteCount - 1)
    }
    return nil
  }

  /// The last mark that starts at or after `start` and ends at or before `limit`.
  mutating func last(from start: UInt64, limit: UInt64) throws(QueueError) -> MarkAt? {
    let size = UInt64(Mark.byteCount)
    var limit = min(limit, try slab.end())
    while limit > start, limit - start >= size {
      if limit > window.end || window.start > limit - size {
        let from = max(slab.base, limit - min(limit, UInt64(MarkSearch.chunk)))
        try window.fill(from: slab, at: from, limit: limit)
        // The file has become shorter.
        guard window.end == limit else { return nil }
      }
      let border = Int(limit - size - window.start) + 1
      if let found = window.lastMark(topicID: topicID, before: border) {
        return found.address >= start ? found : nil
      }
      guard window.start > start else { return nil }
      // The next stretch ends so that a mark across the border is shown whole.
      limit = window.start + size - 1
    }
    return nil
  }
}

extension ByteWindow {
  /// The mark at an address, if the window shows all of it.
  func mark(at address: UInt64, topicID: UInt64?) -> MarkAt? {
    guard count >= Mark.byteCount, address >= start,
      address - start <= UInt64(count - Mark.byteCount)
    else { return nil }
    return mark(atOffset: Int(address - start), topicID: topicID)
  }

  /// The first mark that the window shows whole and that starts at or after an offset.
  ///
  /// - Parameter topicID: the topic's id. Nil accepts any id.
  func firstMark(topicID: UInt64?, from start: Int = 0) -> MarkAt? {
    var block = start / Self.block * Self.block
    while block < count {
      if mayHoldStart(block) {
        for word in words(in: block) where bytes.byte(4 * word + 3) == 0xFF {
          for offset in starts(in: word) where offset >= start {
            if let found = mark(atOffset: offset, topicID: topicID) { return found }
          }
        }
      }
      block += Self.block
    }
    return nil
  }

  /// The last mark that the window shows whole and that starts before an offset.
  ///
  /// - Parameter topicID: the topic's id. Nil accepts any id.
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

  // Every byte of a mark's first word is FF. The mark may start at any of the four bytes of an
  // aligned word, and covers the last byte of that word. So a block of 16 words is passed in one
  // step if no word ends with FF, which is the case for most blocks.
  private static var block: Int { 64 }

  /// Whether a mark may start in the block at this offset. True if the window does not show the
  /// whole block.
  @inline(__always)
  private func mayHoldStart(_ block: Int) -> Bool {
    block > count - Self.block || bytes.anyOf16WordsEndsWithFF(block)
  }

  /// The numbers of the words of a block in which a wholly shown mark may start.
  @inline(__always)
  private func words(in block: Int) -> Range<Int> {
    let end = min(block + Self.block, count - Mark.byteCount + 1)
    return block / 4..<max(block, end + 3) / 4
  }

  /// The offsets in one of these words at which the mark may start.
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
    // A writer cannot know more to be durable than it has written.
    return found.flatMap { $0.mark.synced <= $0.end ? $0 : nil }
  }
}
