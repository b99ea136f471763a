// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// Hands over the records of a consumer. It acknowledges a record only after handing it over.
struct Consuming: Sendable {
  /// The destination of the records.
  enum Target: Sendable {
    /// Prints records, and acknowledges many at a time.
    case output(RecordFormat)
    /// Hands records to a command one by one. Each is acknowledged durably before the next is
    /// handed over.
    case command(RecordCommand)
  }

  struct ConsumeResult: Sendable {
    /// Whether records were lost.
    var isLossy: Bool
    /// Whether a stop came before the end, or the limit.
    var isCutShort = false
  }

  /// At most so many printed records are acknowledged together, with one sync.
  private static let mostInBatch: UInt64 = 500

  let consumer: QueueConsumer
  /// The topic's path, as the user gave it.
  let path: String
  let target: Target
  /// Whether to put aside a record for which the command fails, or that is above the limit.
  let putsAside: Bool
  let follows: Bool
  let limit: UInt64
  /// Whether JSON has addresses and ordinals as strings.
  let jsonStrings: Bool
  let stop: StopSignals

  func run() async throws -> ConsumeResult {
    if follows, let reason = try consumer.beginWatching() { Messages.say(reason) }
    let losses = Losses(of: path, ProgressBar(total: 0))
    var output = Output(placesAreText: jsonStrings)
    var left = limit
    // A pipe's reader that wants only a few lines, like head, goes away soon. Few records are
    // acknowledged at first, so that few others come to it.
    let isPipe = System.unreadBytes(inPipe: System.standardOutput) != nil
    var most = isPipe ? 1 : Self.mostInBatch
    var isCutShort = false
    work: while left > 0 {
      let batch: QueueConsumer.Batch
      switch try await next(min(left, most), losses) {
      case .records(let records): batch = records
      case .end: break work
      case .stop:
        isCutShort = true
        break work
      }
      switch target {
      case .output(let format):
        for record in batch { output.put(record, as: format) }
        output.drain()
        // If the reader has not taken the batch, do not acknowledge it, and end.
        guard output.isOpen, isTaken() else {
          isCutShort = true
          break work
        }
        try await acknowledge { () async throws(QueueError) in try await batch.acknowledge() }
        most = min(most * 2, Self.mostInBatch)
      case .command(let command):
        guard try await handOver(batch, to: command) else {
          isCutShort = true
          break work
        }
      }
      left -= min(left, UInt64(batch.count))
    }
    try output.finish()
    return ConsumeResult(isLossy: !losses.isEmpty, isCutShort: isCutShort)
  }

  /// If standard output is a pipe, waits until its reader has taken every byte written to it.
  ///
  /// - Returns: false if the reader is gone, or a stop came first.
  private func isTaken() -> Bool {
    func isEmpty() -> Bool { (System.unreadBytes(inPipe: System.standardOutput) ?? 0) == 0 }
    var delay = Duration.milliseconds(1)
    // An active reader takes less time than a sleep of this thread.
    for _ in 0..<200 where !isEmpty() { System.yield() }
    while !isEmpty(), !System.isClosed(System.standardOutput) {
      guard !stop.isStopped else { return false }
      _ = System.waitForAny(
        [.readable(stop.descriptor), .closed(System.standardOutput)], until: .now + delay)
      delay = min(delay * 2, .milliseconds(64))
    }
    return !System.isClosed(System.standardOutput)
  }

  private enum Next {
    case records(QueueConsumer.Batch)
    case end, stop
  }

  /// The next records. Reports the losses before them.
  private func next(_ count: UInt64, _ losses: Losses) async throws(QueueError) -> Next {
    while true {
      guard !stop.isStopped else { return .stop }
      do throws(QueueError) {
        let batch = try await consumer.nextBatch(upTo: Int(count), following: follows)
        return batch.map(Next.records) ?? .end
      } catch {
        if let loss = error.loss {
          losses.report(loss)
          continue
        }
        switch error.code {
        case .payloadTooLarge where putsAside: try await putAsideOversized(error)
        case .cancelled: return .stop
        default: throw error
        }
      }
    }
  }

  /// Puts aside a record that is above the limit.
  private func putAsideOversized(_ error: QueueError) async throws(QueueError) {
    guard let address = error.address else { throw error }
    let place: Address
    do throws(QueueError) {
      place = try await consumer.deadLetterOversized(
        at: address, upTo: Self.everyPayload, reason: "its payload is above the consumer's limit")
    } catch {
      // A stop came after the record was put aside: closing the consumer acknowledges it.
      guard error.code == .cancelled else { throw error }
      return
    }
    Messages.say(
      "the record at address \(address) is above the limit and was put aside, at address \(place)"
        + " of the topic for such records [\(TopicPath.trimmed(path)).dead]")
  }

  /// The largest payload that the format allows.
  static let everyPayload = ByteCount.bytes((4 << 30) - 17)

  /// Acknowledges. A stop does not wait for the disk here: closing the consumer does.
  private func acknowledge(
    _ body: () async throws(QueueError) -> Void
  ) async throws(QueueError) {
    do throws(QueueError) {
      try await body()
    } catch {
      guard error.code == .cancelled else { throw error }
    }
  }

  // MARK: A command

  /// Successive records for which the command has failed. They are put aside together, which opens
  /// and syncs the other topic once.
  private struct Failed {
    var indices: [Int] = []
    var reasons: [String] = []

    var isEmpty: Bool { indices.isEmpty }

