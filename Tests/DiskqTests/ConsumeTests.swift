// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Foundation
import Testing

@Suite("diskq consume")
struct ConsumeTests {
  private static let name = ["--consumer", "one"]
  /// How many runs are killed. `DISKQUEUE_KILLS` sets another number.
  private static let runs =
    ProcessInfo.processInfo.environment["DISKQUEUE_KILLS"].flatMap(Int.init) ?? 12

  private func consume(_ topic: String, _ options: String...) throws -> Outcome {
    try Diskq.run(["consume", topic] + Self.name + options)
  }

  private func ordinal(_ topic: String) throws -> Int? {
    try consumer("one", of: topic)["ordinal"] as? Int
  }

  @Test("each run goes on where the last one ended, up to its limit")
  func positions() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 1_300)
    #expect(try consume(topic, "--limit", "0").lines == [])
    #expect(try consume(topic, "--limit", "7").lines == recordLines(0..<7))
    #expect(try consume(topic, "--limit", "600").lines == recordLines(7..<607))
    #expect(try ordinal(topic) == 607)
    let rest = try consume(topic)
    #expect(rest.status == 0 && rest.errors == "")
    #expect(rest.lines == recordLines(607..<1_300))
    #expect(try consume(topic).lines == [])
    #expect(try Diskq.run("append", topic, input: "record 1300\n").status == 0)
    #expect(try consume(topic).lines == ["record 1300"])
    // Each consumer has a position of its own, and reading moves none.
    #expect(try Diskq.run("consume", topic, "--consumer", "two", "--limit", "1").lines.count == 1)
    #expect(try ordinal(topic) == 1_301)
  }

  @Test("--from is where a new consumer begins, and no more than that")
  func from() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 20)
    #expect(
      try consume(topic, "--from", "ordinal:5", "--limit", "2").lines == recordLines(5..<7))
    #expect(try consume(topic, "--from", "earliest", "--limit", "1").lines == recordLines(7..<8))
    for (name, start, first) in [
      ("address", "\(addresses[9])", 9), ("latest", "latest", 20), ("age", "1h", 0),
    ] {
      let consumed = try Diskq.run("consume", topic, "--consumer", name, "--from", start)
      #expect(consumed.lines == recordLines(first..<20))
    }
    let inside = try Diskq.run(
      "consume", topic, "--consumer", "inside", "--from", "\(addresses[9] + 1)")
    #expect(inside.status == 2)
    #expect(try consumer("inside", of: topic).isEmpty)
  }

  @Test("records are printed as read prints them", arguments: ["lines", "json", "hex", "raw"])
  func formats(format: String) throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 5)
    let consumed = try consume(topic, "--format", format)
    #expect(consumed.output == (try Diskq.run("read", topic, "--format", format).output))
    #expect(consumed.output.count >= 40)
  }

  @Test(
    "a follower gets what is appended, and a signal ends it with all acknowledged",
    arguments: [SIGINT, SIGTERM, SIGHUP])
  func follow(signal: Int32) throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 3)
    let follower = try RunningDiskq(["consume", topic, "--follow"] + Self.name)
    let appender = try RunningDiskq("append", topic, "--ensure", "flushed")
    for line in recordLines(0..<3) { #expect(try follower.readLine() == line) }
    for line in recordLines(3..<50) {
      try appender.write(line + "\n")
      #expect(try follower.readLine() == line)
    }
    // Only one holder has the name at a time.
    let second = try consume(topic)
    #expect(second.status == 2)
    #expect(second.errors.contains("another holder has the consumer \"one\" open"))
    follower.send(signal)
    let outcome = try follower.outcome()
    #expect(outcome.status == 0)
    #expect(outcome.output == [] && outcome.errors == "")
    #expect(try ordinal(topic) == 50)
    try appender.closeInput()
    #expect(try appender.outcome().status == 0)
  }

  @Test("what could not be written is not acknowledged", .enabled(if: canUse("/dev/full")))
  func fullOutput() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 10)
    let consumed = try Diskq.shell("\"$0\" consume \"$1\" --consumer one >/dev/full", topic)
    #expect(consumed.status == 2)
    #expect(consumed.errors.contains("[standard output]"))
    #expect(try ordinal(topic) == 0)
    #expect(try consume(topic).lines == recordLines(0..<10))
  }

  @Test("--batch is how many printed records are acknowledged together", arguments: [3, 7, 1000])
  func batch(count: Int) throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let lines = (0..<100).map { "\($0) " + String(repeating: "x", count: 996) }
    #expect(
      try Diskq.run("append", topic, input: lines.map { $0 + "\n" }.joined()).status == 0)
    // The file may not grow above 16 or 32 KiB, so some batch cannot be written. ThreadSanitizer
    // needs a larger file in TMPDIR, or none.
    let consumed = try Diskq.shell(
      "ulimit -f 32; export TMPDIR=/dev/null;"
        + " exec \"$0\" consume \"$1\" --consumer one --batch $2 >\"$3\"", topic, "\(count)",
      directory.at("out"))
    #expect(consumed.status == 2)
    let reached = try #require(try ordinal(topic))
    #expect(reached % count == 0)
    #expect(count == 1000 ? reached == 0 : reached > 0 && reached < 40)
    #expect(try consume(topic, "--batch", "\(count)").lines == Array(lines[reached...]))
    #expect(try ordinal(topic) == 100)
  }

  @Test("a follower that lingers waits until its batch is full", .timeLimit(.minutes(5)))
  func linger() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let follower = try RunningDiskq(
      ["consume", topic, "--follow", "--linger", "1d", "--exec-batch", "3", "--exec"]
        + ["echo $DISKQ_COUNT; cat"] + Self.name)
    let appender = try RunningDiskq("append", topic, "--ensure", "flushed", "--print-addresses")
    for line in recordLines(0..<7) {
      // The next record comes only after this one can be read.
      try appender.write(line + "\n")
      #expect(try appender.readLine() != nil)
    }
    for lines in [recordLines(0..<3), recordLines(3..<6)] {
      for line in ["3"] + lines { #expect(try follower.readLine() == line) }
    }
    follower.send(SIGTERM)
    let outcome = try follower.outcome()
    #expect(outcome.status == 0)
    #expect(outcome.output == [])
    #expect(try ordinal(topic) == 6)
    try appender.closeInput()
    #expect(try appender.outcome().status == 0)
  }

  #if os(Linux)
    @Test(
      "no record is acknowledged that a pipe's reader did not take whole",
      arguments: [1, 9, 10, 27, 30, 62, 89])
    func reader(taking bytes: Int) throws {
      let directory = try TemporaryDirectory()
      let topic = directory.at("topic")
      try makeTopic(topic, records: 10)
      // dd takes single bytes, and so no byte more than it is to print.
      let consumed = try Diskq.shell(
        """
        { "$0" consume "$1" --consumer one --batch 10000; echo "status $?" >&2; } \
        | dd bs=1 count="$2" status=none
        """, topic, "\(bytes)")
      #expect(consumed.output.count == bytes)
      #expect(consumed.errorLines == ["status 0"])
      // Each line has nine bytes.
      let reached = try #require(try ordinal(topic))
      #expect(reached * 9 <= bytes)
      #expect(try consume(topic).lines == recordLines(reached..<10))
    }
  #endif

  @Test("where nobody reads any more, it ends, and nothing that was not taken is acknowledged")
  func closedPipe() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    // The topic has far more records than a pipe holds.
    try makeTopic(topic, records: 60_000)
    let consumed = try Diskq.shell(
      "{ \"$0\" consume \"$1\" --consumer one; echo \"status $?\" >&2; } | head -n 1", topic)
    #expect(consumed.lines == ["record 0"])
    #expect(consumed.errorLines == ["status 0"])
    let reached = try #require(try ordinal(topic))
    #expect(reached < 30_000)
    #expect(try consume(topic).lines == recordLines(reached..<60_000))
  }

  @Test("losses are told, passed, and make the status 1; a record above the limit ends it, with 2")
  func losses() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 100)
    try flipBit(try #require(try slabPaths(topic).first), byte: addresses[40] + 10)
    let consumed = try consume(topic)
    #expect(consumed.status == 1)
    #expect(consumed.lines == recordLines(0..<40) + recordLines(41..<100))
    #expect(consumed.errorLines.count == 1)
    #expect(consumed.errors.contains("1 record lost"))
    let again = try consume(topic)
    #expect(again.status == 0 && again.output == [])
    let long = try Diskq.run("consume", topic, "--consumer", "two", "--maximum-payload", "8")
    #expect(long.status == 2)
    #expect(long.lines == recordLines(0..<10))
    #expect(long.errors.contains("a higher --maximum-payload, or make it a dead letter"))
  }

  @Test("a follower whose topic is removed says so, and ends")
  func removedTopic() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 3)
    let follower = try RunningDiskq(["consume", topic, "--follow"] + Self.name)
    for line in recordLines(0..<3) { #expect(try follower.readLine() == line) }
    try removeFile(topic)
    let outcome = try follower.outcome()
    #expect(outcome.status == 2)
    #expect(outcome.errors.contains("the topic was removed while it was followed"))
  }

  @Test("a damaged cursor is an error, until it is reset")
  func damagedCursor() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 5)
    #expect(try consume(topic, "--limit", "2").status == 0)
    try DiskqTests.damageCursor("one", of: topic)
    let consumed = try consume(topic)
    #expect(consumed.status == 2)
    #expect(consumed.errors.contains("reset the consumer to a position, or delete it"))
    let reset = try Diskq.run("consumers", topic, "--reset", "one", "--to", "ordinal:2")
    #expect(reset.status == 0)
    #expect(try consume(topic).lines == recordLines(2..<5))
  }

  @Test("G6: killed at any moment, what was printed may come again, and none is skipped")
  func killed() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let total = 60_000
    try makeTopic(topic, records: total, options: ["--slab-size", "64KiB"])
    var random = SeededGenerator(seed: UInt64.random(in: 0...UInt64.max))
    let seed = "\(random)"
    /// All records below this number were printed.
    var printed = 0
    let runs = Self.runs
    var kills = 0
    while printed < total, kills < runs + 10 {
      let program = try RunningDiskq(["consume", topic] + Self.name)
      /// The number after the last line of this run.
      var next: Int?
      var left = kills < runs ? random.below(2 * total / runs) : total
      while left > 0, let line = try program.readLine() {
        let number = try #require(Int(line.dropFirst("record ".count)), "seed \(seed)")
        if let next {
          #expect(number == next, "a hole, seed \(seed)")
        } else {
          #expect(number <= printed, "skipped, seed \(seed)")
        }
        next = number + 1
        printed = max(printed, number + 1)
        left -= 1
      }
      program.send(SIGKILL)
      kills += 1
      // The lines that it printed before it was killed. The last line may be incomplete.
      for line in try program.outcome().lines where line.hasPrefix("record ") {
        let number = try #require(Int(line.dropFirst("record ".count)))
        #expect(number == next ?? number, "a hole, seed \(seed)")
        #expect(number <= printed, "skipped, seed \(seed)")
        next = number + 1
        printed = max(printed, number + 1)
      }
      let reached = try #require(try ordinal(topic))
      #expect(reached <= printed, "acknowledged and not printed, seed \(seed)")
    }
    #expect(printed == total, "seed \(seed)")
    #expect(try consume(topic).status == 0)
    #expect(try ordinal(topic) == total)
  }

  @Test("a record above the limit stops it, and with --dead-letter is a dead letter")
  func tooLarge() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let long = String(repeating: "x", count: 2_000)
    #expect(try Diskq.run("append", topic, input: "one\n\(long)\ntwo\n").status == 0)
    for _ in 0..<2 {
      let stopped = try Diskq.run("consume", topic, "--consumer", "a", "--maximum-payload", "1KiB")
      #expect(stopped.status == 2)
      #expect(
        stopped.errors.contains("a record of 2000 bytes is above this consumer's limit of 1KiB"))
      #expect(try consumer("a", of: topic)["ordinal"] as? Int == 1)
    }
    let aside = try Diskq.run(
      "consume", topic, "--consumer", "a", "--maximum-payload", "1KiB", "--dead-letter")
    #expect(aside.status == 0 && aside.lines == ["two"])
    #expect(aside.errors.contains("is above the limit, and is now the dead letter at address 128"))
    #expect(try Diskq.run("read", topic + ".dead", "--dead-letters").lines == [long])
    #expect(try consumer("a", of: topic)["ordinal"] as? Int == 3)
    #expect(try consumer("a", of: topic)["bytesLeft"] as? Int == 0)
  }
}

/// Whether a file exists and can be written.
func canUse(_ path: String) -> Bool {
  FileManager.default.isWritableFile(atPath: path)
}
