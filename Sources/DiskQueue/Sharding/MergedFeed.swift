// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Reads shards in turn for a task, on a thread of its own: the cooperative pool has a thread a core,
/// and none of them may wait for a disk.
///
/// Where all shards are at their ends, it is a change itself that has the thread read on, and the task is
/// woken when there is a record.
///
/// The thread starts with the first batch and ends with the last reference to this.
final class MergedFeed: @unchecked Sendable {
  /// The records of a batch are in the order in which they are taken, from behind: the last one comes
  /// first.
  typealias Batch = MergedReading.Batch

  private let thread = BackgroundThread()
  private let path: String
  /// Of the thread's jobs alone, of which there is one at a time.
  private let reading: MergedReading

  private struct Order {
    /// How many batches were asked for.
    var asked: UInt64 = 0
    /// Read, and not taken yet.
    var batch: Batch?
    /// Also while it waits for a change.
    var isUnderWay = false
  }
  private let order = Mutex(Order())
  /// How many batches were read.
  private let read = Progress()

  init(_ reading: sending MergedReading, path: String) {
    self.reading = reading
    self.path = path
  }

  // For good: a change that comes meanwhile must not start it again.
  deinit { thread.close() }

  /// The next batch. One task asks at a time.
  ///
  /// - Throws: `cancelled` at once where the task is; the batch is the next one's then.
  func next() async throws(QueueError) -> Batch {
    while true {
      let (number, isNew, batch) = order.withLock { order in
        let batch = order.batch.take()
        // Behind a turn the thread reads ahead, while its records are gone through.
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
        // What was read comes first; the next call tries again.
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
    // Asked for before the look.
    let seen = reading.changes?.value
    var batch = Batch(ending: .end)
    if let turn = reading.next() {
      batch = turn
      batch.records.reverse()
    } else if let seen, let changes = reading.changes {
      // Nothing to read: the task sleeps on.
      return readOn(afterChangeBehind: seen, changes)
    }
    order.withLock {
      $0.batch = batch
      $0.isUnderWay = false
    }
    read.advance()
  }

  /// Has the thread read on once there was a change.
  private func readOn(afterChangeBehind seen: UInt64, _ changes: ShardChanges) {
    // Weak: nobody may be left to want it. Only the thread makes a reference of that, as the last one
    // ends the thread, for which a writer must not wait.
    changes.whenChanged(since: seen) { [weak self, thread] _ in
      do throws(SystemError) {
        try thread.submit { [weak self] in self?.readOne() }
      } catch {
        // It runs, and is closed with the last reference to this: nobody waits for a batch.
      }
    }
  }
}
