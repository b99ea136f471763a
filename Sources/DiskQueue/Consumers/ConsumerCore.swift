// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// What a `QueueConsumer` and its thread share: what was acknowledged, where the reading stands, and
/// the cursor's file, each under a lock of its own.
///
/// Locks are taken in the order `writing`, `reading`, `state`. No disk is waited for with `state`'s
/// held, so that acknowledging is a matter of memory until it waits for its write.
final class ConsumerCore: Sendable {
  /// The cursor's file, for messages.
  let path: String
  private let storage: any TopicStorage
  private let options: QueueConsumer.Options
  private let environment: Environment
  private let thread = BackgroundThread()

  private let writing: Mutex<Writing>
  private let reading: Mutex<ConsumerReading>
  private let state: Mutex<State>
  /// Held by the one call that closes, or tries to.
  private let closing = Mutex<Void>(())
  /// Made when there is first somebody who waits for more.
  private let watch = Mutex<TopicWatch?>(nil)

  /// Who wants to know that the cursor was made durable.
  private let toTell = Mutex<(@Sendable (UInt64) throws(QueueError) -> Void)?>(nil)

  /// How often the cursor moved in memory, for who waits until it does.
  private let moves = Progress()
  /// How many of its moves are durable.
  private let durableMoves = Progress()

  /// Held while the disk syncs.
  private struct Writing {
    var file: CursorFile
    /// Slabs up to this base are durable under their names.
    var namedThrough: UInt64
  }

  private struct State {
    var ledger: AcknowledgementLedger
    /// What the disk holds.
    var durable: CursorPosition
    /// Counts the resets: what was handed out before one is void.
    var session: UInt64 = 0
    var moves: UInt64 = 0
    var durableMoves: UInt64 = 0
    /// A write is queued, which takes from here what it writes when it begins.
    var isWriteQueued = false
    /// For when writes are set: each sooner than the one before, on the monotonic clock.
    var timers: [UInt64] = []
    /// What ended the consumer.
    var failure: QueueError?
    /// Of a write that nobody waited for.
    var owed: QueueError?
    var isClosed = false

    func checkOpen(_ path: String) throws(QueueError) {
      if let failure { throw failure }
      if isClosed { throw .closed("consumer", path: path) }
    }

    mutating func check(_ path: String) throws(QueueError) {
      try checkOpen(path)
      if let owed = owed.take() { throw owed }
    }
  }

  // MARK: Opening

  init(
    _ storage: any TopicStorage, name: String, from start: Topic.Position,
    options: QueueConsumer.Options, environment: Environment
  ) throws(QueueError) {
    var reading = ConsumerReading(storage, options)
    // Before a file is made: a directory of other files stays as it is.
    try reading.look()
    // What is listed by now is durable under its name once the cursor's file was loaded.
    var named = reading.walker.index.bases.last ?? 0
    var file = try CursorFile.open(name, in: storage, creating: true)
    do throws(QueueError) {
      try file.load()
      if let slot = try file.slot() {
        try ConsumerCore.goOn(at: slot, &reading, &file)
      } else {
        try ConsumerCore.begin(from: start, environment, &reading, &file, storage, &named)
      }
    } catch {
      file.giveUp()
      throw error
    }
    path = file.path
    self.storage = storage
    self.options = options
    self.environment = environment
    let position = reading.lastEnd
    self.reading = Mutex(reading)
    writing = Mutex(Writing(file: file, namedThrough: named))
    state = Mutex(State(ledger: AcknowledgementLedger(cursor: position), durable: position))
  }

  private static func goOn(
    at slot: CursorSlot, _ reading: inout ConsumerReading, _ file: inout CursorFile
  ) throws(QueueError) {
    try reading.take(slot, path: file.path)
    let cursor = CursorPosition(address: slot.address, ordinal: slot.ordinal)
    guard let end = try reading.seat(at: cursor) else { return }
    // Durable at once: by the next time the log may have grown past the old one, and what was never
    // delivered would lie below it.
    try file.advance(to: end, topicID: reading.topicID)
    reading.didWrite(topicID: reading.topicID, at: end.address)
    reading.go(onFrom: end)
  }

