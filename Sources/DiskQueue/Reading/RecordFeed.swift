// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Reads records for tasks, a batch at a time, on its own thread. The cooperative pool has one
/// thread per core, and none of them may wait for a disk. If the data is in memory, the task reads
/// it itself.
///
/// At the end of the log, a change wakes the task directly. The task then reads from the operating
/// system's cache, which nearly always has the record that was just written. If the cache has no
/// record, or the storage cannot report its content, the thread reads. The thread also looks for
/// the end after the records that were read.
///
/// Any number of tasks may take records. Each record and each loss goes to one of them.
///
/// The thread starts with the first batch and ends with the last reference to this object.
final class RecordFeed: @unchecked Sendable {
  private struct Batch {
    /// The records that were not taken yet.
    var records: RecordBatch?
    var ending: BatchEnding?
  }

  /// The event after the records of a batch. nil: more records, or the end of the log.
  private enum BatchEnding {
    case error(QueueError)
    /// The end of the log, without following it.
    case end
    /// The end of the buffer, for a task that waited and gets few records.
    ///
    /// The next batch is read when the task asks for it: reading ahead on the thread would take
    /// longer than processing these records.
    case buffered
    /// A change after the end of the log, or the error that ended the wait for one.
    case changed(Result<Void, QueueError>)
  }

  /// A task processes fewer records than this before a woken thread would begin to read ahead.
  private static let fewRecords = 16

  private let thread = BackgroundThread()
  /// The topic's path, for messages.
  let path: String
  private let isFollowing: Bool
  /// The bound of one batch. The reader's buffer is another one.
  private let mostRecords: Int
  /// Whether reading may wait for a disk.
  private let mayBlock: Bool
  private let onLoss: (@Sendable (Loss) -> Void)?
  /// Owned by the thread's job or the task that reads, of which there is one at a time. See
  /// `State.isReading`.
  private var reader: QueueReader
  /// Whether the storage can report which bytes are available without waiting, as far as that is
  /// known. Owned like `reader`.
  private var readsHere = true

  private struct State {
    /// The batch from which tasks take records.
    var current = Batch()
    /// A batch that was read ahead.
    var ahead: Batch?
    /// The number of batches that were requested.
    var requests: UInt64 = 0
    /// Whether a batch is being read. True also during the wait for a change. A task or a job that
    /// sets this owns the reader until it stores the batch.
    var isReading = false
    var isFinished = false

    mutating func request() {
      requests += 1
      isReading = true
    }

    /// What a task does that found no record.
    enum FeedStep {
      /// There are records. The caller starts the thread if the next batch is to be read ahead.
      case take(readingAhead: Bool)
      case end
      case fail(QueueError)
      /// The caller reads.
      case read(isAwaited: Bool)
      /// The next batch is being read.
      case wait(request: UInt64)
    }

    mutating func next(mayReadAhead: Bool) -> FeedStep {
      guard !isFinished else { return .end }
      while true {
        if current.records?.isEmpty == false { return .take(readingAhead: false) }
        current.records = nil
        switch current.ending.take() {
        case .error(let error), .changed(.failure(let error)): return .fail(error)
        case .end: return .end
        case .changed(.success):
          request()
          return .read(isAwaited: true)
        case .buffered, nil: break
        }
        guard let batch = ahead.take() else { break }
        current = batch
        // The thread reads ahead while the task processes this batch.
        if mayReadAhead, batch.ending == nil, !isReading {
          request()
          return .take(readingAhead: true)
        }
      }
      guard !isReading else { return .wait(request: requests) }
      request()
      return .read(isAwaited: false)
    }
  }

  /// The state that the tasks and the thread share.
  ///
  /// It is an object of its own, because a thread that makes a change stores its note here. That
  /// thread must not get the last reference to the reading thread: it would wait for the thread's
  /// end.
  private final class Box: Sendable {
    let state = Mutex(State())
    /// The number of requests that were answered.
    let answers = Progress()

    func store(_ batch: Batch) {
      state.withLock {
        $0.ahead = batch
        $0.isReading = false
      }
      answers.advance()
    }
  }
  private let box = Box()

  /// - Parameter reader: Its closure for losses is called by the task that takes records.
  init(_ reader: consuming QueueReader, upTo mostRecords: Int, isFollowing: Bool) {
    mayBlock = reader.walker.index.storage.mayBlock
    path = reader.topic.description
    onLoss = reader.onLoss
    reader.onLoss = nil
    self.reader = reader
    self.mostRecords = mostRecords
    self.isFollowing = isFollowing
  }

