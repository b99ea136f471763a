// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The state that a `QueueConsumer` and its thread share: the acknowledgements, the reading, and
/// the cursor's file. Each has a lock of its own.
///
/// Locks are taken in the order `writing`, `reading`, `state`. Nothing waits for a disk while it
/// holds `state`, so acknowledging works in memory alone until it waits for its write.
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
  /// Held by the one call that closes, or tries to close.
  private let closing = Mutex<Void>(())
  /// Made when a call first waits for more records.
  private let watch = Mutex<TopicWatch?>(nil)

  /// Called each time the cursor was made durable.
  private let durabilityHandler = Mutex<(@Sendable (UInt64) throws(QueueError) -> Void)?>(nil)

  /// Counts the cursor's moves in memory. Calls wait for one here.
  private let moves = Progress()
  /// How many of these moves are durable.
  private let durableMoves = Progress()

  /// Its lock is held while the disk syncs.
  private struct Writing {
    var file: CursorFile
    /// The names of the slabs up to this base are durable.
    var namedThrough: UInt64
  }

  private enum TimedJob {
    case write
    /// Wakes the calls that wait for records.
    case look
  }

  private struct State {
    var ledger: AcknowledgementLedger
    /// The position that the disk holds.
    var durable: CursorPosition
    /// Counts the resets. Records delivered before a reset are void.
    var session: UInt64 = 0
    var moves: UInt64 = 0
    var durableMoves: UInt64 = 0
    /// Whether a write is queued. When it begins, it takes the position to write from this state.
    var isWriteQueued = false
    /// The times at which jobs are to run, on the monotonic clock. Each is sooner than the one
    /// before.
    var timers: [TimedJob: [UInt64]] = [:]
    /// The error that ended the consumer.
    var failure: QueueError?
    /// The error of a write that no call waited for.
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
    // Look before a file is made: a directory of other files stays as it is.
    try reading.look()
    // The slabs listed by now are durable under their names once the cursor's file was loaded.
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
    // Make the end durable at once. By the next opening, the log may have grown past the old
    // cursor, and records that were never delivered would be below it.
    try file.advance(to: end, topicID: reading.topicID)
    reading.didWrite(topicID: reading.topicID, at: end.address)
    reading.go(onFrom: end)
  }

  /// Makes a new cursor file, durable before this returns.
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

  /// The error that ended the consumer.
  var failure: QueueError? { state.withLock { $0.failure } }

  /// The position that the disk holds.
  var durable: CursorPosition { state.withLock { $0.durable } }

  // MARK: Reading

  private enum Look: Sendable {
    case batch(Delivery)
    case report(ConsumerReading.PendingReport)
    case end
    /// There are records, but fewer than asked for: wait for more, until this time at the latest.
    case lingers(until: UInt64)
    /// Too much was acknowledged out of order, or too much is unacknowledged: wait for this move of
    /// the cursor.
    case held(move: UInt64)
  }

  struct Delivery: Sendable {
    var session: UInt64
    /// The end of the record before the first of the batch.
    var start: CursorPosition
    var records: DeliveredRecords
    /// The records of the batch.
    var range: Range<Int>
  }

  /// The next records. Nil if there are none for now and the call does not follow, or if the time
  /// for which it follows has passed.
  func next(
    upTo count: Int, lingering: Duration, following: Following,
    onLoss: (@Sendable (Loss) -> Void)?
  ) async throws(QueueError) -> Delivery? {
    guard count > 0 else {
      throw .invalidOption("the limit of a batch is \(count) records, and must be 1 or more")
    }
    let lingering = lingering.clampedNanoseconds
    let deadline = following.deadline(from: environment.monotonic)
    // Read before the look that finds too few records, so that no later change is missed.
    var seen: (watch: TopicWatch, generation: UInt64)?
    while true {
      if Task.isCancelled { throw .cancelled() }
      let until: UInt64?
      switch try await onThread({ core throws(QueueError) in try core.look(count, lingering) }) {
      case .batch(let delivery):
        return delivery
      case .report(.error(let error)):
        throw error
      case .report(.loss(let loss, let path)):
        guard let onLoss else { throw .loss(loss, path: path) }
        onLoss(loss)
        continue
      case .held(let move):
        if hasPassed(deadline) { return nil }
        try await moved(to: move, until: deadline)
        continue
      case .lingers(let end):
        until = end
      case .end:
        if following == .no || hasPassed(deadline) { return nil }
        if reading.withLock({ $0.walker.index.isRemoved }) {
          throw .topicRemoved(path: storage.path)
        }
        until = deadline
      }
      if let seen {
        try wakeIterators(at: until)
        try await seen.watch.change(since: seen.generation)
      }
      let watch = try topicWatch()
      seen = (watch, watch.generation)
    }
  }

  /// Whether a call waits at the end of the log.
  enum Following: Sendable, Equatable {
    case no
    case forever
    case atMost(Duration)

    fileprivate func deadline(from now: () -> UInt64) -> UInt64? {
      guard case .atMost(let time) = self else { return nil }
      let (sum, overflow) = now().addingReportingOverflow(time.clampedNanoseconds)
      return overflow ? .max : sum
    }
  }

  private func hasPassed(_ deadline: UInt64?) -> Bool {
    deadline.map { $0 <= environment.monotonic() } ?? false
  }

  /// Waits for a move of the cursor, or until a deadline.
  private func moved(to move: UInt64, until deadline: UInt64?) async throws(QueueError) {
    var failure: QueueError?
    do throws(QueueError) {
      try await moves.wait(for: move) {
        do throws(QueueError) {
          try wakeIterators(at: deadline)
        } catch {
          failure = error
          wakeIterators()
        }
      }
    } catch {
      // `wakeIterators` wakes with this code as well: the caller looks again then.
      guard error.code == .cancelled else { throw error }
    }
    if let failure { throw failure }
  }

  /// Ensures that all calls that wait for records look again at a time, or before it.
  private func wakeIterators(at time: UInt64?) throws(QueueError) {
    guard let time else { return }
    let now = environment.monotonic()
    try run(.look, by: time, in: time > now ? time - now : 0)
  }

  /// Makes all calls that wait for records look again.
  func wakeIterators() {
    watch.withLock { $0 }?.wake()
    moves.reject(.cancelled())
  }

  /// How many calls wait for records, or for a move of the cursor.
  var waitingIterators: Int { (watch.withLock { $0 }?.waiterCount ?? 0) + moves.waiterCount }

  /// Returns why following polls for changes a few times a second. Nil if the system reports them.
  func beginWatching() throws(QueueError) -> QueueError? { try topicWatch().polling }

  private func topicWatch() throws(QueueError) -> TopicWatch {
    let made = try watch.withLock { watch throws(QueueError) in
      if let watch { return watch }
      let made = try TopicWatch(storage)
      watch = made
      return made
    }
    // If the consumer was closed since the look, nothing has ended the new watch: check again.
    try state.withLock { state throws(QueueError) in try state.checkOpen(path) }
    return made
  }

  /// On the thread: looks at the log once.
  private func look(_ count: Int, _ lingering: UInt64) throws(QueueError) -> Look {
    // Only this thread moves it.
    let lastEnd = reading.withLock { $0.lastEnd }
    let (space, move) = try state.withLock { state throws(QueueError) -> (Int, UInt64) in
      try state.check(path)
      return (room(after: lastEnd, state.ledger), state.moves + 1)
    }
    guard space > 0 else { return .held(move: move) }
    try seatIfThereIsALog()
    let look = try read(min(count, space), lingering)
    if case .end = look { try levelSlotsIfSlabWasLeft() }
    return look
  }

  /// How many records may be delivered before the cursor moves.
  ///
  /// - Parameter lastEnd: the end of the record delivered last.
  private func room(after lastEnd: CursorPosition, _ ledger: AcknowledgementLedger) -> Int {
    guard ledger.count < options.maximumOutOfOrderRanges else { return 0 }
    let cursor = ledger.cursor
    guard let most = options.maximumUnacknowledgedRecords else { return .max }
    // Ordinals count lost records as well. If everything is acknowledged, there is always room.
    let isPast = lastEnd.address > cursor.address && lastEnd.ordinal > cursor.ordinal
    let delivered = isPast ? lastEnd.ordinal - cursor.ordinal : 0
    return Int(clamping: most > delivered ? most - delivered : 0)
  }

  private func read(_ count: Int, _ lingering: UInt64) throws(QueueError) -> Look {
    try reading.withLock { reading throws(QueueError) -> Look in
      // The first slab may have come since. The next look then seeks the cursor in it.
      guard reading.isSeated else { return .end }
      if let report = reading.takeReport() { return .report(report) }
      do throws(QueueError) {
        try reading.readAhead(count)
        try reading.checkTopic(path: path)
      } catch {
        // Records read before the error are delivered first. The next look finds the same error
        // again.
        guard reading.hasAhead, error.code != .unsupportedFormat else { throw error }
      }
      if let report = reading.takeReport() { return .report(report) }
      if lingering > 0,
        let end = reading.lingers(upTo: count, for: lingering, now: environment.monotonic())
      {
        return .lingers(until: end)
      }
      guard let batch = reading.takeBatch(count) else {
        if let error = reading.oversizedError { throw error }
        return .end
      }
      return .batch(
        Delivery(
          session: reading.session, start: batch.start, records: batch.records,
          range: batch.range))
    }
  }

  /// Seeks the cursor once there is a slab in which to find it.
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

  /// Notes an acknowledgement. Returns the move of the cursor that makes it durable.
  ///
  /// Nil if there is nothing to wait for:
  /// - It is durable.
  /// - It is held until the cursor comes to it.
  /// - Its record was delivered before a reset, so it is void.
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

  /// Notes an acknowledgement. If the cursor has come to it, waits until the cursor is durable
  /// there.
  func acknowledge(_ acknowledged: Acknowledged, session: UInt64) async throws(QueueError) {
    try await acknowledge([acknowledged], session: session)
  }

  /// Notes several acknowledgements, which share a write and its sync. Otherwise as for one.
  func acknowledge(_ all: [Acknowledged], session: UInt64) async throws(QueueError) {
    var target: UInt64?
    for acknowledged in all {
      target = try note(acknowledged, session: session) ?? target
    }
    guard let target else { return }
    do throws(QueueError) {
      try await durableMoves.wait(for: target) { queueWrite() }
    } catch {
      // The call no longer waits, but its acknowledgement counts.
      if error.code == .cancelled { queueWrite() }
      throw error
    }
  }

  /// Notes an acknowledgement, and ensures that the cursor is written within a time.
  func acknowledge(
    _ acknowledged: Acknowledged, session: UInt64, within nanoseconds: UInt64
  ) throws(QueueError) {
    guard try note(acknowledged, session: session) != nil else { return }
    let (sum, overflow) = environment.monotonic().addingReportingOverflow(nanoseconds)
    try run(.write, by: overflow ? .max : sum, in: nanoseconds)
  }

  /// Runs a job on the thread after a time, unless that job is to run sooner anyway.
  ///
  /// - Parameter due: when that time ends, on the monotonic clock.
  private func run(
    _ job: TimedJob, by due: UInt64, in nanoseconds: UInt64
  ) throws(QueueError) {
    // Without a thread of its own, a timer fires only when a test says so: set none.
    guard environment.background == .thread else { return }
    let isSoonest = state.withLock { state in
      if let soonest = state.timers[job]?.last, soonest <= due { return false }
      state.timers[job, default: []].append(due)
      return true
    }
    guard isSoonest else { return }
    let run: @Sendable () -> Void = { [self] in
      removeTimer(of: job, due)
      switch job {
      case .write: writeUnawaited()
      case .look: wakeIterators()
      }
    }
    do throws(SystemError) {
      if nanoseconds == 0 {
        try thread.submit(run)
      } else {
        try thread.submit(after: nanoseconds, run)
      }
    } catch {
      removeTimer(of: job, due)
      throw noThread(error)
    }
  }

  private func removeTimer(of job: TimedJob, _ due: UInt64) {
    state.withLock { $0.timers[job]?.removeAll { $0 == due } }
  }

  /// Queues a write of everything noted by the time it begins. If such a write is queued already,
  /// does nothing.
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
          report(error)
        }
      }
    } catch {
      state.withLock { $0.isWriteQueued = false }
      report(noThread(error))
    }
  }

  /// Reports a failed write to the calls that wait for it. If all of them were cancelled, the next
  /// call reports it.
  private func report(_ error: QueueError) {
    if durableMoves.reject(error) == 0 { owe(error) }
  }

  /// Makes the next call report a failed write.
  private func owe(_ error: QueueError) {
    state.withLock { if $0.failure == nil, !$0.isClosed { $0.owed = error } }
  }

  /// Writes as a queued write does. If that fails, the next call reports it.
  private func writeUnawaited() {
    do throws(QueueError) {
      try writeNoted()
    } catch {
      owe(error)
      durableMoves.reject(error)
    }
  }

  // MARK: Writing

  /// Makes the cursor's current position durable.
  ///
  /// - Throws: `noSpace` and `system`, after which it may be retried. `syncFailed` for good.
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
        // This write made good an earlier failure.
        state.owed = nil
      }
      durableMoves.advance(to: count)
    }
    if let handler = durabilityHandler.withLock({ $0 }) { try handler(durable.address) }
  }

  /// Registers a closure that is called with the cursor's address each time the cursor was made
  /// durable, on the thread that did so. If the closure throws, the call that made the cursor
  /// durable throws the same error.
  func whenDurable(_ body: @escaping @Sendable (UInt64) throws(QueueError) -> Void) {
    durabilityHandler.withLock { $0 = body }
  }

  /// With `writing` held: makes the cursor durable at a position.
  ///
  /// Order:
  /// 1. Sync the directory, if the cursor comes into a slab made since.
  /// 2. Sync the slabs below the cursor, oldest first.
  /// 3. Write the slot.
  /// 4. Sync the slot.
  /// 5. Write and sync the other slot, if the cursor came into another slab.
  ///
  /// A failed sync ends the consumer. So does the removal of its topic.
  private func writeAlone(
    _ cursor: CursorPosition, _ writing: inout Writing
  ) throws(QueueError) {
    do throws(QueueError) {
      let durable = durable
      let (work, topicID) = try reading.withLock {
        reading throws(QueueError) -> (ConsumerSyncWork, UInt64) in
        try reading.checkTopic(path: path)
        // The file was removed with the topic: bytes written to it are gone when it is closed.
        if reading.walker.index.isRemoved { throw .topicRemoved(path: storage.path) }
        return (reading.work(from: durable.address, to: cursor.address), reading.topicID)
      }
      try work.run(in: storage, namedThrough: &writing.namedThrough)
      try writing.file.advance(to: cursor, topicID: topicID)
      reading.withLock { $0.didWrite(topicID: topicID, at: cursor.address) }
      // A cleaner goes by the lower slot. A slot left in an earlier slab would hold that slab until
      // more is acknowledged. A writer at its cap may be waiting for that room.
      if reading.withLock({ $0.isBefore(writing.file.lowest, theSlabOf: cursor.address) }) {
        try writing.file.advance(to: cursor, topicID: topicID)
      }
    } catch {
      if ConsumerCore.isFinal(error) { end(error) }
      throw error
    }
  }

  /// Brings the lower slot to the durable position, because a cleaner goes by the lower slot. A
  /// consumer that has acknowledged everything acknowledges nothing more, and would otherwise hold
  /// a slab for good.
  func levelSlots() throws(QueueError) { try levelSlots { _, _, _ in true } }

  /// Does the same if the cursor is at the end of the log, and a writer has left the slab of the
  /// lower slot. That writer may be waiting for the room.
  private func levelSlotsIfSlabWasLeft() throws(QueueError) {
    try levelSlots { reading, lowest, cursor in
      reading.isEnd(cursor) && reading.isBefore(lowest, theSlabOf: reading.walker.position)
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

  /// Whether an error of a write ends the consumer: the disk refused data, or no name leads to the
  /// file any more.
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

  /// Begins again at another position, durable before this returns. Everything acknowledged, held
  /// or delivered is forgotten.
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

  /// The position that a reset leads to. If it is the cursor's own address, the cursor's ordinal
  /// counts.
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

  /// On the thread: appends dead letters to a topic, which is opened and synced once for all of
  /// them. Level reached: `synced`.
  func putAside(_ letters: [DeadLetter], to topic: Topic) throws(QueueError) -> [Address] {
    try state.withLock { state throws(QueueError) in try state.check(path) }
    var writerOptions = QueueWriter.Options()
    let largest = letters.map(\.payload.count).max() ?? 0
    writerOptions.maximumPayload = .bytes(
      min(
        max(
          Int64(largest + DeadLetter.mostExtraBytes), writerOptions.maximumPayload.bytes),
        Limits.maximumPayload.upperBound))
    writerOptions.permissions = options.permissions
    let writer = try QueueWriter(topic: topic, options: writerOptions, environment: environment)
    var addresses: [Address] = []
    for letter in letters { addresses.append(try writer.append(letter.encoded).address) }
    try writer.close()
    return addresses
  }

  /// The outcome of putting aside a record above the limit: the address of its copy, and the
  /// acknowledgement that the caller must make.
  struct PutAside: Sendable {
    var address: Address
    var acknowledged: Acknowledged
    var session: UInt64
  }

  /// On the thread: puts aside the record above the limit at which the reading stopped, and passes
  /// it.
  ///
  /// Order:
  /// 1. The record is on stable storage in the other topic.
  /// 2. The reading passes it.
  /// 3. The caller acknowledges it.
  func putOversizedAside(
    at address: Address, upTo limit: ByteCount, reason: String, to topic: Topic
  ) throws(QueueError) -> PutAside {
    let (record, session) = try reading.withLock {
      reading throws(QueueError) -> (QueueRecord, UInt64) in
      let record = try reading.readOversized(at: address, upTo: limit, in: storage)
      return (record, reading.session)
    }
    let place = try putAside([DeadLetter(record, reason: reason)], to: topic)
    // Only this thread moves the reading, except for a reset, which makes it void.
    let passed = reading.withLock { $0.session == session ? $0.passOversized() : nil }
    let end = CursorPosition(address: address.rawValue, ordinal: record.ordinal)
    return PutAside(
      address: place.first ?? address,
      acknowledged: passed.map { .only(start: $0.start, $0.end) } ?? .through(end),
      session: session)
  }

  // MARK: Ending

  /// Writes the noted acknowledgements, and releases the lock. One call at a time: a second one
  /// gets the outcome of the first.
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
          // The consumer stays open if closing may be retried.
          if state.withLock({ $0.failure == nil }) { throw error }
        }
      }
      finish()
      if let failure = state.withLock({ $0.failure }) { throw failure }
    }
  }

  /// Ends a consumer that was dropped. Records whose acknowledgement was not written are delivered
  /// again.
  func abandon() {
    finish()
    thread.stop()
  }

  private func finish() {
    // With `writing` held: a later call finds a closed consumer. It writes nothing into a file that
    // another holder may have by then.
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

  /// Ends the thread. A later job starts another one.
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
