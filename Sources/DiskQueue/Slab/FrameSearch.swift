// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Resynchronising: finding the next sound frame behind a damaged place.

/// Judges frames of one version 2 slab at any address, through a buffer of its own.
struct FrameSearch: ~Copyable {
  let slab: SlabFile
  let topicID: UInt64
  /// No payload of this slab is larger.
  let maximumPayload: UInt64
  private var window = ByteWindow(capacity: 4 * Int(SlabFormat.markSpacing))

  /// A frame of the largest payload that may stand between two marks.
  private static let largestInner = FrameHeader.byteCount + Int(SlabFormat.markSpacing)

  init(_ slab: SlabFile, topicID: UInt64, maximumPayload: UInt64) {
    self.slab = slab
    self.topicID = topicID
    self.maximumPayload = maximumPayload
  }

  /// The first record behind `start`, trying every byte, that ends at or before `end` and either
  /// has a payload of at most 64 KiB or ends exactly at `end`: larger payloads have a mark directly
  /// behind them. So the work is bounded by 64 KiB of hashing a byte, and is about one for ordinary
  /// data. The damaged length itself is no hint: it may land on a later frame and skip good ones.
  mutating func firstRecord(from start: UInt64, to end: UInt64) throws(QueueError) -> UInt64? {
    var from = start
    while from < end {
      try window.fill(from: slab, at: from, limit: end)
      // But for the last stretch, only places whose whole frame is shown.
      let isLast = window.end == end || window.count < window.capacity
      let candidates = window.count - (isLast ? FrameHeader.byteCount - 1 : Self.largestInner)
      guard candidates > 0 else { return nil }
      for offset in 0..<candidates {
        let length = Int(window.bytes.u32(offset + FrameHeader.length))
        if length <= Int(SlabFormat.markSpacing) {
          if isRecord(at: offset, length: length) { return window.start + UInt64(offset) }
        } else if try isLongRecord(at: window.start + UInt64(offset), length, endingAt: end) {
          return window.start + UInt64(offset)
        }
      }
      guard !isLast else { return nil }
      from += UInt64(candidates)
    }
    return nil
  }

  /// Whether a record stands at `address` and ends at or before `end`.
  mutating func isRecord(at address: UInt64, to end: UInt64) throws(QueueError) -> Bool {
    try recordEnd(at: address, to: end) != nil
  }

  /// How many records stand between two addresses without a gap; nil where there is one.
  mutating func countRecords(from start: UInt64, to end: UInt64) throws(QueueError) -> UInt64? {
    var count: UInt64 = 0
    var position = start
    while position < end {
      guard let next = try recordEnd(at: position, to: end) else { return nil }
      position = next
      count += 1
    }
    return count
  }

  /// Where the record at `address` ends, if there is a sound one that ends at or before `end`.
  private mutating func recordEnd(
    at address: UInt64, to end: UInt64
  ) throws(QueueError) -> UInt64? {
    guard address < end, end - address >= UInt64(FrameHeader.byteCount) else { return nil }
    if !shows(FrameHeader.byteCount, at: address) {
      try window.fill(from: slab, at: address, limit: end)
      guard shows(FrameHeader.byteCount, at: address) else { return nil }
    }
    let length = Int(window.bytes.u32(Int(address - window.start) + FrameHeader.length))
    let frame = FrameHeader.byteCount + length
    guard UInt64(length) <= maximumPayload, UInt64(frame) <= end - address else { return nil }
    if frame > window.capacity {
      return try isLongRecord(at: address, length, endingAt: address + UInt64(frame))
        ? address + UInt64(frame) : nil
    }
    if !shows(frame, at: address) { try window.fill(from: slab, at: address, limit: end) }
    return isRecord(at: Int(address - window.start), length: length)
      ? address + UInt64(frame) : nil
  }

  private func shows(_ count: Int, at address: UInt64) -> Bool {
    address >= window.start && address <= window.end && window.end - address >= UInt64(count)
  }

  @inline(__always)
  private func isRecord(at offset: Int, length: Int) -> Bool {
    let payload = offset + FrameHeader.byteCount
    guard UInt64(length) <= maximumPayload, length <= window.count - payload else { return false }
    let seed = topicID ^ (window.start + UInt64(offset))
    return window.bytes.u32(offset + FrameHeader.checksum)
      == Checksum.frame(window.bytes.extracting(payload..<payload + length), seed: seed)
  }

  /// As `isRecord`, for a payload that need not fit the buffer and must end exactly at `end`.
  private mutating func isLongRecord(
    at address: UInt64, _ length: Int, endingAt end: UInt64
  ) throws(QueueError) -> Bool {
    guard UInt64(length) <= maximumPayload,
      end - address == UInt64(FrameHeader.byteCount + length)
    else { return false }
    let stored = window.bytes.u32(Int(address - window.start) + FrameHeader.checksum)
    return try stored
      == slab.checksum(
        .version2(seed: topicID ^ address), at: address + UInt64(FrameHeader.byteCount),
        count: UInt64(length))
  }
}
