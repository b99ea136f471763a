// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Appending: the writer's end of the log. Everything here runs under the writer's lock.

/// The slab that is written, the buffer before it, and the state that the next frame needs.
///
/// Addresses below `position` are handed out, or in the buffer. From `position - buffer.count` on,
/// the bytes wait to be written. Bytes that were written or handed out never change.
struct LogTail: ~Copyable, Sendable {
  /// The settings for new slabs and marks, besides their addresses.
  struct Settings: Sendable {
    var slabSize: UInt64
    var maximumPayload: UInt32
    /// A mark comes before a record if this much was written since the last mark. Marks also come
    /// before and after every payload longer than this.
    var markSpacing: UInt64
    var bufferSize: Int
    /// How many bytes all slabs may hold together.
    var maximumBytes: UInt64 = .max
    /// How many records all slabs may hold together.
    var maximumRecords: UInt64 = .max
    /// How many records a slab may hold: a sixteenth of all, so that each drop removes a small
    /// part.
    var slabRecords: UInt64 { maximumRecords == .max ? .max : max(1, maximumRecords / 16) }
    var flushEvery = Trigger()
    var syncEvery = Trigger()
    var topicID: UInt64
    var now: @Sendable () -> UInt64
    /// Nanoseconds on a clock that is never set.
    var monotonic: @Sendable () -> UInt64 = { 0 }
    /// How old a slab that holds a record may grow, in nanoseconds. `UInt64.max`: there is no
    /// limit.
    var slabAge: UInt64 = .max
    /// Whether `rolls` is filled.
    var notesRolls = false
    /// Called with the base of each new slab that the writer goes on in, under the writer's lock.
    var didRoll: @Sendable (UInt64) -> Void = { _ in }
  }

  /// How much may wait before the writer acts.
  struct Trigger: Sendable {
    var records: UInt64 = .max
    var bytes: UInt64 = .max
    /// Whether there is a time limit as well.
    var hasTime = false

    func isReached(records: UInt64, bytes: UInt64) -> Bool {
      records >= self.records || bytes >= self.bytes
    }
  }

  /// A slab that was left, and its end.
  struct LeftSlab: Sendable {
    var slab: SlabFile
    var end: UInt64
    /// The ordinal of the first record past its end.
    var ordinal: UInt64
  }

  let storage: any TopicStorage
  /// The name of the lock that this writer holds. Nil in memory, because no name changes unnoticed
  /// there.
  var lock: HeldName?
  let settings: Settings
  var buffer: WriteBuffer

  var slab: SlabFile
  /// A frame of this slab ends at this address or below it, unless it is the slab's first record.
  var slabLimit: UInt64
  var slabHasRecord: Bool
  /// The address at which this writer began in the slab.
  var slabBegan: UInt64
  /// The slab's blocks were preallocated up to this address, if the system granted it. 0: none
  /// were.
  var reservedEnd: UInt64 = 0
  /// Zeros were written up to this address, after the last frame, as far as possible. 0: none were.
  var zeroedEnd: UInt64 = 0
  /// Whether blocks were preallocated, or zeros written ahead.
  var hasPreallocated = false
  /// The size of all slabs but this one, as far as they are known to exist.
  var otherBytes: UInt64 = 0
  /// The ordinal of the first record of the first slab, as far as that slab is known to exist. Used
  /// only if records are bounded.
  var firstOrdinal: UInt64 = 0
  /// A record with this ordinal or a higher one goes to another slab, unless it is the slab's
  /// first.
  var slabEndOrdinal: UInt64

  /// The address of the next frame.
  var position: UInt64
  var ordinal: UInt64
  var stamp: UInt64
  var kept: UInt64
  /// The end of the last mark. It is as good as the mark's beginning to count from.
  var lastMarkEnd: UInt64
  var lastMarkStamp: UInt64
  /// Whether the next record needs a mark before it, whatever the distance.
  var markIsDue = false

  /// A record needs no second look if it ends at or before this address, is no longer than
  /// `plainPayload`, and has an ordinal below `plainOrdinal`. Then it fits the buffer, the slab and
  /// the cap. No mark and no flush or sync is due, and the writer is open. 0: look.
  var plainEnd: UInt64 = 0
  private var plainOrdinal: UInt64 = 0
  private let plainPayload: Int

