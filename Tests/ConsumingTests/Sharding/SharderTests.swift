// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("Which shard a key belongs to")
struct SharderTests {
  private func memory(_ count: Int, by sharder: ShardedTopic.Sharder = .hash) -> ShardedTopic {
    .memory(shards: count, capacity: .gibibytes(1), by: sharder)
  }

  @Test(
    "by default its XXH3-64, modulo the number of shards",
    // The values are from xxhash's own program.
    arguments: [
      ("users", 273, 3), ("groups", 153, 3), ("friends", 44, 4), ("family", 243, 3),
      ("colleagues", 131, 1), ("a", 719, 9), ("", 138, 8),
    ])
  func golden(_ key: String, ofThousand: Int, ofTen: Int) throws {
    #expect(try memory(1_000).shard(of: key) == ofThousand)
    #expect(try memory(10).shard(of: key) == ofTen)
    #expect(try memory(1).shard(of: key) == 0)
    // The same bytes lead to the same shard, whatever their type.
    let bytes = Array(key.utf8)
    #expect(try memory(1_000).shard(of: bytes) == ofThousand)
    #expect(try memory(1_000).shard(of: bytes.span) == ofThousand)
    #expect(try memory(1_000).shard(of: ContiguousArray(bytes)) == ofThousand)
    #expect(try memory(1_000).shard(of: Substring(key)) == ofThousand)
    let writer = try ShardedWriter(topic: memory(1_000))
    #expect(try writer.shard(of: bytes.span) == ofThousand)
    #expect(try writer.append("payload", key: key).shard == ofThousand)
  }

  @Test("with a list a key's place, and no other key has a shard")
  func list() throws {
    let keys = ["users", "groups", "", "é"]
    let topic = memory(10, by: .keys(keys))
    for (place, key) in keys.enumerated() { #expect(try topic.shard(of: key) == place) }
    // This key is equal as text, but has other bytes.
    let error = queueError { _ = try topic.shard(of: "e\u{301}") }
    #expect(error?.code == .invalidOption)
    let writer = try ShardedWriter(topic: topic)
    #expect(try writer.append("1", key: "é").shard == 3)
    #expect(queueError { try writer.append("2", key: "friends") }?.code == .invalidOption)
    #expect(
      queueError { try writer.append("2", key: "friends") }?.message.contains("\"friends\"") == true
    )
    #expect(try writer.append("3", key: "users").address == Address(rawValue: 128))
  }

  /// A key of the program's own type.
  private struct Customer: PayloadBytes {
    let number: Int

    func withPayloadBytes<R>(
      _ body: (RawSpan) throws(QueueError) -> R
    ) throws(QueueError) -> R {
      try "customer \(number)".withPayloadBytes(body)
    }
  }

  @Test("a key is its bytes, however it is written")
  func sameBytes() async throws {
    let number = 17
    let text = "customer 17"
    let bytes = Array(text.utf8)
    // The list has a shard for exactly these bytes. It is the only shard that gets records.
    let topic = memory(10, by: .keys(["", "customer 1", text, "customer 170"]))
    let writer = try ShardedWriter(topic: topic)
    try writer.append("0", key: "customer 17")
    try writer.append("1", key: "customer \(number)")
    try writer.append("2", key: text)
    try writer.append("3", key: ("x" + text).dropFirst())
    try writer.append("4", key: bytes)
    try writer.append("5", key: text.utf8)
    try writer.append("6", key: bytes.span)
    try writer.append("7", key: bytes.span.bytes)
    try writer.append("8", key: ([0] + bytes)[1...])
    try writer.append("9", key: [99, 117, 115, 116, 111, 109, 101, 114, 32, 49, 55])
    try writer.append("10", key: "customer 17" as StaticString)
    try writer.append("11", key: Customer(number: number))
    try await writer.append("12", key: text, ensuring: .flushed)
    try await writer.append(AnyCollection("13".utf8), key: bytes[...], ensuring: .flushed)
    try writer.append(contentsOf: ["14"], key: Customer(number: number))
    try writer.append(contentsOf: ["15"]) { "customer \($0 == "15" ? 17 : 1)" }
    try writer.append(contentsOf: ["16"]) { _ in Customer(number: number) }
    try await writer.append(contentsOf: ["17"], keyedBy: { _ in bytes }, ensuring: .flushed)
    #expect(try readShards(topic) == [2: (0..<18).map { "\($0)" }])
    var reader = try topic.reader(ofKey: text)
    #expect(try reader.nextCopy()?.text == "0")
    #expect(try topic.shard(of: Customer(number: 1)) == 1)
    #expect(try topic.shard(of: []) == 0)
    #expect(try writer.shard(of: "") == 0)
    try await writer.close()
  }

  @Test("two spellings of a text are two keys")
  func spelling() throws {
    let topic = memory(2, by: .keys(["é", "e\u{301}"]))
    #expect(try topic.shard(of: "é") == 0)
    #expect(try topic.shard(of: "e\u{301}") == 1)
  }

