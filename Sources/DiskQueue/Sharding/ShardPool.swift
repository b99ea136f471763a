// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The writers of a topic's shards. A writer is opened at the first append to its shard. If too
/// many are open, the pool closes the least recently used one that no call is in.
final class ShardPool: Sendable {
  let topic: ShardedTopic
  let count: Int
  private let options: QueueWriter.Options
  private let environment: Environment
  private let lock: ShardsLock
  /// How many writers may be open at once. If calls are in all of them, each further call may open
  /// one more.
  private let limit: Int
  /// Whether there are more shards than writers that may be open. Only then does the pool count the
  /// calls in a writer, and their times.
  private let isBounded: Bool
  private let slots: ShardSlots
  /// Counts the calls.
  private let moment = Atomic<UInt64>(0)
  private let thread = BackgroundThread()
  /// The events of all shards, reported in turn.
  let events: EventQueue
  private let number = WriterNumber.next()

  private struct Turnover {
    var open: Set<Int> = []
    var isClosed = false
    /// The errors that ended shards' writers.
    var failures: [Int: QueueError] = [:]
    /// The error about the names that all shards depend on, found when the pool was closed.
    var lockFailure: QueueError?
    /// The recovery reports of shards that had not been closed before they were opened.
    var reports: [Int: RecoveryReport] = [:]
    /// The statistics of the writers that are closed.
    var past = QueueWriter.Statistics()
  }
  /// Held by a call that opens or closes writers, for as long as that takes.
  private let turnover = Mutex(Turnover())

  init(
    _ topic: ShardedTopic, options: ShardedWriter.Options, environment: Environment
  ) throws(QueueError) {
    try options.validate()
    // Anchored, because shards are opened later.
    self.topic = topic.anchored()
    let isInMemory = if case .memory = topic.shardStorage { true } else { false }
    limit = isInMemory ? .max : options.maximumOpenShards
    self.options = options.writer
    self.environment = environment
    (lock, count) = try topic.openForWriting(permissions: options.writer.permissions)
    isBounded = count > limit
    events = EventQueue(thread: environment.hasThread && !isInMemory ? thread : nil)
    if let onEvent = options.onEvent { events.add(onEvent) }
    slots = ShardSlots(count: count)
  }

  /// How many writers are open.
  var openCount: Int { turnover.withLock { $0.open.count } }

  /// For tests.
  func isOpen(_ shard: Int) -> Bool { turnover.withLock { $0.open.contains(shard) } }

  /// The recovery reports of the shards that had not been closed before they were opened.
  var reports: [Int: RecoveryReport] { turnover.withLock { $0.reports } }

  /// The statistics of all writers, including those that are closed.
  var statistics: QueueWriter.Statistics {
    var statistics = turnover.withLock { turnover in
      turnover.open.reduce(into: turnover.past) { sum, shard in
        if let writer = slots[shard].openWriter { sum += writer.statistics }
      }
    }
    statistics.writer = number
    return statistics
  }

  /// The errors that ended shards' writers, whether or not these are closed.
  var failures: [Int: QueueError] {
    turnover.withLock { turnover in
      turnover.open.reduce(into: turnover.failures) { failures, shard in
        if let failure = slots[shard].openWriter?.failure { failures[shard] = failure }
      }
    }
  }

  private var isInMemory: Bool { topic.isInMemory }

  // MARK: One shard

  /// Calls `body` with a shard's writer, opened if need be. Nothing except `close` closes it
  /// meanwhile.
  func withWriter<R>(
    ofShard shard: Int, _ body: (QueueWriter) throws(QueueError) -> R
  ) throws(QueueError) -> R {
    let slot = slots[shard]
    let writer =
      if let open = try slot.enter(at: now()) { open } else { try open(shard, slot) }
    defer { leave(slot) }
    return try body(writer)
  }

  /// Enters a shard's writer, opened on the thread if need be. The call ends with `leave`.
  private func enter(_ shard: Int) async throws(QueueError) -> QueueWriter {
    let slot = slots[shard]
    if let open = try slot.enter(at: now()) { return open }
    return try await onThread { () throws(QueueError) in try self.open(shard, slot) }
  }

  /// Appends a record as far as that is possible without suspending the task.
  func beginAppending(
    _ payload: RawSpan, toShard shard: Int
  ) throws(QueueError) -> ShardedWriter.BegunShardAppend {
    let slot = slots[shard]
    guard let writer = try slot.enter(at: now()) else { return .waits(Array(copying: payload)) }
    defer { leave(slot) }
    return switch try writer.beginAppending(payload) {
    case .appended(let record): .appended(record, writer)
    case .waits(let copy): .waits(copy)
    }
  }

