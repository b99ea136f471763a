// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The state that a `QueueWriter` and its background thread share: the tail of the log under one
/// lock, and the order in which it is synced under another.
final class WriterCore: Sendable {
  let storage: any TopicStorage
  let policies: Policies
  private let tail: Mutex<LogTail>
  /// Held while the disk syncs. It is acquired before `tail`'s lock and never under it, so that
  /// appending goes on during a sync.
  let syncing = Mutex<Void>(())
  /// Held by the one call that closes, or tries to.
  private let closing = Mutex<Void>(())
  /// Held by the one call that looks for room at a time. It guards the slabs as they were listed
  /// last, if a listing is worth storing.
  let makingRoom: Mutex<SlabFront?>
  /// Made when a caller first waits for room.
  let roomWatch = Mutex<TopicWatch?>(nil)
  /// Whether the writer has noted that it polls for changes.
  let hasNotedPolling = Atomic(false)
  /// Makes room if a caller waits for it, besides cleaners elsewhere.
  let roomMaker = Mutex<(@Sendable () throws(QueueError) -> Void)?>(nil)
  private let storageLock: any StorageLock
  let environment: Environment
  let events: ShardEvents
  /// Whether only this writer adds to the events.
  private let ownsEvents: Bool
  let ending = Mutex(FailureState())
  /// Higher than the number of each writer that was opened before it.
  let number = WriterNumber.next()
  let thread: BackgroundThread

  /// The address below which everything is synced. Tasks wait for it.
  let synced = Progress()
  let groupCommit = GroupCommit()
  /// The times that are set, if a test decides when they have come.
  let times = Mutex<[(moment: UInt64, what: Timed)]>([])

  /// How often to try the tail's lock before waiting for it in the kernel.
  ///
  /// A holder releases the lock after some ten nanoseconds, or after a write. `Mutex` goes to sleep
  /// in the kernel at once, and its futex hands the lock over thread by thread. With more threads
  /// than cores, that costs thousands of nanoseconds an append.
  private static let tries = 40
  private let backoff = Backoff()

  /// The error that ended the writer, and the handlers to call with it.
  struct FailureState: Sendable {
    var failure: QueueError?
    /// Each is called once, possibly with a lock held: it must not call the writer.
    var handlers: [@Sendable (QueueError) -> Void] = []
  }

  /// The options about times and room.
  struct Policies: Sendable {
    /// In nanoseconds.
    var flushTime: UInt64
    var syncTime: UInt64
    var slabAge: UInt64
    var whenFull: QueueWriter.Options.WhenFull
    var boundsRecords: Bool

    init(_ options: QueueWriter.Options) {
      flushTime = options.flushEvery.time?.clampedNanoseconds ?? .max
      syncTime = options.syncEvery.time?.clampedNanoseconds ?? .max
      slabAge = options.slabAge?.duration.clampedNanoseconds ?? .max
      whenFull = options.whenFull
      boundsRecords = options.maximumRecords != nil
    }

    var dropsOldest: Bool {
      switch whenFull {
      case .dropOldest, .dropOldestAcknowledged: true
      case .automatic, .fail, .wait: false
      }
    }
  }

  private init(
    tail: consuming LogTail, _ listed: SlabFront?, _ storage: any TopicStorage,
    storageLock: any StorageLock, policies: Policies, events: ShardEvents, ownsEvents: Bool,
    thread: BackgroundThread,
    environment: Environment
  ) {
    self.tail = Mutex(tail)
    makingRoom = Mutex(listed)
    self.storage = storage
    self.storageLock = storageLock
    self.policies = policies
    self.events = events
    self.ownsEvents = ownsEvents
    self.thread = thread
    self.environment = environment
  }