  /// Makes a new cursor's file, durable before it returns.
  private static func begin(
    from start: Topic.Position, _ environment: Environment, _ reading: inout ConsumerReading,
    _ file: inout CursorFile, _ storage: any TopicStorage, _ named: inout UInt64
  ) throws(QueueError) {
    let place = try reading.begin(from: start, now: environment.now)
    try reading.work(from: 0, to: place.address).run(in: storage, namedThrough: &named)
    try file.make(at: place, topicID: reading.topicID)
    reading.didWrite(topicID: reading.topicID, at: place.address)
  }

  // MARK: Looking

  /// What the disk holds.
  var durable: CursorPosition { state.withLock { $0.durable } }

  // MARK: Reading

  private enum Look: Sendable {
    case batch(session: UInt64, start: UInt64, records: [QueueRecord])
    case telling(ConsumerReading.Telling)
    case end
    /// Too much was acknowledged out of order: wait for this move of the cursor.
    case held(move: UInt64)
  }

  struct Delivery: Sendable {
    var session: UInt64
    /// The end of the record before its first one.
    var start: UInt64
    var records: [QueueRecord]
  }

  /// The next records; nil: there are none for now, and nobody follows.
  func next(
    upTo count: Int, following: Bool, onLoss: (@Sendable (Loss) -> Void)?
  ) async throws(QueueError) -> Delivery? {
    guard count > 0 else {
      throw .invalidOption("a batch holds at least 1 record, and \(count) were asked for")
    }
    // Taken before the look that finds nothing, so that no change behind it is missed.
    var seen: (watch: TopicWatch, generation: UInt64)?
    while true {
      if Task.isCancelled { throw .cancelled() }
      switch try await onThread({ core throws(QueueError) in try core.look(count) }) {
      case .batch(let session, let start, let records):
        return Delivery(session: session, start: start, records: records)
      case .telling(.error(let error)):
        throw error
      case .telling(.loss(let loss, let path)):
        guard let onLoss else { throw .loss(loss, path: path) }
        onLoss(loss)
      case .held(let move):
        try await moves.wait(for: move)
      case .end:
        guard following else { return nil }
        if reading.withLock({ $0.walker.index.isRemoved }) {
          throw .topicRemoved(path: storage.path)
        }
        if let seen { try await seen.watch.change(since: seen.generation) }
        let watch = try topicWatch()
        seen = (watch, watch.generation)
      }
    }
  }

  /// Returns why following looks for changes a few times a second. Nil if the system reports them.
  func beginWatching() throws(QueueError) -> QueueError? { try topicWatch().polling }

  private func topicWatch() throws(QueueError) -> TopicWatch {
    let made = try watch.withLock { watch throws(QueueError) in
      if let watch { return watch }
      let made = try TopicWatch(storage)
      watch = made
      return made
    }
    // Closed between the look and here: nobody would have told the new watch.
    try state.withLock { state throws(QueueError) in try state.checkOpen(path) }
    return made
  }

  /// On the thread: one look at the log.
  private func look(_ count: Int) throws(QueueError) -> Look {
    let held = try state.withLock { state throws(QueueError) -> UInt64? in
      try state.check(path)
      return state.ledger.count >= options.maximumOutOfOrder ? state.moves + 1 : nil
    }
    if let held { return .held(move: held) }
    try seatIfThereIsALog()
    let look = try read(count)
    if case .end = look { try levelSlotsIfSlabWasLeft() }
    return look
  }

  private func read(_ count: Int) throws(QueueError) -> Look {
    try reading.withLock { reading throws(QueueError) -> Look in
      // Its first slab may have come since: the next look goes to the cursor in it.
      guard reading.isSeated else { return .end }
      if let telling = reading.takeTelling() { return .telling(telling) }
      do throws(QueueError) {
        try reading.readAhead(count)
        try reading.checkTopic(path: path)
      } catch {
        // What was read before it is handed out first; the next look finds the same again.
        guard reading.hasAhead, error.code != .unsupportedFormat else { throw error }
      }
      if let telling = reading.takeTelling() { return .telling(telling) }
      guard let batch = reading.takeBatch(count) else {
        if let error = reading.oversizedError { throw error }
        return .end
      }
      return .batch(session: reading.session, start: batch.start, records: batch.records)
    }
  }