  /// Appends a record that waits, and then waits for a level without being in the writer. If the
  /// writer is closed meanwhile, everything in it reaches stable storage.
  func finish(
    _ begun: ShardedWriter.BegunShardAppend, inShard shard: Int, ensuring level: Durability
  ) async throws(QueueError) -> QueueWriter.AppendResult {
    let (record, writer) =
      switch begun {
      case .appended(let record, let writer): (record, writer)
      case .waits(let payload): try await append(payload, toShard: shard)
      }
    do throws(QueueError) {
      try await reach(record.wantsSync ? .synced : level, at: record.end, of: writer)
    } catch {
      throw error.after(1, at: record.result.address)
    }
    return record.result
  }

  /// Appends a record. Suspends the task if the shard must be opened, or there is no room.
  private func append(
    _ payload: [UInt8], toShard shard: Int
  ) async throws(QueueError) -> (QueueWriter.BegunAppend.PlacedRecord, QueueWriter) {
    let writer = try await enter(shard)
    defer { leave(slots[shard]) }
    let begun = try payload.withPayloadBytes { bytes throws(QueueError) in
      try writer.beginAppending(bytes)
    }
    return switch begun {
    case .appended(let record): (record, writer)
    case .waits(let copy): (try await writer.core.appendSuspending(copy), writer)
    }
  }

  /// Appends a batch. Suspends the task if the shard must be opened, there is no room, or a sync is
  /// due.
  func append(
    _ payloads: [[UInt8]], toShard shard: Int
  ) async throws(QueueError) -> (QueueWriter, QueueWriter.BatchAppendResult) {
    let writer = try await enter(shard)
    defer { leave(slots[shard]) }
    return (writer, try await writer.core.appendSuspending(payloads))
  }

  /// Brings everything below an address to a level, also if the shard was closed meanwhile.
  func reach(
    _ level: Durability, at end: UInt64, of writer: QueueWriter
  ) async throws(QueueError) {
    do throws(QueueError) {
      // In memory there is nothing to wait for, and no thread is started for it.
      if isInMemory, level > .buffered { return try writer.core.sync() }
      try await writer.core.reach(level, at: end)
    } catch {
      // It was closed to open another shard: then everything in it is on stable storage.
      guard error.code == .closed, writer.core.synced.value >= end else { throw error }
    }
  }

  /// If no writer is ever closed to open another one, the calls in it need not be counted.
  private func leave(_ slot: ShardSlot) { if isBounded { slot.leave() } }

  private func now() -> UInt64 {
    isBounded ? moment.wrappingAdd(1, ordering: .relaxed).newValue : 0
  }

  private func onThread<R: Sendable>(
    _ body: @escaping @Sendable () throws(QueueError) -> R
  ) async throws(QueueError) -> R {
    if isInMemory { return try body() }
    return try await thread.run(path: topic.description, body)
  }

  // MARK: Opening

  /// Opens a shard's writer, and enters it.
  private func open(_ shard: Int, _ slot: ShardSlot) throws(QueueError) -> QueueWriter {
    events.hold()
    defer { events.release() }
    return try turnover.withLock { turnover throws(QueueError) in
      // Another call may have been faster.
      if let writer = try slot.enter(at: now()) { return writer }
      guard !turnover.isClosed else { throw .closed(path: topic.description) }
      try makeRoom(&turnover)
      let writer = try QueueWriter(
        topic: topic.topic(shard), options: options, environment: environment,
        events: ShardEvents(queue: events, shard: shard))
      if !writer.recovery.wasClean { turnover.reports[shard] = writer.recovery }
      turnover.open.insert(shard)
      slot.put(writer, enteredAt: now())
      return writer
    }
  }

  /// Closes writers until one more may be open.
  private func makeRoom(_ turnover: inout Turnover) throws(QueueError) {
    while turnover.open.count >= limit {
      let idle = turnover.open.compactMap { shard in
        slots[shard].idleSince.map { (shard: shard, since: $0) }
      }
      guard let oldest = idle.min(by: { $0.since < $1.since }) else { return }
      // If a call has come in just now, it is no longer the oldest.
      guard let writer = slots[oldest.shard].take(ifIdle: true) else { continue }
      do throws(QueueError) {
        try close(writer, ofShard: oldest.shard, &turnover)
      } catch {
        // The error is that shard's own: an append to the shard reports it.
        guard error.isFinal else { throw error }
      }
    }
  }

  /// Closes a writer that was taken from its slot. If it stays open for want of room on the disk,
  /// it is put back.
  private func close(
    _ writer: QueueWriter, ofShard shard: Int, _ turnover: inout Turnover
  ) throws(QueueError) {
    do throws(QueueError) {
      try writer.close()
      turnover.past += writer.statistics
      turnover.open.remove(shard)
    } catch {
      if error.isFinal {
        turnover.past += writer.statistics
        turnover.failures[shard] = error
        slots[shard].end(error)
        turnover.open.remove(shard)
      } else {
        slots[shard].putBack(writer)
      }
      throw error
    }
  }

