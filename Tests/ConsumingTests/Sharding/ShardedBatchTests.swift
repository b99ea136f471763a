// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@testable import DiskQueue

@Suite("A batch for shards")
struct ShardedBatchTests {
  /// The shard of a key is the digit that it begins with. Keys without one are refused.
  private static let byDigit = ShardedTopic.Sharder.custom { key, _ in
    key.isEmpty ? -1 : Int(key[0]) - 0x30
  }

  private static func key(of line: String) -> Substring { line.prefix { $0 != ":" } }

  private static let lines = ["2: a", "0: b", "2: c", "1: d", "0: e", "0: f", "1: g"]
  private static let sorted = [
    0: ["0: b", "0: e", "0: f"], 1: ["1: d", "1: g"], 2: ["2: a", "2: c"],
  ]

  @Test("for one key goes to its shard in order", arguments: ShardedPlace.allCases)
  func oneKey(_ place: ShardedPlace) async throws {
    let (topic, directory) = try place.make(shards: 4, by: Self.byDigit)
    let writer = try ShardedWriter(topic: topic)
    let first = try writer.append(contentsOf: ["a", "b"], key: "3")
    #expect(first.shard == 3 && first.ordinals == 0..<2)
    let second = try writer.append(contentsOf: [[0x63], [0x64], []], key: "3")
    #expect(second.ordinals == 2..<5)
    #expect(second.addresses.lowerBound >= first.addresses.upperBound)
    try writer.append(contentsOf: [Data([0x65])], key: [0x33, 0x20])
    let awaited = try await writer.append(contentsOf: ["f", "g"], key: "3", ensuring: .synced)
    #expect(awaited.shard == 3 && awaited.ordinals == 6..<8)
    try await writer.append(contentsOf: [Data([0x68])], key: "3", ensuring: .flushed)
    #expect(writer.openShardCount == 1)
    try await writer.close()
    #expect(try readShards(topic) == [3: ["a", "b", "c", "d", "", "e", "f", "g", "h"]])
    withExtendedLifetime(directory) {}
  }

  @Test(
    "with a key for each record keeps the order of each key, and states each shard's ranges",
    arguments: ShardedPlace.allCases)
  func manyKeys(_ place: ShardedPlace) async throws {
    let (topic, directory) = try place.make(shards: 4, by: Self.byDigit)
    let writer = try ShardedWriter(topic: topic)
    let results = try writer.append(contentsOf: Self.lines, keyedBy: Self.key)
    #expect(results.map(\.shard) == [0, 1, 2])
    #expect(results.map(\.ordinals) == [0..<3, 0..<2, 0..<2])
    #expect(results.map(\.addresses.lowerBound.rawValue) == [128, 128, 128])
    try writer.append(contentsOf: Self.lines.map { Data($0.utf8) }) { [$0[0]] }
    for level in Durability.allCases {
      try await writer.append(contentsOf: Self.lines, keyedBy: Self.key, ensuring: level)
    }
    let awaited = try await writer.append(
      contentsOf: Self.lines.map { Array($0.utf8) }, keyedBy: { $0.prefix(1) },
      ensuring: .synced)
    #expect(awaited.map(\.shard) == [0, 1, 2])
    #expect(awaited.map(\.ordinals) == [15..<18, 10..<12, 10..<12])
    try await writer.append(
      contentsOf: Self.lines.map { Data($0.utf8) }, keyedBy: { Array($0.prefix(1)) },
      ensuring: .flushed)
    try await writer.close()
    let expected = Self.sorted.mapValues { lines in
      Array([[String]](repeating: lines, count: 7).joined())
    }
    #expect(try readShards(topic) == expected)
    withExtendedLifetime(directory) {}
  }

  @Test("of nothing opens no shard, and has empty ranges")
  func empty() async throws {
    let writer = try ShardedWriter(topic: .memory(shards: 4, by: Self.byDigit))
    let nothing: [String] = []
    let one = try writer.append(contentsOf: nothing, key: "2")
    #expect(one.shard == 2 && one.addresses.isEmpty && one.ordinals.isEmpty)
    #expect(try await writer.append(contentsOf: nothing, key: "2", ensuring: .synced) == one)
    #expect(try writer.append(contentsOf: nothing, keyedBy: Self.key).isEmpty)
    #expect(writer.openShardCount == 0)
    try await writer.close()
  }

