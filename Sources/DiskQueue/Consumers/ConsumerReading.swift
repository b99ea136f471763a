// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The state of a consumer's reading: the walk, the records read ahead, and the reports not yet
/// made.
// Sendable: it owns its walk alone, and is not copied.
struct ConsumerReading: ~Copyable, @unchecked Sendable {
  private let options: QueueConsumer.Options
  private(set) var walker: LogWalker
  /// False while there is no slab in which to find the cursor.
  private(set) var isSeated = false
  /// The end of the record delivered last, or the start of the reading.
  private(set) var lastEnd = CursorPosition(address: 0, ordinal: 0)
  /// The topic id and the address in the cursor's file, as they were read or last written.
  private var written = (topicID: UInt64(0), address: UInt64(0))
  /// The number of resets before it.
  var session: UInt64 = 0

  /// Whether the walk came to the end of the log when it last continued.
  private var foundEnd = false

  /// The records read ahead, from `delivered` on. A batch may share the memory of the first ones.
  private var ahead = DeliveredRecords()
  private var delivered = 0
  private var aheadCount: Int { ahead.count - delivered }
  /// The bytes of the frames that were not delivered.
  private var aheadBytes = 0
  /// When the first record read ahead was found, and when the last one was, on the monotonic clock.
  private var found: (first: UInt64, last: UInt64)?
  private var unreported: [PendingReport] = []
  /// The record above the limit at which the walk stopped.
  private var oversized: Oversized?

  /// A report to make before anything that follows it.
  enum PendingReport: Sendable {
    case loss(Loss, path: String)
    case error(QueueError)
  }

  /// A record above the limit, neither delivered nor passed.
  struct Oversized {
    var address: UInt64
    var ordinal: UInt64
    var payloadBytes: UInt64
    /// The walk before this record, to read it again with a higher limit.
    fileprivate var walk: LogWalker.Parked
    fileprivate var error: QueueError

    var end: CursorPosition {
      CursorPosition(
        address: address &+ UInt64(FrameHeader.byteCount) &+ payloadBytes, ordinal: ordinal &+ 1)
    }
  }

  init(_ storage: any TopicStorage, _ options: QueueConsumer.Options) {
    self.options = options
    walker = LogWalker(
      TopicIndex(storage), payloadLimit: UInt32(clamping: options.maximumPayload.bytes),
      bufferSize: Int(options.bufferSize.bytes))
  }

  // MARK: Beginning

  /// Lists the topic. Returns whether there is a slab.
  @discardableResult
  mutating func look() throws(QueueError) -> Bool {
    try walker.index.refresh()
    return !walker.index.bases.isEmpty
  }

  /// Begins at a position, and returns it as a cursor. The cursor is before any damage that was
  /// passed on the way. Only this reading knows of that damage, so the next one must meet it again.
  mutating func begin(
    from start: Topic.Position, now: () -> UInt64
  ) throws(QueueError) -> CursorPosition {
    try walker.seek(to: start, now: now)
    let losses = try walker.settleStart()
    note(losses)
    lastEnd = walker.placeBefore(losses)
    isSeated = !walker.index.bases.isEmpty
    return lastEnd
  }

  /// Begins at a cursor. If the log ends before the cursor, returns that end. Make it durable, and
  /// then continue from it.
  mutating func seat(at cursor: CursorPosition) throws(QueueError) -> CursorPosition? {
    unreported = []
    oversized = nil
    let (seat, losses) = try walker.seek(toCursor: cursor)
    note(losses)
    lastEnd = cursor
    switch seat {
    case .seated: isSeated = true
    case .pastTheEnd(let end): return end
    case .noLog: isSeated = false
    }
    return nil
  }

  mutating func go(onFrom end: CursorPosition) {
    lastEnd = end
    isSeated = true
  }

  // MARK: The cursor's topic

  /// The id for the cursor's file: the topic's id, if it has one.
  var topicID: UInt64 { walker.index.topicID ?? written.topicID }

  /// Takes a cursor's id. Throws if the cursor is another topic's.
  mutating func take(_ slot: CursorSlot, path: String) throws(QueueError) {
    didWrite(topicID: slot.topicID, at: slot.address)
    try checkTopic(path: path)
  }

  /// Throws if the cursor, as it was written, is another topic's.
  ///
  /// A cursor without an id was written while the topic had none. The topic then had no slab yet,
  /// or it held only version 1 slabs, which are all in epoch 0. The current position of the reading
  /// says nothing about that.
  func checkTopic(path: String) throws(QueueError) {
    let index = walker.index
    let isForeign =
      if written.topicID != 0 {
        index.topicID.map { $0 != written.topicID } ?? index.isVersion1
      } else if index.topicID == nil || written.address == 0 {
        false
      } else {
        Epoch.of(written.address) > 0
          || !index.isVersion1 && index.bases.first.map { Epoch.of($0) == 0 } ?? false
      }
    guard isForeign else { return }
    throw QueueError(
      .unsupportedFormat,
      "the consumer's cursor belongs to another topic: reset the consumer to a position, or delete"
        + " it",
      path: path)
  }