  // MARK: All shards

  /// Enters all open writers, after waiting for those that are just being closed.
  private func enterAll() throws(QueueError) -> [(shard: Int, writer: QueueWriter)] {
    try turnover.withLock { turnover throws(QueueError) in
      guard !turnover.isClosed else { throw .closed(path: topic.description) }
      var entered: [(shard: Int, writer: QueueWriter)] = []
      for shard in turnover.open.sorted() {
        if let writer = try slots[shard].enter(at: nil) { entered.append((shard, writer)) }
      }
      return entered
    }
  }

  /// The failure of the first shard whose writer was ended and closed.
  private func latchedFailure() -> QueueError? {
    turnover.withLock { turnover in turnover.failures.min { $0.key < $1.key }?.value }
  }

  /// Calls `body` with every writer, also after it failed for one. Then throws the first error.
  func forEachOpen(_ body: (QueueWriter) throws(QueueError) -> Void) throws(QueueError) {
    var first: QueueError?
    for (shard, writer) in try enterAll() {
      do throws(QueueError) {
        try body(writer)
      } catch {
        if first == nil { first = error }
      }
      leave(slots[shard])
    }
    if let error = first ?? latchedFailure() { throw error }
  }

  func flush() async throws(QueueError) {
    try await onThread { () throws(QueueError) in
      try self.forEachOpen { writer throws(QueueError) in try writer.flush() }
    }
  }

  /// Syncs all writers, one after the other.
  func sync() throws(QueueError) {
    try forEachOpen { writer throws(QueueError) in try writer.sync() }
    try lock.check()
  }

  /// Syncs all writers at once, each on its own thread.
  func sync() async throws(QueueError) {
    guard !isInMemory else {
      return try forEachOpen { writer throws(QueueError) in try writer.sync() }
    }
    let entered = try await onThread { () throws(QueueError) in try self.enterAll() }
    let errors = await withTaskGroup(of: QueueError?.self) { group in
      for (shard, writer) in entered {
        group.addTask {
          defer { self.leave(self.slots[shard]) }
          do throws(QueueError) {
            try await writer.sync()
            return nil
          } catch {
            return error
          }
        }
      }
      var errors: [QueueError] = []
      for await error in group { if let error { errors.append(error) } }
      return errors
    }
    // A refusal by a disk matters more than the cancellation of the task.
    let error = errors.first { $0.code != .cancelled } ?? latchedFailure() ?? errors.first
    if let error { throw error }
    try lock.check()
  }

  // MARK: Ending

  /// Closes all writers, and releases the lock. If a writer could not be closed for want of room,
  /// the pool stays open.
  func close() throws(QueueError) {
    events.hold()
    defer { events.release() }
    let failure = try turnover.withLock { turnover throws(QueueError) -> QueueError? in
      if !turnover.isClosed {
        // From now on no writer is opened.
        turnover.isClosed = true
        var retryable: QueueError?
        for shard in turnover.open.sorted() {
          guard let writer = slots[shard].take(ifIdle: false) else { continue }
          do throws(QueueError) {
            try close(writer, ofShard: shard, &turnover)
          } catch {
            if !error.isFinal, retryable == nil { retryable = error }
          }
        }
        if let retryable {
          turnover.isClosed = false
          throw retryable
        }
        do throws(QueueError) { try lock.check() } catch { turnover.lockFailure = error }
        lock.release()
        events.end()
      }
      return turnover.failures.min { $0.key < $1.key }?.value ?? turnover.lockFailure
    }
    if let failure { throw failure }
  }

  func close() async throws(QueueError) {
    defer { thread.stop() }
    try await onThread { () throws(QueueError) in try self.close() }
  }

  /// Ends the thread. A later job starts another one.
  func stopThread() { thread.stop() }

  /// Releases the shards after `close` failed and will not be retried. The sharded writer may live
  /// on.
  func giveUp() {
    let writers = turnover.withLock { turnover in
      turnover.isClosed = true
      defer { turnover.open = [] }
      return turnover.open.compactMap { slots[$0].take(ifIdle: false) }
    }
    for writer in writers { writer.core.giveUp() }
    lock.release()
    events.end()
    events.deliver()
    thread.stop()
  }

  /// Ends the pool after the sharded writer was dropped. Each of its writers is dropped as well,
  /// and flushes.
  func abandon() {
    var dropped = turnover.withLock { turnover in
      turnover.isClosed = true
      defer { turnover.open = [] }
      return turnover.open.compactMap { slots[$0].take(ifIdle: false) }
    }
    // Drop them before another writer may have the shards.
    dropped = []
    withExtendedLifetime(dropped) { lock.release() }
    thread.close()
  }
}
