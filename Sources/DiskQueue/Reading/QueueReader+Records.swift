// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

extension QueueReader {
  /// Returns the records from ``position`` on, as an asynchronous sequence.
  ///
  /// ```swift
  /// for try await record in try QueueReader(topic: "sensors").records(following: true) {
  ///   print(record.address, record.text ?? "")
  /// }
  /// ```
  ///
  /// - Parameter following: Whether to wait at the end of the log for more records, which wake the
  ///   task. false by default: the sequence ends there.
  public consuming func records(following: Bool = false) -> Records {
    let onLoss = onLoss
    var reader = self
    reader.onLoss = nil
    return Records(RecordFeed(reader, isFollowing: following), onLoss)
  }

  /// The records of a reader as an asynchronous sequence.
  ///
  /// - Records are read in batches of up to 512 records or 256 KiB, one record at least. The
  ///   sequence's own thread reads one batch ahead. It ends with the sequence and its iterators. A
  ///   topic in memory needs no thread: the task reads.
  /// - The sequence is single-pass. A second loop continues after the first one, also after an
  ///   error and after the end of the log. Run one loop at a time.
  /// - In a cancelled task the next call throws `cancelled`, before the next record, and
  ///   immediately during a wait. It does not return nil, which would mean the end of the log. No
  ///   record is lost: the next loop continues after the last record that was returned.
  /// - The task that asks for the next record calls the reader's `onLoss` for each loss, in order
  ///   with the records. Without `onLoss` each loss is thrown once.
  public struct Records: AsyncSequence {
    /// The sequence consists of records.
    public typealias Element = QueueRecord
    /// Every error of the sequence is a ``QueueError``.
    public typealias Failure = QueueError

    private let source: RecordSource

    fileprivate init(_ feed: RecordFeed, _ onLoss: ((Loss) -> Void)?) {
      source = RecordSource(feed, onLoss)
    }

    /// Makes an iterator. It continues after the record that was returned last.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(source: source) }

    /// Iterates over the records of a reader.
    public struct AsyncIterator: AsyncIteratorProtocol {
      fileprivate let source: RecordSource

      /// Returns the next record, or nil at the end of the log if the sequence does not follow it.
      ///
      /// - Throws: As ``QueueReader/next()``. Also `cancelled`, and `system` if the operating
      ///   system refuses a thread. If the sequence follows the log, also as
      ///   ``QueueReader/waitForMore()``.
      public mutating func next(
        isolation actor: isolated (any Actor)? = #isolation
      ) async throws(QueueError) -> QueueRecord? {
        guard !Task.isCancelled else { throw .cancelled() }
        if let record = source.batch.records.popLast() { return record }
        return try await source.nextBatch(isolation: actor)
      }
    }

    /// The state that all iterators share.
    fileprivate final class RecordSource {
      var batch = RecordFeed.Batch()
      private let feed: RecordFeed
      private let onLoss: ((Loss) -> Void)?

      init(_ feed: RecordFeed, _ onLoss: ((Loss) -> Void)?) {
        self.feed = feed
        self.onLoss = onLoss
      }

      /// Returns the first record of the next batch that has one.
      func nextBatch(
        isolation actor: isolated (any Actor)?
      ) async throws(QueueError) -> QueueRecord? {
        while true {
          switch batch.ending.take() {
          case .error(let error):
            guard let loss = error.loss, let onLoss else { throw error }
            onLoss(loss)
          case .end:
            return nil
          case .waiting, .buffered, .changed, nil:
            break
          }
          batch = try await feed.next()
          if let record = batch.records.popLast() { return record }
        }
      }
    }
  }
}