  /// Goes to the cursor once there is a slab to look for it in.
  private func seatIfThereIsALog() throws(QueueError) {
    if reading.withLock({ $0.isSeated }) { return }
    try writing.withLock { writing throws(QueueError) in
      let cursor = durable
      let end = try reading.withLock { reading throws(QueueError) -> CursorPosition? in
        guard !reading.isSeated, try reading.look() else { return nil }
        try reading.checkTopic(path: path)
        return try reading.seat(at: cursor)
      }
      guard let end else { return }
      try writeAlone(end, &writing)
      reading.withLock { $0.go(onFrom: end) }
      state.withLock { state in
        state.ledger = AcknowledgementLedger(cursor: end)
        state.durable = end
      }
    }
  }

  // MARK: Acknowledging

  enum Acknowledged: Sendable {
    /// Everything up to an end.
    case through(CursorPosition)
    /// One stretch.
    case only(start: UInt64, CursorPosition)
  }

  /// Takes note. Returns the move of the cursor that makes it durable; nil: it is, or is held until
  /// the cursor comes to it, or was handed out before a reset and is void.
  private func note(
    _ acknowledged: Acknowledged, session: UInt64
  ) throws(QueueError) -> UInt64? {
    let (target, moved) = try state.withLock { state throws(QueueError) -> (UInt64?, UInt64?) in
      try state.check(path)
      guard session == state.session else { return (nil, nil) }
      let hasMoved: Bool
      let end: CursorPosition
      switch acknowledged {
      case .through(let position):
        end = position
        hasMoved = state.ledger.acknowledge(through: position)
      case .only(let start, let position):
        end = position
        hasMoved = state.ledger.acknowledge(from: start, to: position)
      }
      if hasMoved { state.moves += 1 }
      let isPending =
        end.address <= state.ledger.cursor.address && state.moves > state.durableMoves
      return (isPending ? state.moves : nil, hasMoved ? state.moves : nil)
    }
    if let moved { moves.advance(to: moved) }
    return target
  }

  /// Takes note, and waits until the cursor is durable behind it, if it is to move.
  func acknowledge(_ acknowledged: Acknowledged, session: UInt64) async throws(QueueError) {
    try await acknowledge([acknowledged], session: session)
  }

  /// As the other, for several at once: they share a write and its sync.
  func acknowledge(_ all: [Acknowledged], session: UInt64) async throws(QueueError) {
    var target: UInt64?
    for acknowledged in all {
      target = try note(acknowledged, session: session) ?? target
    }
    guard let target else { return }
    do throws(QueueError) {
      try await durableMoves.wait(for: target) { queueWrite() }
    } catch {
      // Who does not wait for it has acknowledged all the same.
      if error.code == .cancelled { queueWrite() }
      throw error
    }
  }

  /// Takes note, and sees to it that the cursor is written within a time.
  func acknowledgeSoon(
    _ acknowledged: Acknowledged, session: UInt64, within nanoseconds: UInt64
  ) throws(QueueError) {
    guard try note(acknowledged, session: session) != nil else { return }
    // Times only come when a test says so, where there is no thread of its own.
    guard environment.background == .thread else { return }
    let (sum, overflow) = Syscalls.monotonicClock().addingReportingOverflow(nanoseconds)
    let due = overflow ? .max : sum
    let isSoonest = state.withLock { state in
      if let soonest = state.timers.last, soonest <= due { return false }
      state.timers.append(due)
      return true
    }
    guard isSoonest else { return }
    let write: @Sendable () -> Void = { [self] in
      state.withLock { $0.timers.removeAll { $0 == due } }
      writeForNobody()
    }
    do throws(SystemError) {
      if nanoseconds == 0 {
        try thread.submit(write)
      } else {
        try thread.submit(after: nanoseconds, write)
      }
    } catch {
      state.withLock { $0.timers.removeAll { $0 == due } }
      throw noThread(error)
    }
  }

