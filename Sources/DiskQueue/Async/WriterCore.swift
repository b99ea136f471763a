// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// What a `QueueWriter` and its background thread share: the tail of the log under one lock, and
/// the order in which it is synced under another.
final class WriterCore: Sendable {
  private let tail: Mutex<LogTail>
  /// Held while the disk syncs; never while `tail`'s lock is held, so that appending goes on.
  private let syncing = Mutex<Void>(())
  /// Held by the one call that closes, or tries to.
  private let closing = Mutex<Void>(())
  private let storageLock: any StorageLock
  private let path: String
  private let background: Environment.Background
  private let thread = BackgroundThread()

  /// Slabs that may wait for their sync at a time: each holds a file open. An appender that leaves
  /// one more syncs them itself.
  private static let mostLeftSlabs = 16

  /// A lock that is held is held for some ten nanoseconds, or for a write. `Mutex` goes to sleep in
  /// the kernel at once, and its futex hands the lock over thread by thread: beyond as many threads
  /// as cores that costs thousands of nanoseconds an append. So yield some times first.
  private static let yields = 40

  private init(
    tail: consuming LogTail, storageLock: any StorageLock, path: String,
    background: Environment.Background
  ) {
    self.tail = Mutex(tail)
    self.storageLock = storageLock
    self.path = path
    self.background = background
  }

  /// Locks a topic, recovers it, and stands behind its last record.
  static func open(
    _ storage: any TopicStorage, options: QueueWriter.Options, environment: Environment
  ) throws(QueueError) -> (WriterCore, RecoveryReport) {
    // Before the lock's file is made: a directory of other files stays as it is.
    _ = try TopicIndex.slabs(in: storage)
    let lock: any StorageLock
    do throws(SystemError) {
      lock = try storage.lock()
    } catch {
      throw lockFailed(error, storage)
    }
    do throws(QueueError) {
      let opened = try Recovery.open(
        storage, maximumPayload: UInt32(clamping: options.maximumPayload.bytes),
        environment: environment)
      let tail = LogTail(
        opened.start, storage: storage,
        settings: LogTail.Settings(
          slabSize: UInt64(options.slabSize.bytes),
          maximumPayload: UInt32(clamping: options.maximumPayload.bytes),
          bufferSize: Int(options.bufferSize.bytes), topicID: opened.topicID,
          now: environment.now))
      let core = WriterCore(
        tail: tail, storageLock: lock, path: storage.path, background: environment.background)
      return (core, opened.report)
    } catch {
      lock.release()
      throw error
    }
  }

  private static func lockFailed(_ error: SystemError, _ storage: any TopicStorage) -> QueueError {
    guard error.errno == Errno.again else {
      return .system(
        error, doing: "locking the topic", path: storage.path + "/" + TopicLayout.lockName)
    }
    let holder = storage.lockHolder().map { " (process \($0))" } ?? ""
    return QueueError(
      .locked,
      "another writer\(holder) has the topic open: one writes at a time; close it, or wait for it",
      path: storage.path, errno: error.errno)
  }

  @inline(__always)
  private func withTail<R: Sendable>(
    _ body: (inout LogTail) throws(QueueError) -> R
  ) throws(QueueError) -> R {
    for _ in 0..<Self.yields {
      if let result = try tail.withLockIfAvailable({ (tail) throws(QueueError) -> R in
        try body(&tail)
      }) {
        return result
      }
      Syscalls.yieldThread()
    }
    return try tail.withLock { (tail) throws(QueueError) -> R in try body(&tail) }
  }

  /// As `withTail`, for what cannot fail.
  private func updateTail<R: Sendable>(_ body: (inout LogTail) -> R) -> R {
    tail.withLock { body(&$0) }
  }

  // MARK: Appending

  @inline(__always)
  func append(_ payload: RawSpan) throws(QueueError) -> Address {
    let appended: (address: UInt64, leftSlabs: Int)
    do throws(QueueError) {
      appended = try withTail {
        (tail: inout LogTail) throws(QueueError) -> (UInt64, Int) in
        if let address = tail.appendPlainly(payload) { return (address, 0) }
        return try tail.appendAndCount(payload)
      }
    } catch {
      syncWhatARefusedRecordLeft()
      throw error
    }
    if appended.leftSlabs > 0 { startSyncing(appended.leftSlabs) }
    return Address(rawValue: appended.address)
  }

  /// A record may be refused behind a roll that succeeded: the slab left is synced all the same.
  @inline(never)
  private func syncWhatARefusedRecordLeft() {
    let waiting = updateTail { $0.failure == nil ? $0.leftSlabs.count : 0 }
    if waiting > 0 { startSyncing(waiting) }
  }

  /// Appends a batch, under one lock as far as no record needs a second look: 64 KiB at most, which
  /// keeps others waiting for less than the write of a full buffer does.
  func append(_ payloads: Span<[UInt8]>) throws(QueueError) -> Range<Address> {
    var first: UInt64 = 0
    var end: UInt64 = 0
    var count = 0
    repeat {
      let leftSlabs: Int
      do throws(QueueError) {
        leftSlabs = try withTail { (tail: inout LogTail) throws(QueueError) -> Int in
          if count == 0 {
            first = tail.position
            end = first
          }
          let plain = tail.appendPlainly(payloads.extracting(droppingFirst: count))
          if plain > 0 { end = tail.position }
          count += plain
          guard count < payloads.count else { return 0 }
          // Safe: a span of bytes is its bytes.
          let payload = unsafe payloads[count].span.bytes
          let (address, leftSlabs) = try tail.appendAndCount(payload)
          // A mark or a slab's header may have come before it.
          if count == 0 { first = address }
          end = address + UInt64(FrameHeader.byteCount + payload.byteCount)
          count += 1
          return leftSlabs
        }
      } catch {
        syncWhatARefusedRecordLeft()
        var error = error
        error.appended = count
        throw error
      }
      if leftSlabs > 0 { startSyncing(leftSlabs) }
    } while count < payloads.count
    return Address(rawValue: first)..<Address(rawValue: end)
  }

