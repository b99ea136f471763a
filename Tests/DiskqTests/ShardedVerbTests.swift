// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Foundation
import Testing

@Suite("Verbs on a sharded topic")
struct ShardedVerbTests {
  /// Makes a sharded topic of eight shards. Returns the number of records in each that has some.
  private func make(_ path: String, records: Int = 40) async throws -> [Int: Int] {
    let topic = ShardedTopic(path, shards: 8)
    let writer = try ShardedWriter(topic: topic)
    var counts: [Int: Int] = [:]
    for number in 0..<records {
      let shard = try writer.append("record \(number)", key: "key \(number % 5)").shard
      counts[shard, default: 0] += 1
    }
    try await writer.close()
    return counts
  }

  @Test("info sums the shards, and lists them")
  func info() async throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let counts = try await make(topic)
    let info = try Diskq.run("info", topic)
    #expect(info.status == 0)
    #expect(info.lines[1] == "shards   8, \(counts.count) of them with records")
    #expect(info.lines[4] == "records  40")
    #expect(info.lines.count == 8 + counts.count)
    let json = try object(try Diskq.run("info", topic, "--json").lines[0])
    #expect(json["records"] as? Int == 40 && json["shardCount"] as? Int == 8)
    let shards = try #require(json["shards"] as? [[String: Any]])
    #expect(shards.compactMap { $0["shard"] as? Int } == counts.keys.sorted())
    for shard in shards {
      let described = try #require(shard["info"] as? [String: Any])
      #expect(described["records"] as? Int == counts[shard["shard"] as? Int ?? -1])
      #expect(described["state"] as? String == "closed")
    }
  }

  @Test("verify reads each shard, and finds the damage of one")
  func verify() async throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let counts = try await make(topic)
    let sound = try Diskq.run("verify", topic)
    #expect(sound.status == 0 && sound.lines.count == counts.count)
    let shard = try #require(counts.keys.min())
    let path = "\(topic)/000\(shard)"
    try flipBit(try slabPaths(path)[0], byte: 130)
    let damaged = try Diskq.run("verify", topic, "--json")
    #expect(damaged.status == 1)
    let summaries = try damaged.lines.map { try object($0) }.filter {
      $0["kind"] as? String == "summary"
    }
    #expect(summaries.count == counts.count)
    let found = summaries.filter { $0["damaged"] as? Bool == true }
    #expect(found.compactMap { $0["topic"] as? String } == [path])
  }

  @Test("read names the shard that has lost records, and prints all others")
  func readDamaged() async throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let shard = try #require(try await make(topic).keys.min())
    let path = "\(topic)/000\(shard)"
    try flipBit(try slabPaths(path)[0], byte: 130)
    for options in [[], ["--damage", "stop"]] {
      let read = try Diskq.run(["read", topic] + options)
      #expect(read.status == 1)
      #expect(read.errorLines.count == 1)
      #expect(read.errorLines[0].contains("damaged, 1 record lost [\(path)/"))
    }
    #expect(try Diskq.run("read", topic).lines.count == 39)
  }

  @Test("dump prints the slabs of every shard, and clean looks at every shard")
  func dumpAndClean() async throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let counts = try await make(topic)
    let dumped = try Diskq.run("dump", topic)
    #expect(dumped.status == 0)
    #expect(dumped.lines.count { $0.hasPrefix("slab ") } == counts.count)
    #expect(dumped.lines.count { $0.contains("  record  ") } == 40)
    let cleaned = try Diskq.run("clean", topic, "--keep-age", "1d", "--json")
    #expect(cleaned.status == 0)
    let topics = try cleaned.lines.compactMap { try object($0)["topic"] as? String }
    #expect(topics == counts.keys.sorted().map { "\(topic)/000\($0)" })
  }

  @Test("read prints all shards, each in its order, and JSON has the shard")
  func read() async throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let counts = try await make(topic)
    let lines = try Diskq.run("read", topic)
    #expect(lines.status == 0)
    #expect(lines.lines.sorted() == recordLines(0..<40).sorted())
    let records = try Diskq.run("read", topic, "--format", "json").lines.map { try object($0) }
    for (shard, count) in counts {
      let own = records.filter { $0["shard"] as? Int == shard }
      #expect(own.compactMap { $0["ordinal"] as? Int } == Array(0..<count))
    }
    #expect(try Diskq.run("read", topic, "--limit", "3").lines.count == 3)
    for options in [["--to", "latest"], ["--dead-letters"], ["--from", "128"]] {
      let refused = try Diskq.run(["read", topic] + options)
      #expect(refused.status == 2)
      #expect(refused.errorLines.count == 1 && refused.output.isEmpty)
    }
  }

  @Test("read --follow of a sharded topic waits for records of any shard, and of new ones")
  func follow() async throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let writer = try ShardedWriter(topic: ShardedTopic(topic, shards: 8))
    try writer.append("first", key: "a")
    try await writer.flush()
    let reader = try RunningDiskq("read", topic, "--follow")
    #expect(try reader.readLine() == "first")
    for key in ["b", "c", "d"] {
      try writer.append("of \(key)", key: "\(key)")
      try await writer.flush()
      #expect(try reader.readLine() == "of \(key)")
    }
    reader.send(SIGTERM)
    #expect(try reader.outcome().status == 0)
    try await writer.close()
  }

  @Test("read --follow waits for a sharded topic that does not exist yet")
  func followMissing() async throws {
    let directory = try TemporaryDirectory()
    for (number, options) in [[], ["--from", "latest"]].enumerated() {
      let topic = directory.at("topic \(number)")
      let reader = try RunningDiskq(["read", topic, "--follow"] + options)
      #expect(try reader.readErrorLine()?.contains("waiting for it [\(topic)]") == true)
      let writer = try ShardedWriter(topic: ShardedTopic(topic, shards: 8))
      for key in ["a", "b"] {
        try writer.append("of \(key)", key: "\(key)")
        try await writer.flush()
        #expect(try reader.readLine() == "of \(key)")
      }
      reader.send(SIGTERM)
      #expect(try reader.outcome().status == 0)
      try await writer.close()
    }
  }

  @Test(
    "a verb for one topic names a shard to take",
    arguments: [["consumers"], ["repair", "NEW"], ["snapshot", "NEW"], ["dead-letters"]])
  func others(verb: [String]) async throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    _ = try await make(topic)
    let more = verb.dropFirst().map { _ in directory.at("new") }
    let refused = try Diskq.run([verb[0], topic] + more)
    #expect(refused.status == 2)
    #expect(refused.errors.contains("the directory holds the shards of a topic: name one of them"))
  }
}