  /// Locks a topic, recovers it, and starts after its last record.
  ///
  /// - Parameter sharedEvents: the queue to note events in, instead of one of its own.
  static func open(
    _ storage: any TopicStorage, options: QueueWriter.Options, sharedEvents: ShardEvents?,
    environment: Environment
  ) throws(QueueError) -> (WriterCore, RecoveryReport) {
    // Before the lock's file is made: a directory of other files must stay as it is.
    _ = try TopicIndex.slabs(in: storage)
    let lock: any StorageLock
    do throws(SystemError) {
      lock = try storage.lock()
    } catch {
      throw lockFailed(error, storage)
    }
    do throws(QueueError) {
      let opened = try Recovery.open(
        storage, firstOrdinal: options.firstOrdinal,
        maximumPayload: UInt32(clamping: options.maximumPayload.bytes),
        whenFull: options.whenFull, environment: environment)
      let thread = BackgroundThread()
      let events =
        sharedEvents
        ?? ShardEvents(
          queue: EventQueue(thread: environment.hasThread && storage.mayBlock ? thread : nil),
          shard: 0)
      if let onEvent = options.onEvent { events.queue.add { onEvent($1) } }
      let lockName = try Self.heldName(of: lock, in: storage)
      // Recovery has made the records durable that it reports. They are in the topic only if these
      // names lead to its files.
      do throws(QueueError) {
        try lockName?.check(in: storage)
        try opened.start.slab.checkName(in: storage)
      } catch {
        opened.takeBack(in: storage)
        throw error
      }
      events.note(.opened(opened.report))
      var settings = LogTail.Settings(
        options, topicID: opened.topicID, now: environment.now)
      settings.slabAge = Policies(options).slabAge
      settings.monotonic = environment.monotonic
      settings.notesRolls = options.isBounded || Policies(options).dropsOldest
      settings.didRoll = { events.note(.rolled(to: Address(rawValue: $0))) }
      var tail = LogTail(opened.start, storage: storage, settings: settings)
      tail.lock = lockName
      var listed: SlabFront?
      if options.isBounded {
        var front = try SlabFront(of: storage)
        front.endAtSlab(opened.start.slab.base)
        listed = front
        tail.otherBytes = front.bytes
        if options.maximumRecords != nil {
          tail.firstOrdinal = try front.firstOrdinal(in: storage) ?? tail.ordinal
        }
      }
      let core = WriterCore(
        tail: tail, listed, storage, storageLock: lock, policies: Policies(options),
        events: events, ownsEvents: sharedEvents == nil, thread: thread,
        environment: environment)
      for slab in opened.dropped { core.note(slab) }
      core.startSlabAge(opened.start)
      return (core, opened.report)
    } catch {
      lock.release()
      throw error
    }
  }

  private static func heldName(
    of lock: any StorageLock, in storage: any TopicStorage
  ) throws(QueueError) -> HeldName? {
    // In memory, only this program's own calls change a name.
    guard storage.mayBlock else { return nil }
    do throws(SystemError) {
      return try HeldName(TopicLayout.lockName, leadingTo: lock.file)
    } catch {
      throw lockFailed(error, storage)
    }
  }

  private static func lockFailed(_ error: SystemError, _ storage: any TopicStorage) -> QueueError {
    guard error.errno == Errno.again else {
      return .system(
        error, doing: "locking the topic", path: storage.path + "/" + TopicLayout.lockName)
    }
    return QueueError(
      .locked, storage.lockState().message("the topic"), path: storage.path, errno: error.errno)
  }

  @inline(__always)
  func withTail<R: Sendable>(
    _ body: (inout LogTail) throws(QueueError) -> R
  ) throws(QueueError) -> R {
    for attempt in 0..<Self.tries {
      if let result = try tail.withLockIfAvailable({ (tail) throws(QueueError) -> R in
        try body(&tail)
      }) {
        return result
      }
      backoff.yield(after: attempt)
    }
    return try tail.withLock { (tail) throws(QueueError) -> R in try body(&tail) }
  }

  /// Like `withTail`, for a body that cannot fail.
  func updateTail<R: Sendable>(_ body: (inout LogTail) -> R) -> R { tail.withLock { body(&$0) } }

  var position: UInt64 { updateTail { $0.position } }

