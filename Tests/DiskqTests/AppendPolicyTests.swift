// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Foundation
import Testing

@Suite("diskq append: what happens of its own accord, and at the cap")
struct AppendPolicyTests {
  @Test(
    "what is due is visible while the input is held open and nothing more comes",
    arguments: [
      ["--flush-every", "10ms"], ["--flush-every", "never", "--sync-every", "10ms"],
      ["--flush-every", "1"], ["--flush-every", "1B"], ["--flush-every", "1000,64KiB,10ms"],
      ["--flush-every", "never", "--sync-every", "1"], [],
    ])
  func due(policy: [String]) async throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 1)
    let records = try QueueReader(topic: Topic(topic)).records(following: true)
    var iterator = records.makeAsyncIterator()
    #expect(try await iterator.next()?.text == "record 0")
    let appender = try RunningDiskq(["append", topic] + policy)
    for number in 1..<4 {
      try appender.write("record \(number)\n")
      #expect(try await iterator.next()?.text == "record \(number)")
    }
    try appender.closeInput()
    #expect(try appender.outcome().status == 0)
  }

  @Test("with --slab-age, an old slab is left before the next record")
  func slabAge() throws {
    for (age, slabs) in [(nil, 1), ("1d", 2), ("100000d", 1)] as [(String?, Int)] {
      let directory = try TemporaryDirectory()
      let topic = directory.at("topic")
      // The slab's stamps are of the year 2020.
      var forge = SlabForge(base: 0, synced: 0)
      forge.putRecord(Array("record 0".utf8))
      forge.putClosingMark()
      try FileManager.default.createDirectory(atPath: topic, withIntermediateDirectories: true)
      try writeFile(topic + "/" + SlabName.string(0), forge.bytes)
      try writeFile(directory.at("input"), Array("record 1\n".utf8))
      let appended = try Diskq.run(
        ["append", topic, directory.at("input")] + (age.map { ["--slab-age", $0] } ?? []))
      #expect(appended.status == 0, "\(appended.errors)")
      #expect(try Diskq.run("read", topic).lines == ["record 0", "record 1"])
      let names = try FileManager.default.contentsOfDirectory(atPath: topic)
      #expect(names.count { $0.hasSuffix(".slab") } == slabs)
    }
    let refused = try Diskq.run("append", "topic", "--slab-age", "0s")
    #expect(refused.status != 0 && refused.errors.contains("slabAge"))
  }

  @Test("with never, nothing is flushed before the end, and a kill loses it")
  func never() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let appender = try RunningDiskq(
      "append", topic, "--print-addresses", "--flush-every", "never", "--sync-every", "never")
    try appender.write("one\n")
    #expect(try appender.readLine() != nil)
    #expect(try Diskq.run("read", topic).lines == [])
    appender.send(SIGKILL)
    #expect(try appender.outcome().status == 128 + SIGKILL)
    #expect(try Diskq.run("read", topic).lines == [])
  }

  // MARK: The cap

  private static let most = 64 << 10
  /// Many times as many records as the cap allows.
  private static let records = 20_000

  /// A file of numbered lines.
  private func input(_ directory: TemporaryDirectory) throws -> String {
    let path = directory.at("input")
    try writeFile(path, Array(recordLines(0..<Self.records).map { $0 + "\n" }.joined().utf8))
    return path
  }

  private func bytes(_ topic: String) throws -> Int {
    try slabPaths(topic).map { try readFile($0).count }.reduce(0, +)
  }

  @Test("without --slab-size a sixteenth of a small cap is taken; at the cap it fails, and says so")
  func fail() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let appended = try Diskq.run("append", topic, try input(directory), "--maximum-bytes", "64KiB")
    #expect(appended.status == 2)
    #expect(appended.errorLines.count == 2)
    #expect(appended.errors.contains("the topic is at its --maximum-bytes: clean the topic, or"))
    let lines = try Diskq.run("read", topic).lines
    #expect(
      appended.errorLines.last
        == "diskq: stored \(lines.count) records of \(directory.at("input")), up to line"
        + " \(lines.count), and nothing of the rest [\(topic)]")
    #expect(lines == recordLines(0..<lines.count))
    #expect(lines.count > 1_000)
    #expect(try slabPaths(topic).count >= 15)
    #expect(try bytes(topic) <= Self.most + 300)
  }

  @Test("--maximum-records holds it to so many: it fails there, or drops the oldest sixteenth")
  func maximumRecords() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let full = try Diskq.run("append", topic, try input(directory), "--maximum-records", "1000")
    #expect(full.status == 2)
    #expect(full.errors.contains("the topic is at its --maximum-records: clean the topic, or"))
    #expect(try Diskq.run("read", topic).lines == recordLines(0..<1000))
    let dropping = directory.at("dropping")
    let appended = try Diskq.run(
      "append", dropping, try input(directory), "--maximum-records", "1000", "--when-full",
      "drop-oldest")
    #expect(appended.status == 0)
    let lines = try Diskq.run("read", dropping).lines
    #expect(lines == recordLines(Self.records - lines.count..<Self.records))
    #expect((939...1000).contains(lines.count))
    let one = try Diskq.run("append", topic, try input(directory), "--maximum-records", "1")
    #expect(one.status == 64)
  }

  @Test("drop-oldest keeps the newest records")
  func dropOldest() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let appended = try Diskq.run(
      "append", topic, try input(directory), "--maximum-bytes", "64KiB", "--when-full",
      "drop-oldest")
    #expect(appended.status == 0)
    #expect(appended.errors == "")
    let lines = try Diskq.run("read", topic).lines
    #expect(lines == recordLines(Self.records - lines.count..<Self.records))
    #expect(lines.count > 1_000)
    #expect(try bytes(topic) <= Self.most + 300)
  }

  @Test("drop-oldest-acknowledged takes no more than consumers have done with")
  func dropAcknowledged() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 1)
    #expect(try Diskq.run("consume", topic, "--consumer", "slow", "--limit", "1").status == 0)
    let arguments = [
      "append", topic, try input(directory), "--maximum-bytes", "64KiB", "--when-full",
      "drop-oldest-acknowledged",
    ]
    let held = try Diskq.run(arguments)
    #expect(held.status == 2)
    #expect(held.errors.contains("consumer slow has not acknowledged enough"))
    let before = try Diskq.run("read", topic).lines.count
    #expect(try Diskq.run("consume", topic, "--consumer", "slow").lines.count == before - 1)
    #expect(
      try Diskq.run(
        "append", topic, "--maximum-bytes", "64KiB", "--when-full",
        "drop-oldest-acknowledged", input: "after\n"
      ).status == 0)
    #expect(try Diskq.run("consume", topic, "--consumer", "slow").lines == ["after"])
  }

  @Test(
    "a signal ends a wait for room: what was taken is kept, and what was not is named",
    arguments: [SIGINT, SIGTERM, SIGHUP])
  func stoppedWait(signal: Int32) throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let appender = try RunningDiskq(
      "append", topic, try input(directory), "--maximum-bytes", "64KiB", "--when-full", "wait",
      "--print-addresses", "--ensure", "flushed")
    // The addresses are so few that they are printed when the program first waits, and not before.
    #expect(try appender.readLine() == "128")
    appender.send(signal)
    let outcome = try appender.outcome()
    // A part of the file is missing.
    #expect(outcome.status == 128 + signal)
    let taken = outcome.lines.count + 1
    #expect(try Diskq.run("read", topic).lines == recordLines(0..<taken))
    #expect(outcome.errorLines.count == 2)
    #expect(
      outcome.errors.hasPrefix(
        "diskq: the topic was full: record \(taken + 1) of \(directory.at("input")),"))
    #expect(
      outcome.errors.contains(
        ": stored \(taken) records of \(directory.at("input")), up to line \(taken), and nothing of"
          + " the rest [\(topic)]\n"))
    #expect(try Diskq.run("info", topic).text.contains("state    closed\n"))
  }

  @Test("it waits for room until a cleaner has made some, and so comes through")
  func wait() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 0)
    let appender = try RunningDiskq(
      "append", topic, try input(directory), "--maximum-bytes", "64KiB", "--when-full", "wait")
    var removed = 0
    var rounds = 0
    while rounds < 1_000, appender.isRunning {
      rounds += 1
      let cleaned = try Diskq.run(
        "clean", topic, "--keep-bytes", "20KiB", "--minimum-keep-bytes", "0")
      #expect(cleaned.status == 0, "\(cleaned.errors)")
      removed += cleaned.lines.count { $0.hasPrefix("removed ") }
    }
    // If the program did not get through, do not wait for it.
    if appender.isRunning { appender.send(SIGKILL) }
    let outcome = try appender.outcome()
    #expect(outcome.status == 0)
    #expect(outcome.errors == "")
    #expect(removed > 10)
    #expect(try Diskq.run("read", topic, "--from", "earliest").lines.last == "record 19999")
  }
}