  /// Queues a write of what is noted by then, unless one is queued that has not begun.
  private func queueWrite() {
    let isFirst = state.withLock { state in
      defer { state.isWriteQueued = true }
      return !state.isWriteQueued
    }
    guard isFirst else { return }
    do throws(SystemError) {
      try thread.submit { [self] in
        state.withLock { $0.isWriteQueued = false }
        do throws(QueueError) {
          try writeNoted()
        } catch {
          tell(error)
        }
      }
    } catch {
      state.withLock { $0.isWriteQueued = false }
      tell(noThread(error))
    }
  }

  /// Tells who waits for a write that it failed; the next call, where all of them were cancelled.
  private func tell(_ error: QueueError) {
    if durableMoves.reject(error) == 0 { owe(error) }
  }

  /// Has the next call told of a write that failed.
  private func owe(_ error: QueueError) {
    state.withLock { if $0.failure == nil, !$0.isClosed { $0.owed = error } }
  }

  /// As a queued write; the next call is told where it failed.
  private func writeForNobody() {
    do throws(QueueError) {
      try writeNoted()
    } catch {
      owe(error)
      durableMoves.reject(error)
    }
  }

  // MARK: Writing

  /// Makes the cursor durable where it stands by now.
  ///
  /// - Throws: `noSpace` and `system`: it may be tried again. `syncFailed` for good.
  func writeNoted() throws(QueueError) {
    try writing.withLock { writing throws(QueueError) in
      let noted = try state.withLock { state throws(QueueError) -> (CursorPosition, UInt64)? in
        try state.checkOpen(path)
        return state.moves > state.durableMoves ? (state.ledger.cursor, state.moves) : nil
      }
      guard let (cursor, count) = noted else { return }
      try writeAlone(cursor, &writing)
      state.withLock { state in
        state.durable = cursor
        state.durableMoves = count
        // What failed before was made good.
        state.owed = nil
      }
      durableMoves.advance(to: count)
    }
    if let tell = toTell.withLock({ $0 }) { try tell(durable.address) }
  }

  /// Has `body` called whenever the cursor was made durable, with its address, on the thread that
  /// did it. What it throws is thrown by whoever made it durable.
  func whenDurable(_ body: @escaping @Sendable (UInt64) throws(QueueError) -> Void) {
    toTell.withLock { $0 = body }
  }

  /// With `writing` held: makes the cursor durable at a place.
  ///
  /// Order: the directory, if the cursor comes into a slab made since; the slabs below it, oldest
  /// first; the slot; its sync; and both for the other slot, where the cursor came into another slab.
  /// A failed sync ends the consumer, and so does that its topic was removed.
  private func writeAlone(
    _ cursor: CursorPosition, _ writing: inout Writing
  ) throws(QueueError) {
    do throws(QueueError) {
      let durable = durable
      let (work, topicID) = try reading.withLock {
        reading throws(QueueError) -> (ConsumerSyncWork, UInt64) in
        try reading.checkTopic(path: path)
        // The file went with it: what is written there is gone when it is closed.
        if reading.walker.index.isRemoved { throw .topicRemoved(path: storage.path) }
        return (reading.work(from: durable.address, to: cursor.address), reading.topicID)
      }
      try work.run(in: storage, namedThrough: &writing.namedThrough)
      try writing.file.advance(to: cursor, topicID: topicID)
      reading.withLock { $0.didWrite(topicID: topicID, at: cursor.address) }
      // A cleaner goes by the lower slot: left in an earlier slab, it would hold that one for as long
      // as nothing more is acknowledged, and a writer at its cap may be waiting for the room.
      if reading.withLock({ $0.isBehind(writing.file.lowest, theSlabOf: cursor.address) }) {
        try writing.file.advance(to: cursor, topicID: topicID)
      }
    } catch {
      if ConsumerCore.isFinal(error) { end(error) }
      throw error
    }
  }

