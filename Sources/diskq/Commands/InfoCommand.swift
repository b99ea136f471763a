// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue
import DiskQueueInspection

struct InfoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "info",
    abstract: "Prints what a topic holds, without reading its records.",
    discussion: """
      info counts damaged records too: verify reports which ones can be read. The number of \
      records is unknown if no sound header or mark says how many the topic took before. The \
      records left for a consumer are those that the topic took after the consumer's position.

      The writer is the process that has the topic open. writer in JSON has its pid, and whether \
      it is alive. If it is not, the pid is that of the last one. state and writer together show \
      a crash: the topic is open, and no writer is alive. The holder of a consumer is described \
      in the same way. Of a sharded topic, info prints the sums, and a row for each shard: name a \
      shard for its slabs and consumers.

      With --watch, info shows in place what the topic holds, how fast it grows and how much is \
      left for each consumer, until Ctrl-C or q. If standard output is no terminal, or with \
      --json, each look is a line instead, until the reader of the lines goes away. Rates are \
      since the last look. Rates "over 10s" and the outlook of a consumer are smoothed. The time \
      until the disk is full is an estimate from its free space, which other programs use too. A \
      look costs a few reads a slab. With many slabs the interval grows, so that looking takes at \
      most a twentieth of the time.
      """
        + Examples.section([
          "Print what the topic in ./queue holds, its writer and consumers.":
            "diskq info queue",
          "Show it in place, with rates, until q.":
            "diskq info queue --watch",
          "Print whether a writer has the topic open.":
            "diskq info queue --json | jq .writer",
          "Log its state once a minute.":
            "diskq info queue --watch --json --interval 1m >> log",
        ]))

  @Argument(help: "The topic's directory.", completion: .directory)
  var topic: String

  @Flag(help: "Print one JSON object on one line. With --watch, print one for each look.")
  var json = false

  @OptionGroup var jsonOptions: JSONOptions

  @Flag(help: "Look again and again, and show rates too.")
  var watch = false

  @Option(
    help: ArgumentHelp(
      "With --watch, the time from one look to the next: 200ms, 1s, 5m. (default: 1s)",
      valueName: "time"),
    transform: TimeSpan.parsed)
  var interval: TimeSpan?

  func validate() throws {
    try jsonOptions.check(isJSON: json, "--json")
    guard let interval else { return }
    guard watch else { throw ValidationError("--interval needs --watch") }
    guard interval.duration >= .milliseconds(100), interval.duration <= .seconds(86_400) else {
      throw ValidationError("--interval must be from 100ms to 1d")
    }
  }

  func run() throws {
    guard !watch else {
      return try Watching(
        topic: topic, interval: interval?.duration ?? .seconds(1), json: json,
        jsonStrings: jsonOptions.jsonStrings
      ).run()
    }
    if let listing = try ShardListing(ofTopicAt: topic) { return try print(listing) }
    let info = try TopicInfo(of: Topic(topic))
    let consumers = try ConsumerInfo.all(of: Topic(topic))
    var output = Output(placesAreText: jsonOptions.jsonStrings)
    if json {
      output.putLine(Self.object(info, consumers, topic: topic))
    } else {
      output.put(text(info))
      if !consumers.isEmpty { output.put("\n" + ConsumerRows.table(consumers)) }
    }
    try output.finish()
  }

  private func print(_ listing: ShardListing) throws {
    let info = try ShardedInfo(listing, path: topic)
    var output = Output(placesAreText: jsonOptions.jsonStrings)
    if json {
      output.putLine(info.object)
    } else {
      output.put(info.text)
    }
    try output.finish()
  }

  // MARK: Text

  private func text(_ info: TopicInfo) -> String {
    let unknown = "unknown"
    var lines = [
      ("topic", Messages.onOneLine(topic)),
      ("state", info.ending.sentence(writer: info.writer)),
      ("writer", info.writer.sentence),
      ("slabs", "\(info.slabs.count)"),
      ("records", info.records.map { "\($0)" } ?? unknown),
      ("bytes", "\(info.bytes) (\(HumanSize.text(info.bytes)))"),
      ("first", info.first.map(\.description) ?? "none"),
      ("next", info.next.description),
      ("oldest", info.oldestStamp.map(Timestamp.text) ?? unknown),
      ("newest", info.newestStamp.map(Timestamp.text) ?? unknown),
    ]
    if info.tailBytes > 0 {
      lines.append(("tail", "\(Count.text(info.tailBytes, "byte")) after the end"))
    }
    var text = lines.map { "\(padded($0.0, 9))\($0.1)\n" }.joined()
    guard !info.slabs.isEmpty else { return text }
    text += "\n\(row("slab", "bytes", "records", "ordinal", "made", ""))"
    for slab in info.slabs {
      text += row(
        slab.file.base.description, "\(slab.file.bytes)", slab.records.map { "\($0)" } ?? "?",
        slab.file.ordinal.map { "\($0)" } ?? "?", slab.file.stamp.map(Timestamp.text) ?? "?",
        slab.file.remark)
    }
    return text
  }

  private func row(
    _ slab: String, _ bytes: String, _ records: String, _ ordinal: String, _ made: String,
    _ remark: String
  ) -> String {
    let columns =
      "\(aligned(slab, 20)) \(aligned(bytes, 12)) \(aligned(records, 12))"
      + " \(aligned(ordinal, 12))  "
    return columns + (remark.isEmpty ? made : "\(padded(made, 30))  \(remark)") + "\n"
  }

  private func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.utf8.count))
  }

  private func aligned(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.utf8.count)) + text
  }

  // MARK: JSON

  static func object(
    _ info: TopicInfo, _ consumers: [ConsumerInfo], topic: String
  ) -> JSONValue {
    .object([
      "topic": .text(topic),
      "state": .text(info.ending.word),
      "writer": info.writer.json,
      "records": .number(info.records),
      "bytes": .number(info.bytes),
      "first": .place(info.first),
      "next": .place(info.next),
      "oldest": .text(info.oldestStamp.map(Timestamp.text)),
      "newest": .text(info.newestStamp.map(Timestamp.text)),
      "tailBytes": .number(info.tailBytes),
      "slabs": .array(info.slabs.map(object)),
      "consumers": .array(consumers.map(ConsumerRows.object)),
    ])
  }

  private static func object(_ slab: TopicInfo.Slab) -> JSONValue {
    .object([
      "base": .place(slab.file.base),
      "bytes": .number(slab.file.bytes),
      "version": .number(slab.file.version.map(UInt64.init)),
      "state": .text(slab.file.condition.word),
      "passedOver": .bool(slab.file.isPassedOver),
      "records": .number(slab.records),
      "ordinal": .place(slab.file.ordinal),
      "made": .text(slab.file.stamp.map(Timestamp.text)),
    ])
  }
}
