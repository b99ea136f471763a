// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Walking a topic by the format's reading rules. Readers, recovery, `verify` and `repair` all walk
// with this, so that there is one judgement of what is in a log.

/// A walk through a topic, record by record, from an address on.
///
/// What every step may believe follows from the marks and headers alone. At `position`, where no
/// valid frame stands or the slab's content ends, `LogWalker+Reposition.swift` decides what that
/// means.
@usableFromInline
struct LogWalker: ~Copyable {
  let index: TopicIndex
  /// Records with a larger payload are checked and passed, not given.
  let payloadLimit: UInt32
  @usableFromInline var window: ByteWindow

  /// The ordinal of the next record: exact, or the least it can be behind damage.
  @usableFromInline var ordinal: UInt64 = 0
  /// Whether `ordinal` may be held against the next one that a mark or header states.
  var ordinalIsCounted = false
  /// The loss of this stretch, told when the next known ordinal is reached.
  var pending: PendingLoss?
  /// How the walk came to the slab whose beginning it has not read yet, if not from the one before.
  var arrival: Arrival?
  /// The address that the next step looks at. Not declared beside `ordinal`: the optimiser would step
  /// both as one vector, whose way through memory takes twice as long a record.
  @usableFromInline var position: UInt64 = 0

  /// Everything below it was durable by the word of a consumer's cursor; for the way to it alone.
  var provenBelow: UInt64 = 0
  /// A loss to be told first of all.
  var owedLoss: Loss? {
    didSet { settleBufferedPayloadLimit() }
  }

  /// The slab that `position` lies in; nil: to be found.
  var slab: SlabFile?
  /// Where the slab's content ends at the latest; `UInt64.max`: where its file does.
  var limit: UInt64 = .max
  /// No payload of the slab is larger; -1 while its header is still to be read.
  var maximumPayload = -1 {
    didSet { settleBufferedPayloadLimit() }
  }
  /// Up to this length a record needs no second look: both limits allow it, and nothing else is to
  /// be told first.
  @usableFromInline var bufferedPayloadLimit = -1
  /// What was found out about the slab's damage; nil where none was met.
  var damage: SlabDamage? {
    didSet { settleBufferedPayloadLimit() }
  }
  /// Which length the slab's frames state, if it was written by queuefka.
  var version1: Version1Length?
  @usableFromInline var topicID: UInt64 = 0

  /// Damaged places before the end of the log that nothing counts: each cost a record, or a mark.
  private(set) var placesInTail: UInt64 = 0

  /// The mark last walked over.
  private(set) var lastMark: MarkAt?
  /// The highest stamp walked over.
  private(set) var highestStamp: UInt64 = 0

  /// Damaged places between two known ordinals.
  struct PendingLoss {
    var from: UInt64
    var to: UInt64
    /// That of the first record lost, if it is counted.
    var ordinal: UInt64
    /// Whether the ordinal was known where the damage began.
    var isCounted: Bool
    /// By how much `ordinal` was already set forward for it; wraps around where it was set back,
    /// behind records that were discarded.
    var advanced: UInt64 = 0
    /// How many of the damaged places `ordinal` was not set forward for.
    var uncountedPlaces: UInt64 = 1
    /// Whether `ordinal` is exact behind it.
    var isExactBehind: Bool { uncountedPlaces == 0 }
  }

  /// A way to a slab that may have left something out.
  struct Arrival {
    var cause: Loss.Cause
    var from: UInt64
    /// Where the records before ended by the new epoch's word.
    var kept: UInt64
    /// Whether slabs are missing on it: the gap before an epoch's first slab is none.
    var leavesOut: Bool
  }

  enum Step {
    /// A record; `payload` is its place in the window.
    case record(address: UInt64, ordinal: UInt64, payload: Range<Int>)
    /// A sound record above the limit was passed.
    case tooLarge(address: UInt64, payloadBytes: UInt64)
    case loss(Loss)
    /// The end of the log, for now.
    case end
  }

  init(_ index: TopicIndex, payloadLimit: UInt32, bufferSize: Int) {
    self.index = index
    self.payloadLimit = payloadLimit
    window = ByteWindow(capacity: bufferSize)
  }

  /// Takes the next step.
  ///
  /// A loss is told before the record behind it. After an error the next call tries the same again.
  @inline(__always)
  mutating func step() throws(QueueError) -> Step {
    guard let length = unsafe bufferedPayload()?.count else { return try slowStep() }
    let start = offset + FrameHeader.byteCount
    defer { pass(UInt64(FrameHeader.byteCount + length)) }
    return .record(address: position, ordinal: ordinal, payload: start..<start + length)
  }

