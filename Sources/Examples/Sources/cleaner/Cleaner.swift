// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue
import Support

/// Cleans topics: once, for cron, or repeatedly as a service. Other processes may write and read
/// the topics at the same time. The cleaner may be killed at any moment.
@main
struct Cleaner: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cleaner",
    abstract: "Removes slabs that are beyond one of the bounds, and prints each removal.",
    discussion: "Records that a consumer of the topic has not acknowledged stay.")

  @Argument(help: "The topics' directories.")
  var topics: [String]

  @Option(help: "Keep the records that are at most so many days old.")
  var keepDays: Int64?

  @Option(help: "Keep so many of the newest mebibytes.")
  var keepMebibytes: Int64?

  @Option(help: "Keep so many of the newest records.")
  var keepRecords: UInt64?

  @Option(help: "Clean every so many minutes, until SIGTERM or Ctrl-C. Without it, clean once.")
  var everyMinutes: Int64?

  // Consumers are protected by default, and so is the newest mebibyte, even with a wrong clock or a
  // wrong bound.
  private var retention: Retention {
    Retention(
      age: keepDays.map(Age.days), bytes: keepMebibytes.map(ByteCount.mebibytes),
      records: keepRecords)
  }

  func validate() throws {
    guard keepDays != nil || keepMebibytes != nil || keepRecords != nil else {
      throw ValidationError("without a bound, all records stay: give at least one --keep option")
    }
    guard everyMinutes ?? 1 > 0 else { throw ValidationError("--every-minutes must be at least 1") }
    try retention.validate()
  }

  func run() async throws {
    if let everyMinutes {
      try await untilStopped { try await clean(every: .seconds(60 * everyMinutes)) }
    } else {
      try cleanOnce()
    }
  }

  private func cleanOnce() throws {
    var failed = false
    for topic in topics {
      do {
        // Each removal is reported as soon as it is done, even if an error follows.
        try SlabCleaner(topic: Topic(topic))
          .clean(keeping: retention) { announce($0, of: topic) }
      } catch {
        // The error concerns one topic. The others are cleaned in any case.
        say("\(error)")
        failed = true
      }
    }
    if failed { throw ExitCode.failure }
  }

  private func clean(every interval: Duration) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for topic in topics {
        let cleaner = try SlabCleaner(topic: Topic(topic))
        group.addTask {
          try await cleaner.run(every: interval, keeping: retention) { report in
            for removal in report.removals { announce(removal, of: topic) }
          } onError: {
            // The next round tries again.
            say("\($0)")
          }
        }
      }
      try await group.waitForAll()
    }
  }

  private func announce(_ removal: SlabCleaner.Removal, of topic: String) {
    let records = removal.records.map { "\($0)" } ?? "an unknown number of"
    printLine("removed \(records) records: \(removal.reason) [\(topic)]")
  }
}
