// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// Goes through one slab's file frame by frame, whether or not the frames belong to the topic. It
/// reads the bytes past the end of a log, and a file that a person wants to see.
///
/// A frame counts as in any walk. Other bytes are searched as damage is. Memory is constant.
struct SlabScan: ~Copyable {
  enum Item {
    case header(SlabHeader)
    case mark(MarkAt)
    /// `beginning` is the range of its payload in `window`. Nil if the payload is longer than that.
    case record(address: UInt64, payloadBytes: UInt64, beginning: Range<Int>?)
    /// Bytes without a sound frame.
    case neither(from: UInt64, to: UInt64)
    /// Zeros up to the end: preallocated space for frames.
    case room(from: UInt64, to: UInt64)
  }

  /// The longest payload that is held in memory. Longer ones are checked in pieces.
  private static let payloadLimit = 1 << 16

  private let slab: SlabFile
  private let end: UInt64
  private let topicID: UInt64?
  private var walker: LogWalker
  /// Nil if nothing is searched.
  private let damage: SlabDamage?
  /// The next mark, or the end, as far as the search has come.
  private var nextMark: UInt64 = 0

  /// - Parameters:
  ///   - start: the address at which a frame is expected: the slab's base, or an address after it.
  ///   - end: the address to stop at: the end of the file, or an address before it.
  ///   - topicID: the topic's id. Nil if nothing states it, and then no frame is sound.
  ///   - version1: which length the frames state, in a slab that queuefka wrote.
  init(
    _ slab: SlabFile, from start: UInt64, to end: UInt64, topicID: UInt64?,
    version1: Version1Length?, storage: any TopicStorage
  ) throws(QueueError) {
    self.slab = slab
    self.end = end
    self.topicID = topicID
    let largestPayload =
      if let header = try slab.head().soundHeader { UInt64(header.largestPayload) } else {
        try slab.size()
      }
    // A bad frame ends a version 1 slab: nothing states the address of the next one.
    if let topicID, version1 == nil {
      damage = SlabDamage(
        base: slab.base,
        frames: try FrameSearch(slab, topicID: topicID, maximumPayload: largestPayload),
        certainBelow: end)
    } else {
      damage = nil
    }
    walker = LogWalker(
      TopicIndex(storage), payloadLimit: UInt32(Self.payloadLimit),
      bufferSize: Self.payloadLimit + FrameHeader.byteCount)
    walker.slab = slab
    walker.limit = end
    walker.topicID = topicID ?? 0
    walker.version1 = version1
    walker.maximumPayload = Int(clamping: largestPayload)
    walker.position = start
  }

  /// The next item. Nil at the end.
  mutating func next() throws(QueueError) -> Item? {
    let address = walker.position
    guard address < end else { return nil }
    if topicID != nil || walker.version1 != nil {
      switch try walker.judge() {
      case .header(let header):
        walker.position += UInt64(SlabHeader.byteCount)
        return .header(header)
      case .mark(let mark):
        walker.position += UInt64(Mark.byteCount)
        return .mark(MarkAt(address: address, mark: mark))
      case .record(let payload):
        walker.position += UInt64(FrameHeader.byteCount + payload.count)
        return .record(
          address: address, payloadBytes: UInt64(payload.count), beginning: payload)
      case .tooLarge(let count):
        walker.position += UInt64(FrameHeader.byteCount) + count
        return .record(address: address, payloadBytes: count, beginning: nil)
      case nil:
        break
      }
    }
    let next = try nextFrame(after: address)
    let written = next == end ? try slab.writtenEnd(of: address..<end) : next
    walker.position = written > address ? written : end
    return written > address
      ? .neither(from: address, to: written) : .room(from: address, to: end)
  }

  /// The address of the next sound frame, or the end.
  private mutating func nextFrame(after address: UInt64) throws(QueueError) -> UInt64 {
    guard let damage else { return end }
    walker.damage = damage
    if nextMark <= address {
      nextMark = try damage.frames.firstMark(from: address + 1, limit: end)?.address ?? end
    }
    return try damage.frames.firstRecord(from: address + 1, to: nextMark) ?? nextMark
  }

  /// The first bytes of a record's payload.
  ///
  /// - Parameter payload: the range from the last call of `next`.
  func beginning(of payload: Range<Int>, upTo count: Int) -> [UInt8] {
    let bytes = walker.window.bytes
    return payload.prefix(count).map { bytes.byte($0) }
  }
}
