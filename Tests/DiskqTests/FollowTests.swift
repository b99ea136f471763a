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

  @Test("a topic that is not there is the usual error, and one that is removed is told")
  func noTopic() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let missing = try Diskq.run("read", topic, "--follow")
    #expect(missing.status == 2)
    #expect(missing.errors.contains("there is no topic at this path"))
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