  @Test("with a key that is refused appends nothing")
  func refusedKey() async throws {
    let topic = ShardedTopic.memory(shards: 4, by: Self.byDigit)
    let writer = try ShardedWriter(topic: topic)
    let lines = Self.lines + ["7: of no shard"]
    let error = queueError { try writer.append(contentsOf: lines, keyedBy: Self.key) }
    #expect(error?.code == .invalidOption && error?.appended == 0)
    let awaited = await #expect(throws: QueueError.self) {
      try await writer.append(contentsOf: lines, keyedBy: Self.key, ensuring: .synced)
    }
    #expect(awaited?.code == .invalidOption && awaited?.appended == 0)
    let thrown = queueError {
      try writer.append(contentsOf: Self.lines) { line throws(QueueError) in
        guard line != "1: g" else { throw .invalidOption("the program's own") }
        return Self.key(of: line)
      }
    }
    #expect(thrown?.message == "the program's own")
    #expect(try readShards(topic) == [:])
    try await writer.close()
  }

  @Test("that fails counts the first records, sorted by shard, and they are in the log")
  func failing() async throws {
    for isAwaited in [false, true] {
      let topic = ShardedTopic.memory(shards: 4, by: Self.byDigit)
      var options = ShardedWriter.Options()
      options.writer.maximumPayload = .bytes(10)
      let writer = try ShardedWriter(topic: topic, options: options)
      // The second record for shard 1 is too large.
      let lines = ["2: a", "1: b", "0: c", "1: much too large", "1: d", "0: e"]
      let error = await #expect(throws: QueueError.self) {
        if isAwaited {
          try await writer.append(contentsOf: lines, keyedBy: Self.key, ensuring: .flushed)
        } else {
          try writer.append(contentsOf: lines, keyedBy: Self.key)
        }
      }
      #expect(error?.code == .payloadTooLarge)
      #expect(error?.appended == 3)
      try await writer.close()
      #expect(try readShards(topic) == [0: ["0: c", "0: e"], 1: ["1: b"]])
    }
  }

  // MARK: Waiting for a level

  /// Shards whose syncs wait at gates of their own.
  private struct GatedShards {
    let storages = (0..<3).map { _ in GatedStorage(SimulatedStorage()) }
    let topic: ShardedTopic

    init() {
      let shards = SimulatedShards()
      topic = ShardedTopic(root: shards.root, shards: 3, by: ShardedBatchTests.byDigit) {
        [storages] in Topic(storage: storages[$0])
      }
    }

    /// Opens every shard, and then holds the next syncs.
    func open(_ writer: ShardedWriter) throws -> [Int] {
      for shard in 0..<3 { try writer.append("first", key: "\(shard)") }
      try writer.sync()
      for storage in storages { storage.gate.close() }
      return storages.map(\.gate.syncs)
    }
  }

  @Test("that waits for synced syncs all its shards at the same time")
  func syncsAtOnce() async throws {
    let shards = GatedShards()
    let writer = try ShardedWriter(topic: shards.topic)
    let before = try shards.open(writer)
    let task = Task {
      try await writer.append(contentsOf: Self.lines, keyedBy: Self.key, ensuring: .synced)
    }
    // Each shard's sync has begun before any of them may end.
    for (storage, count) in zip(shards.storages, before) {
      await storage.gate.waitForSyncs(count + 1)
    }
    for storage in shards.storages { storage.gate.open() }
    let results = try await task.value
    #expect(results.map(\.ordinals) == [1..<4, 1..<3, 1..<3])
    #expect(zip(shards.storages, before).map { $0.gate.syncs - $1 } == [1, 1, 1])
    try await writer.close()
  }

  @Test("of which one shard fails to sync says that all records are in the log")
  func failedSync() async throws {
    let shards = GatedShards()
    let writer = try ShardedWriter(topic: shards.topic)
    _ = try shards.open(writer)
    for storage in shards.storages { storage.gate.open() }
    shards.storages[1].gate.fail(SystemError(errno: Errno.io, call: "fdatasync"))
    let error = await #expect(throws: QueueError.self) {
      try await writer.append(contentsOf: Self.lines, keyedBy: Self.key, ensuring: .synced)
    }
    #expect(error?.code == .syncFailed)
    #expect(error?.appended == Self.lines.count)
    #expect(queueError { try writer.append("after", key: "1") }?.code == .syncFailed)
    try writer.append("after", key: "2")
    #expect(await queueError { try await writer.close() }?.code == .syncFailed)
    #expect(try readShards(shards.topic)[0] == ["first"] + (Self.sorted[0] ?? []))
    #expect(try readShards(shards.topic)[2] == ["first"] + (Self.sorted[2] ?? []) + ["after"])
  }

  @Test("whose task is cancelled while it waits says that all records are in the log")
  func cancelled() async throws {
    let shards = GatedShards()
    let writer = try ShardedWriter(topic: shards.topic)
    let before = try shards.open(writer)
    let task = Task {
      try await writer.append(contentsOf: Self.lines, keyedBy: Self.key, ensuring: .synced)
    }
    for (storage, count) in zip(shards.storages, before) {
      await storage.gate.waitForSyncs(count + 1)
    }
    task.cancel()
    let error = await #expect(throws: QueueError.self) { try await task.value }
    #expect(error?.code == .cancelled)
    #expect(error?.appended == Self.lines.count)
    for storage in shards.storages { storage.gate.open() }
    try await writer.close()
    #expect(try readShards(shards.topic) == Self.sorted.mapValues { ["first"] + $0 })
  }
}
