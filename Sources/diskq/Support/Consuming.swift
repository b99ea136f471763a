// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// Hands over what a consumer delivers, and acknowledges it once it was: never before.
struct Consuming: Sendable {
  /// What becomes of records.
  enum Target: Sendable {
    /// Printed; acknowledged many at a time.
    case output(RecordFormat)
    /// Handed to a command one by one, each acknowledged, durably, before the next is.
    case command(RecordCommand)
  }

  struct Ending: Sendable {
    /// Whether records were lost.
    var isLossy: Bool
    /// Whether a stop came before the end, or the limit.
    var isCutShort = false
  }

  /// Printed records that are acknowledged together: a sync for so many.
  private static let mostInBatch: UInt64 = 500

  let consumer: QueueConsumer
  /// The topic, as it was named.
  let path: String
  let target: Target
  /// Whether a record that cannot be handed over is put aside: one that the command fails for, and
  /// one above the limit.
  let putsAside: Bool
  let follows: Bool
  let limit: UInt64
  /// Whether JSON has addresses and ordinals as strings.
  let jsonStrings: Bool
  let stop: StopSignals

  func run() async throws -> Ending {
    if follows, let reason = try consumer.beginWatching() { Messages.say(reason) }
    let losses = Losses(of: path, ProgressBar(total: 0))
    var output = Output(placesAreText: jsonStrings)
    var left = limit
    // A reader that wants a few lines of a pipe, as head does, is gone before many are acknowledged.
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
        // What was not taken is not acknowledged, and nothing comes after it.
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
    return Ending(isLossy: !losses.isEmpty, isCutShort: isCutShort)
  }

  /// Waits until the reader of standard output has taken all that was written to it, if that is a pipe.
  ///
  /// - Returns: false: the reader is gone, or a stop came before.
  private func isTaken() -> Bool {
    func isEmpty() -> Bool { (System.unreadBytes(inPipe: System.standardOutput) ?? 0) == 0 }
    var delay = Duration.milliseconds(1)
    // A reader that is at it takes less than going to sleep does.
    for _ in 0..<200 where !isEmpty() { System.giveWay() }
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

  /// The next records, with losses told.
  private func next(_ count: UInt64, _ losses: Losses) async throws(QueueError) -> Next {
    while true {
      guard !stop.isStopped else { return .stop }
      do throws(QueueError) {
        let batch = try await consumer.nextBatch(upTo: Int(count), following: follows)
        return batch.map(Next.records) ?? .end
      } catch {
        if let loss = error.loss {
          losses.tell(loss)
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
      // Stopped after the move: closing sees to the acknowledgement.
      guard error.code == .cancelled else { throw error }
      return
    }
    Messages.say(
      "the record at address \(address) is above the limit and was put aside, at address \(place) of"
        + " the topic beside it [\(TopicPath.trimmed(path)).dead]")
  }

  /// As much as any payload has.
  static let everyPayload = ByteCount.bytes((4 << 30) - 17)

  /// A stop does not wait for the disk here: closing the consumer does.
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

  /// Records in a row that the command has failed for, to be put aside together: that opens the other
  /// topic, and syncs it, once.
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
  /// Records that it has failed for wait to be put aside for no longer than others fail as well:
  /// nothing after them is acknowledged before, and the command is not waited for.
  ///
  /// - Returns: false: a stop was asked for, and the records from some one on are not acknowledged.
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
      // What the command had failed for is put aside whatever came next.
      _ = try await putAside(&failed, of: batch, command)
      throw error
    }
    return try await putAside(&failed, of: batch, command) && goesOn
  }

  /// Runs the command until it takes the record, or has failed often enough.
  ///
  /// - Returns: false: a stop was asked for, and the record is not acknowledged.
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
            "the command failed \(times), for the record at address \(record.address): it is not"
              + " acknowledged, and comes first the next time",
            path: path)
        }
        failed.add(index, "the command failed \(times)")
        return true
      }
      guard try await putAside(&failed, of: batch, command) else {
        return unacknowledged(record, ending)
      }
      Messages.say(
        "the command failed for the record at address \(record.address) (\(ending)): trying again in"
          + " \(TimeSpan.text(delay)) [\(path)]")
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

  /// Puts aside what the command has failed for.
  ///
  /// - Returns: false: a stop was asked for, and they are not acknowledged.
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
              + " aside, at address \(place) of the topic beside it [\(TopicPath.trimmed(path)).dead]"
          )
        }
        return true
      } catch {
        // Stopped behind the move: closing sees to the acknowledgement.
        guard error.code != .cancelled else { return true }
        attempts += 1
        // Another consumer that puts aside, say, has it for a moment.
        guard error.code == .locked, attempts <= max(command.retries, 5) else { throw error }
        guard !stop.isAskedFor(within: delay) else {
          Messages.say(
            "stopped while the topic for records put aside was locked: the record at address"
              + " \(batch[indices[0]].address) is not acknowledged [\(path)]")
          return false
        }
        delay = command.delay(after: delay)
      }
    }
  }
}

/// A line of shell that takes one record at a time on its standard input.
struct RecordCommand: Sendable {
  private static let longestDelay = Duration.seconds(60)

  let line: String
  /// How often it is run again for a record that it failed for.
  let retries: UInt64
  /// Before it is run again; twice as long each time after that.
  let firstDelay: Duration

  func run(_ record: QueueRecord, of consumer: QueueConsumer) throws(Failure) -> System.Ending {
    try System.runShell(
      line, input: record.payload,
      environment: [
        "DISKQ_TOPIC=\(consumer.topic)", "DISKQ_CONSUMER=\(consumer.name)",
        "DISKQ_ADDRESS=\(record.address)", "DISKQ_ORDINAL=\(record.ordinal)",
      ])
  }

  /// The shell's own words for a command that is not there, or no program: no record's fault.
  func isMissing(_ ending: System.Ending) -> Bool {
    ending == .exited(126) || ending == .exited(127)
  }

  func delay(after delay: Duration) -> Duration { max(delay, min(delay * 2, Self.longestDelay)) }
}
