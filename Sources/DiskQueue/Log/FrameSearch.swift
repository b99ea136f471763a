// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Finds sound frames in a slab that cannot be walked.

/// Judges frames of one version 2 slab at any address, through its own buffers.
///
/// The work is linear in the slab's size. Payloads of at most `alwaysTried` bytes cost no more than
/// some hundreds of bytes of hashing for each byte. Longer payloads may be hashed in vain for
/// `allowance` bytes in all, and are not tried after that. Only a crafted slab reaches this limit.
package struct FrameSearch: ~Copyable {
  let slab: SlabFile
  let topicID: UInt64
  /// No payload of this slab is larger.
  let maximumPayload: UInt64
  private var window = ByteWindow(capacity: 4 * Int(SlabFormat.markSpacing))
  private var marks: MarkSearch

  /// How many more bytes of payloads longer than `alwaysTried` may be hashed in vain.
  private var allowance: UInt64
  /// How many bytes were hashed in vain. For tests.
  private(set) var hashedInVain: UInt64 = 0
  /// An address without a sound frame, which `countRecords` found on its way.
  private(set) var knownUnsound: UInt64?

  /// Payloads up to this length are always tried.
  static let alwaysTried = 1024
  /// How many bytes may be hashed in vain for each byte of the slab.
  static let allowanceOfByte: UInt64 = 1024
  /// A smaller slab gets the allowance of a slab of this size.
  static let leastAllowing: UInt64 = 1 << 20

  /// The largest payload possible between two marks.
  private static let largestInner = SlabFormat.markSpacing
  /// The largest frame possible between two marks.
  private static let largestFrame = UInt64(FrameHeader.byteCount) + largestInner

  /// The distance from one mark to the next is less than this, and so is the distance from any
  /// frame back to the last mark. A payload longer than the spacing is the exception: it has one
  /// mark before it and one after it.
  static let reach = 2 * SlabFormat.markSpacing + 4096

  package init(_ slab: SlabFile, topicID: UInt64, maximumPayload: UInt64) throws(QueueError) {
    self.slab = slab
    self.topicID = topicID
    self.maximumPayload = maximumPayload
    marks = MarkSearch(slab, topicID: topicID)
    let (bytes, overflow) = max(try slab.size(), Self.leastAllowing)
      .multipliedReportingOverflow(by: Self.allowanceOfByte)
    allowance = overflow ? .max : bytes
  }

  /// Forgets the bytes read and the frames found. Bytes hashed in vain still count.
  mutating func forget() {
    window.clear(at: 0)
    marks = MarkSearch(slab, topicID: topicID)
    knownUnsound = nil
  }

  // MARK: The allowance

  /// Whether a payload of this length may be tried.
  func mayTry(_ length: UInt64) -> Bool {
    length <= UInt64(Self.alwaysTried) || allowance > 0
  }

  /// Notes that a payload of this length was hashed in vain.
  mutating func didHashInVain(_ length: UInt64) {
    hashedInVain &+= length
    if length > UInt64(Self.alwaysTried) { allowance -= min(allowance, length) }
  }

  // MARK: Records

  /// The first record at or after `start` that ends at or before `end`. Tries every byte.
  ///
  /// Its payload has at most 64 KiB, or it ends exactly at `end`: a larger payload has a mark
  /// directly after it. The damaged length itself is no hint, because it may lead to a later frame
  /// and skip good ones.
  package mutating func firstRecord(
    from start: UInt64, to end: UInt64
  ) throws(QueueError) -> UInt64? {
    let header = UInt64(FrameHeader.byteCount)
    var from = start
    while from < end, end - from >= header {
      // Except in the last stretch, judge only addresses whose whole frame is shown.
      if !window.shows(Int(min(Self.largestFrame, end - from)), at: from) {
        try window.fill(from: slab, at: from, limit: .max)
        guard window.count >= FrameHeader.byteCount else { return nil }
      }
      let isLast = window.end >= end || window.count < window.capacity
      let after =
        isLast ? min(window.end, end) - header + 1 : window.end - Self.largestFrame + 1
      for offset in Int(from - window.start)..<Int(after - window.start) {
        let length = UInt64(window.bytes.u32(offset + FrameHeader.length))
        let address = window.start + UInt64(offset)
        guard length <= end - address - header,
          length <= Self.largestInner || address + header + length == end
        else { continue }
        if try isRecord(at: address, length) { return address }
      }
      guard !isLast else { return nil }
      from = after
    }
    return nil
  }

  /// Whether a record starts at `address` and ends at or before `end`.
  mutating func isRecord(at address: UInt64, to end: UInt64) throws(QueueError) -> Bool {
    if case .record = try frame(at: address, to: end) { true } else { false }
  }

  /// How many records follow each other from `start` to `end`. Nil if there is a gap.
  mutating func countRecords(from start: UInt64, to end: UInt64) throws(QueueError) -> UInt64? {
    var count: UInt64 = 0
    var position = start
    while position < end {
      switch try frame(at: position, to: end) {
      case .record(let next):
        position = next
        count += 1
      case .mark:
        return nil
      case nil:
        knownUnsound = position
        return nil
      }
    }
    return count
  }

  enum SoundFrame {
    /// A record that ends at this address.
    case record(end: UInt64)
    case mark(MarkAt)
  }

  /// The sound frame at `address`, if there is one that ends at or before `end`.
  mutating func frame(at address: UInt64, to end: UInt64) throws(QueueError) -> SoundFrame? {
    guard address < end, end - address >= UInt64(FrameHeader.byteCount) else { return nil }
    if !window.shows(FrameHeader.byteCount, at: address) {
      try window.fill(from: slab, at: address, limit: .max)
      guard window.count >= FrameHeader.byteCount else { return nil }
    }
    let word = window.bytes.u32(Int(address - window.start) + FrameHeader.length)
    if word == FrameHeader.markWord {
      guard end - address >= UInt64(Mark.byteCount) else { return nil }
      if !window.shows(Mark.byteCount, at: address) {
        try window.fill(from: slab, at: address, limit: .max)
      }
      return window.mark(at: address, topicID: topicID).map { .mark($0) }
    }
    let length = UInt64(word)
    let frame = UInt64(FrameHeader.byteCount) + length
    guard frame <= end - address, mayTry(length) else { return nil }
    if frame <= UInt64(window.capacity), !window.shows(Int(frame), at: address) {
      try window.fill(from: slab, at: address, limit: .max)
      guard window.shows(FrameHeader.byteCount, at: address) else { return nil }
    }
    return try isRecord(at: address, length) ? .record(end: address + frame) : nil
  }

  /// Whether a record starts at `address` with the length word `length`. The window must show its
  /// header, and shows the same bytes afterwards.
  private mutating func isRecord(
    at address: UInt64, _ length: UInt64
  ) throws(QueueError) -> Bool {
    guard length <= maximumPayload, mayTry(length) else { return false }
    let header = UInt64(FrameHeader.byteCount)
    let seed = topicID ^ address
    let checksum: UInt32?
    let stored = window.bytes.u32(Int(address - window.start) + FrameHeader.checksum)
    if window.shows(Int(header + length), at: address) {
      let payload = window.bytes(Int(length), at: Int(address + header - window.start))
      checksum = Checksum.frame(payload, seed: seed)
    } else {
      checksum = try slab.checksum(.version2(seed: seed), at: address + header, count: length)
    }
    if stored == checksum { return true }
    didHashInVain(length)
    return false
  }

  // MARK: Marks

  /// The first mark at or after `start` that ends at or before `limit`. A mark inside a sound
  /// record that starts at or after `start` does not count: it is part of the payload.
  package mutating func firstMark(from start: UInt64, limit: UInt64) throws(QueueError) -> MarkAt? {
    var from = start
    while let found = try marks.first(from: from, limit: limit) {
      guard let end = try endOfRecord(holding: found, from: start, limit: limit) else {
        return found
      }
      from = end
    }
    return nil
  }

  /// The end of a record that starts at or after `start`, has a payload of at most 64 KiB, and
  /// holds all of `mark`. A larger record has a mark directly before it, which is found first.
  private mutating func endOfRecord(
    holding mark: MarkAt, from start: UInt64, limit: UInt64
  ) throws(QueueError) -> UInt64? {
    let header = UInt64(FrameHeader.byteCount)
    guard mark.address >= header, mark.address - header >= start else { return nil }
    let low = max(start, mark.end - min(mark.end, Self.largestFrame))
    if !window.shows(Int(min(mark.end - low + Self.largestFrame, limit - low)), at: low) {
      try window.fill(from: slab, at: low, limit: .max)
      guard window.end >= mark.end else { return nil }
    }
    let first = Int(low - window.start)
    let last = Int(mark.address - header - window.start)
    for offset in (first...last).reversed() {
      let length = UInt64(window.bytes.u32(offset + FrameHeader.length))
      let address = window.start + UInt64(offset)
      guard length <= Self.largestInner,
        length <= min(limit, window.end) - address - header
      else { continue }
      let end = address + header + length
      guard end >= mark.end else { continue }
      if try isRecord(at: address, length) { return end }
    }
    return nil
  }

  /// The last mark for which `holds` is true. It must be true up to some mark, and false for every
  /// mark after it.
  ///
  /// A mark counts only if a walk comes over it that started far enough before it. No payload can
  /// be made to hold a frame that reaches over a mark, because its author does not know the mark's
  /// stamp. So a walk from inside a payload breaks off, or comes to the next mark that was written
  /// as one.
  ///
  /// - Parameters:
  ///   - start: the slab's base, or an address at which a frame may or may not start.
  ///   - limit: the highest address at which the mark may end.
  ///   - hint: the address at which a search found such a mark. It may be part of a payload.
  mutating func lastMark(
    from start: UInt64, limit: UInt64, near hint: UInt64, where holds: (Mark) -> Bool
  ) throws(QueueError) -> MarkAt? {
    if let first = try markBefore(hint, from: start),
      let found = try walk(from: first.address, limit: limit, stoppingFrom: hint, where: holds)
    {
      return found
    }
    return try walk(from: start, limit: limit, stoppingFrom: start, where: holds)
  }

  /// The last bytes that pass for a mark and are so far before an address that a walk from there
  /// comes over another mark.
  private mutating func markBefore(
    _ address: UInt64, from start: UInt64
  ) throws(QueueError) -> MarkAt? {
    guard address >= Self.reach, address - Self.reach > start else { return nil }
    return try marks.last(from: start, limit: address - Self.reach + UInt64(Mark.byteCount))
  }

  /// Walks over sound frames and damage.
  private mutating func walk(
    from start: UInt64, limit: UInt64, stoppingFrom hint: UInt64, where holds: (Mark) -> Bool
  ) throws(QueueError) -> MarkAt? {
    let header = UInt64(SlabHeader.byteCount)
    guard start <= UInt64.max - header else { return nil }
    var position = start == slab.base ? start + header : start
    var found: MarkAt?
    var next: MarkAt?
    let fileEnd = try slab.end()
    while position < min(limit, fileEnd) {
      // A record that reaches past `limit` may hold bytes before `limit` that pass for a mark.
      switch try frame(at: position, to: fileEnd) {
      case .record(let end):
        position = end
      case .mark(let mark):
        position = mark.end
        if position > limit { return found }
        if holds(mark.mark) {
          found = mark
        } else if mark.address >= hint {
          return found
        } else {
          // The mark found before was part of a payload.
          found = nil
        }
      case nil:
        if next.map({ $0.address <= position }) ?? true {
          next = try firstMark(from: position + 1, limit: fileEnd)
        }
        guard let mark = next else { return found }
        position = try firstRecord(from: position + 1, to: mark.address) ?? mark.address
      }
    }
    return found
  }
}