  /// Notes that the cursor was written with this id and this address.
  mutating func didWrite(topicID: UInt64, at address: UInt64) { written = (topicID, address) }

  // MARK: Batches

  /// The next report to make, if there is one.
  mutating func takeReport() -> PendingReport? {
    unreported.isEmpty ? nil : unreported.removeFirst()
  }

  private mutating func note(_ losses: [Loss]) {
    for loss in losses { unreported.append(.loss(loss, path: walker.index.path(of: loss))) }
  }

  /// Reads ahead until there is a batch, something to report, or the end of the log.
  ///
  /// If records are damaged, the loss is counted at the next mark. No record after it is delivered
  /// before that, so that no cursor passes a loss that was not reported.
  mutating func readAhead(_ count: Int) throws(QueueError) {
    foundEnd = false
    // Moved out of `self`, because the walk in `self` lends it bytes.
    var records = DeliveredRecords()
    swap(&records, &ahead)
    defer { swap(&records, &ahead) }
    while records.count - delivered < count || walker.pending != nil, unreported.isEmpty,
      oversized == nil,
      aheadBytes < Int(options.maximumBatchBytes.bytes)
    {
      switch try walker.step() {
      case .record(let address, let ordinal, let payload):
        if delivered > 0 {
          // Leave the memory of the delivered records to their batch.
          records.removeFirst(delivered)
          delivered = 0
        }
        records.append(
          walker.window.bytes(payload.count, at: payload.lowerBound), address: address,
          ordinal: ordinal)
        aheadBytes += FrameHeader.byteCount + payload.count
      case .tooLarge(let address, let count):
        try stop(beforeRecordOf: count, at: address)
      case .loss(let loss):
        note([loss])
      case .end:
        foundEnd = true
        return
      }
    }
  }

  /// Until when to wait for more records: nil if a batch of those read ahead is due now, or if
  /// there are none.
  ///
  /// - Parameters:
  ///   - lingering: the time that the first record of a batch waits, in nanoseconds.
  ///   - now: the time of the look that has just read ahead.
  mutating func lingers(upTo count: Int, for lingering: UInt64, now: UInt64) -> UInt64? {
    guard hasAhead else { return nil }
    let first = found?.first ?? now
    found = (first, now)
    // Only at the end of the log can more records come to those read ahead.
    guard foundEnd, aheadCount < count, !walker.index.isRemoved else { return nil }
    let (sum, overflow) = first.addingReportingOverflow(lingering)
    let end = overflow ? .max : sum
    return now < end ? end : nil
  }

  /// Whether nothing followed a cursor when the walk last continued.
  func isEnd(_ cursor: CursorPosition) -> Bool {
    foundEnd && !hasAhead && unreported.isEmpty && oversized == nil && lastEnd == cursor
  }

  var hasAhead: Bool { aheadCount > 0 }

  // MARK: Records above the limit

  /// Goes back before a record above the limit that the walk has just passed. No cursor may pass a
  /// record that was not delivered.
  private mutating func stop(
    beforeRecordOf count: UInt64, at address: UInt64
  ) throws(QueueError) {
    let path = walker.slab?.path
    walker.goBack(to: address, walker.ordinal &- 1)
    let walk = walker.parked
    oversized = Oversized(
      address: address, ordinal: walker.ordinal, payloadBytes: count, walk: walk,
      error: QueueError(
        .payloadTooLarge,
        "a record of \(ByteCount.words(count)) is above this consumer's limit of"
          + " \(options.maximumPayload): open the consumer with a higher maximumPayload, or make"
          + " it a dead letter",
        path: path, address: address))
    guard walker.pending != nil else { return }
    // Records before it wait until the loss is counted, and so for a mark after it.
    do throws(QueueError) {
      while walker.pending != nil || walker.owedLoss != nil {
        if case .loss(let loss) = try walker.step() { note([loss]) }
      }
    } catch {
      oversized = nil
      unreported = []
      walker.goOn(from: walk)
      throw error
    }
    walker.goOnAfterLoss(from: walk)
  }

  /// The error to throw each time records are asked for. Nil if there is no record above the limit,
  /// or if other records come before it.
  var oversizedError: QueueError? { !hasAhead && unreported.isEmpty ? oversized?.error : nil }