  @Test("a list that names a key twice, or too many, is refused by whatever needs it")
  func badLists() throws {
    for topic in [
      memory(10, by: .keys(["a", "b", "a"])),
      memory(2, by: .keys(["a", "b", "c"])),
    ] {
      #expect(queueError { _ = try topic.shardCount() }?.code == .invalidOption)
      #expect(queueError { _ = try topic.shard(of: "b") }?.code == .invalidOption)
      #expect(queueError { _ = try ShardedWriter(topic: topic) }?.code == .invalidOption)
      #expect(queueError { _ = try topic.reader(ofKey: "b") }?.code == .invalidOption)
      #expect(queueError { _ = try topic.records() }?.code == .invalidOption)
    }
  }

  @Test("on disk a list that fits nothing leaves nothing behind, and a long one gets its shards")
  func listsOnDisk() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/list"
    let many = (0..<40).map { "key \($0)" }
    for (shards, keys) in [(2, ["a", "b", "c"]), (4, ["a", "a"])] {
      let topic = ShardedTopic(path, shards: shards, by: .keys(keys))
      #expect(queueError { _ = try ShardedWriter(topic: topic) }?.code == .invalidOption)
      #expect(try snapshot(directory.path).isEmpty)
    }
    let writer = try ShardedWriter(topic: ShardedTopic(path, by: .keys(many)))
    #expect(writer.shardCount == 40)
    #expect(try writer.append("x", key: "key 39").shard == 39)
    try writer.close()
  }

  @Test("the program's own way is asked, and what it says is checked")
  func custom() throws {
    let topic = memory(
      10,
      by: .custom { key, count in
        // The value of the first byte as a digit. An empty key gets no valid shard.
        key.isEmpty ? count : Int(key[0]) - 0x30
      })
    #expect(try topic.shard(of: "0 and more") == 0)
    #expect(try topic.shard(of: "9") == 9)
    let writer = try ShardedWriter(topic: topic)
    for key in ["", ":", "/"] {
      #expect(queueError { _ = try topic.shard(of: key) }?.code == .invalidOption)
      #expect(queueError { try writer.append("x", key: key) }?.code == .invalidOption)
    }
    for result in [Int.min, Int.max, -1] {
      let topic = memory(10, by: .custom { _, _ in result })
      #expect(queueError { _ = try topic.shard(of: "x") }?.code == .invalidOption)
    }
    let refusing = memory(
      10, by: .custom { _, _ throws(QueueError) in throw QueueError(.notCoded, "no such customer") }
    )
    #expect(queueError { _ = try refusing.shard(of: "x") }?.code == .notCoded)
  }

  @Test("a long key is quoted in part")
  func longKey() {
    let topic = memory(4, by: .keys(["a"]))
    let error = queueError {
      _ = try topic.shard(of: String(repeating: "k", count: 10_000))
    }
    #expect(error?.code == .invalidOption)
    #expect((error?.message.utf8.count ?? 10_000) < 250)
  }

  @Test("shards number from 1 to 10,000")
  func counts() throws {
    let directory = try TemporaryDirectory()
    for count in [Int.min, -1, 0, 10_001, Int.max] {
      let topic = ShardedTopic.memory(shards: count, capacity: .tebibytes(1))
      #expect(queueError { _ = try topic.shardCount() }?.code == .invalidOption)
      #expect(queueError { _ = try ShardedWriter(topic: topic) }?.code == .invalidOption)
      let path = directory.path + "/topic"
      #expect(
        queueError { _ = try ShardedWriter(topic: ShardedTopic(path, shards: count)) }?.code
          == .invalidOption)
    }
    #expect(try snapshot(directory.path).isEmpty)
    for count in [1, 10_000] {
      let topic = ShardedTopic.memory(shards: count, capacity: .gibibytes(1))
      #expect(try topic.shardCount() == count)
      #expect(try ShardedWriter(topic: topic).shardCount == count)
    }
  }

  @Test("memory is divided evenly, and refused where a shard gets less than 64 KiB")
  func capacity() throws {
    #expect(try ShardedTopic.memory(shards: 1_000).shardCount() == 1_000)
    let tooSmall = ShardedTopic.memory(shards: 16, capacity: .bytes(16 * 65_536 - 1))
    for error in [
      queueError { _ = try tooSmall.shardCount() },
      queueError { _ = try ShardedWriter(topic: tooSmall) },
    ] {
      #expect(error?.code == .invalidOption)
    }
    #expect(try ShardedTopic.memory(shards: 16, capacity: .bytes(16 * 65_536)).shardCount() == 16)
    #expect(
      queueError { _ = try ShardedTopic.memory(shards: 1, capacity: .bytes(-1)).shardCount() }?.code
        == .invalidOption)
  }
}
