// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue
@testable import DiskQueueInspection

@Suite("Shards in memory")
struct MemoryShardsTests {
  @Test("a record can be read once it was appended, in its shard and in the merged sequence")
  func readableAtOnce() async throws {
    let topic = ShardedTopic.memory(shards: 8)
    let writer = try ShardedWriter(topic: topic)
    for number in 0..<200 {
      let address = try writer.append("record \(number)", key: "key \(number % 20)")
      var reader = try topic.reader(ofShard: address.shard)
      let found = try reader.record(at: address.address).text
      #expect(found == "record \(number)")
    }
    var count = 0
    for try await _ in try topic.records() { count += 1 }
    #expect(count == 200)
  }

  @Test("who follows all shards is woken by every append, whichever shard it goes to")
  func followed() async throws {
    let topic = ShardedTopic.memory(shards: 8)
    let writer = try ShardedWriter(topic: topic)
    let reached = Progress()
    let seen = Task {
      var seen: [String] = []
      for try await found in try topic.records(following: true) {
        seen.append(found.record.text ?? "")
        reached.advance()
        if seen.count == 300 { break }
      }
      return seen
    }
    for number in 0..<300 {
      try writer.append("record \(number)", key: "key \(number % 20)")
      // Waits for each record, so that only its own append can bring it out of the buffer.
      try await reached.wait(for: UInt64(number + 1))
    }
    #expect(try await seen.value == (0..<300).map { "record \($0)" })
  }

  @Test("what all may hold is divided evenly, bytes and records")
  func bounds() throws {
    let topic = ShardedTopic.memory(shards: 4, capacity: .kibibytes(256), records: 39)
    let writer = try ShardedWriter(topic: topic)
    for number in 0..<1_000 { try writer.append("record \(number)", key: "key \(number)") }
    for shard in 0..<4 {
      var reader = try topic.reader(ofShard: shard)
      #expect(try reader.ordinals().count == 10)
    }
    let wide = ShardedTopic.memory(shards: 4, capacity: .kibibytes(256))
    let other = try ShardedWriter(topic: wide)
    for number in 0..<40_000 { try other.append("record \(number)", key: "key \(number)") }
    for shard in 0..<4 {
      let bytes = try TopicInfo(of: wide.topic(ofShard: shard)).bytes
      #expect((56 << 10...64 << 10).contains(bytes))
    }
  }

  @Test("too little for each shard is refused when the topic is opened")
  func tooLittle() {
    for topic in [
      ShardedTopic.memory(shards: 4, capacity: .kibibytes(255)), .memory(shards: 4, records: 7),
      .memory(shards: 4, records: 0),
    ] {
      #expect(queueError { _ = try ShardedWriter(topic: topic) }?.code == .invalidOption)
      #expect(queueError { _ = try topic.shardCount() }?.code == .invalidOption)
    }
  }

  @Test("a shard that was not asked for is not made")
  func lean() throws {
    let topic = ShardedTopic.memory(shards: 1_000)
    let writer = try ShardedWriter(topic: topic)
    let address = try writer.append("one", key: "a")
    try writer.flush()
    guard case .memory(let shards) = topic.shardStorage else {
      Issue.record("not in memory")
      return
    }
    #expect(shards.made == [address.shard])
    try writer.close()
    #expect(try readShards(topic)[address.shard] == ["one"])
  }
}
