// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

// Durability: which thread syncs, which callers share a sync, and the work for which a time is set.

extension WriterCore {
  /// About this many slabs wait for their sync at most: each holds a file open. An appender that
  /// leaves the last of them syncs them itself.
  private static let mostLeftSlabs = 16

  func flush() throws(QueueError) {
    defer { events.deliver() }
    _ = try flushed(forSync: false)
  }

  /// Flushes, and returns the address below which everything was flushed.
  private func flushed(forSync: Bool) throws(QueueError) -> UInt64 {
    try withRoomOnDisk { () throws(QueueError) in
      try withTail { (tail: inout LogTail) throws(QueueError) -> UInt64 in
        try tail.checkOpen()
        if forSync { try tail.flushForSync() } else { try tail.flush() }
        return tail.position
      }
    }
  }

  func sync() throws(QueueError) {
    defer { events.deliver() }
    try sync(upTo: try flushed(forSync: true))
  }

  /// Syncs everything written, unless another call has done so meanwhile. In that case only the
  /// names are checked: they may have changed since.
  func sync(upTo target: UInt64) throws(QueueError) {
    try syncing.withLock { _ throws(QueueError) in
      let (work, isDone) = try withTail {
        (tail: inout LogTail) throws(QueueError) -> (LogTail.SyncWork, Bool) in
        if let failure = tail.failure { throw failure }
        return (tail.syncWork(includingCurrent: true), tail.synced >= target)
      }
      guard isDone else { return try carryOut(work) }
      try orEnd { () throws(QueueError) in try work.checkNames() }
    }
    // Also if another call synced it, under the appenders' lock.
    synced.advance(to: updateTail { $0.synced })
  }

  /// Syncs the slabs that the writer left.
  func syncLeftSlabs() throws(QueueError) {
    try syncing.withLock { _ throws(QueueError) in
      let work = try withTail { (tail: inout LogTail) throws(QueueError) -> LogTail.SyncWork? in
        if let failure = tail.failure { throw failure }
        return tail.leftSlabs.isEmpty ? nil : tail.syncWork(includingCurrent: false)
      }
      if let work { try carryOut(work) }
    }
  }

  /// Call this with `syncing` held: one sync at a time, oldest slab first. A failure ends the
  /// writer.
  private func carryOut(_ work: LogTail.SyncWork) throws(QueueError) {
    let start = environment.monotonic()
    try orEnd { () throws(QueueError) in try work.run() }
    updateTail { $0.didSync(work) }
    events.note(
      .synced(
        through: Address(rawValue: work.end),
        took: .nanoseconds(Int64(clamping: environment.monotonic() - start))))
  }

  /// Runs a part of a sync. A failure ends the writer.
  private func orEnd(_ body: () throws(QueueError) -> Void) throws(QueueError) {
    do throws(QueueError) {
      try body()
    } catch {
      end(error)
      throw error
    }
  }

  /// Permanently ends the writer after a failure. All callers that wait, and all later ones, get
  /// the error.
  func end(_ error: QueueError) {
    updateTail { $0.poison(error) }
    let handlers = ending.withLock { ending -> [@Sendable (QueueError) -> Void] in
      guard ending.failure == nil else { return [] }
      ending.failure = error
      events.note(.failed(error))
      defer { ending.handlers = [] }
      return ending.handlers
    }
    for handler in handlers { handler(error) }
    synced.end(error)
    wakeWaitersForRoom()
  }

  /// The error that ended the writer.
  var failure: QueueError? { ending.withLock { $0.failure } }

  func onFailure(_ body: @escaping @Sendable (QueueError) -> Void) {
    let failure = ending.withLock { ending in
      if ending.failure == nil { ending.handlers.append(body) }
      return ending.failure
    }
    if let failure { body(failure) }
  }

  /// Arranges the sync of a slab that was left. A failure ends the writer, and every later call
  /// reports it. The append that left the slab has not failed.
  func startSyncing(_ leftSlabs: Int) {
    switch environment.background {
    case .manual:
      return
    case .thread where leftSlabs < Self.mostLeftSlabs:
      do throws(SystemError) {
        try thread.submit { [self] in syncAndLatch() }
        return
      } catch {
        // No thread can be started: the appender does it.
      }
    case .thread, .inline:
      break
    }
    syncAndLatch()
  }

  private func syncAndLatch() {
    defer { events.deliver() }
    do throws(QueueError) {
      try syncLeftSlabs()
    } catch {
      // Latched by `carryOut`.
    }
  }

  // MARK: Group commit

  /// Like `sync`, but suspends the task. If nothing is left to sync, the names are checked at once.
  func syncAll() async throws(QueueError) {
    defer { events.deliver() }
    let target = try openEnd().address.rawValue
    guard synced.value >= target else { return try await reach(.synced, at: target) }
    let held = updateTail { $0.syncWork(includingCurrent: true) }
    try orEnd { () throws(QueueError) in try held.checkNames() }
  }

  /// Brings everything below an address to a level. For a sync it suspends the task, and all tasks
  /// that wait at the same time share that sync. A flush is a write to the system's cache, and
  /// needs no thread of its own.
  func reach(_ level: Durability, at target: UInt64) async throws(QueueError) {
    switch level {
    case .buffered: break
    case .flushed: try flush()
    case .synced where !storage.mayBlock: if synced.value < target { try sync() }
    case .synced: try await synced.wait(for: target) { startTurns() }
    }
  }

  func startTurns() {
    guard groupCommit.want() else { return }
    submitTurn()
  }

  private func submitTurn() {
    do throws(SystemError) {
      try thread.submit { [self] in takeTurn() }
    } catch {
      // No thread can be started: one of the waiting tasks does it for all.
      takeTurn()
    }
  }

