// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Reads shards in turn for a task, on a thread of its own. The cooperative pool has one thread for
/// each core, and none of them may wait for a disk.
///
/// If all shards are at their ends, a change itself makes the thread read on. The task is woken
/// when there is a record.
///
/// The thread starts with the first batch and ends with the last reference to this.
final class MergedFeed: @unchecked Sendable {
  /// A batch holds its records in reverse order, and they are taken from its end: the last element
  /// comes first.
  typealias Batch = MergedReading.Batch

  private let thread = BackgroundThread()
  private let path: String
  /// For the thread's jobs alone, of which there is one at a time.
  private let reading: MergedReading

  private struct TurnRequests {
    /// How many batches were asked for.
    var asked: UInt64 = 0
    /// The batch that was read and not taken yet.
    var batch: Batch?
    /// True also while the thread waits for a change.
    var isUnderWay = false
  }
  private let order = Mutex(TurnRequests())
  /// How many batches were read.
  private let read = Progress()

  init(_ reading: sending MergedReading, path: String) {
    self.reading = reading
    self.path = path
  }

  // For good: a change that comes meanwhile must not start the thread again.
  deinit { thread.close() }

  /// The next batch. Only one task at a time may ask for it.
  ///
  /// - Throws: `cancelled` at once if the task is cancelled. The next call gets the batch then.
  func next() async throws(QueueError) -> Batch {
    while true {
      let (number, isNew, batch) = order.withLock { order in
        let batch = order.batch.take()
        // After a turn, the thread reads ahead while the caller goes through the records.
        let isNew = !order.isUnderWay && batch?.ending == nil
        if isNew {
          order.asked += 1
          order.isUnderWay = true
        }
        return (order.asked, isNew, batch)
      }
      do throws(QueueError) {
        if isNew { try start() }
      } catch {
        // The batch already read comes first. The next call tries again.
        guard batch != nil else { throw error }
      }
      if let batch { return batch }
      try await read.wait(for: number)
    }
  }

  private func start() throws(QueueError) {
    do throws(SystemError) {
      try thread.submit { self.readOne() }
    } catch {
      order.withLock {
        $0.asked -= 1
        $0.isUnderWay = false
      }
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
    order.withLock {
      $0.batch = batch
      $0.isUnderWay = false
    }
    read.advance()
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