  /// The record above the limit at this address, with its payload.
  ///
  /// - Throws: `payloadTooLarge` if it is above `limit` as well. `invalidOption` if the consumer is
  ///   not at such a record.
  func readOversized(
    at address: Address, upTo limit: ByteCount, in storage: any TopicStorage
  ) throws(QueueError) -> QueueRecord {
    guard !hasAhead, unreported.isEmpty, let oversized, oversized.address == address.rawValue
    else {
      throw .invalidOption(
        "the consumer is not at a record above its limit at address \(address): put aside the"
          + " record that the error payloadTooLarge named")
    }
    guard oversized.payloadBytes <= UInt64(clamping: limit.bytes) else {
      throw QueueError(
        .payloadTooLarge,
        "the record of \(ByteCount.words(oversized.payloadBytes)) is above the limit of \(limit)"
          + " for a dead letter: allow more",
        path: oversized.error.path, address: oversized.address)
    }
    var walker = LogWalker(
      TopicIndex(storage), payloadLimit: UInt32(clamping: oversized.payloadBytes),
      bufferSize: Int(options.bufferSize.bytes))
    walker.goOn(from: oversized.walk)
    while true {
      switch try walker.step() {
      case .record(oversized.address, _, let payload):
        return QueueRecord(
          address: address, ordinal: oversized.ordinal, payload: walker.window.copy(payload))
      case .loss(let loss):
        throw .loss(loss, path: walker.index.path(of: loss))
      case .record, .tooLarge, .end:
        throw QueueError(
          .notARecord, "the record is not there any more: ask for the next batch",
          path: storage.path, address: oversized.address)
      }
    }
  }

  /// Passes the record above the limit after it was put aside. Returns its stretch.
  mutating func passOversized() -> (start: UInt64, end: CursorPosition)? {
    guard let passed = oversized.take() else { return nil }
    let start = lastEnd.address
    lastEnd = passed.end
    walker.goOnAfterLoss(from: passed.walk)
    walker.pass(passed.end.address &- passed.address)
    return (start, lastEnd)
  }

  /// Takes the first of the records read ahead: at least one record, if there is one, and no more
  /// bytes than a batch may have.
  mutating func takeBatch(
    _ count: Int
  ) -> (start: CursorPosition, records: DeliveredRecords, range: Range<Int>)? {
    var end = delivered
    var bytes = 0
    while end < ahead.count, end - delivered < count {
      let frame = ahead.frameByteCount(end)
      guard bytes == 0 || bytes + frame <= Int(options.maximumBatchBytes.bytes) else { break }
      bytes += frame
      end += 1
    }
    guard end > delivered else { return nil }
    let batch = (start: lastEnd, records: ahead, range: delivered..<end)
    lastEnd = ahead.end(of: end - 1)
    if end == ahead.count {
      ahead = DeliveredRecords()
      delivered = 0
      found = nil
    } else {
      delivered = end
      // The others were found at the last look, mostly.
      found = found.map { ($0.last, $0.last) }
    }
    aheadBytes -= bytes
    return batch
  }

  // MARK: Durability

  /// The slabs to sync before a cursor may be durable at an address.
  ///
  /// - Parameter durable: everything below it is certainly durable.
  func work(from durable: UInt64, to address: UInt64) -> ConsumerSyncWork {
    let index = walker.index
    let from = max(durable, index.highestSynced)
    guard from < address, !index.bases.isEmpty else { return ConsumerSyncWork(bases: []) }
    let start = index.lastIndex(notAbove: from) ?? 0
    return ConsumerSyncWork(
      bases: index.bases[start...].prefix { $0 < address }.filter { !index.isPassedOver($0) })
  }
}

extension ConsumerReading {
  /// Whether an address is in an earlier slab than another address.
  func isBefore(_ address: UInt64, theSlabOf other: UInt64) -> Bool {
    let index = walker.index
    return address < other
      && index.lastIndex(notAbove: address) != index.lastIndex(notAbove: other)
  }
}

/// Slabs to sync, oldest first.
struct ConsumerSyncWork: Sendable {
  var bases: [UInt64]

  /// Syncs the directory if one of the slabs is newer than its last sync, and then the slabs. Slabs
  /// that were cleaned meanwhile no longer need a sync.
  ///
  /// - Parameter namedThrough: the names of the slabs up to this base are durable.
  /// - Throws: `syncFailed`, which is final. `system` if a slab cannot be opened.
  func run(in storage: any TopicStorage, namedThrough: inout UInt64) throws(QueueError) {
    guard let last = bases.last else { return }
    if last > namedThrough {
      do throws(SystemError) {
        try storage.syncDirectory()
      } catch {
        throw .consumerSyncFailed(error, path: storage.path)
      }
      namedThrough = last
    }
    for base in bases {
      guard let slab = try SlabFile.open(base, in: storage) else { continue }
      do throws(SystemError) {
        try slab.file.sync()
      } catch {
        throw .consumerSyncFailed(error, path: slab.path)
      }
    }
  }
}

extension ByteWindow {
  /// A copy of some of the bytes shown.
  fileprivate func copy(_ range: Range<Int>) -> [UInt8] {
    // Safe: reads exactly the span's bytes.
    unsafe bytes(range.count, at: range.lowerBound).withUnsafeBytes { unsafe Array($0) }
  }
}