  /// Syncs for all waiters, and queues the next turn after the other jobs of the thread. If the
  /// sync fails, all waiters get the error.
  private func takeTurn() {
    groupCommit.beginTurn()
    let start = Syscalls.monotonicClock()
    do throws(QueueError) {
      try sync()
    } catch {
      // The call that closes brings all waiters to their level, or reports why it cannot.
      if error.code != .closed { synced.reject(error) }
    }
    let end = Syscalls.monotonicClock()
    synced.gather(until: end + min(end - start, Self.longestGathering))
    if groupCommit.endTurn() { submitTurn() }
  }

  /// Most tasks that shared a sync are on their way to the next one. The first to come back would
  /// have it to itself, and all others would wait for one more. So the turn waits for them, but no
  /// longer than their sync took, and no longer than a millisecond (this, in nanoseconds).
  private static let longestGathering: UInt64 = 1_000_000

  // MARK: Times

  /// Work that is done when a time has passed.
  enum Timed: Sendable {
    case flush
    case sync
    case leaveOldSlab
  }

  /// Starts the time to leave a slab that was found with records in it. Its age counts from its
  /// making, if the clock knew the time then and knows it now. Otherwise it counts from now.
  func startSlabAge(_ start: LogTail.Start) {
    guard policies.slabAge != .max, start.slabHasRecord else { return }
    let now = environment.now()
    var age: UInt64 = 0
    if let stamp = start.slabStamp, Stamp.isKnown(stamp), stamp <= now { age = now - stamp }
    let rest = policies.slabAge - min(age, policies.slabAge)
    let deadline = environment.monotonic().addingSaturating(rest)
    updateTail { tail in
      tail.slabIsOldAt = deadline
      tail.leavingIsTimed = true
      // The first append looks at the age.
      tail.plainEnd = 0
    }
    self.start(.leaveOldSlab)
  }

  /// Starts the time after which `what` is done.
  func start(_ what: Timed) {
    let time =
      switch what {
      case .flush: policies.flushTime
      case .sync: policies.syncTime
      case .leaveOldSlab:
        updateTail { [environment] tail in
          tail.slabIsOldAt - min(tail.slabIsOldAt, environment.monotonic())
        }
      }
    guard case .thread = environment.background else {
      let (moment, overflow) = environment.monotonic().addingReportingOverflow(time)
      return times.withLock { $0.append((overflow ? .max : moment, what)) }
    }
    do throws(SystemError) {
      try thread.submit(after: time) { [self] in timeHasCome(what) }
    } catch {
      // No thread can be started: it is better to do it now than never.
      doTimed(what)
    }
  }

  /// Does the work for which a time was set. A failed sync is latched. After any other failure the
  /// records stay in the buffer, and the next call meets it.
  private func doTimed(_ what: Timed) {
    let isDue = updateTail { tail in
      defer {
        switch what {
        case .flush: tail.flushIsTimed = false
        case .sync: tail.syncIsTimed = false
        case .leaveOldSlab: tail.leavingIsTimed = false
        }
      }
      guard !tail.isClosed, tail.failure == nil else { return false }
      return switch what {
      case .flush: !tail.buffer.isEmpty
      case .sync: tail.ordinal != tail.syncedOrdinal
      case .leaveOldSlab: tail.slabHasRecord
      }
    }
    guard isDue else { return }
    do throws(QueueError) {
      switch what {
      case .flush: try flush()
      case .sync: try sync()
      case .leaveOldSlab: try leaveOldSlab()
      }
    } catch {
      // See above. If there is no room for another slab, the next append leaves the old one.
      if what == .leaveOldSlab { updateTail { $0.slabIsOldAt = 0 } }
    }
  }

  /// Leaves the slab if it is old enough.
  private func leaveOldSlab() throws(QueueError) {
    defer { events.deliver() }
    let leftSlabs = try withRoomOnDisk { () throws(QueueError) in
      try withTail { (tail: inout LogTail) throws(QueueError) -> Int in
        try tail.leaveOldSlab() ? tail.leftSlabs.count : 0
      }
    }
    if leftSlabs > 0 { startSyncing(leftSlabs) }
  }

  /// Does the work for which a time was set, and sets another time if some is left.
  private func timeHasCome(_ what: Timed) {
    doTimed(what)
    // Records may have come meanwhile that set no time.
    let isSetAgain = updateTail { tail in
      guard !tail.isClosed, tail.failure == nil else { return false }
      switch what {
      case .flush:
        guard !tail.buffer.isEmpty, !tail.flushIsTimed else { return false }
        tail.flushIsTimed = true
      case .sync:
        guard tail.ordinal != tail.syncedOrdinal, !tail.syncIsTimed else { return false }
        tail.syncIsTimed = true
      case .leaveOldSlab:
        // 0: the slab could not be left.
        guard tail.slabIsOldAt != .max, tail.slabIsOldAt != 0, !tail.leavingIsTimed else {
          return false
        }
        tail.leavingIsTimed = true
      }
      return true
    }
    if isSetAgain { start(what) }
  }

  /// Does the timed work that is due, if a test decides about times.
  func runDueWork() {
    let now = environment.monotonic()
    let due = times.withLock { times in
      defer { times.removeAll { $0.moment <= now } }
      return times.filter { $0.moment <= now }
    }
    for (_, what) in due { timeHasCome(what) }
  }

  // MARK: The thread

  /// Runs blocking work on the writer's own thread, and waits for it without blocking.
  func onThread<R: Sendable>(
    _ body: @escaping @Sendable (WriterCore) throws(QueueError) -> R
  ) async throws(QueueError) -> R {
    guard storage.mayBlock else { return try body(self) }
    return try await thread.run(path: storage.path) { [self] () throws(QueueError) in
      try body(self)
    }
  }
}