  /// At most the ordinal of the first record that was not flushed.
  var flushedOrdinal: UInt64
  /// All frames that end at this address or below it were flushed whole. Others may be as well.
  var flushedEnd: UInt64
  /// Everything below it is on stable storage.
  var synced: UInt64
  /// At most the ordinal of the first record that was not synced.
  var syncedOrdinal: UInt64
  /// The value of `syncedOrdinal` when the last mark or header was put.
  var statedOrdinal: UInt64
  /// Slabs that were left and are not synced yet, oldest first.
  var leftSlabs: [LeftSlab] = []
  /// The work of this writer, as far as the other properties do not show it.
  var tally: Tally
  /// A slab that was left, the end of its records, and the slab in which the log continues.
  struct Roll: Sendable, Equatable {
    var left: UInt64
    var end: UInt64
    var next: UInt64
  }
  /// The last slabs that were left since the list was taken, oldest first, if `notesRolls` is set.
  var rolls: [Roll] = []
  static let mostRolls = 4096
  /// The last epoch whose first slab could neither be finished nor removed, if the log does not go
  /// on after that epoch yet.
  var unfinishedEpoch: UInt64?
  /// How many slabs were made, and for how many of them the name was synced.
  var slabsMade = 0
  var slabsNamed = 0

  /// Whether the next record is flushed at once, because a reader waits for it.
  private var isExpected = false

  /// When the slab is old enough to be left, on the monotonic clock. `UInt64.max`: it holds no
  /// record, or its age does not matter.
  var slabIsOldAt: UInt64 = .max

  /// Whether a time is set to flush, to sync, or to leave an old slab.
  var flushIsTimed = false
  var syncIsTimed = false
  var leavingIsTimed = false

  /// The error that ended this writer, if any.
  private(set) var failure: QueueError?
  /// Whether no more records are taken: the writer is closing, or is closed.
  private(set) var isClosed = false

  /// A mark a second, if the buffer is empty anyway: the index by time.
  private static let markInterval: UInt64 = 1_000_000_000

  /// Goes on in a slab, after the end that `start` describes.
  init(_ start: Start, storage: any TopicStorage, settings: Settings) {
    self.storage = storage
    self.settings = settings
    buffer = WriteBuffer(capacity: settings.bufferSize)
    plainPayload = Int(min(UInt64(settings.maximumPayload), settings.markSpacing))
    slab = start.slab
    slabBegan = start.position
    slabHasRecord = start.slabHasRecord
    position = start.position
    ordinal = start.ordinal
    stamp = start.stamp
    kept = start.kept
    lastMarkEnd = start.position
    lastMarkStamp = start.stamp
    synced = start.position
    flushedOrdinal = start.ordinal
    flushedEnd = start.position
    syncedOrdinal = start.ordinal
    statedOrdinal = start.ordinal
    tally = Tally(start)
    slabLimit =
      start.slabIsFull
      ? start.position : Self.limit(ofSlab: start.slab.base, size: settings.slabSize)
    slabEndOrdinal = Self.end(ofSlabFrom: start.slabOrdinal, settings)
  }

  static func end(ofSlabFrom ordinal: UInt64, _ settings: Settings) -> UInt64 {
    let (end, overflow) = ordinal.addingReportingOverflow(settings.slabRecords)
    return overflow ? .max : end
  }

  /// The state that a writer begins with, after a mark that is on stable storage.
  struct Start {
    var slab: SlabFile
    /// Whether the slab was made for this writer.
    var slabIsMade = false
    var slabHasRecord: Bool
    /// Whether the next record must go to a new slab.
    var slabIsFull: Bool
    /// The ordinal of the slab's first record, as far as that is known.
    var slabOrdinal: UInt64
    /// When the slab was made, by its header. Nil if this is not known.
    var slabStamp: UInt64?
    var position: UInt64
    var ordinal: UInt64
    var stamp: UInt64
    var kept: UInt64
  }

  /// A slab never reaches into the next epoch.
  static func limit(ofSlab base: UInt64, size: UInt64) -> UInt64 {
    let (end, overflow) = base.addingReportingOverflow(size)
    return min(overflow ? .max : end, Epoch.end(Epoch.of(base)))
  }

  /// Returns the slabs left since the last call.
  mutating func takeRolls() -> [Roll] {
    defer { rolls = [] }
    return rolls
  }

