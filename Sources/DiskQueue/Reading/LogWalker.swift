// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Walking a topic by the reading rules of the format. Readers, recovery, `verify` and `repair` all
// use this walk, so a single implementation decides what a log holds.

/// A walk through a topic, record by record, from an address on.
///
/// A step relies on nothing but marks and headers. If there is no valid frame at `position`, or if
/// the slab's content ends there, `LogWalker+Reposition.swift` decides what that means.
@usableFromInline
package struct LogWalker: ~Copyable {
  package let index: TopicIndex
  /// The walk verifies records with a larger payload and passes them, but does not return them.
  let payloadLimit: UInt32
  @usableFromInline package var window: ByteWindow

  /// The ordinal of the next record. After damage it may be only the least value possible.
  @usableFromInline package var ordinal: UInt64 = 0
  /// Whether `ordinal` may be compared with the next one that a mark or header states.
  package var ordinalIsCounted = false
  /// The loss that is still being counted. It is reported when the next known ordinal is reached.
  var pending: PendingLoss?
  /// How the walk came to a slab whose beginning it has not read yet. Nil if it came from the slab
  /// before.
  var arrival: Arrival?
  /// The address that the next step looks at. Do not declare it next to `ordinal`: the optimiser
  /// would then step both as one vector. Its way through memory takes twice as long a record.
  @usableFromInline package var position: UInt64 = 0

  /// A consumer's cursor proves that everything below this address was durable. Set only while the
  /// walk goes to that cursor.
  var provenBelow: UInt64 = 0
  /// A loss to report before anything else.
  var owedLoss: Loss? {
    didSet { settleBufferedPayloadLimit() }
  }

  /// The slab that holds `position`. Nil if it still has to be found.
  package var slab: SlabFile?
  /// The highest address at which the slab's content can end. `UInt64.max` if only the file's size
  /// decides.
  package var limit: UInt64 = .max
  /// No payload of the slab is larger. -1 until the slab's header was read.
  package var maximumPayload = -1 {
    didSet { settleBufferedPayloadLimit() }
  }
  /// A record up to this length needs no further checks: both limits allow it, and nothing else is
  /// to be reported first.
  @usableFromInline var bufferedPayloadLimit = -1
  /// What the walk knows about the slab's damage. Nil if it met none.
  package var damage: SlabDamage? {
    didSet { settleBufferedPayloadLimit() }
  }
  /// How the slab's frames state their length, if queuefka wrote the slab.
  package var version1: Version1Length?
  @usableFromInline package var topicID: UInt64 = 0

  /// How many damaged places there are before the end of the log without a known ordinal after
  /// them. Each cost a record or a mark.
  private(set) var placesInTail: UInt64 = 0

  /// The last mark that the walk came over.
  package private(set) var lastMark: MarkAt?
  /// The highest stamp that the walk came over.
  package private(set) var highestStamp: UInt64 = 0

  /// The damaged places between two known ordinals.
  struct PendingLoss {
    var from: UInt64
    var to: UInt64
    /// The ordinal of the first lost record, if it is counted.
    var ordinal: UInt64
    /// Whether the ordinal was known at the start of the damage.
    var isCounted: Bool
    /// How far `ordinal` was already moved forward over this damage. It wraps around if `ordinal`
    /// was moved back, after records that were discarded.
    var advanced: UInt64 = 0
    /// For how many of the damaged places `ordinal` was not moved forward.
    var uncountedPlaces: UInt64 = 1
    /// Whether `ordinal` is exact after the damage.
    var isExactAfter: Bool { uncountedPlaces == 0 }
  }

  /// A jump to a slab, which may have left records out.
  struct Arrival {
    var cause: Loss.Cause
    var from: UInt64
    /// The address at which the earlier records end, as the new epoch states.
    var kept: UInt64
    /// Whether slabs are missing on the way. The gap before an epoch's first slab does not count as
    /// missing.
    var leavesOut: Bool
  }

  package enum Step {
    /// A record. `payload` is its range in the window.
    case record(address: UInt64, ordinal: UInt64, payload: Range<Int>)
    /// A sound record above the limit was passed.
    case tooLarge(address: UInt64, payloadBytes: UInt64)
    case loss(Loss)
    /// The end of the log, for now.
    case end
  }

  package init(_ index: TopicIndex, payloadLimit: UInt32, bufferSize: Int) {
    self.index = index
    self.payloadLimit = payloadLimit
    window = ByteWindow(capacity: bufferSize)
  }

  /// Takes the next step.
  ///
  /// A loss is reported before the record that follows it. After an error the next call retries the
  /// same step.
  @inline(__always)
  package mutating func step() throws(QueueError) -> Step {
    guard let length = unsafe bufferedPayload()?.count else { return try slowStep() }
    let start = offset + FrameHeader.byteCount
    defer { pass(UInt64(FrameHeader.byteCount + length)) }
    return .record(address: position, ordinal: ordinal, payload: start..<start + length)
  }

  /// Like `step`, but only for a record that the window already holds. If it returns nil, call
  /// `slowStep`.
  ///
  /// Nearly every record is passed here. Apart from the hash, only a pointer and a length stay
  /// alive: everything else follows from the state of the walk.
  @_lifetime(&self)
  @inlinable
  @inline(__always)
  mutating func nextBuffered() -> BorrowedRecord? {
    guard let payload = unsafe bufferedPayload() else { return nil }
    let (address, before) = (position, ordinal)
    pass(UInt64(FrameHeader.byteCount + payload.count))
    // Safe: passing a record moves no byte of the window, and moving bytes needs exclusive access
    // to `self`.
    let bytes = unsafe _overrideLifetime(Span<UInt8>(_unsafeBytes: payload), mutating: &self)
    return BorrowedRecord(
      address: Address(rawValue: address), ordinal: before, payload: bytes)
  }

  /// The payload at `position`, if the window holds a sound record there that needs no further
  /// checks.
  @inlinable
  @inline(__always)
  func bufferedPayload() -> UnsafeRawBufferPointer? {
    let bytes = window.bytes
    let offset = offset
    // Written in this form so that the compiler can prove most of the following checks redundant.
    guard offset >= 0, offset <= bytes.byteCount - FrameHeader.byteCount else { return nil }
    let length = Int(bytes.u32(offset + FrameHeader.length))
    guard length <= bytes.byteCount - FrameHeader.byteCount - offset,
      length <= bufferedPayloadLimit
    else { return nil }
    let payload = window.bytes(length, at: offset + FrameHeader.byteCount)
    guard
      bytes.u32(offset + FrameHeader.checksum)
        == Checksum.frame(payload, seed: topicID ^ position)
    else { return nil }
    // Safe until the window moves.
    return unsafe payload.withUnsafeBytes { unsafe $0 }
  }

  @inlinable
  @inline(__always)
  mutating func pass(_ frame: UInt64) {
    position &+= frame
    ordinal &+= 1
  }

  /// Takes the next step if `bufferedPayload` returned nil.
  @inline(never)
  mutating func slowStep() throws(QueueError) -> Step {
    while true {
      if let owed = owedLoss.take() { return .loss(owed) }
      switch try judge() {
      case .record(let payload):
        defer { pass(UInt64(FrameHeader.byteCount + payload.count)) }
        return .record(address: position, ordinal: ordinal, payload: payload)
      case .tooLarge(let count):
        defer { pass(UInt64(FrameHeader.byteCount) + count) }
        return .tooLarge(address: position, payloadBytes: count)
      case .header(let header):
        highestStamp = max(highestStamp, header.stamp)
        index.note(synced: header.synced)
        maximumPayload = Int(header.largestPayload)
        position += UInt64(SlabHeader.byteCount)
        if let loss = reach(header.ordinal, at: header.base) { return .loss(loss) }
      case .mark(let mark):
        lastMark = MarkAt(address: position, mark: mark)
        highestStamp = max(highestStamp, mark.stamp)
        index.note(synced: mark.synced)
        let place = position
        position += UInt64(Mark.byteCount)
        if let loss = reach(mark.ordinal, at: place) { return .loss(loss) }
      case nil:
        if try reposition() { continue }
        // No known ordinal follows, so nothing would ever end this loss: report it here.
        if let pending = pending.take() {
          ordinalIsCounted = false
          placesInTail = pending.uncountedPlaces
          return .loss(Loss(.damaged, from: pending.from, to: pending.to, records: nil))
        }
        // The log may go on, hidden by a slab of another topic.
        try index.refuseForeign()
        return .end
      }
    }
  }

  /// Passes a mark that states the ordinal that was counted.
  mutating func passAgreeing(_ mark: MarkAt) {
    lastMark = mark
    highestStamp = max(highestStamp, mark.mark.stamp)
    index.note(synced: mark.mark.synced)
    position = mark.end
  }

  private mutating func settleBufferedPayloadLimit() {
    bufferedPayloadLimit = owedLoss == nil ? min(maximumPayload, Int(payloadLimit)) : -1
    // Frames may be unsound here: hash longer payloads only within the slab's allowance.
    if damage != nil { bufferedPayloadLimit = min(bufferedPayloadLimit, FrameSearch.alwaysTried) }
  }

  // MARK: Frames

  package enum Frame {
    case header(SlabHeader)
    case mark(Mark)
    /// The payload's range in the window.
    case record(Range<Int>)
    case tooLarge(payloadBytes: UInt64)
  }

  /// The valid frame at `position`, if there is one. For the rules see "if and only if" in the
  /// format.
  package mutating func judge() throws(QueueError) -> Frame? {
    guard let slab, position < limit else { return nil }
    if let version1 { return try judgeVersion1(version1) }
    if position == slab.base { return try judgeHeader(slab) }
    guard try load(FrameHeader.byteCount) else { return nil }
    let word = window.bytes.u32(offset + FrameHeader.length)
    if word == FrameHeader.markWord {
      guard try load(Mark.byteCount) else { return nil }
      return Mark.read(frameBytes, address: position, topicID: topicID).map { .mark($0) }
    }
    guard Int(word) <= maximumPayload else { return nil }
    let kind = StreamingChecksum.Algorithm.version2(seed: topicID ^ position)
    guard let damage else { return try judgePayload(UInt64(word), kind) }
    guard position != damage.frames.knownUnsound, damage.frames.mayTry(UInt64(word)),
      UInt64(word) <= limit - position
    else { return nil }
    let frame = try judgePayload(UInt64(word), kind)
    if frame == nil { damage.frames.didHashInVain(UInt64(word)) }
    return frame
  }

  private mutating func judgeHeader(_ slab: SlabFile) throws(QueueError) -> Frame? {
    _ = try load(SlabHeader.byteCount)
    switch SlabHeader.read(frameBytes, base: slab.base) {
    case .sound(let header):
      try refuse(header, of: slab)
      return .header(header)
    case .unsupported(let version, let flags):
      throw slab.unsupported(version: version, flags: flags)
    case .unsound:
      return nil
    }
  }

  /// Throws if a sound header states another topic id than the newest slab.
  mutating func refuse(_ header: SlabHeader, of slab: SlabFile) throws(QueueError) {
    if header.topicID != index.topicID {
      // A writer may have removed a slab that it could not finish, and made it again under the same
      // name.
      try index.refreshAll()
    }
    try slab.refuse(header, unlessOf: index.topicID ?? header.topicID)
    topicID = header.topicID
  }

  private mutating func judgeVersion1(_ length: Version1Length) throws(QueueError) -> Frame? {
    guard try load(FrameHeader.byteCount),
      let count = length.payloadBytes(window.bytes.u32(offset + FrameHeader.length))
    else { return nil }
    return try judgePayload(UInt64(count), .version1)
  }

  /// Judges a frame. The caller has checked the length word against the slab's largest payload.
  private mutating func judgePayload(
    _ count: UInt64, _ kind: StreamingChecksum.Algorithm
  ) throws(QueueError) -> Frame? {
    guard let slab else { return nil }
    let stored = window.bytes.u32(offset + FrameHeader.checksum)
    let frame = UInt64(FrameHeader.byteCount) + count
    let (end, overflow) = position.addingReportingOverflow(frame)
    guard !overflow, end <= limit else { return nil }
    if UInt64(window.count - offset) < frame {
      // The file must be long enough before memory is allocated for a length.
      guard try end <= slab.end() else { return nil }
      if count > UInt64(payloadLimit) {
        let payload = position + UInt64(FrameHeader.byteCount)
        return try slab.checksum(kind, at: payload, count: count) == stored
          ? .tooLarge(payloadBytes: count) : nil
      }
      window.reserve(Int(frame))
      guard try load(Int(frame)) else { return nil }
    }
    let start = offset + FrameHeader.byteCount
    let payload = window.bytes.extracting(start..<start + Int(count))
    let checksum =
      switch kind {
      case .version2(let seed): Checksum.frame(payload, seed: seed)
      case .version1: Checksum.xxh32(payload)
      }
    guard checksum == stored else { return nil }
    return count > UInt64(payloadLimit)
      ? .tooLarge(payloadBytes: count) : .record(start..<start + Int(count))
  }

  /// The offset of `position` in the window.
  @inlinable var offset: Int { Int(truncatingIfNeeded: position &- window.start) }

  private var frameBytes: RawSpan {
    @_lifetime(borrow self)
    get { window.bytes.extracting(droppingFirst: offset) }
  }

  /// Ensures that the window shows `count` bytes from `position` on. False if the slab has fewer.
  private mutating func load(_ count: Int) throws(QueueError) -> Bool {
    guard let slab else { return false }
    if position >= window.start, position <= window.end, window.count - offset >= count {
      return true
    }
    // The window shows nothing if the read fails.
    window.clear(at: position)
    try window.fill(from: slab, at: position, limit: limit)
    return window.count >= count
  }

  /// Fills the window from `position` on with bytes that can be read without waiting for a disk.
  /// They are judged like any others. False if the storage cannot say which bytes those are.
  mutating func loadWithoutWaiting() -> Bool {
    guard let slab else { return true }
    return window.fillWithoutWaiting(from: slab, at: position, limit: limit)
  }

  // MARK: Ordinals

  /// Takes over a known ordinal, and counts the records lost since the last one.
  private mutating func reach(_ known: UInt64, at place: UInt64) -> Loss? {
    let pending = pending.take()
    let arrival = arrival.take()
    let counted = ordinal &- (pending?.advanced ?? 0)
    let isCounted = pending?.isCounted ?? ordinalIsCounted
    ordinal = known
    ordinalIsCounted = true

    if isCounted, known < counted {
      // A crash discarded records that were read before they were durable.
      let from = arrival?.from ?? place
      let discarded = Loss(
        .discarded, from: min(arrival?.kept ?? place, from), to: from, records: counted - known)
      guard let pending else { return discarded }
      owedLoss = discarded
      return Loss(.damaged, from: pending.from, to: pending.to, records: nil)
    }
    if let pending {
      let way = arrival.flatMap { $0.leavesOut ? $0 : nil }
      return Loss(
        way?.cause ?? .damaged, from: min(way?.from ?? .max, pending.from),
        to: way == nil ? pending.to : max(pending.to, place),
        records: isCounted ? known - counted : nil)
    }
    if !isCounted {
      // The walk began at an address that was cleaned: report it, although the number of records is
      // unknown.
      guard let arrival, arrival.cause == .cleaned else { return nil }
      return Loss(.cleaned, from: arrival.from, to: place, records: nil)
    }
    guard known > counted else { return nil }
    return Loss(
      arrival?.cause ?? .damaged, from: arrival?.from ?? place, to: place,
      records: known - counted)
  }
}

extension SlabFile {
  /// Throws if a sound header is another topic's.
  func refuse(_ header: SlabHeader, unlessOf topicID: UInt64) throws(QueueError) {
    guard header.topicID != topicID else { return }
    throw .foreignSlab(path: path, address: base)
  }

  func unsupported(version: UInt16, flags: UInt16) -> QueueError {
    QueueError(
      .unsupportedFormat,
      version == SlabFormat.version
        ? "this slab uses flags (\(flags)) that this version does not know: use a newer one"
        : "this slab has version \(version) of the format, and this program reads version"
          + " \(SlabFormat.version): use the program that wrote it",
      path: path, address: base)
  }
}