    mutating func add(_ index: Int, _ reason: String) {
      indices.append(index)
      reasons.append(reason)
    }
  }

  /// Hands a batch to the command, record by record.
  ///
  /// Failed records wait to be put aside only while further records fail. They are put aside before
  /// any record after them is acknowledged, and before a wait for the next try of the command.
  ///
  /// - Returns: false if a stop was asked for. The records from some index on are then not
  ///   acknowledged.
  private func handOver(
    _ batch: QueueConsumer.Batch, to command: RecordCommand
  ) async throws -> Bool {
    var failed = Failed()
    var goesOn = true
    do {
      for index in batch.indices where goesOn {
        goesOn =
          stop.isStopped ? false : try await handOver(batch, index, to: command, &failed)
      }
    } catch {
      // Put aside the records for which the command had failed, whatever the later error is.
      _ = try await putAside(&failed, of: batch, command)
      throw error
    }
    return try await putAside(&failed, of: batch, command) && goesOn
  }

  /// Runs the command until it takes the record, or has used its retries.
  ///
  /// - Returns: false if a stop was asked for. The record is then not acknowledged.
  private func handOver(
    _ batch: QueueConsumer.Batch, _ index: Int, to command: RecordCommand, _ failed: inout Failed
  ) async throws -> Bool {
    let record = batch[index]
    var delay = command.firstDelay
    var failures: UInt64 = 0
    while true {
      let ending = try command.run(record, of: consumer)
      guard ending != .exited(0) else {
        guard try await putAside(&failed, of: batch, command) else { return false }
        try await acknowledge { () async throws(QueueError) in
          try await batch.acknowledge(through: index)
        }
        return true
      }
      failures += 1
      guard !stop.isStopped else { return unacknowledged(record, ending) }
      guard !command.isMissing(ending) else {
        throw Failure(
          "the shell cannot run the command (\(ending)): the record at address \(record.address) is"
            + " not acknowledged",
          path: path)
      }
      if failures > command.retries {
        let times = "\(Count.text(failures, "time")), at last with \(ending)"
        guard putsAside else {
          throw Failure(
            "the command failed \(times), for the record at address \(record.address): the record"
              + " is not acknowledged, and comes first the next time",
            path: path)
        }
        failed.add(index, "the command failed \(times)")
        return true
      }
      guard try await putAside(&failed, of: batch, command) else {
        return unacknowledged(record, ending)
      }
      Messages.say(
        "the command failed for the record at address \(record.address) (\(ending)): trying again"
          + " in \(TimeSpan.text(delay)) [\(path)]")
      guard !stop.isAskedFor(within: delay) else { return unacknowledged(record, ending) }
      delay = command.delay(after: delay)
    }
  }

  private func unacknowledged(_ record: QueueRecord, _ ending: System.Ending) -> Bool {
    Messages.say(
      "stopped while the command failed (\(ending)): the record at address \(record.address) is not"
        + " acknowledged [\(path)]")
    return false
  }

  /// Puts aside the records for which the command has failed.
  ///
  /// - Returns: false if a stop was asked for. They are then not acknowledged.
  private func putAside(
    _ failed: inout Failed, of batch: QueueConsumer.Batch, _ command: RecordCommand
  ) async throws -> Bool {
    guard !failed.isEmpty else { return true }
    let (indices, reasons) = (failed.indices, failed.reasons)
    failed = Failed()
    var delay = command.firstDelay
    var attempts: UInt64 = 0
    while true {
      do throws(QueueError) {
        let places = try await batch.deadLetter(indices) { index in
          reasons[index - indices[0]]
        }
        for (number, place) in places.enumerated() {
          Messages.say(
            "\(reasons[number]): the record at address \(batch[indices[number]].address) was put"
              + " aside, at address \(place) of the topic for such records"
              + " [\(TopicPath.trimmed(path)).dead]")
        }
        return true
      } catch {
        // A stop came after they were put aside: closing the consumer acknowledges them.
        guard error.code != .cancelled else { return true }
        attempts += 1
        // For example, another consumer that puts records aside holds the topic for a moment.
        guard error.code == .locked, attempts <= max(command.retries, 5) else { throw error }
        guard !stop.isAskedFor(within: delay) else {
          Messages.say(
            "stopped while another writer held the topic for records put aside: the record at"
              + " address \(batch[indices[0]].address) is not acknowledged [\(path)]")
          return false
        }
        delay = command.delay(after: delay)
      }
    }
  }
}

/// A shell command that takes one record at a time on its standard input.
struct RecordCommand: Sendable {
  private static let longestDelay = Duration.seconds(60)

  let line: String
  /// How many times to run it again for a record.
  let retries: UInt64
  /// The wait before the first retry. Each later wait is twice as long.
  let firstDelay: Duration

  func run(_ record: QueueRecord, of consumer: QueueConsumer) throws(Failure) -> System.Ending {
    try System.runShell(
      line, input: record.payload,
      environment: [
        "DISKQ_TOPIC=\(consumer.topic)", "DISKQ_CONSUMER=\(consumer.name)",
        "DISKQ_ADDRESS=\(record.address)", "DISKQ_ORDINAL=\(record.ordinal)",
      ])
  }

  /// Whether the shell reports that the command does not exist or is no program. That is not the
  /// record's fault, so a retry does not help.
  func isMissing(_ ending: System.Ending) -> Bool {
    ending == .exited(126) || ending == .exited(127)
  }

  func delay(after delay: Duration) -> Duration { max(delay, min(delay * 2, Self.longestDelay)) }
}