  /// Everything below it was written.
  var bufferStart: UInt64 { position - UInt64(buffer.count) }

  // MARK: Appending

  /// Puts a record after the last one, if it needs no second look. Nil: see `appendCarefully`. The
  /// record is buffered: see `flush`. No slab is left.
  @inline(__always)
  mutating func appendPlainly(_ payload: RawSpan) -> QueueWriter.AppendResult? {
    let frame = FrameHeader.byteCount &+ payload.byteCount
    // Not as a sum: at the end of the last epoch it would wrap around.
    guard payload.byteCount <= plainPayload, position < plainEnd, ordinal < plainOrdinal,
      UInt64(truncatingIfNeeded: frame) <= plainEnd &- position
    else { return nil }
    return put(payload)
  }

  /// Appends records up to the first that needs a second look, and returns how many. No slab is
  /// left.
  mutating func appendPlainly(_ payloads: Span<[UInt8]>) -> Int {
    for index in payloads.indices {
      // Safe: the elements of the span are bytes.
      let payload = unsafe payloads[index].span.bytes
      if appendPlainly(payload) == nil { return index }
    }
    return payloads.count
  }

  @inline(__always)
  private mutating func put(_ payload: RawSpan) -> QueueWriter.AppendResult {
    let (address, ordinal) = (position, ordinal)
    buffer.putRecord(
      payload, checksum: Checksum.frame(payload, seed: settings.topicID ^ address))
    position &+= UInt64(truncatingIfNeeded: FrameHeader.byteCount &+ payload.byteCount)
    self.ordinal = ordinal &+ 1
    return QueueWriter.AppendResult(address: Address(rawValue: address), ordinal: ordinal)
  }

  /// A record that was put, and the work that is left to do after it.
  struct Appended {
    var result: QueueWriter.AppendResult
    /// How many slabs wait for their sync, if one was left. Otherwise 0.
    var leftSlabs = 0
    /// Whether a time to flush, to sync, or to leave an old slab begins to run.
    var startsFlushTime = false
    var startsSyncTime = false
    var startsLeavingTime = false
    /// Whether so much waits that it must be synced.
    var wantsSync = false
  }

  /// Puts any record after the last one, and flushes if a flush is then due.
  ///
  /// On an error, nothing of the record is in the log.
  ///
  /// - Precondition: the tail is open, and `check` passed.
  @inline(never)
  mutating func appendCarefully(_ payload: RawSpan) throws(QueueError) -> Appended {
    let leftBefore = leftSlabs.count
    defer { settlePlainEnd() }
    let frame = try prepareForRecord(payload.byteCount)
    let before = Before(self)
    let isLong = payload.byteCount > Int(settings.markSpacing)
    let room = frame + (isLong ? Mark.byteCount : 0)
    let result: QueueWriter.AppendResult
    if room <= buffer.capacity {
      try makeRoom(room)
      result = put(payload)
    } else {
      result = try writeThrough(payload)
    }
    slabHasRecord = true
    // Directly after a long payload. A roll counts as the mark. There is space: nothing can fail.
    if isLong, fits(UInt64(Mark.byteCount)) { try putMark() }
    let wantsSync = settings.syncEvery.isReached(
      records: ordinal &- syncedOrdinal, bytes: position &- synced)
    if wantsSync || isExpected
      || settings.flushEvery.isReached(
        records: ordinal &- flushedOrdinal, bytes: UInt64(buffer.count))
    {
      isExpected = false
      try flush(orTakeBack: frame, to: before)
    }
    var appended = Appended(result: result, wantsSync: wantsSync)
    if leftSlabs.count != leftBefore { appended.leftSlabs = leftSlabs.count }
    if settings.slabAge != .max, !before.slabHasRecord {
      slabIsOldAt = settings.monotonic().addingSaturating(settings.slabAge)
      appended.startsLeavingTime = !leavingIsTimed
      leavingIsTimed = true
    }
    if settings.flushEvery.hasTime, !flushIsTimed, !buffer.isEmpty {
      flushIsTimed = true
      appended.startsFlushTime = true
    }
    if settings.syncEvery.hasTime, !syncIsTimed, !wantsSync {
      syncIsTimed = true
      appended.startsSyncTime = true
    }
    return appended
  }

