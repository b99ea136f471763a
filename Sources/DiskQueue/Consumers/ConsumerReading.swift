// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Where a consumer's reading stands: the walk, what was read ahead, and what is still to be told.
// Sendable: it owns its walk alone, and is not copied.
struct ConsumerReading: ~Copyable, @unchecked Sendable {
  private let options: QueueConsumer.Options
  private(set) var walker: LogWalker
  /// False while there is no slab to look for the cursor in.
  private(set) var isSeated = false
  /// The end of the record handed out last, or where the reading began.
  private(set) var lastEnd = CursorPosition(address: 0, ordinal: 0)
  /// What the cursor's file says, or was told to say: whose it is, and where it stands.
  private var written = (topicID: UInt64(0), address: UInt64(0))
  /// Which reset it began with.
  var session: UInt64 = 0

  /// Whether the walk came to the end of the log when it last went on.
  private var foundEnd = false

  private var ahead: [QueueRecord] = []
  private var aheadBytes = 0
  private var untold: [Telling] = []
  /// The record above the limit that the walk stands before.
  private var oversized: Oversized?

  /// What is to be told before anything that comes behind it.
  enum Telling: Sendable {
    case loss(Loss, path: String)
    case error(QueueError)
  }

  /// A record above the limit, which is neither delivered nor passed.
  struct Oversized {
    var address: UInt64
    var ordinal: UInt64
    var payloadBytes: UInt64
    /// The walk before it, for a reading with a higher limit.
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

  /// Begins where a position leads, and returns that as a cursor. It stands before damage that was
  /// passed on the way: only this reading knows of it, and whoever comes next must meet it again.
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

  /// Begins at a cursor. Not nil: the log ends there, before the cursor, and the reading is to go on
  /// from there once that is durable.
  mutating func seat(at cursor: CursorPosition) throws(QueueError) -> CursorPosition? {
    untold = []
    oversized = nil
    let (seat, losses) = try walker.seek(toCursor: cursor)
    note(losses)
    lastEnd = cursor
    switch seat {
    case .seated: isSeated = true
    case .behindTheEnd(let end): return end
    case .noLog: isSeated = false
    }
    return nil
  }

  mutating func go(onFrom end: CursorPosition) {
    lastEnd = end
    isSeated = true
  }

  // MARK: Whose cursor it is

  /// The id for the cursor's file: the topic's, where it has one.
  var topicID: UInt64 { walker.index.topicID ?? written.topicID }

  /// Throws where a cursor is another topic's; else takes its id.
  mutating func take(_ slot: CursorSlot, path: String) throws(QueueError) {
    didWrite(topicID: slot.topicID, at: slot.address)
    try checkTopic(path: path)
  }

  /// Throws where the cursor, as it was written, is another topic's.
  ///
  /// A cursor without an id was written while the topic had none: before its first slab, or while it
  /// held nothing but version 1 slabs, which are all in epoch 0. Where the reading stands by now says
  /// nothing about that.
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

  /// The cursor was written with this id, and stands at this address.
  mutating func didWrite(topicID: UInt64, at address: UInt64) { written = (topicID, address) }

  // MARK: Batches

  /// A record's end, as a cursor.
  static func end(of record: QueueRecord) -> CursorPosition {
    CursorPosition(
      address: record.address.rawValue &+ frameBytes(record), ordinal: record.ordinal &+ 1)
  }

  private static func frameBytes(_ record: QueueRecord) -> UInt64 {
    UInt64(FrameHeader.byteCount + record.payload.count)
  }

  /// What is to be told next, if anything is.
  mutating func takeTelling() -> Telling? { untold.isEmpty ? nil : untold.removeFirst() }

  private mutating func note(_ losses: [Loss]) {
    for loss in losses { untold.append(.loss(loss, path: walker.index.path(of: loss))) }
  }