/// Reads records for a task, many at a time, on its own thread. The cooperative pool has one thread
/// per core, and none of them may wait for a disk. If the data is in memory, the task reads it
/// itself.
///
/// At the end of the log, a change wakes the task directly. The task then reads from the operating
/// system's cache, which nearly always has the record that was just written. If the cache has no
/// record, or the storage cannot report its content, the thread reads. The thread also looks for
/// the end after the records that were read.
///
/// The thread starts with the first batch and ends with the last reference to this object.
private final class RecordFeed: @unchecked Sendable {
  struct Batch {
    /// In reverse order, because records are taken from the end of the array.
    var records: [QueueRecord] = []
    var ending: BatchEnding?
  }

  /// The reason for the end of a batch. nil: the batch was full.
  enum BatchEnding {
    case error(QueueError)
    /// The end of the log, without following it.
    case end
    /// The end of the log so far. The next batch is read after this wait.
    case waiting(Follower.Wait)
    /// The end of the buffer, for a task that waited and gets few records.
    ///
    /// The next batch is read when the task asks for it: reading ahead on the thread would take
    /// longer than processing these records.
    case buffered
    /// A change after the end of the log, or the error that ended the wait for one.
    case changed(Result<Void, QueueError>)
  }

  /// The bounds of one batch. They limit the memory, and how often the task is suspended.
  static let mostRecords = 512
  static let mostBytes = 256 << 10

  /// A task processes fewer records than this before a woken thread would begin to read ahead.
  static let fewRecords = 16

  private let thread = BackgroundThread()
  private let isFollowing: Bool
  /// Whether reading may wait for a disk.
  private let mayBlock: Bool
  /// Owned by the thread's job while one is running, and otherwise by the task. There is one job at
  /// a time.
  private var reader: QueueReader
  /// Whether the storage can report which bytes are available without waiting, as far as that is
  /// known. Owned like `reader`.
  private var readsHere = true

  private struct BatchRequests {
    /// The number of batches that were requested.
    var asked: UInt64 = 0
    /// A batch that was read and not taken yet.
    var batch: Batch?
    /// True also during the wait for a change.
    var isUnderWay = false
    /// If the last batch ended at the end of the log: the wait before the next one.
    var wait: Follower.Wait?

    mutating func ask() {
      asked += 1
      isUnderWay = true
    }
  }

  /// The thread's results for the task.
  ///
  /// It is an object of its own, because a thread that makes a change stores its note here. That
  /// thread must not get the last reference to the reading thread: it would wait for the thread's
  /// end.
  private final class Box: Sendable {
    let order = Mutex(BatchRequests())
    /// The number of batches that were stored here.
    let left = Progress()

    func leave(_ batch: Batch, wait: Follower.Wait? = nil) {
      order.withLock {
        $0.batch = batch
        $0.isUnderWay = false
        $0.wait = wait
      }
      left.advance()
    }
  }
  private let box = Box()

  /// - Parameter reader: A reader that throws its losses.
  init(_ reader: consuming QueueReader, isFollowing: Bool) {
    mayBlock = reader.walker.index.storage.mayBlock
    self.reader = reader
    self.isFollowing = isFollowing
  }

  // Permanently: a change during this call must not start the thread again.
  deinit { thread.close() }

  /// Returns the next batch. One task asks at a time.
  ///
  /// - Throws: `cancelled`, immediately, if the task is cancelled. The next call gets the batch.
  func next() async throws(QueueError) -> Batch {
    guard mayBlock else { return try await nextHere() }
    while true {
      let (number, isNew, batch, wait) = box.order.withLock { order in
        let batch = order.batch.take()
        // After a full batch, the thread reads ahead while the task processes this one.
        let isNew = !order.isUnderWay && (batch == nil || batch?.ending == nil)
        if isNew { order.ask() }
        return (order.asked, isNew, batch, isNew ? order.wait.take() : nil)
      }
      do throws(QueueError) {
        if let wait { readOn(after: wait) } else if isNew { try start() }
      } catch {
        // The batch that was read comes first. The next call tries again.
        guard batch != nil else { throw error }
      }
      if let batch {
        guard case .changed(let change)? = batch.ending else { return batch }
        if case .failure(let error) = change { return Batch(ending: .error(error)) }
        let found = readWithoutWaiting()
        if !found.records.isEmpty { return found }
        box.order.withLock { $0.ask() }
        try start(isAwaited: true)
      }
      try await box.left.wait(for: batch == nil ? number : number + 1)
    }
  }

