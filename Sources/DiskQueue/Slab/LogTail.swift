// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Appending: the writer's end of the log. Everything here runs under the writer's lock.

/// The slab that is written, the buffer before it, and what the next frame needs to know.
///
/// Addresses below `position` are handed out, or in the buffer; from `position - buffer.count` on
/// the bytes wait to be written. What was written or handed out never changes.
struct LogTail: ~Copyable, Sendable {
  /// What a new slab and a mark are made of, beside where they stand.
  struct Settings: Sendable {
    var slabSize: UInt64
    var maximumPayload: UInt32
    var bufferSize: Int
    var topicID: UInt64
    var now: @Sendable () -> UInt64
  }

  /// A slab that was left, and where it ends.
  struct LeftSlab: Sendable {
    var slab: SlabFile
    var end: UInt64
  }

  private let storage: any TopicStorage
  private let settings: Settings
  private var buffer: WriteBuffer

  private(set) var slab: SlabFile
  /// Where a frame of this slab ends at the latest, unless it is the slab's first record.
  private var slabLimit: UInt64
  private var slabHasRecord: Bool

  /// The address of the next frame.
  private(set) var position: UInt64
  private(set) var ordinal: UInt64
  private var stamp: UInt64
  private var kept: UInt64
  /// Where the last mark ends: as good a place as its beginning to count from.
  private var lastMarkEnd: UInt64
  private var lastMarkStamp: UInt64
  /// Whether the next record wants a mark before it, whatever the distance.
  private var markIsDue = false

  /// A record that ends at or before it, and is no longer than `plainPayload`, needs no second
  /// look: it fits the buffer and the slab, no mark is due, and the writer is open. 0: look.
  private var plainEnd: UInt64 = 0
  private let plainPayload: Int

  /// All below it is on stable storage.
  private(set) var synced: UInt64
  /// Slabs left and not synced yet, oldest first.
  private(set) var leftSlabs: [LeftSlab] = []
  /// How many slabs were made, and how many of those had their names synced.
  private var slabsMade = 0
  private var slabsNamed = 0

  /// What ended this writer, if something did.
  private(set) var failure: QueueError?
  /// Whether no more is taken: the writer closes, or is closed.
  private(set) var isClosed = false

  /// A mark a second, where the buffer is empty anyway: the index by time.
  private static let markInterval: UInt64 = 1_000_000_000

  /// Goes on in a slab behind what `start` describes.
  init(_ start: Start, storage: any TopicStorage, settings: Settings) {
    self.storage = storage
    self.settings = settings
    buffer = WriteBuffer(capacity: settings.bufferSize)
    plainPayload = Int(min(settings.maximumPayload, UInt32(SlabFormat.markSpacing)))
    slab = start.slab
    slabHasRecord = start.slabHasRecord
    position = start.position
    ordinal = start.ordinal
    stamp = start.stamp
    kept = start.kept
    lastMarkEnd = start.position
    lastMarkStamp = start.stamp
    synced = start.position
    slabLimit =
      start.slabIsFull
      ? start.position : Self.limit(ofSlab: start.slab.base, size: settings.slabSize)
  }

  /// Where a writer begins: behind a mark that is on stable storage.
  struct Start {
    var slab: SlabFile
    var slabHasRecord: Bool
    /// Whether the next record must go to a new slab.
    var slabIsFull: Bool
    var position: UInt64
    var ordinal: UInt64
    var stamp: UInt64
    var kept: UInt64
  }

  /// A slab never reaches into the next epoch.
  private static func limit(ofSlab base: UInt64, size: UInt64) -> UInt64 {
    let (end, overflow) = base.addingReportingOverflow(size)
    return min(overflow ? .max : end, Epoch.end(Epoch.of(base)))
  }

  private var bufferStart: UInt64 { position - UInt64(buffer.count) }

  // MARK: Appending

