// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

struct CleanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "clean",
    abstract: "Removes the oldest slabs: by age, bytes and records.",
    discussion: """
      clean removes a slab if all of it is beyond one of the bounds. Give at least one bound. The \
      slabs within every bound stay, and up to a slab more. Three things hold slabs whatever the \
      bounds are: consumers that have not acknowledged them, --minimum-keep-bytes, and the last \
      slab. A writer, readers and consumers may run at the same time. Ctrl-C and kill do no harm.

      clean prints each removed slab on a line, and then a line that says why it removed no more. \
      If it removes nothing, it prints nothing, so that cron sends no mail. On a terminal it then \
      reports the reason. A consumer whose position is damaged holds every slab: clean always \
      reports that, and the exit status is then 1. With --json, the last line for each topic is a \
      summary, also if nothing was removed.

      Of a sharded topic, clean cleans every shard. The bounds are for each shard, not for all \
      together.

      If one topic fails, clean goes on with the next. The exit status is then 2.
      """
        + Examples.section([
          "Remove slabs older than a week.":
            "diskq clean queue --keep-age 7d",
          "Print which slabs beyond 1 GiB would go.":
            "diskq clean queue --keep-bytes 1GiB --dry-run",
          "Clean several topics, as in cron.":
            "diskq clean queues/* --keep-age 30d --keep-bytes 10G",
          "Remove slabs although this consumer has not acknowledged them.":
            "diskq clean queue --keep-records 1000000 --ignore-consumer old",
        ]))

  @Argument(
    help: ArgumentHelp("The topics' directories.", valueName: "topic"), completion: .directory)
  var topics: [String]

  @Option(
    help: ArgumentHelp(
      """
      Remove slabs whose newest record is older than this: 90s, 36h, 1d12h, 1w. An idle topic does \
      not age.
      """,
      valueName: "age"),
    transform: TimeSpan.parsed)
  var keepAge: TimeSpan?

  @Option(
    help: ArgumentHelp("Remove slabs before the newest so many bytes.", valueName: "size"),
    transform: Size.parsed)
  var keepBytes: Size?

  @Option(
    help: ArgumentHelp("Remove slabs before the newest so many records.", valueName: "count"),
    transform: Whole.parsed)
  var keepRecords: UInt64?

  @Option(
    help: ArgumentHelp(
      """
      Keep so many of the newest bytes, whatever the bounds are. \
      (default: \(Retention().minimumBytes))
      """, valueName: "size"),
    transform: Size.parsed)
  var minimumKeepBytes = Size(Retention().minimumBytes)

  @Flag(help: "Keep records that any consumer has not acknowledged. This is the default.")
  var protectConsumers = false

  @Flag(help: "Also remove records that consumers have not acknowledged.")
  var ignoreConsumers = false

  @Option(
    help: ArgumentHelp(
      "Protect only this consumer. You may give it more than once.", valueName: "name"))
  var protectConsumer: [String] = []

  @Option(
    help: ArgumentHelp(
      "Protect all consumers but this one. You may give it more than once.", valueName: "name"))
  var ignoreConsumer: [String] = []

  @Flag(help: "Print which slabs clean would remove, and remove nothing.")
  var dryRun = false

  @Flag(help: "Print one JSON object a line: each removed slab, and a summary for each topic.")
  var json = false

  @OptionGroup var jsonOptions: JSONOptions

  private var retention: Retention {
    let consumers: Retention.Consumers =
      if !protectConsumer.isEmpty {
        .only(Set(protectConsumer))
      } else if !ignoreConsumer.isEmpty {
        .except(Set(ignoreConsumer))
      } else {
        ignoreConsumers ? .ignored : .protected
      }
    return Retention(
      age: keepAge.map { Age($0.duration) }, bytes: keepBytes?.count, records: keepRecords,
      minimumBytes: minimumKeepBytes.count, consumers: consumers)
  }

  func validate() throws {
    guard !topics.isEmpty else { throw ValidationError("name at least one topic") }
    guard keepAge != nil || keepBytes != nil || keepRecords != nil else {
      throw ValidationError(
        "without a bound nothing is removed: say how much to keep with --keep-age, --keep-bytes or"
          + " --keep-records")
    }
    guard !(protectConsumers && ignoreConsumers) else {
      throw ValidationError("--protect-consumers and --ignore-consumers exclude each other")
    }
    guard protectConsumer.isEmpty || ignoreConsumer.isEmpty else {
      throw ValidationError("--protect-consumer and --ignore-consumer exclude each other")
    }
    guard !(protectConsumers && !protectConsumer.isEmpty) else {
      throw ValidationError(
        "--protect-consumers protects all, and --protect-consumer only one: give one of the two")
    }
    guard !(ignoreConsumers && !ignoreConsumer.isEmpty) else {
      throw ValidationError(
        "--ignore-consumers ignores all, and --ignore-consumer only one: give one of the two")
    }
    for name in protectConsumer + ignoreConsumer { try checkConsumer(name) }
    try jsonOptions.check(isJSON: json, "--json")
    try checkUsage { () throws(QueueError) in try retention.validate() }
  }

  func run() throws {
    let retention = retention
    var output = Output(placesAreText: jsonOptions.jsonStrings)
    var (hasFailed, hasDamage) = (false, false)
    for path in topics {
      do throws(QueueError) {
        for topic in try Shards.topics(at: path) {
          let reason = try clean(topic, retention, &output)
          guard case .unreadableConsumer = reason else { continue }
          hasDamage = true
          output.drain()
          Messages.say("nothing more can be removed: \(reason) [\(topic)]")
        }
      } catch {
        hasFailed = true
        // Keeps the printed lines and the error in order.
        output.drain()
        Messages.say(error)
      }
    }
    try output.finish()
    if hasFailed { throw ExitCode(Status.failed) }
    if hasDamage { throw leaveDamaged() }
  }

  /// Cleans one topic, and returns why it removed no more.
  private func clean(
    _ topic: String, _ retention: Retention, _ output: inout Output
  ) throws(QueueError) -> SlabCleaner.StopReason {
    let cleaner = try SlabCleaner(topic: Topic(topic))
    func put(_ removal: SlabCleaner.Removal) {
      if json {
        output.putLine(object(removal, topic))
      } else {
        output.put(line(removal, topic))
      }
      // Even if this process ends now, the output names every removed slab.
      output.drain()
    }
    let report =
      dryRun
      ? try cleaner.plan(keeping: retention, onRemoval: put)
      : try cleaner.clean(keeping: retention, onRemoval: put)
    if json {
      output.putLine(summary(report, topic))
    } else if !report.removals.isEmpty || dryRun {
      output.put(Messages.onOneLine("\(topic): \(sentence(report.stopReason))") + "\n")
    } else if System.isTerminal(System.standardError) {
      Messages.say("nothing was removed: \(sentence(report.stopReason)) [\(topic)]")
    }
    return report.stopReason
  }

  private func path(_ removal: SlabCleaner.Removal, _ topic: String) -> String {
    "\(TopicPath.trimmed(topic))/\(SlabName.string(removal.slab.rawValue))"
  }

  // MARK: Text

  /// The reason why no more was removed.
  private func sentence(_ reason: SlabCleaner.StopReason) -> String {
    guard case .minimum = reason else { return reason.description }
    return
      "the newest \(minimumKeepBytes.count) always stay, and --minimum-keep-bytes sets how much"
  }

  private func line(_ removal: SlabCleaner.Removal, _ topic: String) -> String {
    let records =
      removal.records.map { Count.text($0, "record") } ?? "an unknown number of records"
    return Messages.onOneLine(
      "\(dryRun ? "would remove" : "removed") \(path(removal, topic)): \(records),"
        + " \(HumanSize.text(UInt64(clamping: removal.bytes.bytes))), \(reason(removal.cause))")
      + "\n"
  }

  private func reason(_ cause: SlabCleaner.Removal.Cause) -> String {
    switch cause {
    case .age(let age): "older than \(TimeSpan.text(age.duration))"
    case .bytes(let bytes): "before the newest \(bytes)"
    case .records(let records): "before the newest \(Count.text(records, "record"))"
    }
  }

  // MARK: JSON

  private func object(_ removal: SlabCleaner.Removal, _ topic: String) -> JSONValue {
    .object([
      "kind": .text(dryRun ? "would-remove" : "removed"),
      "topic": .text(topic),
      "slab": .text(path(removal, topic)),
      "base": .place(removal.slab),
      "records": .number(removal.records),
      "bytes": .number(UInt64(clamping: removal.bytes.bytes)),
      "cause": .text(word(removal.cause)),
    ])
  }

  private func word(_ cause: SlabCleaner.Removal.Cause) -> String {
    switch cause {
    case .age: "age"
    case .bytes: "bytes"
    case .records: "records"
    }
  }

  private func summary(_ report: SlabCleaner.Report, _ topic: String) -> JSONValue {
    .object([
      "kind": .text("summary"),
      "topic": .text(topic),
      "dryRun": .bool(dryRun),
      "slabs": .number(UInt64(report.removals.count)),
      "bytes": .number(UInt64(clamping: report.removedBytes.bytes)),
      "records": .number(report.removedRecords),
      "kept": .text(word(report.stopReason)),
      "consumer": .text(consumer(report.stopReason)),
    ])
  }

  private func word(_ reason: SlabCleaner.StopReason) -> String {
    switch reason {
    case .noBound: "no-bound"
    case .empty: "empty"
    case .lastSlab: "last-slab"
    case .withinBounds: "within-bounds"
    case .minimum: "minimum"
    case .unproven: "unproven"
    case .consumer: "consumer"
    case .unreadableConsumer: "unreadable-consumer"
    case .interrupted: "interrupted"
    }
  }

  private func consumer(_ reason: SlabCleaner.StopReason) -> String? {
    switch reason {
    case .consumer(let name), .unreadableConsumer(let name, _): name
    default: nil
    }
  }
}