  /// Brings the lower slot to where the cursor is durable: a cleaner goes by the lower one. A consumer
  /// that has done with all there is acknowledges nothing more, and would hold a slab for good.
  func levelSlots() throws(QueueError) { try levelSlots { _, _, _ in true } }

  /// The same, if the cursor stands at the end of the log, and a writer has gone on from the slab of
  /// the lower slot. It may be waiting for the room.
  private func levelSlotsIfSlabWasLeft() throws(QueueError) {
    try levelSlots { reading, lowest, cursor in
      reading.isEnd(cursor) && reading.isBehind(lowest, theSlabOf: reading.walker.position)
    }
  }

  private func levelSlotsIfAtEnd() throws(QueueError) {
    try levelSlots { reading, _, cursor in reading.isEnd(cursor) }
  }

  private func levelSlots(
    if isNeeded: (borrowing ConsumerReading, _ lowest: UInt64, CursorPosition) -> Bool
  ) throws(QueueError) {
    try writing.withLock { writing throws(QueueError) in
      let cursor = try state.withLock { state throws(QueueError) in
        try state.checkOpen(path)
        return state.durable
      }
      let lowest = writing.file.lowest
      guard lowest != cursor.address,
        reading.withLock({ $0.isSeated && isNeeded($0, lowest, cursor) })
      else { return }
      try writeAlone(cursor, &writing)
    }
  }

  /// Whether an error of a write ends the consumer: the disk refused it, or nothing leads to the file
  /// any more.
  private static func isFinal(_ error: QueueError) -> Bool {
    error.isFinal || error.code == .noSuchTopic
  }

  private func end(_ error: QueueError) {
    state.withLock { if $0.failure == nil { $0.failure = error } }
    wakeAll(error)
  }

  private func wakeAll(_ error: QueueError) {
    durableMoves.end(error)
    moves.end(error)
    watch.withLock { $0 }?.end(error)
  }

  // MARK: Resetting

  /// Begins anew elsewhere, durable before it returns: what was acknowledged, held or handed out is
  /// forgotten.
  func reset(to start: Topic.Position) throws(QueueError) {
    try writing.withLock { writing throws(QueueError) in
      let (durable, session) = try state.withLock {
        state throws(QueueError) -> (CursorPosition, UInt64) in
        try state.check(path)
        return (state.durable, state.session + 1)
      }
      var fresh = ConsumerReading(storage, options)
      fresh.session = session
      let cursor = try ConsumerCore.place(start, &fresh, durable, environment)
      do throws(QueueError) {
        let work = fresh.work(from: durable.address, to: cursor.address)
        try work.run(in: storage, namedThrough: &writing.namedThrough)
        try writing.file.advanceBoth(to: cursor, topicID: fresh.topicID)
        fresh.didWrite(topicID: fresh.topicID, at: cursor.address)
      } catch {
        if ConsumerCore.isFinal(error) { end(error) }
        throw error
      }
      let move = state.withLock { state -> UInt64 in
        state.ledger = AcknowledgementLedger(cursor: cursor)
        state.durable = cursor
        state.session = session
        state.moves += 1
        state.durableMoves = state.moves
        return state.moves
      }
      reading.withLock { swap(&$0, &fresh) }
      moves.advance(to: move)
      durableMoves.advance(to: move)
    }
    watch.withLock { $0 }?.wake()
  }

  /// Where a reset leads. Back to the cursor itself, its ordinal counts.
  private static func place(
    _ start: Topic.Position, _ reading: inout ConsumerReading, _ durable: CursorPosition,
    _ environment: Environment
  ) throws(QueueError) -> CursorPosition {
    guard start == .address(Address(rawValue: durable.address)) else {
      return try reading.begin(from: start, now: environment.now)
    }
    guard let end = try reading.seat(at: durable) else { return durable }
    reading.go(onFrom: end)
    return end
  }

  // MARK: Putting aside