  /// Reads ahead until there is a batch, something to tell, or the end of the log.
  ///
  /// Where records are damaged, the loss is counted at the next mark. No record behind it is handed
  /// out before, so that no cursor is set behind a loss that was not told.
  mutating func readAhead(_ count: Int) throws(QueueError) {
    foundEnd = false
    while ahead.count < count || walker.pending != nil, untold.isEmpty, oversized == nil,
      aheadBytes < Int(options.maximumBatchBytes.bytes)
    {
      switch try walker.step() {
      case .record(let address, let ordinal, let payload):
        let record = QueueRecord(
          address: Address(rawValue: address), ordinal: ordinal,
          payload: walker.window.copy(payload))
        ahead.append(record)
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

  /// Whether nothing came after a cursor when the walk last went on.
  func isEnd(_ cursor: CursorPosition) -> Bool {
    foundEnd && ahead.isEmpty && untold.isEmpty && oversized == nil && lastEnd == cursor
  }

  var hasAhead: Bool { !ahead.isEmpty }

  // MARK: Records above the limit

  /// Goes back before a record above the limit that the walk has just passed: no cursor may come
  /// after a record that was not delivered.
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
        "a record of \(ByteCount.words(count)) is above this consumer's limit of \(options.maximumPayload):"
          + " open the consumer with a higher maximumPayload, or put the record aside",
        path: path, address: address))
    guard walker.pending != nil else { return }
    // Records before it wait for the loss to be counted, and so for a mark after it.
    do throws(QueueError) {
      while walker.pending != nil || walker.owedLoss != nil {
        if case .loss(let loss) = try walker.step() { note([loss]) }
      }
    } catch {
      oversized = nil
      untold = []
      walker.goOn(from: walk)
      throw error
    }
    walker.goOnAfterLoss(from: walk)
  }

  /// What is to be thrown each time records are asked for: nil where there is no record above the
  /// limit, or other records come before it.
  var oversizedError: QueueError? { ahead.isEmpty && untold.isEmpty ? oversized?.error : nil }

  /// The record above the limit at this address, with its payload, and the end of the record before
  /// it.
  ///
  /// - Throws: `payloadTooLarge` if it is above `limit` as well; `invalidOption` if the consumer does
  ///   not stand before it.
  func readOversized(
    at address: Address, upTo limit: ByteCount, in storage: any TopicStorage
  ) throws(QueueError) -> QueueRecord {
    guard ahead.isEmpty, untold.isEmpty, let oversized, oversized.address == address.rawValue
    else {
      throw .invalidOption(
        "the consumer does not stand before a record above its limit at address \(address): put"
          + " aside what the error payloadTooLarge named")
    }
    guard oversized.payloadBytes <= UInt64(clamping: limit.bytes) else {
      throw QueueError(
        .payloadTooLarge,
        "the record of \(ByteCount.words(oversized.payloadBytes)) is above the \(limit) that putting it aside"
          + " may take: allow more",
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

  /// Passes the record above the limit: it was put aside. Returns its stretch.
  mutating func passOversized() -> (start: UInt64, end: CursorPosition)? {
    guard let passed = oversized.take() else { return nil }
    let start = lastEnd.address
    lastEnd = passed.end
    walker.goOnAfterLoss(from: passed.walk)
    walker.pass(passed.end.address &- passed.address)
    return (start, lastEnd)
  }

  /// Hands out the first of what was read ahead: at least one record, if there is one, and no more
  /// bytes than a batch may have.
  mutating func takeBatch(_ count: Int) -> (start: UInt64, records: [QueueRecord])? {
    var taken = 0
    var bytes = 0
    while taken < min(count, ahead.count) {
      let frame = FrameHeader.byteCount + ahead[taken].payload.count
      guard taken == 0 || bytes + frame <= Int(options.maximumBatchBytes.bytes) else { break }
      bytes += frame
      taken += 1
    }
    guard taken > 0 else { return nil }
    let records: [QueueRecord]
    if taken == ahead.count {
      records = ahead
      ahead = []
    } else {
      records = Array(ahead[..<taken])
      ahead.removeFirst(taken)
    }
    aheadBytes -= bytes
    let start = lastEnd.address
    lastEnd = Self.end(of: records[records.count - 1])
    return (start, records)
  }

  // MARK: Durability

  /// What is to be synced before a cursor may be durable at an address.
  ///
  /// - Parameter durable: all below it is durable for certain.
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
  /// Whether an address lies in an earlier slab than another one does.
  func isBehind(_ address: UInt64, theSlabOf other: UInt64) -> Bool {
    let index = walker.index
    return address < other
      && index.lastIndex(notAbove: address) != index.lastIndex(notAbove: other)
  }
}

/// Slabs to sync, oldest first.
struct ConsumerSyncWork: Sendable {
  var bases: [UInt64]

  /// Syncs the directory, if one of them is newer than its last sync, and then them; what was
  /// cleaned meanwhile needs it no more.
  ///
  /// - Parameter namedThrough: slabs up to this base are durable under their names.
  /// - Throws: `syncFailed`, which is final; `system` where a slab cannot be opened.
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
