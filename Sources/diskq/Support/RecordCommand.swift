// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// A shell command that takes records on its standard input.
struct RecordCommand: Sendable {
  private static let longestDelay = Duration.seconds(60)

  let line: String
  /// The format of the records on the command's standard input.
  let format: RecordFormat
  /// How many records one run gets at most.
  let batch: Int
  /// How many times to run it again for the same records.
  let retries: UInt64
  /// The wait before the first retry. Each later wait is twice as long.
  let firstDelay: Duration
  /// Whether JSON has addresses and ordinals as strings.
  let jsonStrings: Bool

  /// Runs the command once, for some records of a batch, and waits for its end without blocking a
  /// thread of tasks.
  func run(
    _ records: Range<Int>, of batch: QueueConsumer.Batch, for consumer: QueueConsumer
  ) async throws -> System.Ending {
    let (first, last) = (batch[records.lowerBound], batch[records.upperBound - 1])
    let environment = [
      "DISKQ_TOPIC=\(consumer.topic)", "DISKQ_CONSUMER=\(consumer.name)",
      "DISKQ_ADDRESS=\(first.address)", "DISKQ_ORDINAL=\(first.ordinal)",
      "DISKQ_COUNT=\(records.count)",
      "DISKQ_FIRST_ADDRESS=\(first.address)", "DISKQ_LAST_ADDRESS=\(last.address)",
      "DISKQ_FIRST_ORDINAL=\(first.ordinal)", "DISKQ_LAST_ORDINAL=\(last.ordinal)",
    ]
    return try await System.onThread { () throws(Failure) in
      try System.runShell(line, environment: environment) { descriptor throws(Failure) in
        var output = Output(
          to: descriptor, name: "the command's standard input", placesAreText: jsonStrings)
        for index in records where output.isOpen {
          output.put(batch.borrowed(at: index), as: format)
        }
        // The command need not read its input.
        try output.finish()
      }
    }
  }

  /// Whether the shell reports that the command does not exist or is no program. That is not the
  /// record's fault, so a retry does not help.
  func isMissing(_ ending: System.Ending) -> Bool {
    ending == .exited(126) || ending == .exited(127)
  }

  func delay(after delay: Duration) -> Duration { max(delay, min(delay * 2, Self.longestDelay)) }
}