  /// As `step`, for a record that the window holds; nil: the next step is `slowStep`.
  ///
  /// Nearly every record is passed here. What is kept beyond the hash is a pointer and a length: the
  /// rest follows from where the walk stands then.
  @_lifetime(&self)
  @inlinable
  @inline(__always)
  mutating func nextBuffered() -> BorrowedRecord? {
    guard let payload = unsafe bufferedPayload() else { return nil }
    let (address, before) = (position, ordinal)
    pass(UInt64(FrameHeader.byteCount + payload.count))
    // Safe: passing moved no byte of the window, and who moves one has `self` to itself.
    let bytes = unsafe _overrideLifetime(Span<UInt8>(_unsafeBytes: payload), mutating: &self)
    return BorrowedRecord(
      address: Address(rawValue: address), ordinal: before, payload: bytes)
  }

  /// The payload at `position`, if the window holds a sound record there that needs no second look.
  @inlinable
  @inline(__always)
  func bufferedPayload() -> UnsafeRawBufferPointer? {
    let bytes = window.bytes
    let offset = offset
    // Written so that the compiler sees most checks behind these lines to be implied by them.
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
    // Safe for as long as nobody moves the window.
    return unsafe payload.withUnsafeBytes { unsafe $0 }
  }

  @inlinable
  @inline(__always)
  mutating func pass(_ frame: UInt64) {
    position &+= frame
    ordinal &+= 1
  }

  /// The next step where `bufferedPayload` shows none.
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
        // A loss whose end nothing behind it tells is told here rather than never.
        if let pending = pending.take() {
          ordinalIsCounted = false
          placesInTail = pending.uncountedPlaces
          return .loss(Loss(.damaged, from: pending.from, to: pending.to, records: nil))
        }
        // The log may go on, and a slab that is not its own hides it.
        try index.refuseForeign()
        return .end
      }
    }
  }

  private mutating func settleBufferedPayloadLimit() {
    bufferedPayloadLimit = owedLoss == nil ? min(maximumPayload, Int(payloadLimit)) : -1
    // Where frames may be unsound, longer payloads are hashed within the slab's allowance only.
    if damage != nil { bufferedPayloadLimit = min(bufferedPayloadLimit, FrameSearch.alwaysTried) }
  }

  // MARK: Frames

  enum Frame {
    case header(SlabHeader)
    case mark(Mark)
    /// The payload's place in the window.
    case record(Range<Int>)
    case tooLarge(payloadBytes: UInt64)
  }

  /// The valid frame at `position`, if one stands there: see "if and only if" in the format.
  mutating func judge() throws(QueueError) -> Frame? {
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
    let kind = StreamingChecksum.Kind.version2(seed: topicID ^ position)
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

  /// Throws where a sound header is another topic's than the newest slab says.
  mutating func refuse(_ header: SlabHeader, of slab: SlabFile) throws(QueueError) {
    if header.topicID != index.topicID {
      // A slab that could not be finished may have been made anew under the same name.
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

  /// Judges a frame whose length word may be believed as far as the slab's largest payload.
  private mutating func judgePayload(
    _ count: UInt64, _ kind: StreamingChecksum.Kind
  ) throws(QueueError) -> Frame? {
    guard let slab else { return nil }
    let stored = window.bytes.u32(offset + FrameHeader.checksum)
    let frame = UInt64(FrameHeader.byteCount) + count
    let (end, overflow) = position.addingReportingOverflow(frame)
    guard !overflow, end <= limit else { return nil }
    if UInt64(window.count - offset) < frame {
      // Before memory is taken for a length, the file must be long enough for it.
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

  /// Where `position` is in the window.
  @inlinable var offset: Int { Int(truncatingIfNeeded: position &- window.start) }

  private var frameBytes: RawSpan {
    @_lifetime(borrow self)
    get { window.bytes.extracting(droppingFirst: offset) }
  }

  /// Sees to it that the window shows `count` bytes from `position` on; false: there are fewer.
  private mutating func load(_ count: Int) throws(QueueError) -> Bool {
    guard let slab else { return false }
    if position >= window.start, position <= window.end, window.count - offset >= count {
      return true
    }
    // Nothing is shown while the read may fail.
    window.clear(at: position)
    try window.fill(from: slab, at: position, limit: limit)
    return window.count >= count
  }

  /// Shows what the slab has from `position` on, as far as that is had without waiting for a disk; what
  /// it shows is judged as ever. False: nobody can tell how far that is.
  mutating func loadWithoutWaiting() -> Bool {
    guard let slab else { return true }
    return window.fillWithoutWaiting(from: slab, at: position, limit: limit)
  }

  // MARK: Ordinals

  /// A known ordinal is reached: settles what was lost since the last one.
  private mutating func reach(_ known: UInt64, at place: UInt64) -> Loss? {
    let pending = pending.take()
    let arrival = arrival.take()
    let counted = ordinal &- (pending?.advanced ?? 0)
    let isCounted = pending?.isCounted ?? ordinalIsCounted
    ordinal = known
    ordinalIsCounted = true

    if isCounted, known < counted {
      // A crash took back what had been read before it was durable.
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
      // Whoever starts at an address that was cleaned is told so, though nobody knows how many.
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
  /// Throws where a sound header is another topic's.
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
