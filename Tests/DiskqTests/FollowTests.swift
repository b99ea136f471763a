// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Foundation
import Testing

/// The program follows the appends of this process, and this process follows those of the program.
@Suite("diskq read --follow")
struct FollowTests {
  private static func lines(_ numbers: Range<Int>) -> [String] { numbers.map { "record \($0)" } }

  /// Reads `count` lines from a follower.
  private func read(_ count: Int, from follower: RunningDiskq) throws -> [String] {
    try (0..<count).map { _ in try #require(try follower.readLine(), "it ended by itself") }
  }

  @Test(
    "it prints what is there, then what another process flushes, and ends on a signal",
    arguments: [SIGINT, SIGTERM, SIGHUP])
  func follows(signal: Int32) throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let writer = try QueueWriter(topic: Topic(topic))
    for line in Self.lines(0..<100) { try writer.append(line) }
    try writer.flush()
    let follower = try RunningDiskq("read", topic, "--follow")
    #expect(try read(100, from: follower) == Self.lines(0..<100))
    for number in 100..<150 {
      try writer.append("record \(number)")
      try writer.flush()
      // The record is delivered before the next one is appended.
      #expect(try read(1, from: follower) == ["record \(number)"])
    }
    follower.send(signal)
    let outcome = try follower.outcome()
    #expect(outcome.status == 0)
    #expect(outcome.output == [] && outcome.errors == "")
    try writer.close()
  }

