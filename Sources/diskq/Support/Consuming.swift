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
  let follows: Bool
  let limit: UInt64
  /// Whether JSON has addresses and ordinals as strings.
  let jsonStrings: Bool
  let stop: StopSignals

  func run() async throws -> Ending {
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
        for index in batch.indices {
          guard !stop.isStopped, try await handOver(batch, index, to: command) else {
            isCutShort = true
            break work
          }
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
        case .payloadTooLarge: losses.tellPassed(error)
        case .cancelled: return .stop
        default: throw error
        }
      }
    }
  }

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

  /// Runs the command until it takes the record, or has failed often enough.
  ///
  /// - Returns: false: a stop was asked for, and the record is not acknowledged.
  private func handOver(
    _ batch: QueueConsumer.Batch, _ index: Int, to command: RecordCommand
  ) async throws -> Bool {
    let record = batch[index]
    var delay = command.firstDelay
    var failures: UInt64 = 0
    while true {
      let ending = try command.run(record, of: consumer)
      guard ending != .exited(0) else {
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
        return try await giveUp(batch, index, failures, ending, command)
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

  /// Puts the record aside, or throws that it could not be handed over.
  ///
  /// - Returns: as `handOver`.
  private func giveUp(
    _ batch: QueueConsumer.Batch, _ index: Int, _ failures: UInt64, _ ending: System.Ending,
    _ command: RecordCommand
  ) async throws -> Bool {
    let record = batch[index]
    let address = record.address
    let times = "\(Count.text(failures, "time")), at last with \(ending)"
    guard command.putsAside else {
      throw Failure(
        "the command failed \(times), for the record at address \(address): it is not acknowledged,"
          + " and comes first the next time",
        path: path)
    }
    var delay = command.firstDelay
    var attempts: UInt64 = 0
    while true {
      do throws(QueueError) {
        let place = try await batch.deadLetter(index, reason: "the command failed \(times)")
        Messages.say(
          "the command failed \(times): the record at address \(address) was put aside, at address"
            + " \(place) of the topic beside it [\(TopicPath.trimmed(path)).dead]")
        return true
      } catch {
        // Stopped behind the move: closing sees to the acknowledgement.
        guard error.code != .cancelled else { return true }
        attempts += 1
        // Another consumer that puts aside, say, has it for a moment.
        guard error.code == .locked, attempts <= max(command.retries, 5) else { throw error }
        guard !stop.isAskedFor(within: delay) else { return unacknowledged(record, ending) }
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
  /// Whether what it fails for is put aside in the end.
  let putsAside: Bool

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