  /// Puts a record behind the last one and returns its address, if it needs no second look; nil:
  /// see `appendCarefully`. Buffered: see `flush`. No slab is left.
  @inline(__always)
  mutating func appendPlainly(_ payload: RawSpan) -> UInt64? {
    let frame = FrameHeader.byteCount &+ payload.byteCount
    // Not as a sum: at the end of the last epoch it would wrap around.
    guard payload.byteCount <= plainPayload, position < plainEnd,
      UInt64(truncatingIfNeeded: frame) <= plainEnd &- position
    else { return nil }
    return put(payload)
  }

  /// Appends records up to one that needs a second look, and returns how many. No slab is left.
  mutating func appendPlainly(_ payloads: Span<[UInt8]>) -> Int {
    for index in payloads.indices {
      // Safe: a span of bytes is its bytes.
      let payload = unsafe payloads[index].span.bytes
      if appendPlainly(payload) == nil { return index }
    }
    return payloads.count
  }

  @inline(__always)
  private mutating func put(_ payload: RawSpan) -> UInt64 {
    let address = position
    buffer.putRecord(
      payload, checksum: Checksum.frame(payload, seed: settings.topicID ^ address))
    position &+= UInt64(truncatingIfNeeded: FrameHeader.byteCount &+ payload.byteCount)
    ordinal &+= 1
    return address
  }

  /// Puts any record behind the last one and returns its address.
  ///
  /// On an error nothing of it is in the log.
  @inline(never)
  mutating func appendCarefully(_ payload: RawSpan) throws(QueueError) -> UInt64 {
    try checkOpen()
    guard payload.byteCount <= Int(settings.maximumPayload) else {
      throw QueueError(
        .payloadTooLarge,
        "a payload of \(payload.byteCount) bytes is above the limit of \(settings.maximumPayload):"
          + " raise maximumPayload, or split it",
        path: slab.path, address: position)
    }
    defer { settlePlainEnd() }
    if buffer.isEmpty, position != lastMarkEnd {
      let now = settings.now()
      if now >= lastMarkStamp, now - lastMarkStamp >= Self.markInterval { markIsDue = true }
    }
    let frame = UInt64(FrameHeader.byteCount + payload.byteCount)
    let isLong = payload.byteCount > Int(SlabFormat.markSpacing)
    let wantsMark =
      markIsDue
      || position != lastMarkEnd
        && (isLong || position - lastMarkEnd >= SlabFormat.markSpacing)
    let needed = frame + (wantsMark ? UInt64(Mark.byteCount) : 0)
    // A slab's first record may reach beyond its size, but none into the next epoch.
    if slabHasRecord, !fits(needed) { try roll() }
    if needed > Epoch.end(Epoch.of(slab.base)) - position { try rollEpoch() }
    // A roll counts as the mark.
    if markIsDue || wantsMark && position != lastMarkEnd { try putMark() }

    let room = Int(frame) + (isLong ? Mark.byteCount : 0)
    let address: UInt64
    if room <= buffer.capacity {
      try makeRoom(room)
      address = put(payload)
    } else {
      address = try writeThrough(payload)
    }
    slabHasRecord = true
    // Directly behind a long payload; a roll counts as the mark. There is room: nothing can fail.
    if isLong, fits(UInt64(Mark.byteCount)) { try putMark() }
    return address
  }

  private func fits(_ count: UInt64) -> Bool {
    position <= slabLimit && slabLimit - position >= count
  }

  /// A record that the buffer cannot hold goes straight to the file.
  private mutating func writeThrough(_ payload: RawSpan) throws(QueueError) -> UInt64 {
    try flush()
    let address = position
    var header = WriteBuffer(capacity: FrameHeader.byteCount)
    header.putRecordHeader(
      length: payload.byteCount,
      checksum: Checksum.frame(payload, seed: settings.topicID ^ address))
    var written = 0
    do throws(QueueError) {
      try slab.write(header.bytes, at: address, written: &written)
      written = 0
      try slab.write(payload, at: address + UInt64(FrameHeader.byteCount), written: &written)
    } catch {
      leaveRefusedBytes()
      throw error
    }
    position += UInt64(FrameHeader.byteCount + payload.byteCount)
    ordinal &+= 1
    return address
  }