  // Permanently: a change during this call must not start the thread again.
  deinit { thread.close() }

  // MARK: For tasks

  /// Takes a record that was read. Nil does not mean the end of the log.
  func takeRecord() -> QueueRecord? { box.state.withLock { $0.current.records?.takeFirst() } }

  /// Takes all records that were read, as one batch. Nil does not mean the end of the log.
  func takeBatch() -> RecordBatch? {
    box.state.withLock { state in
      guard state.current.records?.isEmpty == false else { return nil }
      return state.current.records.take()
    }
  }

  /// Makes records available to `takeRecord` and `takeBatch`. Another task may take them first.
  /// Returns false at the end of the log, which is not followed.
  ///
  /// - Throws: `cancelled`, immediately, if the task is cancelled. The next call continues.
  func more() async throws(QueueError) -> Bool {
    while true {
      switch box.state.withLock({ $0.next(mayReadAhead: mayBlock) }) {
      case .take(let readingAhead):
        if readingAhead {
          do throws(QueueError) {
            try start(isAwaited: false)
          } catch {
            // The records that were read come first. The next call tries again.
          }
        }
        return true
      case .end:
        return false
      case .fail(let error):
        guard let loss = error.loss, let onLoss else { throw error }
        onLoss(loss)
      case .read(let isAwaited):
        if !mayBlock {
          readOne(isAwaited: isAwaited)
        } else if isAwaited, let records = readWithoutWaiting() {
          box.store(Batch(records: records, ending: .buffered))
        } else {
          try start(isAwaited: isAwaited)
        }
      case .wait(let request):
        try await box.answers.wait(for: request)
      }
    }
  }

  /// Ends the sequence for all tasks, also for those that wait. Records that were read and not
  /// taken are dropped.
  func finish() {
    box.state.withLock { state in
      state.isFinished = true
      state.current = Batch()
    }
    // All tasks that wait, wait for the same request.
    box.answers.advance()
  }

  // MARK: For the owner of the reader

  /// Returns the records that a change brought, as far as they are available without waiting for a
  /// disk.
  private func readWithoutWaiting() -> RecordBatch? {
    readsHere = reader.loadWithoutWaiting()
    return reader.nextBufferedBatch(upTo: mostRecords)
  }

  /// Makes the thread read the requested batch.
  private func start(isAwaited: Bool) throws(QueueError) {
    do throws(SystemError) {
      try thread.submit { self.readOne(isAwaited: isAwaited) }
    } catch {
      box.state.withLock { $0.isReading = false }
      // Other tasks may wait for this batch. They try again.
      box.answers.advance()
      throw .system(error, doing: "starting a thread to read on", path: path)
    }
  }

  /// Reads the requested batch and stores it. At the end of a followed log, it is read later, after
  /// a change.
  ///
  /// - Parameter isAwaited: Whether a task has waited for a record. It then gets few records at
  ///   once, before the reader looks for more, which lists the directory.
  private func readOne(isAwaited: Bool) {
    do throws(QueueError) {
      while true {
        if let records = try reader.nextBatch(upTo: mostRecords) {
          let isShort = isAwaited && records.count < Self.fewRecords
          return box.store(Batch(records: records, ending: isShort ? .buffered : nil))
        }
        guard isFollowing else { return box.store(Batch(ending: .end)) }
        if let wait = try reader.follower.wait() { return readOn(after: wait) }
      }
    } catch {
      box.store(Batch(ending: .error(error)))
    }
  }

  /// Stores a note when the wait has ended. If the task could not read, the thread reads instead.
  private func readOn(after wait: Follower.Wait) {
    guard mayBlock, !readsHere else {
      return wait.whenChanged { [box] in box.store(Batch(ending: .changed($0))) }
    }
    // Weak, because no task may want the result any more. Only the thread makes a strong reference
    // of it. The last reference ends the thread, and a writer must not wait for that.
    wait.whenChanged { [weak self, thread] result in
      do throws(SystemError) {
        try thread.submit { [weak self] in self?.readOne(after: result) }
      } catch {
        // This cannot fail while a task waits for a batch. The thread is running, and it is closed
        // only with the last reference to this object.
      }
    }
  }

  /// - Parameter change: The result of the wait before this batch.
  private func readOne(after change: Result<Void, QueueError>) {
    switch change {
    case .success: readOne(isAwaited: true)
    case .failure(let error): box.store(Batch(ending: .error(error)))
    }
  }
}
