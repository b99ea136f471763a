// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// Hands over the records of a consumer. It acknowledges a record only after handing it over.
struct Consuming: Sendable {
  /// The destination of the records.
  enum Target: Sendable {
    /// Prints records, and acknowledges up to `batch` of them at a time.
    case output(RecordFormat?, batch: Int)
    /// Hands records to runs of a command.
    case command(RecordCommand, jobs: Int)
  }

  struct ConsumeResult: Sendable {
    /// Whether records were lost.
    var isLossy: Bool
    /// Whether a stop came before the end, or the limit.
    var isCutShort: Bool
  }

  let consumer: QueueConsumer
  /// The topic's path, as the user gave it.
  let path: String
  let target: Target
  /// Whether a record for which the command fails, or that is above the limit, becomes a dead
  /// letter.
  let putsAside: Bool
  let follows: Bool
  /// The longest wait for a batch to be filled, after its first record.
  let lingering: Duration
  let limit: UInt64
  /// Whether JSON has addresses and ordinals as strings.
  let jsonStrings: Bool
  let stop: StopSignals
  let losses: Losses

  func run() async throws -> ConsumeResult {
    if follows, let reason = try consumer.beginWatching() { Messages.say(reason) }
    let isCutShort =
      switch target {
      case .output(let format, let batch): try await print(as: format, batch)
      case .command(let command, let jobs): try await handOver(to: command, jobs: jobs)
      }
    return ConsumeResult(isLossy: !losses.isEmpty, isCutShort: isCutShort)
  }

  // MARK: Printing

  /// Returns whether a stop came before the end, or the limit.
  private func print(as chosen: RecordFormat?, _ batchCount: Int) async throws -> Bool {
    let format = chosen ?? .lines
    var output = Output(
      placesAreText: jsonStrings, escapesLines: RecordFormat.escapesLines(chosen))
    var left = limit
    // A pipe's reader that wants only a few lines, like head, goes away soon. Few records are
    // acknowledged at first, so that few others come to it.
    let isPipe = System.unreadBytes(inPipe: System.standardOutput) != nil
    var most = isPipe ? 1 : batchCount
    var isCutShort = false
    work: while left > 0 {
      switch try await next(Int(min(left, UInt64(most)))) {
      case .records(let batch):
        for index in batch.indices { output.put(batch.borrowed(at: index), as: format) }
        output.drain()
        // If the reader has not taken the batch, do not acknowledge it, and end.
        guard output.isOpen, isTaken() else {
          isCutShort = true
          break work
        }
        do throws(QueueError) {
          try await batch.acknowledge()
        } catch {
          // A stop does not wait for the disk here: closing the consumer does.
          guard error.code == .cancelled else { throw error }
        }
        most = min(most * 2, batchCount)
        left -= min(left, UInt64(batch.count))
      case .end: break work
      case .stop:
        isCutShort = true
        break work
      }
    }
    try output.finish()
    return isCutShort
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

  // MARK: Taking

  enum Next {
    case records(QueueConsumer.Batch)
    case end, stop
  }

  /// The next records. Reports the losses before them.
  func next(_ count: Int) async throws(QueueError) -> Next {
    while true {
      guard !stop.isStopped else { return .stop }
      do throws(QueueError) {
        let batch = try await consumer.nextBatch(
          upTo: count, lingering: lingering, following: follows)
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

  /// Makes a record that is above the limit a dead letter.
  private func putAsideOversized(_ error: QueueError) async throws(QueueError) {
    guard let address = error.address else { throw error }
    let place: Address
    do throws(QueueError) {
      place = try await consumer.deadLetterOversized(
        at: address, upTo: Self.everyPayload, reason: "its payload is above the consumer's limit")
    } catch {
      // A stop came after it was a dead letter: closing the consumer acknowledges it.
      guard error.code == .cancelled else { throw error }
      return
    }
    Messages.say(
      "the record at address \(address) is above the limit, and is now the dead letter at address"
        + " \(place) [\(deadLetterPath)]")
  }

  /// The path of the topic for dead letters.
  var deadLetterPath: String { TopicPath.trimmed(path) + Topic.deadLetterSuffix }

  /// The largest payload that the format allows.
  static let everyPayload = ByteCount.bytes((4 << 30) - 17)
}
