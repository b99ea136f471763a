// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

extension QueueReader {
  /// The records from ``position`` on, as an asynchronous sequence.
  ///
  /// ```swift
  /// for try await record in try QueueReader(topic: "sensors").records(following: true) {
  ///   print(record.address, record.text ?? "")
  /// }
  /// ```
  ///
  /// - Parameter following: whether to wait at the end of the log for what is appended, by
  ///   wake-up; false by default, which ends the sequence there.
  public consuming func records(following: Bool = false) -> Records {
    let onLoss = onLoss
    var reader = self
    reader.onLoss = nil
    return Records(RecordFeed(reader, isFollowing: following), onLoss)
  }

  /// The records of a reader, read in batches of up to 512 records or 256 KiB (one record at
  /// least), on a thread of its own, which is one batch ahead and ends with the sequence and its
  /// iterators. A topic in memory needs no thread: the task reads.
  ///
  /// Single pass: a second loop goes on where the first one ended, also after an error, and after
  /// the end of the log. One loop at a time.
  ///
  /// A cancelled task is told so by the error `cancelled`, before the next record and at once where
  /// it waits; nil would read as the end of the log. No record is lost by that: the next loop goes
  /// on behind the last one that was given.
  ///
  /// Losses go to the reader's `onLoss`, called by the task that asks for the next record, in order
  /// with the records; without it they are thrown, once each.
  public struct Records: AsyncSequence {
    public typealias Element = QueueRecord
    public typealias Failure = QueueError

    private let source: Source

    fileprivate init(_ feed: RecordFeed, _ onLoss: ((Loss) -> Void)?) {
      source = Source(feed, onLoss)
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(source: source) }

    public struct AsyncIterator: AsyncIteratorProtocol {
      fileprivate let source: Source

      /// The next record, or nil at the end of the log where that is not followed.
      ///
      /// - Throws: as ``QueueReader/next()``; `cancelled`; where the end is followed as
      ///   ``QueueReader/waitForMore()``; `system` where the system has no thread to give.
      public mutating func next(
        isolation actor: isolated (any Actor)? = #isolation
      ) async throws(QueueError) -> QueueRecord? {
        guard !Task.isCancelled else { throw .cancelled() }
        if let record = source.batch.records.popLast() { return record }
        return try await source.nextBatch(isolation: actor)
      }
    }