  var position: UInt64 { updateTail { $0.position } }

  func flush() throws(QueueError) {
    try withTail { (tail: inout LogTail) throws(QueueError) in
      try tail.checkOpen()
      try tail.flush()
    }
  }

  // MARK: Syncing

  func sync() throws(QueueError) {
    let target = try withTail { (tail: inout LogTail) throws(QueueError) -> UInt64 in
      try tail.checkOpen()
      try tail.flush()
      return tail.position
    }
    try sync(upTo: target)
  }

  /// Syncs everything written, unless another call did meanwhile.
  private func sync(upTo target: UInt64) throws(QueueError) {
    try syncing.withLock { _ throws(QueueError) in
      let work = try withTail { (tail: inout LogTail) throws(QueueError) -> LogTail.SyncWork? in
        if let failure = tail.failure { throw failure }
        return tail.synced >= target ? nil : tail.syncWork(includingCurrent: true)
      }
      if let work { try carryOut(work) }
    }
  }

  /// Syncs the slabs that were left behind.
  func syncSlabsLeftBehind() throws(QueueError) {
    try syncing.withLock { _ throws(QueueError) in
      let work = try withTail { (tail: inout LogTail) throws(QueueError) -> LogTail.SyncWork? in
        if let failure = tail.failure { throw failure }
        return tail.leftSlabs.isEmpty ? nil : tail.syncWork(includingCurrent: false)
      }
      if let work { try carryOut(work) }
    }
  }

  /// With `syncing` held: one sync at a time, oldest slab first. A failure ends the writer.
  private func carryOut(_ work: LogTail.SyncWork) throws(QueueError) {
    do throws(QueueError) {
      try work.run()
    } catch {
      updateTail { $0.poison(error) }
      throw error
    }
    updateTail { $0.didSync(work) }
  }

  /// A slab was left: sees to it that it gets synced. A failure ends the writer, and every later
  /// call says so; the append that came by has not failed.
  private func startSyncing(_ leftSlabs: Int) {
    switch background {
    case .manual:
      return
    case .thread where leftSlabs < Self.mostLeftSlabs:
      do throws(SystemError) {
        try thread.submit { [self] in syncAndLatch() }
        return
      } catch {
        // No thread is to be had: the appender does it.
      }
    case .thread, .inline:
      break
    }
    syncAndLatch()
  }

  private func syncAndLatch() {
    do throws(QueueError) {
      try syncSlabsLeftBehind()
    } catch {
      // Latched by `carryOut`.
    }
  }

  // MARK: Ending

  /// One call at a time: a second one finds out what became of the first.
  func close() throws(QueueError) {
    try closing.withLock { _ throws(QueueError) in try closeAlone() }
  }

  /// Order: take no more; write all; sync all; write the closing mark; sync it; give up the lock.
  private func closeAlone() throws(QueueError) {
    let target = try withTail { (tail: inout LogTail) throws(QueueError) -> UInt64? in
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
    guard let target else { return }
    do throws(QueueError) {
      try sync(upTo: target)
      try syncing.withLock { _ throws(QueueError) in
        try withTail { (tail: inout LogTail) throws(QueueError) in try tail.writeClosingMark() }
      }
    } catch {
      let isFinal = updateTail { tail in
        if tail.failure == nil { tail.resumeTaking() }
        return tail.failure != nil
      }
      if isFinal { storageLock.release() }
      throw error
    }
    storageLock.release()
  }

  /// The writer was dropped: flushes if it was not closed. What fails now has nobody to be told.
  func abandon() {
    let wasOpen = updateTail { tail in
      defer { tail.stopTaking() }
      guard !tail.isClosed else { return false }
      if tail.failure == nil { try? tail.flush() }
      return true
    }
    thread.stop()
    if wasOpen { storageLock.release() }
  }

  /// As the death of the process: what is in the buffer is gone.
  func die() {
    updateTail { $0.stopTaking() }
    thread.stop()
    storageLock.release()
  }

  // MARK: The thread

  /// Runs blocking work on the writer's own thread, and waits for it without blocking.
  func onThread(
    _ body: @escaping @Sendable (WriterCore) throws(QueueError) -> Void
  ) async throws(QueueError) {
    let result: Result<Void, QueueError> = await withCheckedContinuation { continuation in
      do throws(SystemError) {
        try thread.submit { [self] in
          do throws(QueueError) {
            continuation.resume(returning: .success(try body(self)))
          } catch {
            continuation.resume(returning: .failure(error))
          }
        }
      } catch {
        continuation.resume(
          returning: .failure(.system(error, doing: "starting a thread", path: path)))
      }
    }
    try result.get()
  }

  /// Ends the thread; a later job starts another one.
  func stopThread() { thread.stop() }
}

extension LogTail {
  /// Appends a record that needs a second look; also returns how many slabs wait for their sync, if
  /// it left one, or else 0.
  fileprivate mutating func appendAndCount(
    _ payload: RawSpan
  ) throws(QueueError) -> (UInt64, Int) {
    let before = leftSlabs.count
    let address = try appendCarefully(payload)
    let now = leftSlabs.count
    return (address, now == before ? 0 : now)
  }
}