  /// Bytes of a refused frame may stand behind `position`: gives them and their room up, so that a
  /// closing mark is the end of its file.
  private func leaveRefusedBytes() {
    do throws(SystemError) {
      try slab.file.truncate(to: position - slab.base)
    } catch {
      // They stay until the next frames take their place; they are no record.
    }
  }

  private mutating func makeRoom(_ count: Int) throws(QueueError) {
    if buffer.free < count { try flush() }
  }

  private mutating func settlePlainEnd() {
    guard failure == nil, !isClosed, !markIsDue, !buffer.isEmpty else {
      plainEnd = 0
      return
    }
    let full = bufferStart.addingReportingOverflow(UInt64(buffer.capacity))
    let mark = lastMarkEnd.addingReportingOverflow(SlabFormat.markSpacing)
    plainEnd = min(
      full.overflow ? 0 : full.partialValue, mark.overflow ? 0 : mark.partialValue, slabLimit)
  }

  // MARK: Marks

  private mutating func putMark() throws(QueueError) {
    try makeRoom(Mark.byteCount)
    buffer.put(nextMark(synced: synced), at: position)
    passMark()
  }

  private mutating func nextMark(synced: UInt64) -> Mark {
    stamp = max(stamp, settings.now())
    return Mark(
      stamp: stamp, ordinal: ordinal, synced: synced, kept: kept, topicID: settings.topicID)
  }

  private mutating func passMark() {
    position += UInt64(Mark.byteCount)
    lastMarkEnd = position
    lastMarkStamp = stamp
    markIsDue = false
  }

  // MARK: Flushing

  /// Hands what is in the buffer to the system. What could not be written stays, and is finished
  /// where the write stopped when `flush` is asked again.
  mutating func flush() throws(QueueError) {
    guard !buffer.isEmpty else { return }
    plainEnd = 0
    var written = 0
    do throws(QueueError) {
      try slab.write(buffer.bytes, at: bufferStart, written: &written)
    } catch {
      buffer.removeFirst(written)
      throw error
    }
    buffer.removeFirst(written)
  }

  // MARK: Rolling

  /// Leaves the slab for a new one, whose base is the end of this one.
  ///
  /// Nothing is synced here: the slab left behind is, in the background, after the directory. A
  /// slab that could not be finished is not gone back from: its header waits in the buffer.
  private mutating func roll() throws(QueueError) {
    try flush()
    let beginning = UInt64(SlabHeader.byteCount + Mark.byteCount)
    guard Epoch.end(Epoch.of(position)) - position > beginning,
      Epoch.of(position) == Epoch.of(slab.base)
    else { return try rollEpoch() }
    let next = try SlabFile.create(position, in: storage)
    leaveSlab(for: next)
    slabsMade += 1
    stamp = max(stamp, settings.now())
    let header = nextHeader(base: position)
    buffer.put(header)
    position += UInt64(SlabHeader.byteCount)
    buffer.put(header.copy, at: position)
    passMark()
  }

  /// Goes on in the next epoch, at its first address, as recovery does: everything before it is
  /// synced, then the slab and the directory. Once in 2^40 bytes.
  private mutating func rollEpoch() throws(QueueError) {
    try flush()
    let epoch = Epoch.of(slab.base) + 1
    guard epoch <= Epoch.last else { throw .addressesExhausted(path: storage.path) }
    stamp = max(stamp, settings.now())
    var header = nextHeader(base: Epoch.firstAddress(epoch))
    header.kept = position
    let next: SlabFile
    do throws(QueueError) {
      try syncNow()
      header.synced = position
      next = try SlabFile.createFirst(header, in: storage)
    } catch {
      if error.code == .syncFailed { poison(error) }
      throw error
    }
    leaveSlab(for: next)
    leftSlabs = []
    kept = header.kept
    position = header.base + UInt64(SlabHeader.byteCount)
    passMark()
    synced = position
  }

