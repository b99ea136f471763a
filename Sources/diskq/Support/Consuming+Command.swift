// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Synchronization

extension Consuming {
  /// How many records no job has taken yet, up to `--limit`.
  private final class Remaining: Sendable {
    private let count: Mutex<UInt64>

    init(_ limit: UInt64) { count = Mutex(limit) }

    func take(_ most: Int) -> Int {
      count.withLock { count in
        let taken = min(count, UInt64(most))
        count -= taken
        return Int(taken)
      }
    }

    func giveBack(_ taken: Int) { count.withLock { $0 += UInt64(taken) } }
  }

  /// The acknowledgements of a job.
  ///
  /// If they overlap, the command runs for the next records while the disk syncs the
  /// acknowledgement of the last ones. At most one is under way, so after a crash at most the
  /// records of two runs come again.
  private struct Acknowledgements {
    let overlap: Bool
    private var pending: Task<Void, any Error>?

    init(overlap: Bool) { self.overlap = overlap }

    mutating func acknowledge(_ records: Range<Int>, of batch: QueueConsumer.Batch) async throws {
      try await finish()
      pending = Task { try await batch.acknowledge(only: records) }
      if !overlap { try await finish() }
    }

    /// Waits until the acknowledgement is durable.
    mutating func finish() async throws {
      guard let pending else { return }
      self.pending = nil
      try await pending.value
    }
  }

  /// The state of one job, which runs the command again and again.
  private struct Job {
    let command: RecordCommand
    var acknowledgements: Acknowledgements
    /// Successive records of the batch for which the command has failed, and the reasons. They
    /// become dead letters together, which opens and syncs the other topic once.
    var failed: [(index: Int, reason: String)] = []
  }

  /// Hands records to runs of a command, `jobs` at once.
  ///
  /// - Returns: whether a stop came before the end, or the limit.
  func handOver(to command: RecordCommand, jobs: Int) async throws -> Bool {
    let remaining = Remaining(limit)
    // With one job and a run for each record, records that fail one after the other share the sync
    // of their dead letters. Several jobs share the records evenly.
    let most = jobs == 1 && command.batch == 1 ? 500 : command.batch
    return try await withThrowingTaskGroup(of: Bool.self) { group in
      for _ in 0..<jobs {
        group.addTask {
          var job = Job(
            command: command, acknowledgements: Acknowledgements(overlap: command.batch > 1))
          do {
            let isCutShort = try await work(&job, remaining, upTo: most)
            try await job.acknowledgements.finish()
            return isCutShort
          } catch {
            // The acknowledgement of earlier records counts. If it fails too, closing the consumer
            // reports that.
            try? await job.acknowledgements.finish()
            throw error
          }
        }
      }
      var isCutShort = false
      do {
        for try await wasCutShort in group { isCutShort = isCutShort || wasCutShort }
      } catch {
        // The other jobs end as after a signal: each after its running command.
        stop.ask()
        throw error
      }
      return isCutShort
    }
  }

  /// Takes records and hands them over, up to the end or the limit.
  ///
  /// - Returns: whether a stop came first.
  private func work(
    _ job: inout Job, _ remaining: Remaining, upTo most: Int
  ) async throws -> Bool {
    while true {
      let count = remaining.take(most)
      guard count > 0 else { return false }
      switch try await next(count) {
      case .records(let batch):
        remaining.giveBack(count - batch.count)
        guard try await handOver(batch, &job) else { return true }
      case .end:
        remaining.giveBack(count)
        return false
      case .stop: return true
      }
    }
  }

  /// Hands a batch to the command, as many records at a time as one run gets.
  ///
  /// Failed records wait to become dead letters only while further records fail. They become dead
  /// letters before any record after them is acknowledged, and before a wait for the next try of
  /// the command.
  ///
  /// - Returns: false if a stop was asked for. The records from some index on are then not
  ///   acknowledged.
  private func handOver(_ batch: QueueConsumer.Batch, _ job: inout Job) async throws -> Bool {
    var goesOn = true
    do {
      var start = batch.startIndex
      while start < batch.endIndex, goesOn {
        let end = min(start + job.command.batch, batch.endIndex)
        goesOn = try await handOver(start..<end, of: batch, &job, retries: job.command.retries)
        start = end
      }
    } catch {
      // Put aside the records for which the command had failed, whatever the later error is.
      _ = try await putAside(of: batch, &job)
      throw error
    }
    return try await putAside(of: batch, &job) && goesOn
  }