  /// The address and the ordinal of the next record. A mark may come before it.
  var end: QueueWriter.AppendResult { updateTail { $0.end } }

  /// The same, if the writer is open.
  func openEnd() throws(QueueError) -> QueueWriter.AppendResult {
    try withTail { (tail: inout LogTail) throws(QueueError) -> QueueWriter.AppendResult in
      try tail.checkOpen()
      return tail.end
    }
  }

  // MARK: Appending

  /// The result of an attempt to append a record.
  enum Attempt: Sendable {
    case appended(LogTail.Appended)
    /// The cap is too low for it.
    case noRoom
  }

  /// Appends a record. If there is no room, and the policy is to wait, blocks the thread.
  @inline(__always)
  func append(_ payload: RawSpan) throws(QueueError) -> QueueWriter.AppendResult {
    guard let result = try appendPlainly(payload) else { return try appendSlowly(payload) }
    return result
  }

  /// The path of most records. Nil: see `appendSlowly`.
  @inline(__always)
  func appendPlainly(_ payload: RawSpan) throws(QueueError) -> QueueWriter.AppendResult? {
    try withTail { (tail: inout LogTail) throws(QueueError) -> QueueWriter.AppendResult? in
      tail.appendPlainly(payload)
    }
  }

  @inline(never)
  private func appendSlowly(_ payload: RawSpan) throws(QueueError) -> QueueWriter.AppendResult {
    while true {
      switch try attempt(payload) {
      case .appended(let appended):
        if followUp(appended) {
          do throws(QueueError) {
            try sync()
          } catch {
            throw error.after(1, at: appended.result.address)
          }
        }
        return appended.result
      case .noRoom:
        if let wait = try findRoom(forPayload: payload.byteCount) { try wait.block() }
      }
    }
  }

  /// Tries to append a record that needs a second look.
  func attempt(_ payload: RawSpan) throws(QueueError) -> Attempt {
    defer { events.deliver() }
    do throws(QueueError) {
      return try withRoomOnDisk(payload.byteCount) { () throws(QueueError) in
        try withTail { (tail: inout LogTail) throws(QueueError) -> Attempt in
          try tail.attempt(payload)
        }
      }
    } catch {
      if error.isFinal { end(error) }
      syncWhatARefusedRecordLeft()
      throw error
    }
  }

  /// Does the work that is left to do after a record was put. Returns true if so much waits that
  /// the caller must sync.
  func followUp(_ appended: LogTail.Appended) -> Bool {
    if appended.leftSlabs > 0 { startSyncing(appended.leftSlabs) }
    events.deliver()
    if appended.startsFlushTime { start(.flush) }
    if appended.startsSyncTime { start(.sync) }
    if appended.startsLeavingTime { start(.leaveOldSlab) }
    return appended.wantsSync
  }

  /// A record may be refused after a roll that succeeded. The slab that was left is synced all the
  /// same.
  @inline(never)
  private func syncWhatARefusedRecordLeft() {
    let waiting = updateTail { $0.failure == nil ? $0.leftSlabs.count : 0 }
    if waiting > 0 { startSyncing(waiting) }
  }

  /// How far a batch has come.
  struct BatchProgress: Sendable {
    /// The first record, if there is one.
    private var first: QueueWriter.AppendResult?
    /// The end of the last record, and the ordinal after it.
    private(set) var end: QueueWriter.AppendResult
    private(set) var count = 0
    /// Whether so much waits that the caller must sync.
    var wantsSync = false

    /// - Parameter end: the end of the log. It matters only to a batch without records.
    init(at end: QueueWriter.AppendResult = .init(address: .init(rawValue: 0), ordinal: 0)) {
      self.end = end
    }

    var result: QueueWriter.BatchAppendResult {
      let first = first ?? end
      return QueueWriter.BatchAppendResult(
        addresses: first.address..<end.address, ordinals: first.ordinal..<end.ordinal)
    }

