// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Foundation
import Testing

@Suite("diskq clean")
struct CleanTests {
  private static let small = ["--slab-size", "4KiB"]

  private func clean(_ arguments: String...) throws -> Outcome {
    try Diskq.run(["clean"] + arguments + ["--minimum-keep-bytes", "0"])
  }

  @Test(
    "it removes what lies beyond a bound, says so a line each, and then why no more went",
    arguments: [
      (
        ["--keep-bytes", "12KiB"], "before the newest 12KiB",
        "all that is left is within the bounds"
      ),
      (
        ["--keep-records", "300"], "before the newest 300 records",
        "all that is left is within the bounds"
      ),
      (["--keep-age", "0s"], "older than 0s", "the last slab always stays"),
    ])
  func bounds(bound: [String], reason: String, kept: String) throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 2_000, options: Self.small)
    let before = try slabPaths(topic)
    let cleaned = try Diskq.run(["clean", topic, "--minimum-keep-bytes", "0"] + bound)
    #expect(cleaned.status == 0)
    #expect(cleaned.errors == "")
    let after = try slabPaths(topic)
    let removed = before.filter { !after.contains($0) }
    #expect(removed.count > 2)
    #expect(after == Array(before.suffix(after.count)))
    #expect(cleaned.lines.count == removed.count + 1)
    for (line, path) in zip(cleaned.lines, removed) {
      #expect(line.hasPrefix("removed \(path): "))
      #expect(line.hasSuffix(", \(reason)"))
    }
    #expect(cleaned.lines.last == "\(topic): \(kept)")
    let lines = try Diskq.run("read", topic).lines
    #expect(lines == recordLines(2_000 - lines.count..<2_000))
    // Nothing is left to remove, so nothing is printed.
    let again = try Diskq.run(["clean", topic, "--minimum-keep-bytes", "0"] + bound)
    #expect(again.status == 0)
    #expect(again.output == [] && again.errors == "")
  }

  @Test("the minimum to keep holds unless it is lowered")
  func minimum() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 2_000, options: Self.small)
    let cleaned = try Diskq.run("clean", topic, "--keep-records", "1", "--dry-run")
    #expect(
      cleaned.lines == [
        "\(topic): the newest 1MiB always stay, and --minimum-keep-bytes sets how much"
      ])
  }

  @Test("a dry run removes nothing, and names what would be removed")
  func dryRun() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 2_000, options: Self.small)
    let before = try snapshot(topic)
    let dry = try clean(topic, "--keep-records", "300", "--dry-run")
    #expect(dry.status == 0)
    #expect(try snapshot(topic) == before)
    #expect(dry.lines.first?.hasPrefix("would remove \(try slabPaths(topic)[0]): ") == true)
    let cleaned = try clean(topic, "--keep-records", "300")
    let asIfDone = dry.text.replacingOccurrences(of: "would remove", with: "removed")
    #expect(cleaned.text == asIfDone)
  }

  @Test("JSON has its keys, and ends with a summary, also where nothing was removed")
  func json() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 2_000, options: Self.small)
    let first = try slabPaths(topic)[0]
    let bytes = try readFile(first).count
    let cleaned = try clean(topic, "--keep-records", "300", "--json")
    let removed = try object(cleaned.lines[0])
    #expect(removed["kind"] as? String == "removed")
    #expect(removed["topic"] as? String == topic)
    #expect(removed["slab"] as? String == first)
    #expect(removed["base"] as? Int == 0)
    #expect(removed["bytes"] as? Int == bytes)
    #expect(removed["cause"] as? String == "records")
    let records = try cleaned.lines.compactMap { try object($0)["records"] as? Int }
    let summary = try object(try #require(cleaned.lines.last))
    #expect(summary["kind"] as? String == "summary")
    #expect(summary["dryRun"] as? Bool == false)
    #expect(summary["slabs"] as? Int == cleaned.lines.count - 1)
    #expect(summary["records"] as? Int == records.dropLast().reduce(0, +))
    #expect(summary["kept"] as? String == "within-bounds")
    #expect(summary["consumer"] is NSNull)
    let again = try clean(topic, "--keep-records", "300", "--json")
    #expect(again.lines.count == 1)
    #expect(try object(again.lines[0])["slabs"] as? Int == 0)
  }

  @Test("what consumers have not acknowledged is kept, unless they are ignored")
  func consumers() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 2_000, options: Self.small)
    for (name, limit) in [("slow", "1"), ("fast", "1500")] {
      let consumed = try Diskq.run("consume", topic, "--consumer", name, "--limit", limit)
      #expect(consumed.status == 0)
    }
    let bound = ["--keep-records", "1", "--json"]
    func kept(_ options: String...) throws -> [String?] {
      let cleaned = try Diskq.run(
        ["clean", topic, "--minimum-keep-bytes", "0", "--dry-run"] + bound + options)
      #expect(cleaned.status == 0)
      let summary = try object(try #require(cleaned.lines.last))
      return [summary["kept"] as? String, summary["consumer"] as? String]
    }
    for protected in [[], ["--protect-consumers"], ["--ignore-consumer", "other"]] {
      let cleaned = try Diskq.run(
        ["clean", topic, "--minimum-keep-bytes", "0"] + bound + protected)
      let summary = try object(try #require(cleaned.lines.last))
      #expect(summary["consumer"] as? String == "slow")
    }
    #expect(try kept("--protect-consumer", "slow", "--protect-consumer", "fast")[1] == "slow")
    #expect(try kept("--ignore-consumer", "slow") == ["consumer", "fast"])
    #expect(try kept("--protect-consumer", "fast") == ["consumer", "fast"])
    #expect(try kept("--ignore-consumers") == ["last-slab", nil])
    #expect(
      try kept("--ignore-consumer", "slow", "--ignore-consumer", "fast") == ["last-slab", nil])
    let unknown = try clean(topic, "--keep-records", "1", "--protect-consumer", "unknown")
    #expect(unknown.status == 2)
    #expect(unknown.errors.contains("there is no consumer named \"unknown\" to protect"))
    // If one consumer holds everything, there is no line for cron to mail.
    #expect(try clean(topic, "--keep-records", "1").output == [])
    #expect(try clean(topic, "--keep-records", "1", "--ignore-consumers").lines.count > 2)
    // A consumer that was overtaken gets the number of records that it missed.
    let overtaken = try Diskq.run("consume", topic, "--consumer", "slow", "--format", "json")
    #expect(overtaken.status == 1)
    let ordinal = try #require(try object(overtaken.lines[0])["ordinal"] as? Int)
    #expect(overtaken.errors.contains("cleaned before it was read, \(ordinal - 1) records lost"))
  }

  @Test("a consumer whose position is damaged holds everything, and that is said every time")
  func damagedConsumer() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 2_000, options: Self.small)
    #expect(try Diskq.run("consume", topic, "--consumer", "one").lines.count == 2_000)
    try damageCursor("one", of: topic)
    let cleaned = try clean(topic, "--keep-records", "1")
    #expect(cleaned.status == 1)
    #expect(cleaned.output == [])
    #expect(cleaned.errorLines.count == 1)
    #expect(cleaned.errors.contains("held by consumer one, whose position cannot be read"))
    #expect(try Diskq.run("consumers", topic, "--delete", "one").status == 0)
    #expect(try clean(topic, "--keep-records", "1").status == 0)
  }

  @Test("several topics: an error at one is told, and the next ones are cleaned")
  func several() throws {
    let directory = try TemporaryDirectory()
    let topics = ["a", "b"].map { directory.at($0) }
    for topic in topics { try makeTopic(topic, records: 1_000, options: Self.small) }
    let cleaned = try clean(
      topics[0], directory.at("missing"), topics[1], "--keep-records", "200")
    #expect(cleaned.status == 2)
    #expect(cleaned.errorLines.count == 1)
    #expect(cleaned.errors.contains("[\(directory.at("missing"))]"))
    for topic in topics {
      #expect(cleaned.lines.contains("\(topic): all that is left is within the bounds"))
      #expect(try Diskq.run("read", topic).lines.count < 1_000)
    }
  }

  @Test("beside a writer and a reader that follows: nobody is disturbed, and none is skipped")
  func besideWriter() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 1, options: Self.small)
    let follower = try RunningDiskq("consume", topic, "--consumer", "one", "--follow")
    #expect(try follower.readLine() == "record 0")
    let appender = try RunningDiskq(
      "append", topic, "--slab-size", "4KiB", "--print-addresses", "--ensure", "synced")
    var (next, removed) = (1, 0)
    for _ in 0..<30 {
      let lines = recordLines(next..<next + 200)
      try appender.write(lines.map { $0 + "\n" }.joined())
      for line in lines {
        #expect(try appender.readLine() != nil)
        #expect(try follower.readLine() == line)
      }
      next += 200
      let cleaned = try clean(topic, "--keep-bytes", "8KiB")
      #expect(cleaned.status == 0, "\(cleaned.errors)")
      removed += cleaned.lines.count { $0.hasPrefix("removed ") }
    }
    #expect(removed > 10)
    try appender.closeInput()
    #expect(try appender.outcome().status == 0)
    follower.send(SIGTERM)
    let outcome = try follower.outcome()
    #expect(outcome.status == 0)
    #expect(outcome.errors == "")
    #expect(try Diskq.run("verify", topic).status == 0)
  }
}