  @Test("it goes on across rolls and epochs, and --limit counts over all of it")
  func rollsAndEpochs() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(4)
    let first = try QueueWriter(topic: Topic(topic), options: options)
    let follower = try RunningDiskq("read", topic, "--follow", "--limit", "1200")
    for line in Self.lines(0..<400) { try first.append(line) }
    try first.flush()
    #expect(try read(400, from: follower) == Self.lines(0..<400))
    first.dieForTesting()
    let second = try QueueWriter(topic: Topic(topic), options: options)
    for number in 400..<1_300 {
      try second.append("record \(number)")
      if number % 100 == 99 { try second.flush() }
    }
    let outcome = try follower.outcome()
    #expect(outcome.status == 0)
    #expect(outcome.lines == Self.lines(400..<1_200))
    try second.close()
  }

  @Test("a follower here is woken by an appender there")
  func wokenByTheProgram() async throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 1)
    let records = try QueueReader(topic: Topic(topic)).records(following: true)
    var iterator = records.makeAsyncIterator()
    #expect(try await iterator.next()?.text == "record 0")
    let appender = try RunningDiskq("append", topic, "--ensure", "flushed", "--print-addresses")
    for number in 1..<20 {
      try appender.write("record \(number)\n")
      #expect(try await iterator.next()?.text == "record \(number)")
    }
    try appender.closeInput()
    #expect(try appender.outcome().status == 0)
  }

  @Test("losses are told, and make the status 1 at the end")
  func losses() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 100)
    try flipBit(try #require(try slabPaths(topic).first), byte: addresses[40] + 10)
    let follower = try RunningDiskq("read", topic, "--follow")
    #expect(try read(99, from: follower) == Self.lines(0..<40) + Self.lines(41..<100))
    follower.send(SIGTERM)
    let outcome = try follower.outcome()
    #expect(outcome.status == 1)
    #expect(outcome.errorLines.count == 1)
    #expect(outcome.errors.contains("1 record lost"))
    // If the program is to stop at damage, it does not wait.
    let stopping = try Diskq.run("read", topic, "--follow", "--damage", "stop")
    #expect(stopping.status == 1)
  }

  @Test(
    "a topic that does not exist yet is waited for, also below directories that do not exist",
    arguments: ["topic", "a/b/topic", "a//b/topic/"], ["read", "consume"])
  func waitsForTopic(name: String, verb: String) throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at(name)
    let options = verb == "consume" ? ["--consumer", "one"] : []
    let follower = try RunningDiskq([verb, topic, "--follow", "--from", "latest"] + options)
    #expect(
      try follower.readErrorLine()
        == "diskq: there is no topic at this path yet: waiting for it [\(topic)]")
    // A directory that is made on the way is watched in turn.
    try FileManager.default.createDirectory(
      atPath: (topic as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    try makeTopic(topic, records: 3)
    #expect(try read(3, from: follower) == Self.lines(0..<3))
    #expect(try Diskq.run("append", topic, input: "record 3\n").status == 0)
    #expect(try read(1, from: follower) == Self.lines(3..<4))
    follower.send(SIGTERM)
    let outcome = try follower.outcome()
    #expect(outcome.status == 0)
    #expect(outcome.errors == "")
  }

  @Test(
    "a stop ends the wait for a topic, and makes nothing", arguments: [SIGINT, SIGTERM, SIGHUP],
    ["read", "consume"])
  func stoppedWait(signal: Int32, verb: String) throws {
    let directory = try TemporaryDirectory()
    let options = verb == "consume" ? ["--consumer", "one"] : []
    let follower = try RunningDiskq([verb, directory.at("topic"), "--follow"] + options)
    #expect(try follower.readErrorLine() != nil)
    follower.send(signal)
    let outcome = try follower.outcome()
    #expect(outcome.status == 0)
    #expect(outcome.output == [] && outcome.errors == "")
    #expect(try snapshot(directory.path).isEmpty)
  }

  @Test("when the reader of its output goes, the wait for a topic ends")
  func closedWait() throws {
    let directory = try TemporaryDirectory()
    let follower = try RunningDiskq("read", directory.at("topic"), "--follow")
    #expect(try follower.readErrorLine() != nil)
    try follower.closeOutput()
    #expect(try follower.outcome().status == 0)
  }

  @Test("what can never be a topic is not waited for")
  func neverATopic() throws {
    let directory = try TemporaryDirectory()
    try writeFile(directory.at("file"), [1])
    for path in [directory.at("file"), directory.at("file/topic"), ""] {
      let read = try Diskq.run("read", path, "--follow")
      #expect(read.status == 2)
      #expect(read.errorLines.count == 1)
      #expect(read.errors.hasPrefix("diskq: a topic is a directory, but this path"))
    }
  }

  @Test("--to ends a follower before its position, without a record after it")
  func end() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 5)
    let byOrdinal = try Diskq.run("read", topic, "--follow", "--to", "ordinal:3")
    #expect(byOrdinal.lines == Self.lines(0..<3))
    let byAddress = try Diskq.run("read", topic, "--follow", "--to", "\(addresses[4])")
    #expect(byAddress.lines == Self.lines(0..<4))
    let follower = try RunningDiskq("read", topic, "--follow", "--to", "ordinal:7")
    #expect(try read(5, from: follower) == Self.lines(0..<5))
    let more = Self.lines(5..<9).map { $0 + "\n" }.joined()
    #expect(try Diskq.run("append", topic, input: more).status == 0)
    let outcome = try follower.outcome()
    #expect(outcome.status == 0)
    #expect(outcome.lines == Self.lines(5..<7))
  }

  @Test("a topic that is removed ends the command with an error")
  func removedTopic() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 3)
    let follower = try RunningDiskq("read", topic, "--follow")
    #expect(try read(3, from: follower) == Self.lines(0..<3))
    try removeFile(topic)
    let outcome = try follower.outcome()
    #expect(outcome.status == 2)
    #expect(outcome.errors.contains("the topic was removed while it was followed"))
  }

  @Test("when nobody reads its output any more, it ends at the next record")
  func closedPipe() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 2)
    let read = try Diskq.shell(
      """
      { "$0" read "$1" --follow; echo "status $?" >&2; } | {
        read first; echo "$first"; exec <&-; echo more | "$0" append "$1"
      }
      """, topic)
    #expect(read.lines == ["record 0"])
    #expect(read.errorLines == ["status 0"])
  }
}
