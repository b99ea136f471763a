// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

struct InfoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "info",
    abstract: "Prints what a topic holds, without reading its records.",
    discussion: """
      Damaged records are counted as well: verify tells what can be read. Records are unknown where \
      nothing sound tells how many were taken before. What is left for a consumer is what the topic \
      took behind its position.

      With --watch, what a topic holds, how fast it grows and how far each consumer is behind is shown \
      in place, until Ctrl-C or q. Where standard output is no terminal, and with --json, each look is \
      a line instead, until who reads them is gone. Rates are those since the last look; "over 10s" \
      and what becomes of a consumer are smoothed. When the disk is full is reckoned from its room, \
      which others use as well. A look costs a few reads a slab: with many slabs the interval is longer, so that \
      looking takes a twentieth of the time at the most.
      """)

  @Argument(help: "The topic's directory.", completion: .directory)
  var topic: String

  @Flag(help: "Print one JSON object on one line; with --watch, one a look.")
  var json = false

  @OptionGroup var jsonOptions: JSONOptions

  @Flag(help: "Look again and again, and show rates as well.")
  var watch = false

  @Option(
    help: ArgumentHelp(
      "With --watch, from one look to the next: 200ms, 1s, 5m. (default: 1s)", valueName: "time"),
    transform: TimeSpan.parsed)
  var interval: TimeSpan?

  func validate() throws {
    try jsonOptions.check(isJSON: json, "--json")
    guard let interval else { return }
    guard watch else { throw ValidationError("--interval goes with --watch") }
    guard interval.duration >= .milliseconds(100), interval.duration <= .seconds(86_400) else {
      throw ValidationError("--interval is from 100ms to 1d")
    }
  }

  func run() throws {
    guard !watch else {
      return try Watching(
        topic: topic, interval: interval?.duration ?? .seconds(1), json: json,
        jsonStrings: jsonOptions.jsonStrings
      ).run()
    }
    let info = try TopicInfo(of: Topic(topic))
    let consumers = try ConsumerInfo.all(of: Topic(topic))
    var output = Output(placesAreText: jsonOptions.jsonStrings)
    if json {
      output.putLine(object(info, consumers))
    } else {
      output.put(text(info))
      if !consumers.isEmpty { output.put("\n" + ConsumerRows.table(consumers)) }
    }
    try output.finish()
  }

  // MARK: Text

  private func text(_ info: TopicInfo) -> String {
    let unknown = "unknown"
    var lines = [
      ("topic", Messages.onOneLine(topic)),
      ("state", info.ending.sentence),
      ("slabs", "\(info.slabs.count)"),
      ("records", info.records.map { "\($0)" } ?? unknown),
      ("bytes", "\(info.bytes) (\(HumanSize.text(info.bytes)))"),
      ("first", info.first.map(\.description) ?? "none"),
      ("next", info.next.description),
      ("oldest", info.oldestStamp.map(Timestamp.text) ?? unknown),
      ("newest", info.newestStamp.map(Timestamp.text) ?? unknown),
    ]
    if info.tailBytes > 0 {
      lines.append(("tail", "\(Count.text(info.tailBytes, "byte")) behind the end"))
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

  private func object(_ info: TopicInfo, _ consumers: [ConsumerInfo]) -> JSONValue {
    .object([
      "topic": .text(topic),
      "state": .text(info.ending.word),
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

  private func object(_ slab: TopicInfo.Slab) -> JSONValue {
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
