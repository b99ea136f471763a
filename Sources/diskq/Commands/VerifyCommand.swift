// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue
import DiskQueueInspection

struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Reads everything, and names every damaged range and discarded tail.",
    discussion: """
      The exit status is 1 if there is damage. verify also describes bytes that a crash left after \
      the end of the log. They are no damage: the next append recovers the topic. A slab whose \
      header was written for another name counts as damage.

      Of a sharded topic, verify reads every shard, and prints a summary for each.
      """
        + Examples.section([
          "Read everything, and print each damage.":
            "diskq verify queue",
          "Copy the sound records if need be.":
            "diskq verify queue || diskq repair queue queue.new",
          "Count the sound records.":
            "diskq verify queue --json | tail -n 1 | jq .records",
        ]))

  @Argument(help: "The topic's directory.", completion: .directory)
  var topic: String

  @Flag(help: "Print one JSON object a line: each finding, and then a summary.")
  var json = false

  @OptionGroup var jsonOptions: JSONOptions

  func validate() throws { try jsonOptions.check(isJSON: json, "--json") }

  func run() throws {
    let paths = try Shards.topics(at: topic)
    var output = Output(placesAreText: jsonOptions.jsonStrings)
    var isDamaged = false
    for path in paths {
      let verification = try verify(path, &output)
      if json {
        output.putLine(summary(verification, path))
      } else {
        let shard = path == topic ? "" : Messages.onOneLine(path) + ": "
        output.put(shard + sentence(verification) + "\n")
      }
      isDamaged = isDamaged || verification.isDamaged
    }
    try output.finish()
    if isDamaged { throw leaveDamaged() }
  }

  private func verify(_ path: String, _ output: inout Output) throws -> TopicVerification {
    let topic = Topic(path)
    let extent = try TopicExtent(of: topic)
    let progress = ProgressBar(total: extent.bytes)
    defer { progress.clear() }
    do throws(QueueError) {
      return try TopicVerification(
        of: topic, onProgress: { progress.update(extent.bytes(before: $0)) },
        onFinding: { finding in
          if json {
            output.putLine(object(finding, path))
          } else {
            output.put(Messages.onOneLine(sentence(finding, path)) + "\n")
          }
        })
    } catch {
      // Print the findings before the error.
      try output.finish()
      throw error
    }
  }

  // MARK: Text

  private func sentence(_ finding: TopicVerification.Finding, _ topic: String) -> String {
    switch finding {
    case .loss(let loss, let path): "\(loss) [\(path)]"
    case .tail(let tail): "\(tail.sentence) [\(tail.path)]"
    case .notClosed(let writer):
      "the topic is \(LogEnding.open.sentence(writer: writer)) [\(topic)]"
    case .otherName(let path): "ignored: not part of a topic [\(path)]"
    case .misnamedSlab(let path, let stated):
      "renamed or copied: the header of this slab states \(stated), so no record in it can be read"
        + " under this name [\(path)]"
    }
  }

  private func sentence(_ verification: TopicVerification) -> String {
    let content =
      "\(Count.text(verification.records, "record")) and"
      + " \(Count.text(verification.payloadBytes, "payload byte")) in"
      + " \(Count.text(UInt64(verification.slabs), "slab"))"
    guard verification.isDamaged else { return "\(content): no damage" }
    var damage: [String] = []
    if verification.damagedRanges > 0 {
      damage.append(
        LossCount(
          ranges: verification.damagedRanges, records: verification.damagedRecords,
          isUncounted: verification.damageIsUncounted
        ).description)
    }
    if verification.misnamedSlabs > 0 {
      damage.append("\(Count.text(verification.misnamedSlabs, "slab")) under another name")
    }
    return "\(content): \(damage.joined(separator: ", "))"
  }

  // MARK: JSON

  private func object(_ finding: TopicVerification.Finding, _ topic: String) -> JSONValue {
    switch finding {
    case .loss(let loss, let path):
      .object([
        "kind": .text(word(loss.cause)), "slab": .text(path),
        "from": .place(loss.addresses.lowerBound),
        "to": .place(loss.addresses.upperBound), "records": .number(loss.records),
      ])
    case .tail(let tail):
      .object([
        "kind": .text(tail.cause == .discarded ? "discarded-tail" : "tail"),
        "slab": .text(tail.path), "from": .place(tail.addresses.lowerBound),
        "to": .place(tail.addresses.upperBound), "records": .number(tail.records),
      ])
    case .notClosed(let writer):
      .object([
        "kind": .text("not-closed"), "topic": .text(topic), "writer": writer.json,
      ])
    case .otherName(let path):
      .object(["kind": .text("ignored"), "path": .text(path)])
    case .misnamedSlab(let path, let stated):
      .object([
        "kind": .text("misnamed"), "slab": .text(path), "stated": .place(stated),
      ])
    }
  }

  private func word(_ cause: Loss.Cause) -> String {
    switch cause {
    case .damaged: "damaged"
    case .cleaned: "cleaned"
    case .discarded: "discarded"
    }
  }

  private func summary(_ verification: TopicVerification, _ topic: String) -> JSONValue {
    .object([
      "kind": .text("summary"),
      "topic": .text(topic),
      "damaged": .bool(verification.isDamaged),
      "state": .text(verification.ending.word),
      "slabs": .number(UInt64(verification.slabs)),
      "bytes": .number(verification.bytes),
      "records": .number(verification.records),
      "payloadBytes": .number(verification.payloadBytes),
      "end": .place(verification.end),
      "damagedRanges": .number(verification.damagedRanges),
      "damagedRecords": .number(verification.damagedRecords),
      "damageIsUncounted": .bool(verification.damageIsUncounted),
      "misnamedSlabs": .number(verification.misnamedSlabs),
    ])
  }
}