  /// Returns the records that the change brought, as far as they are available without waiting for
  /// a disk.
  private func readWithoutWaiting() -> Batch {
    readsHere = reader.loadWithoutWaiting()
    var batch = Batch(ending: .buffered)
    var bytes = 0
    while batch.records.count < Self.mostRecords, bytes < Self.mostBytes,
      let record = reader.nextBufferedCopy()
    {
      bytes += record.payload.count
      batch.records.append(record)
    }
    batch.records.reverse()
    return batch
  }

  /// Returns the next batch, read by the task itself.
  private func nextHere() async throws(QueueError) -> Batch {
    var isAwaited = false
    while true {
      let batch = readBatch(isAwaited: isAwaited)
      guard case .waiting(let wait)? = batch.ending, batch.records.isEmpty else { return batch }
      try await wait.change()
      isAwaited = true
    }
  }

  /// Makes the thread read the requested batch.
  private func start(isAwaited: Bool = false) throws(QueueError) {
    do throws(SystemError) {
      try thread.submit { self.readOne(isAwaited: isAwaited) }
    } catch {
      box.order.withLock {
        $0.asked -= 1
        $0.isUnderWay = false
      }
      throw .system(error, doing: "starting a thread to read on", path: reader.topic.description)
    }
  }

  /// Stores a note when the wait has ended. If the task could not read, the thread reads instead.
  private func readOn(after wait: Follower.Wait) {
    guard !readsHere else {
      return wait.whenChanged { [box] in box.leave(Batch(ending: .changed($0))) }
    }
    // Weak, because no task may want the result any more. Only the thread makes a strong reference
    // of it. The last reference ends the thread, and a writer must not wait for that.
    wait.whenChanged { [weak self, thread] result in
      do throws(SystemError) {
        try thread.submit { [weak self] in self?.readOne(after: result, isAwaited: true) }
      } catch {
        // This cannot fail while a task waits for a batch: the thread is running, and it is closed
        // only with the last reference to this object.
      }
    }
  }

  /// - Parameter change: The result of the wait before this batch.
  private func readOne(after change: Result<Void, QueueError> = .success(()), isAwaited: Bool) {
    var batch = Batch()
    do throws(QueueError) {
      try change.get()
      batch = readBatch(isAwaited: isAwaited)
    } catch {
      batch.ending = .error(error)
    }
    var wait: Follower.Wait?
    if case .waiting(let until) = batch.ending { wait = until }
    // A change without a record: the task continues to sleep.
    if let wait, batch.records.isEmpty { return readOn(after: wait) }
    box.leave(batch, wait: wait)
  }

  /// - Parameter isAwaited: Whether a task has waited for a record. It then gets the records in the
  ///   buffer before the reader looks for more, which lists the directory.
  private func readBatch(isAwaited: Bool) -> Batch {
    var batch = Batch()
    var bytes = 0
    do throws(QueueError) {
      while batch.records.count < Self.mostRecords, bytes < Self.mostBytes {
        let isBuffered = isAwaited && !batch.records.isEmpty
        if let record = isBuffered ? reader.nextBufferedCopy() : try reader.nextCopy() {
          bytes += record.payload.count
          batch.records.append(record)
        } else if isBuffered {
          if batch.records.count < Self.fewRecords { batch.ending = .buffered }
          break
        } else if !isFollowing {
          batch.ending = .end
          break
        } else if let wait = try reader.follower.wait() {
          batch.ending = .waiting(wait)
          break
        }
      }
    } catch {
      batch.ending = .error(error)
    }
    batch.records.reverse()
    return batch
  }
}
