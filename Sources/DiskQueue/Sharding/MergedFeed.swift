// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Reads shards in turn for tasks, on a thread of its own. The cooperative pool has one thread for
/// each core, and none of them may wait for a disk.
///
/// If all shards are at their ends, a change itself makes the thread read on. A task is woken when
/// there is a record.
///
/// Any number of tasks may take records. Each record and each loss goes to one of them.
///
/// The thread starts with the first batch and ends with the last reference to this.
final class MergedFeed: @unchecked Sendable {
  /// A batch holds its records in reverse order, and they are taken from its end: the last element
  /// comes first.
  private typealias Batch = MergedReading.Batch

  private let thread = BackgroundThread()
  /// The topic's path, for messages.
  let path: String
  private let onLoss: (@Sendable (Int, Loss) -> Void)?
  /// For the thread's jobs alone, of which there is one at a time.
  private let reading: MergedReading

  private struct State {
    /// The batch from which tasks take records.
    var current = Batch()
    /// A batch that was read ahead.
    var ahead: Batch?
    /// How many batches were requested.
    var requests: UInt64 = 0
    /// True also while the thread waits for a change.
    var isReading = false
    var isFinished = false

    mutating func request() {
      requests += 1
      isReading = true
    }

    /// What a task does that found no record.
    enum MergeStep {
      /// There are records. The caller starts the thread if the next batch is to be read ahead.
      case take(readingAhead: Bool)
      case end
      case fail(QueueError)
      case lose(shard: Int, Loss, path: String)
      /// The caller starts the thread.
      case read
      /// The next batch is being read.
      case wait(request: UInt64)
    }

    mutating func next() -> MergeStep {
      guard !isFinished else { return .end }
      while true {
        if !current.records.isEmpty { return .take(readingAhead: false) }
        switch current.ending.take() {
        case .error(let error): return .fail(error)
        case .loss(let loss, let path): return .lose(shard: current.shard, loss, path: path)
        case .end: return .end
        case nil: break
        }
        guard let batch = ahead.take() else { break }
        current = batch
        // After a turn, the thread reads ahead while the caller goes through the records.
        if batch.ending == nil, !isReading {
          request()
          return .take(readingAhead: true)
        }
      }
      guard !isReading else { return .wait(request: requests) }
      request()
      return .read
    }
  }
  private let state = Mutex(State())
  /// How many requests were answered.
  private let answers = Progress()

  init(
    _ reading: sending MergedReading, path: String, onLoss: (@Sendable (Int, Loss) -> Void)?
  ) {
    self.reading = reading
    self.path = path
    self.onLoss = onLoss
  }

  // For good: a change that comes meanwhile must not start the thread again.
  deinit { thread.close() }

  /// Takes a record that was read. Nil does not mean the end of the shards.
  func takeRecord() -> ShardedRecord? {
    state.withLock { state in
      let shard = state.current.shard
      return state.current.records.popLast().map { ShardedRecord(shard: shard, record: $0) }
    }
  }

  /// Makes records available to `takeRecord`. Another task may take them first. Returns false at
  /// the end of all shards, which are not followed.
  ///
  /// - Throws: `cancelled`, immediately, if the task is cancelled. The next call continues.
  func more() async throws(QueueError) -> Bool {
    while true {
      switch state.withLock({ $0.next() }) {
      case .take(let readingAhead):
        if readingAhead {
          do throws(QueueError) {
            try start()
          } catch {
            // The records that were read come first. The next call tries again.
          }
        }
        return true
      case .end:
        return false
      case .fail(let error):
        throw error
      case .lose(let shard, let loss, let path):
        guard let onLoss else { throw .loss(loss, path: path) }
        onLoss(shard, loss)
      case .read:
        try start()
      case .wait(let request):
        try await answers.wait(for: request)
      }
    }
  }

  /// Ends the sequence for all tasks, also for those that wait. Records that were read and not
  /// taken are dropped.
  func finish() {
    state.withLock { state in
      state.isFinished = true
      state.current = Batch()
    }
    // All tasks that wait, wait for the same request.
    answers.advance()
  }

  private func start() throws(QueueError) {
    do throws(SystemError) {
      try thread.submit { self.readOne() }
    } catch {
      state.withLock { $0.isReading = false }
      // Other tasks may wait for this batch. They try again.
      answers.advance()
      throw .system(error, doing: "starting a thread to read on", path: path)
    }
  }

  private func readOne() {
    // Read before the look.
    let seen = reading.changes?.value
    var batch = Batch(ending: .end)
    if let turn = reading.next() {
      batch = turn
      batch.records.reverse()
    } else if let seen, let changes = reading.changes {
      // There is nothing to read: the task sleeps on.
      return readOn(afterChangePast: seen, changes)
    }
    state.withLock {
      $0.ahead = batch
      $0.isReading = false
    }
    answers.advance()
  }

  /// Makes the thread read on after a change.
  private func readOn(afterChangePast seen: UInt64, _ changes: ShardChanges) {
    // Weak: the feed may be gone by then. Only the thread makes a strong reference of it. The last
    // such reference ends the thread, and a writer must not wait for that.
    changes.whenChanged(since: seen) { [weak self, thread] _ in
      do throws(SystemError) {
        try thread.submit { [weak self] in self?.readOne() }
      } catch {
        // The thread runs already, so this fails only after the last reference to the feed has
        // closed it. No call waits for a batch then.
      }
    }
  }
}