  /// On the thread: appends records to the topic for those put aside, which is opened and synced once
  /// for all of them. Level reached: `synced`.
  func putAside(_ letters: [DeadLetter], to topic: Topic) throws(QueueError) -> [Address] {
    try state.withLock { state throws(QueueError) in try state.check(path) }
    var writerOptions = QueueWriter.Options()
    let largest = letters.map(\.payload.count).max() ?? 0
    writerOptions.maximumPayload = .bytes(
      min(
        max(
          Int64(largest + DeadLetter.mostExtraBytes), writerOptions.maximumPayload.bytes),
        Limits.maximumPayload.upperBound))
    writerOptions.directoryPermissions = options.directoryPermissions
    writerOptions.filePermissions = options.filePermissions
    let writer = try QueueWriter(topic: topic, options: writerOptions, environment: environment)
    var addresses: [Address] = []
    for letter in letters { addresses.append(try writer.append(letter.encoded)) }
    try writer.close()
    return addresses
  }

  /// What became of a record above the limit that was put aside: where it is, and what is to be
  /// acknowledged.
  struct PutAside: Sendable {
    var address: Address
    var acknowledged: Acknowledged
    var session: UInt64
  }

  /// On the thread: puts aside the record above the limit that the reading stands before, and passes
  /// it.
  ///
  /// Order: the record is on stable storage in the other topic before the reading passes it, and the
  /// caller acknowledges it after that.
  func putOversizedAside(
    at address: Address, upTo limit: ByteCount, reason: String, to topic: Topic
  ) throws(QueueError) -> PutAside {
    let (record, session) = try reading.withLock {
      reading throws(QueueError) -> (QueueRecord, UInt64) in
      let record = try reading.readOversized(at: address, upTo: limit, in: storage)
      return (record, reading.session)
    }
    let place = try putAside([DeadLetter(record, reason: reason)], to: topic)
    // Only this thread moves the reading, but for a reset, which makes it void.
    let passed = reading.withLock { $0.session == session ? $0.passOversized() : nil }
    let end = CursorPosition(address: address.rawValue, ordinal: record.ordinal)
    return PutAside(
      address: place.first ?? address,
      acknowledged: passed.map { .only(start: $0.start, $0.end) } ?? .through(end),
      session: session)
  }

  // MARK: Ending

  /// Writes what is noted, and gives up the lock. One call at a time: a second one finds out what
  /// became of the first.
  func close() throws(QueueError) {
    try closing.withLock { _ throws(QueueError) in
      let (isClosed, failure) = state.withLock { ($0.isClosed, $0.failure) }
      if isClosed {
        if let failure { throw failure }
        return
      }
      if failure == nil {
        do throws(QueueError) {
          try writeNoted()
          try levelSlotsIfAtEnd()
        } catch {
          // It stays open where it may be tried again.
          if state.withLock({ $0.failure == nil }) { throw error }
        }
      }
      finish()
      if let failure = state.withLock({ $0.failure }) { throw failure }
    }
  }

  /// The consumer was dropped: what is noted and not written is delivered again.
  func abandon() {
    finish()
    thread.stop()
  }

  private func finish() {
    // With `writing` held: what comes behind it finds a closed consumer, and writes nothing into a
    // file that another may hold by then.
    let wasOpen = writing.withLock { writing in
      let wasOpen = state.withLock { state in
        defer { state.isClosed = true }
        return !state.isClosed
      }
      if wasOpen { writing.file.release() }
      return wasOpen
    }
    if wasOpen { wakeAll(.closed("consumer", path: path)) }
  }

  /// Ends the thread; a later job starts another one.
  func stopThread() { thread.stop() }

  // MARK: The thread

  /// Runs blocking work on the consumer's own thread, and waits for it without blocking.
  func onThread<R: Sendable>(
    _ body: @escaping @Sendable (ConsumerCore) throws(QueueError) -> R
  ) async throws(QueueError) -> R {
    try await thread.run(path: path) { [self] () throws(QueueError) in try body(self) }
  }

  private func noThread(_ error: SystemError) -> QueueError {
    .system(error, doing: "starting a thread", path: path)
  }
}