  private func nextHeader(base: UInt64) -> SlabHeader {
    SlabHeader(
      largestPayload: settings.maximumPayload, base: base, ordinal: ordinal, stamp: stamp,
      synced: synced, kept: kept, topicID: settings.topicID)
  }

  private mutating func leaveSlab(for next: SlabFile) {
    leftSlabs.append(LeftSlab(slab: slab, end: position))
    slab = next
    slabLimit = Self.limit(ofSlab: next.base, size: settings.slabSize)
    slabHasRecord = false
  }

  // MARK: Syncing

  /// What has to be synced, and in which order, for everything below `end` to be durable.
  struct SyncWork {
    var storage: any TopicStorage
    var namesUpTo: Int
    var includesNames: Bool
    /// Oldest first: nothing is synced before what lies below it.
    var slabs: [LeftSlab]
    var end: UInt64

    /// Does it. Nothing in a slab is synced before the directory was since the slab was made.
    func run() throws(QueueError) {
      if includesNames { try storage.syncNames() }
      for left in slabs { try left.slab.sync() }
    }
  }

  /// The work for all that is written, or for the slabs left behind only.
  func syncWork(includingCurrent: Bool) -> SyncWork {
    var slabs = leftSlabs
    if includingCurrent { slabs.append(LeftSlab(slab: slab, end: bufferStart)) }
    return SyncWork(
      storage: storage, namesUpTo: slabsMade, includesNames: slabsMade > slabsNamed,
      slabs: slabs, end: slabs.last?.end ?? synced)
  }

  /// Takes note that `work` was done. A slab made meanwhile still needs its name synced.
  mutating func didSync(_ work: SyncWork) {
    slabsNamed = max(slabsNamed, work.namesUpTo)
    leftSlabs.removeAll { $0.end <= work.end }
    guard work.end > synced else { return }
    synced = work.end
    // The first record from now on has the proof before it: a mark that stands there already does
    // not know of this sync.
    markIsDue = true
    plainEnd = 0
  }

  /// Syncs under the lock: only where nobody else may go on before.
  private mutating func syncNow() throws(QueueError) {
    let work = syncWork(includingCurrent: true)
    try work.run()
    didSync(work)
  }

  // MARK: Ending

  func checkOpen() throws(QueueError) {
    if let failure { throw failure }
    if isClosed { throw .closed(path: storage.path) }
  }

  /// Ends this writer for good: no later call goes on as if nothing had happened.
  mutating func poison(_ error: QueueError) {
    if failure == nil { failure = error }
    plainEnd = 0
  }

  /// Takes no more records.
  mutating func stopTaking() {
    isClosed = true
    plainEnd = 0
  }

  /// Takes records again, where closing failed for want of room.
  mutating func resumeTaking() { isClosed = false }

  /// Writes the closing mark, and syncs it. Everything before it must be synced.
  ///
  /// It goes straight to the file: left in the buffer, it might come to stand before a record and
  /// make an unclean end look clean.
  mutating func writeClosingMark() throws(QueueError) {
    try flush()
    if !fits(UInt64(Mark.byteCount)),
      slabHasRecord || Epoch.end(Epoch.of(slab.base)) - position <= UInt64(Mark.byteCount)
    {
      try roll()
      try flush()
    }
    var mark = WriteBuffer(capacity: Mark.byteCount)
    mark.put(nextMark(synced: position + UInt64(Mark.byteCount)), at: position)
    var written = 0
    try slab.write(mark.bytes, at: position, written: &written)
    passMark()
    do throws(QueueError) {
      try syncNow()
    } catch {
      poison(error)
      throw error
    }
  }
}

extension QueueError {
  static func addressesExhausted(path: String) -> QueueError {
    QueueError(
      .addressesExhausted,
      "all 2^24 epochs of this topic were used: start a new topic, and keep this one for readers",
      path: path)
  }
}