  /// Runs the command until it takes the records, or has used its retries. It then gets each half
  /// of them, so that only records for which it fails alone become dead letters.
  ///
  /// - Returns: false if a stop was asked for. The records are then not acknowledged, or not all.
  private func handOver(
    _ records: Range<Int>, of batch: QueueConsumer.Batch, _ job: inout Job, retries: UInt64
  ) async throws -> Bool {
    let command = job.command
    var delay = command.firstDelay
    var failures: UInt64 = 0
    guard !stop.isStopped else { return false }
    while true {
      let ending = try await command.run(records, of: batch, for: consumer)
      guard ending != .exited(0) else {
        guard try await putAside(of: batch, &job) else { return false }
        try await job.acknowledgements.acknowledge(records, of: batch)
        return true
      }
      failures += 1
      guard !stop.isStopped else {
        reportStop(ending, records, of: batch)
        return false
      }
      guard !command.isMissing(ending) else {
        throw Failure(
          "the shell cannot run the command (\(ending)): \(unacknowledged(records, of: batch))",
          path: path)
      }
      if failures > retries {
        let times = "\(Count.text(failures, "time")), at last with \(ending)"
        guard putsAside else {
          let comes = records.count == 1 ? "comes" : "come"
          throw Failure(
            "the command failed \(times): \(unacknowledged(records, of: batch)), and \(comes) first"
              + " the next time", path: path)
        }
        guard records.count > 1 else {
          job.failed.append((records.lowerBound, "the command failed \(times)"))
          return true
        }
        return try await handOverHalves(records, of: batch, &job)
      }
      var goesOn = try await putAside(of: batch, &job)
      if goesOn {
        Messages.say(
          "the command failed for \(name(records, of: batch)) (\(ending)): trying again in"
            + " \(TimeSpan.text(delay)) [\(path)]")
        goesOn = try await !isStopAskedFor(within: delay)
      }
      guard goesOn else {
        reportStop(ending, records, of: batch)
        return false
      }
      delay = command.delay(after: delay)
    }
  }

  /// The retries of all records were for a fault outside them, so a half has none. A record that
  /// fails alone has its own.
  private func handOverHalves(
    _ records: Range<Int>, of batch: QueueConsumer.Batch, _ job: inout Job
  ) async throws -> Bool {
    let middle = records.lowerBound + records.count / 2
    for half in [records.lowerBound..<middle, middle..<records.upperBound] {
      let retries = half.count == 1 ? job.command.retries : 0
      guard try await handOver(half, of: batch, &job, retries: retries) else { return false }
    }
    return true
  }

  /// Names records in a message.
  private func name(_ records: Range<Int>, of batch: QueueConsumer.Batch) -> String {
    let first = batch[records.lowerBound].address
    guard records.count > 1 else { return "the record at address \(first)" }
    let last = batch[records.upperBound - 1].address
    return "the \(records.count) records at addresses \(first) to \(last)"
  }

  /// Says of records that they are not acknowledged.
  private func unacknowledged(_ records: Range<Int>, of batch: QueueConsumer.Batch) -> String {
    "\(name(records, of: batch)) \(records.count == 1 ? "is" : "are") not acknowledged"
  }

  private func reportStop(
    _ ending: System.Ending, _ records: Range<Int>, of batch: QueueConsumer.Batch
  ) {
    Messages.say(
      "stopped while the command failed (\(ending)): \(unacknowledged(records, of: batch))"
        + " [\(path)]")
  }

  /// Waits for a time, or until a stop is asked for, without blocking a thread of tasks.
  private func isStopAskedFor(within delay: Duration) async throws -> Bool {
    try await System.onThread { stop.isAskedFor(within: delay) }
  }

  /// Makes the records for which the command has failed dead letters.
  ///
  /// - Returns: false if a stop was asked for. They are then not acknowledged.
  private func putAside(of batch: QueueConsumer.Batch, _ job: inout Job) async throws -> Bool {
    guard !job.failed.isEmpty else { return true }
    let command = job.command
    let failed = job.failed
    job.failed = []
    let reasons = Dictionary(uniqueKeysWithValues: failed.map { ($0.index, $0.reason) })
    var delay = command.firstDelay
    var attempts: UInt64 = 0
    while true {
      do throws(QueueError) {
        let places = try await batch.deadLetter(failed.map(\.index)) { reasons[$0] ?? "" }
        for (failed, place) in zip(failed, places) {
          Messages.say(
            "\(failed.reason): the record at address \(batch[failed.index].address) is now the dead"
              + " letter at address \(place) [\(deadLetterPath)]")
        }
        return true
      } catch {
        // A stop came after they were dead letters: closing the consumer acknowledges them.
        guard error.code != .cancelled else { return true }
        attempts += 1
        // For example, another consumer that writes dead letters holds the topic for a moment.
        guard error.code == .locked, attempts <= max(command.retries, 5) else { throw error }
      }
      guard try await !isStopAskedFor(within: delay) else {
        Messages.say(
          "stopped while another writer held the topic for dead letters:"
            + " \(unacknowledged(failed[0].index..<failed[0].index + 1, of: batch)) [\(path)]")
        return false
      }
      delay = command.delay(after: delay)
    }
  }
}