    /// What all iterators share.
    fileprivate final class Source {
      var batch = RecordFeed.Batch()
      private let feed: RecordFeed
      private let onLoss: ((Loss) -> Void)?

      init(_ feed: RecordFeed, _ onLoss: ((Loss) -> Void)?) {
        self.feed = feed
        self.onLoss = onLoss
      }

      /// The first record of the next batch that has one.
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

/// Reads records for a task, many at a time, on a thread of its own: the cooperative pool has a
/// thread a core, and none of them may wait for a disk. What is in memory the task reads itself.
///
/// At the end of the log the change itself wakes the task, which reads what the system has in its cache:
/// nearly always the record that was just written. Where that shows none, or the storage cannot tell
/// what it has, the thread looks; it also looks for the end behind what was read.
///
/// The thread starts with the first batch and ends with the last reference to this.
private final class RecordFeed: @unchecked Sendable {
  struct Batch {
    /// The last one comes first: they are taken from behind.
    var records: [QueueRecord] = []
    var ending: Ending?
  }

  /// Why a batch ended where it did; nil: it was full.
  enum Ending {
    case error(QueueError)
    /// The end of the log, which is not followed.
    case end
    /// The end of the log so far: the next batch is read when that is over.
    case waiting(Follower.Wait)
    /// The end of the buffer, for a task that waited and gets few records. The next batch is read
    /// when it is asked for: to have the thread read ahead takes longer than to go through these.
    case buffered
    /// There was a change behind the end of the log, or what ended the wait for one.
    case changed(Result<Void, QueueError>)
  }

  /// So much is read at a time, whatever the payloads' size: it bounds the memory, and how often a
  /// task is suspended.
  static let mostRecords = 512
  static let mostBytes = 256 << 10

  /// Fewer are gone through sooner than a thread is woken to read ahead.
  static let fewRecords = 16

  private let thread = BackgroundThread()
  private let isFollowing: Bool
  /// Whether reading may wait for a disk.
  private let mayBlock: Bool
  /// Of whoever has the turn: the thread's job, of which there is one at a time, while one is under way;
  /// else the task.
  private var reader: QueueReader
  /// Whether the storage can tell what is had without waiting, as far as that is known. As `reader`.
  private var readsHere = true

  private struct Order {
    /// How many batches were asked for.
    var asked: UInt64 = 0
    /// Read, and not taken yet.
    var batch: Batch?
    /// Also while it waits for a change.
    var isUnderWay = false
    /// Where the last batch ended at the end of the log: what the next one waits for.
    var wait: Follower.Wait?

    mutating func ask() {
      asked += 1
      isUnderWay = true
    }
  }

  /// What the thread leaves for the task. An object of its own: who makes a change leaves a note of it
  /// here, and must not come to hold the last reference to the thread, whose end it would wait for.
  private final class Box: Sendable {
    let order = Mutex(Order())
    /// How many batches were left.
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

  /// - Parameter reader: one that throws its losses.
  init(_ reader: consuming QueueReader, isFollowing: Bool) {
    mayBlock = reader.walker.index.storage.mayBlock
    self.reader = reader
    self.isFollowing = isFollowing
  }

  // For good: a change that comes meanwhile must not start it again.
  deinit { thread.close() }

  /// The next batch. One task asks at a time.
  ///
  /// - Throws: `cancelled` at once where the task is; the batch is the next one's then.
  func next() async throws(QueueError) -> Batch {
    guard mayBlock else { return try await nextHere() }
    while true {
      let (number, isNew, batch, wait) = box.order.withLock { order in
        let batch = order.batch.take()
        // Behind a full batch the thread reads ahead, while this one is gone through.
        let isNew = !order.isUnderWay && (batch == nil || batch?.ending == nil)
        if isNew { order.ask() }
        return (order.asked, isNew, batch, isNew ? order.wait.take() : nil)
      }
      do throws(QueueError) {
        if let wait { readOn(after: wait) } else if isNew { try start() }
      } catch {
        // What was read comes first; the next call tries again.
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

  /// What the change brought, as far as that is had without waiting for a disk.
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

  /// The next batch, read by the task itself.
  private func nextHere() async throws(QueueError) -> Batch {
    var isAwaited = false
    while true {
      let batch = readBatch(isAwaited: isAwaited)
      guard case .waiting(let wait)? = batch.ending, batch.records.isEmpty else { return batch }
      try await wait.change()
      isAwaited = true
    }
  }

  /// Has the thread read the batch that was asked for.
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

  /// Leaves a note once that is over; where the task could not read, the thread does.
  private func readOn(after wait: Follower.Wait) {
    guard !readsHere else {
      return wait.whenChanged { [box] in box.leave(Batch(ending: .changed($0))) }
    }
    // Weak: nobody may be left to want it. Only the thread makes a reference of that, as the last
    // one ends the thread, for which a writer must not wait.
    wait.whenChanged { [weak self, thread] result in
      do throws(SystemError) {
        try thread.submit { [weak self] in self?.readOne(behind: result, isAwaited: true) }
      } catch {
        // It runs, and is closed with the last reference to this: nobody waits for a batch.
      }
    }
  }

  /// - Parameter change: how the wait that preceded it ended.
  private func readOne(behind change: Result<Void, QueueError> = .success(()), isAwaited: Bool) {
    var batch = Batch()
    do throws(QueueError) {
      try change.get()
      batch = readBatch(isAwaited: isAwaited)
    } catch {
      batch.ending = .error(error)
    }
    var wait: Follower.Wait?
    if case .waiting(let until) = batch.ending { wait = until }
    // A change without a record: the task sleeps on.
    if let wait, batch.records.isEmpty { return readOn(after: wait) }
    box.leave(batch, wait: wait)
  }

  /// - Parameter isAwaited: whether a task has waited for a record: it gets those that are in the
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