  /// Refuses a payload that no topic with these settings can take.
  func check(_ payload: Int) throws(QueueError) {
    guard payload <= Int(settings.maximumPayload) else {
      throw QueueError(
        .payloadTooLarge,
        "a payload of \(ByteCount.words(UInt64(payload))) is above the limit of"
          + " \(settings.maximumPayload): raise maximumPayload, or split the payload",
        path: slab.path, address: position)
    }
    // The record counts twice. A slab that was begun to state durability counts as well: the slab
    // before that one can only be removed once something follows its beginning.
    let beginning = UInt64(SlabHeader.byteCount + Mark.byteCount)
    guard
      2 * (UInt64(payload) + Self.mostOverhead) + beginning + Self.reserve <= settings.maximumBytes
    else {
      throw QueueError(
        .payloadTooLarge,
        "a payload of \(ByteCount.words(UInt64(payload))) is above half of the topic's maximumBytes"
          + " (\(ByteCount.bytes(Int64(clamping: settings.maximumBytes)))): raise it, or split the"
          + " payload",
        path: slab.path, address: position)
    }
  }

  /// Does the work that comes before a record: leaves a slab without space for it, and puts a mark
  /// that is due. Returns the frame's size.
  private mutating func prepareForRecord(_ payload: Int) throws(QueueError) -> Int {
    if buffer.isEmpty, position != lastMarkEnd {
      let now = settings.now()
      if now >= lastMarkStamp, now - lastMarkStamp >= Self.markInterval { markIsDue = true }
    }
    let frame = UInt64(FrameHeader.byteCount + payload)
    let wantsMark =
      markIsDue
      || position != lastMarkEnd
        && (payload > Int(settings.markSpacing)
          || position - lastMarkEnd >= settings.markSpacing)
    let needed = frame + (wantsMark ? UInt64(Mark.byteCount) : 0)
    // A slab's first record may go beyond the slab's size, but no record goes into the next epoch.
    if slabHasRecord, !fits(needed) || ordinal >= slabEndOrdinal || slabIsOld { try roll() }
    if unfinishedEpoch != nil || needed > Epoch.end(Epoch.of(slab.base)) - position {
      try rollEpoch()
    }
    // A roll counts as the mark.
    if markIsDue || wantsMark && position != lastMarkEnd { try putMark() }
    return Int(frame)
  }

  /// The state of the tail before a record.
  private struct Before {
    var position: UInt64
    var ordinal: UInt64
    var lastMarkEnd: UInt64
    var lastMarkStamp: UInt64
    var statedOrdinal: UInt64
    var unframedBytes: UInt64
    var slabHasRecord: Bool

    init(_ tail: borrowing LogTail) {
      position = tail.position
      ordinal = tail.ordinal
      lastMarkEnd = tail.lastMarkEnd
      lastMarkStamp = tail.lastMarkStamp
      statedOrdinal = tail.statedOrdinal
      unframedBytes = tail.tally.unframedBytes
      slabHasRecord = tail.slabHasRecord
    }
  }

  /// Flushes. If that fails before the last record, of this frame's size, was written whole, the
  /// record is refused.
  private mutating func flush(
    orTakeBack frame: Int, to before: Before
  ) throws(QueueError) {
    do throws(QueueError) {
      try flush()
    } catch {
      guard bufferStart < before.position + UInt64(frame) else { return }
      let isPartlyWritten = bufferStart > before.position
      buffer.removeLast(
        isPartlyWritten ? buffer.count : buffer.count - Int(before.position - bufferStart))
      position = before.position
      ordinal = before.ordinal
      lastMarkEnd = before.lastMarkEnd
      lastMarkStamp = before.lastMarkStamp
      statedOrdinal = before.statedOrdinal
      tally.unframedBytes = before.unframedBytes
      slabHasRecord = before.slabHasRecord
      if isPartlyWritten {
        noteFlushed()
        truncateToPosition()
      }
      throw error
    }
  }

  /// Like `handOver`. If there is nothing to hand over, the next record is handed over at once.
  mutating func handOverAtOnce() {
    let waited = buffer.count
    handOver()
    // The write has woken the watches.
    guard buffer.count == waited else { return }
    isExpected = true
    plainEnd = 0
  }

  /// Whether the slab must be left because of its age.
  private var slabIsOld: Bool { slabIsOldAt != .max && settings.monotonic() >= slabIsOldAt }