    /// Adds records that follow each other.
    mutating func add(
      _ count: Int, from start: QueueWriter.AppendResult, to end: QueueWriter.AppendResult
    ) {
      if first == nil { first = start }
      self.end = end
      self.count += count
    }

    /// Adds a record with a payload of this size.
    mutating func add(_ record: QueueWriter.AppendResult, payload: Int) {
      add(1, from: record, to: record.end(payload: payload))
    }
  }

  /// Appends a batch, under one lock until a record needs a second look. A lock is held for 64 KiB
  /// at most, so others wait for less than the write of a full buffer takes. Ends early if a record
  /// finds no room, or if so much waits that it must be synced.
  ///
  /// - Throws: an error whose `appended` counts the records of the batch that landed.
  func append(
    _ payloads: Span<[UInt8]>, _ batch: inout BatchProgress
  ) throws(QueueError) {
    do throws(QueueError) {
      while batch.count < payloads.count {
        try withTail { (tail: inout LogTail) throws(QueueError) in
          let start = tail.end
          let plain = tail.appendPlainly(payloads.extracting(droppingFirst: batch.count))
          if plain > 0 { batch.add(plain, from: start, to: tail.end) }
        }
        guard batch.count < payloads.count else { return }
        // Safe: the elements of the span are bytes.
        let payload = unsafe payloads[batch.count].span.bytes
        guard case .appended(let appended) = try attempt(payload) else { return }
        batch.add(appended.result, payload: payload.byteCount)
        if followUp(appended) {
          batch.wantsSync = true
          return
        }
      }
    } catch {
      throw error.after(batch.count)
    }
  }

  /// Like the other, but up to the batch's end. Blocks the thread as `append` of one record does.
  func append(
    _ payloads: Span<[UInt8]>
  ) throws(QueueError) -> QueueWriter.BatchAppendResult {
    var batch = payloads.isEmpty ? BatchProgress(at: end) : BatchProgress()
    while batch.count < payloads.count {
      try append(payloads, &batch)
      do throws(QueueError) {
        if batch.wantsSync {
          batch.wantsSync = false
          try sync()
        } else if batch.count < payloads.count,
          let wait = try findRoom(forPayload: payloads[batch.count].count)
        {
          try wait.block()
        }
      } catch {
        throw error.after(batch.count)
      }
    }
    return batch.result
  }

  // MARK: Ending

  /// One call at a time: a second one gets the result of the first.
  func close() throws(QueueError) {
    defer { events.deliver() }
    try closing.withLock { _ throws(QueueError) in try closeAlone() }
  }

  /// Order:
  /// 1. Take no more records.
  /// 2. Write all.
  /// 3. Sync all.
  /// 4. Write the closing mark.
  /// 5. Sync it.
  /// 6. Release the lock.
  private func closeAlone() throws(QueueError) {
    let target = try withRoomOnDisk { () throws(QueueError) in try stopTaking() }
    guard let target else { return }
    // Callers that wait for room find the writer closed.
    wakeWaitersForRoom()
    do throws(QueueError) {
      try sync(upTo: target)
      try withRoomOnDisk { () throws(QueueError) in
        try syncing.withLock { _ throws(QueueError) in
          try withTail { (tail: inout LogTail) throws(QueueError) in try tail.writeClosingMark() }
        }
      }
    } catch {
      let isFinal = updateTail { tail in
        if tail.failure == nil { tail.resumeTaking() }
        return tail.failure != nil
      }
      if isFinal {
        end(error)
        leave()
      } else {
        // Turns that found the writer closed have reported nothing to the waiters, so one more turn
        // is due. If nothing waits, no sync was asked for: the next waiter starts its own turn.
        if synced.waiterCount > 0 { startTurns() }
      }
      throw error
    }
    events.note(.closed)
    leave()
  }

  /// Releases the topic to the next writer.
  private func leave() {
    (storage as? MemoryStorage)?.detach(self)
    if ownsEvents { events.end() }
    storageLock.release()
  }

  /// Takes no more records, and writes all. If that fails, for example for lack of room, takes
  /// records again. Nil: the writer was closed before.
  private func stopTaking() throws(QueueError) -> UInt64? {
    try withTail { (tail: inout LogTail) throws(QueueError) -> UInt64? in
      if tail.isClosed {
        if let failure = tail.failure { throw failure }
        return nil
      }
      tail.stopTaking()
      guard tail.failure == nil else { return tail.position }
      do throws(QueueError) {
        try tail.flush()
      } catch {
        tail.resumeTaking()
        throw error
      }
      return tail.position
    }
  }

  /// The writer was dropped: flushes if it was not closed. No caller can receive an error now.
  func abandon() { leaveUnclosed { thread.close() } }

  private func leaveUnclosed(_ endThread: () -> Void) {
    let wasOpen = updateTail { tail in
      defer { tail.stopTaking() }
      guard !tail.isClosed else { return false }
      if tail.failure == nil, (try? tail.flush()) != nil { tail.releasePreallocated() }
      return true
    }
    endThread()
    if wasOpen { leave() }
    events.deliver()
  }

  /// Releases the topic after `close` failed and will not be retried. The writer may live on. Calls
  /// that wait, and all later ones, find it closed.
  func giveUp() {
    // A later `close` runs on the thread again, and finds the writer closed.
    leaveUnclosed { thread.stop() }
    synced.end(.closed(path: storage.path))
    wakeWaitersForRoom()
  }

  /// Like the death of the process: the records in the buffer are lost.
  func die() {
    updateTail { $0.stopTaking() }
    thread.close()
    leave()
    synced.end(.closed(path: storage.path))
    wakeWaitersForRoom()
  }

  /// Ends the thread. A later job starts another one.
  func stopThread() { thread.stop() }
}

extension WriterCore: MemoryWriter {
  /// Lets readers have the records in the buffer, if the topic is in memory.
  func attachToMemory() {
    (storage as? MemoryStorage)?.attach(self)
    // A reader may have asked before there was a writer to ask.
    handOverAtOnce()
  }

  func handOver() { updateTail { $0.handOver() } }
  func handOverAtOnce() { updateTail { $0.handOverAtOnce() } }
}

extension LogTail {
  /// The address and the ordinal of the next record. A mark may come before it.
  fileprivate var end: QueueWriter.AppendResult {
    QueueWriter.AppendResult(address: Address(rawValue: position), ordinal: ordinal)
  }

  /// Appends a record that needs a second look, if the cap allows it.
  fileprivate mutating func attempt(
    _ payload: RawSpan
  ) throws(QueueError) -> WriterCore.Attempt {
    // Another thread may have made the second look unnecessary meanwhile.
    if let result = appendPlainly(payload) { return .appended(Appended(result: result)) }
    try checkOpen()
    try check(payload.byteCount)
    guard shortage(forPayload: payload.byteCount) == 0 else { return .noRoom }
    return .appended(try appendCarefully(payload))
  }
}

extension LogTail.Settings {
  fileprivate init(
    _ options: QueueWriter.Options, topicID: UInt64, now: @escaping @Sendable () -> UInt64
  ) {
    self.init(
      slabSize: UInt64(options.effectiveSlabSize.bytes),
      maximumPayload: UInt32(clamping: options.maximumPayload.bytes),
      markSpacing: options.markSpacing, bufferSize: Int(options.bufferSize.bytes),
      maximumBytes: options.maximumBytes.map { UInt64($0.bytes) } ?? .max,
      maximumRecords: options.maximumRecords ?? .max,
      flushEvery: LogTail.Trigger(options.flushEvery),
      syncEvery: LogTail.Trigger(options.syncEvery), topicID: topicID, now: now)
  }
}

extension LogTail.Trigger {
  fileprivate init(_ threshold: Threshold) {
    self.init(
      records: threshold.records ?? .max, bytes: threshold.bytes.map { UInt64($0.bytes) } ?? .max,
      hasTime: threshold.time != nil)
  }
}