  /// Leaves a slab that is old enough, and writes the beginning of the new one to the system. A
  /// cleaner may then remove the old one once it is synced. Returns false if the slab is not old
  /// enough, or holds no record.
  ///
  /// If there is no room, the next record leaves the slab.
  mutating func leaveOldSlab() throws(QueueError) -> Bool {
    guard !isClosed, failure == nil, slabHasRecord, slabIsOld else { return false }
    plainEnd = 0
    try roll()
    try flush()
    return true
  }

  /// Whether the slab is left before the next record. Marks that are due are not considered.
  func wantsAnotherSlab(forPayload payload: Int) -> Bool {
    slabHasRecord && (!fits(UInt64(FrameHeader.byteCount + payload)) || ordinal >= slabEndOrdinal)
  }

  func fits(_ count: UInt64) -> Bool {
    position <= slabLimit && slabLimit - position >= count && unfinishedEpoch == nil
  }

  /// A record that the buffer cannot hold goes straight to the file.
  private mutating func writeThrough(
    _ payload: RawSpan
  ) throws(QueueError) -> QueueWriter.AppendResult {
    try flush()
    let (address, ordinal) = (position, ordinal)
    var header = WriteBuffer(capacity: FrameHeader.byteCount)
    header.putRecordHeader(
      length: payload.byteCount,
      checksum: Checksum.frame(payload, seed: settings.topicID ^ address))
    var written = 0
    defer { tally.writtenBytes &+= UInt64(written) }
    do throws(QueueError) {
      try slab.write(header.bytes, at: address, written: &written)
      tally.writtenBytes &+= UInt64(written)
      written = 0
      try slab.write(payload, at: address + UInt64(FrameHeader.byteCount), written: &written)
    } catch {
      truncateToPosition()
      throw error
    }
    position += UInt64(FrameHeader.byteCount + payload.byteCount)
    self.ordinal = ordinal &+ 1
    tally.flushes &+= 1
    noteFlushed()
    return QueueWriter.AppendResult(address: Address(rawValue: address), ordinal: ordinal)
  }

  /// Gives up the bytes after `position`, so that a closing mark is the end of its file. They may
  /// be bytes of a refused frame, or preallocated space.
  mutating func truncateToPosition() {
    (reservedEnd, zeroedEnd) = (0, 0)
    do throws(SystemError) {
      try slab.file.truncate(to: position - slab.base)
    } catch {
      // They stay until the next frames replace them. They are no record.
    }
  }

  mutating func settlePlainEnd() {
    guard failure == nil, !isClosed, !markIsDue, !isExpected, !buffer.isEmpty,
      unfinishedEpoch == nil
    else {
      plainEnd = 0
      return
    }
    func sum(_ a: UInt64, _ b: UInt64) -> UInt64 {
      let (sum, overflow) = a.addingReportingOverflow(b)
      return overflow ? .max : sum
    }
    let full = bufferStart.addingReportingOverflow(UInt64(buffer.capacity))
    let mark = lastMarkEnd.addingReportingOverflow(settings.markSpacing)
    let cap = settings.maximumBytes - min(settings.maximumBytes, sum(otherBytes, Self.reserve))
    plainEnd = min(
      full.overflow ? 0 : full.partialValue, mark.overflow ? 0 : mark.partialValue, slabLimit,
      min(
        sum(slab.base, cap), sum(bufferStart, settings.flushEvery.bytes - 1),
        sum(synced, settings.syncEvery.bytes - 1)))
    plainOrdinal = min(
      sum(flushedOrdinal, settings.flushEvery.records - 1),
      sum(syncedOrdinal, settings.syncEvery.records - 1),
      min(slabEndOrdinal, sum(firstOrdinal, settings.maximumRecords)))
  }

  // MARK: Ending

  func checkOpen() throws(QueueError) {
    if let failure { throw failure }
    if isClosed { throw .closed(path: storage.path) }
  }

  /// Permanently ends this writer: no later call goes on as if nothing had happened.
  mutating func poison(_ error: QueueError) {
    if failure == nil { failure = error }
    plainEnd = 0
  }

  /// Takes no more records.
  mutating func stopTaking() {
    isClosed = true
    plainEnd = 0
  }

  /// Takes records again, after closing failed, for example for lack of room.
  mutating func resumeTaking() { isClosed = false }
}
