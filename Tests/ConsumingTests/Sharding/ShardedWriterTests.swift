// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Synchronization
import Testing

@testable import DiskQueue

@Suite("Appending to shards")
struct ShardedWriterTests {
  /// A key for each shard.
  private func keys(_ writer: ShardedWriter) throws -> [String] {
    var keys = [String?](repeating: nil, count: writer.shardCount)
    var number = 0
    while keys.contains(nil) {
      let key = "key \(number)"
      let shard = try writer.shard(of: key)
      if keys[shard] == nil { keys[shard] = key }
      number += 1
    }
    return keys.compactMap { $0 }
  }

  @Test(
    "records come to lie in the shard of their key, each key's in order",
    arguments: ShardedPlace.allCases)
  func manyKeys(_ place: ShardedPlace) throws {
    let (topic, directory) = try place.make(shards: 10)
    let writer = try ShardedWriter(topic: topic)
    var expected: [Int: [String]] = [:]
    for number in 0..<500 {
      let key = "key \(number % 37)"
      let text = "\(key): \(number)"
      let found = try writer.append(text, key: key)
      #expect(found.shard == Int(xxh3(Array(key.utf8)) % 10))
      expected[found.shard, default: []].append(text)
    }
    try writer.flush()
    #expect(try readShards(topic) == expected)
    // There are more keys than shards. The records of a key are in order, among those of other
    // keys.
    for key in (0..<37).map({ "key \($0)" }) {
      var reader = try topic.reader(ofKey: key)
      var texts: [String] = []
      while let record = try reader.nextCopy() { texts.append(record.text ?? "") }
      #expect(
        texts.filter { $0.hasPrefix(key + ":") }
          == (0..<500).filter { "key \($0 % 37)" == key }.map { "\(key): \($0)" })
    }
    try writer.close()
    #expect(try readShards(topic) == expected)
    withExtendedLifetime(directory) {}
  }

  @Test("payloads and keys of every shape", arguments: ShardedPlace.allCases)
  func shapes(_ place: ShardedPlace) async throws {
    let (topic, directory) = try place.make(shards: 4)
    let writer = try ShardedWriter(topic: topic)
    let key = Array("k".utf8)
    var found: [ShardedWriter.AppendResult] = []
    found.append(try writer.append("0", key: "k"))
    found.append(try writer.append("1"[...], key: key))
    found.append(try writer.append([0x32], key: "k"))
    found.append(try writer.append(AnyCollection([0x33]), key: key.span.bytes))
    found.append(try writer.append(Array("4".utf8).span.bytes, key: key.span))
    found.append(try writer.append(Array("5".utf8).span.bytes, key: "k"))
    found.append(try writer.append(Array("6".utf8).span.bytes, key: key[...]))
    found.append(try await writer.append("7", key: "k", ensuring: .buffered))
    found.append(try await writer.append("8", key: key, ensuring: .flushed))
    found.append(try await writer.append([0x39], key: "k", ensuring: .synced))
    found.append(try await writer.append(Array("a".utf8), key: key, ensuring: .synced))
    found.append(
      try await writer.append(
        Array("b".utf8).span.bytes, key: key.span, ensuring: .flushed))
    #expect(Set(found.map(\.shard)).count == 1)
    #expect(found.map(\.address) == found.map(\.address).sorted())
    var reader = try topic.reader(ofKey: key)
    for (place, text) in "0123456789ab".enumerated() {
      let record = try reader.nextCopy()
      #expect(record?.text == String(text) && record?.address == found[place].address)
    }
    #expect(try reader.nextCopy() == nil)
    // An empty key is a key, and an empty payload is a payload.
    #expect(try writer.append("", key: "").shard == Int(3_244_421_341_483_603_138 % 4 as UInt64))
    try await writer.close()
    withExtendedLifetime(directory) {}
  }

  @Test(
    "one writer at a time, and the shards are free when it is closed or gone",
    arguments: ShardedPlace.allCases)
  func locked(_ place: ShardedPlace) throws {
    let (topic, directory) = try place.make()
    do {
      let writer = try ShardedWriter(topic: topic)
      let error = queueError { _ = try ShardedWriter(topic: topic) }
      #expect(error?.code == .locked)
      #expect(error?.message.contains("process") == true)
      try writer.append("dropped", key: "a")
    }
    let second = try ShardedWriter(topic: topic)
    try second.append("closed", key: "a")
    try second.close()
    let third = try ShardedWriter(topic: topic)
    try third.append("third", key: "a")
    try third.flush()
    // The dropped record had been flushed, and its shard was recovered.
    #expect(try readShards(topic).values.map { $0 } == [["dropped", "closed", "third"]])
    #expect(second.recoveries.count == 1 && third.recoveries.isEmpty)
    withExtendedLifetime(directory) {}
  }

  @Test(
    "a shard that somebody else writes is locked, and the others are not",
    arguments: ShardedPlace.allCases)
  func lockedShard(_ place: ShardedPlace) throws {
    let (topic, directory) = try place.make(shards: 4)
    let writer = try ShardedWriter(topic: topic)
    let keys = try keys(writer)
    let other = try QueueWriter(topic: topic.topic(ofShard: 2))
    #expect(queueError { try writer.append("x", key: keys[2]) }?.code == .locked)
    #expect(try writer.append("x", key: keys[1]).shard == 1)
    try other.close()
    #expect(try writer.append("x", key: keys[2]).shard == 2)
    try writer.close()
    withExtendedLifetime(directory) {}
  }

  @Test(
    "behind the close nothing is taken, and to close again does nothing",
    arguments: ShardedPlace.allCases)
  func closed(_ place: ShardedPlace) async throws {
    let (topic, directory) = try place.make()
    for isAsynchronous in [false, true] {
      let writer = try ShardedWriter(topic: topic)
      try writer.append("x", key: "a")
      if isAsynchronous { try await writer.close() } else { try closeBlocking(writer) }
      #expect(writer.openShardCount == 0)
      for key in ["a", "b"] {
        #expect(queueError { try writer.append("y", key: key) }?.code == .closed)
        do {
          try await writer.append("y", key: key, ensuring: .synced)
          Issue.record("it was appended")
        } catch {
          #expect(error.code == .closed)
        }
      }
      #expect(queueError { try flushBlocking(writer) }?.code == .closed)
      #expect(queueError { try syncBlocking(writer) }?.code == .closed)
      try await writer.close()
    }
    #expect(try readShards(topic).values.map { $0 } == [["x", "x"]])
    withExtendedLifetime(directory) {}
  }

  // In a task, the compiler would choose the asynchronous calls.
  private func closeBlocking(_ writer: ShardedWriter) throws { try writer.close() }
  private func flushBlocking(_ writer: ShardedWriter) throws { try writer.flush() }
  private func syncBlocking(_ writer: ShardedWriter) throws { try writer.sync() }

  @Test("bad options are refused, and nothing is made")
  func options() throws {
    let directory = try TemporaryDirectory()
    let topic = ShardedTopic(directory.path + "/topic")
    #expect(ShardedWriter.Options().writer.bufferSize == .kibibytes(64))
    #expect(ShardedWriter.Options().maximumOpenShards == 64)
    let refused: [(ShardedWriter.Options, String)] = [
      (.init(writer: .init(slabSize: .bytes(1))), "slabSize"),
      (.init(writer: .init(onEvent: { _ in })), "writer.onEvent"),
      (.init(maximumOpenShards: 0), "maximumOpenShards is 0"),
    ]
    for (options, name) in refused {
      let error = queueError { _ = try ShardedWriter(topic: topic, options: options) }
      #expect(error?.code == .invalidOption && error?.message.contains(name) == true)
    }
    #expect(try snapshot(directory.path).isEmpty)
  }

  // MARK: How many are open

  @Test("an empty shard takes nothing", arguments: ShardedPlace.allCases)
  func emptyShards(_ place: ShardedPlace) throws {
    let (topic, directory) = try place.make(shards: 10_000)
    let writer = try ShardedWriter(topic: topic)
    #expect(writer.openShardCount == 0)
    try writer.append("x", key: "users")
    try writer.append("y", key: "users")
    #expect(writer.openShardCount == 1)
    if case .memory(let shards) = topic.shardStorage { #expect(shards.made.count == 1) }
    try writer.flush()
    #expect(writer.openShardCount == 1)
    withExtendedLifetime(directory) {}
  }

  @Test("the one that was used least recently is closed for another one, and opened again")
  func leastRecentlyUsed() throws {
    let shards = SimulatedShards()
    let writer = try ShardedWriter(
      topic: shards.topic(shards: 5), options: .init(maximumOpenShards: 3),
      environment: .simulated())
    let keys = try keys(writer)
    func isOpen(_ shard: Int) -> Bool { writer.pool.isOpen(shard) }
    for shard in [0, 1, 2, 0] { try writer.append("a", key: keys[shard]) }
    #expect((0..<5).filter(isOpen) == [0, 1, 2])
    try writer.append("b", key: keys[3])
    #expect((0..<5).filter(isOpen) == [0, 2, 3])
    // The shard was closed as every writer is closed, and so it was synced.
    #expect(shards[1].slabs == shards[1].slabsAfterDroppedCache)
    #expect(try readAll(writer.topic.topic(ofShard: 1)).texts == ["a"])
    try writer.append("c", key: keys[1])
    #expect((0..<5).filter(isOpen) == [0, 1, 3])
    try writer.append("d", key: keys[4])
    #expect((0..<5).filter(isOpen) == [1, 3, 4])
    #expect(writer.openShardCount == 3)
    #expect(writer.recoveries.isEmpty)
    try writer.close()
    #expect(
      try readShards(writer.topic)
        == [0: ["a", "a"], 1: ["a", "c"], 2: ["a"], 3: ["b"], 4: ["d"]])
  }

  @Test("one that somebody is in is not closed: another one is, or there is one more")
  func inUse() throws {
    let shards = SimulatedShards()
    let writer = try ShardedWriter(
      topic: shards.topic(shards: 4), options: .init(maximumOpenShards: 2),
      environment: .simulated())
    let keys = try keys(writer)
    try writer.append("a", key: keys[0])
    try writer.append("a", key: keys[1])
    try writer.pool.withWriter(ofShard: 0) { zero throws(QueueError) in
      // After this append, shard 0 is the least recently used one, but it is in use.
      try writer.append("b", key: keys[1])
      try writer.append("b", key: keys[2])
      #expect((0..<4).filter { writer.pool.isOpen($0) } == [0, 2])
      try writer.pool.withWriter(ofShard: 2) { _ throws(QueueError) in
        try writer.append("b", key: keys[3])
        #expect((0..<4).filter { writer.pool.isOpen($0) } == [0, 2, 3])
      }
      try zero.append("in")
    }
    // The next append closes the surplus writer.
    try writer.append("c", key: keys[1])
    #expect(writer.openShardCount == 2)
    try writer.close()
    #expect(
      try readShards(writer.topic)
        == [0: ["a", "in"], 1: ["a", "b", "c"], 2: ["b"], 3: ["b"]])
  }

  @Test("threads at once write many more shards than may be open, and each key stays in order")
  func manyThreads() async throws {
    let directory = try TemporaryDirectory()
    let topic = ShardedTopic(directory.path + "/topic", shards: 100)
    let writer = try ShardedWriter(topic: topic)
    let most = Most()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for thread in 0..<4 {
        group.addTask {
          try await onThread {
            for number in 0..<100 {
              // A key of this thread's own, and one that all of them use.
              try writer.append("\(thread) \(number)", key: "\(thread) \(number % 50)")
              if number % 10 == 0 { try writer.append("all \(thread) \(number)", key: "all") }
              most.note(writer.openShardCount)
            }
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(most.value == 64)
    try await writer.close()
    var read: [String: [Int]] = [:]
    for (shard, texts) in try readShards(topic) {
      for text in texts {
        let words = text.split(separator: " ")
        if words[0] == "all" {
          read["all \(words[1])", default: []].append(Int(words[2]) ?? -1)
          #expect(shard == Int(xxh3(Array("all".utf8)) % 100))
        } else {
          let number = Int(words[1]) ?? -1
          let key = "\(words[0]) \(number % 50)"
          read[key, default: []].append(number)
          #expect(shard == Int(xxh3(Array(key.utf8)) % 100))
        }
      }
    }
    #expect(read.count == 4 * 50 + 4)
    for (key, numbers) in read {
      let expected =
        key.hasPrefix("all")
        ? Array(stride(from: 0, to: 100, by: 10))
        : Array(stride(from: Int(key.split(separator: " ")[1]) ?? 0, to: 100, by: 50))
      #expect(numbers == expected, "\(key)")
    }
  }

  @Test("tasks that wait for their level are told it, though the shard is closed meanwhile")
  func ensuring() async throws {
    let directory = try TemporaryDirectory()
    let topic = ShardedTopic(directory.path + "/topic", shards: 12)
    let writer = try ShardedWriter(
      topic: topic, options: .init(maximumOpenShards: 2),
      environment: .system)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for task in 0..<12 {
        group.addTask {
          for number in 0..<8 {
            let level: Durability = [.buffered, .flushed, .synced][(task + number) % 3]
            try await writer.append("\(task) \(number)", key: "\(task)", ensuring: level)
          }
        }
      }
      try await group.waitForAll()
    }
    try await writer.sync()
    try await writer.flush()
    var numbers: [String: [String]] = [:]
    for texts in try readShards(topic).values {
      for text in texts {
        let words = text.split(separator: " ")
        numbers[String(words[0]), default: []].append(String(words[1]))
      }
    }
    #expect(numbers.count == 12)
    #expect(numbers.values.allSatisfy { $0 == (0..<8).map { "\($0)" } })
    try await writer.close()
  }

  @Test("a level that is asked for when the shard was closed already is reached, or fails with it")
  func closedUnderOne() async throws {
    let shards = SimulatedShards()
    let writer = try ShardedWriter(
      topic: shards.topic(shards: 3), options: .init(maximumOpenShards: 1),
      environment: .simulated())
    let keys = try keys(writer)
    var held: QueueWriter?
    let address = try writer.pool.withWriter(ofShard: 0) { zero throws(QueueError) in
      held = zero
      return try zero.append("first").address
    }
    let zero = try #require(held)
    let end = address.rawValue + UInt64(FrameHeader.byteCount + 5)
    try writer.append("other", key: keys[1])
    #expect(!writer.pool.isOpen(0))
    for level in Durability.allCases {
      try await writer.pool.reach(level, at: end, of: zero)
    }
    // An address past the end that the close brought to the disk is not reached.
    do {
      try await writer.pool.reach(.flushed, at: end + 1_000, of: zero)
      Issue.record("it was reached")
    } catch {
      #expect(error.code == .closed)
    }
    try await writer.close()
  }

  // MARK: Failures

  @Test("a failed sync ends its shard's writer and no other, up to a new sharded writer")
  func failedSync() async throws {
    let shards = SimulatedShards()
    let topic = shards.topic(shards: 4)
    let writer = try ShardedWriter(
      topic: topic, options: .init(maximumOpenShards: 3),
      environment: .simulated())
    let keys = try keys(writer)
    for shard in 0..<3 { try writer.append("before", key: keys[shard]) }
    #expect(writer.failures.isEmpty)
    shards[1].setFault(SimulatedStorage.Fault(.fail(Errno.io), at: 1) { $0.isSync })
    #expect(queueError { try syncBlocking(writer) }?.code == .syncFailed)
    shards[1].setFault(nil)
    #expect(writer.failures.mapValues(\.code) == [1: .syncFailed])
    // The other shards were synced, and their writers go on.
    for shard in [0, 2] {
      #expect(shards[shard].slabs == shards[shard].slabsAfterDroppedCache)
      try writer.append("after", key: keys[shard])
    }
    #expect(queueError { try writer.append("after", key: keys[1]) }?.code == .syncFailed)
    #expect(queueError { try syncBlocking(writer) }?.code == .syncFailed)
    do {
      try await writer.sync()
      Issue.record("it was synced")
    } catch {
      #expect(error.code == .syncFailed)
    }
    // If the shard was closed for another one, it is not opened again.
    for shard in [3, 0, 2] { try writer.append("after", key: keys[shard]) }
    #expect(!writer.pool.isOpen(1))
    #expect(writer.failures.mapValues(\.code) == [1: .syncFailed])
    for _ in 0..<2 {
      #expect(queueError { try writer.append("after", key: keys[1]) }?.code == .syncFailed)
    }
    #expect(queueError { try flushBlocking(writer) }?.code == .syncFailed)
    for _ in 0..<2 { #expect(queueError { try closeBlocking(writer) }?.code == .syncFailed) }
    #expect(queueError { try writer.append("after", key: keys[0]) }?.code == .closed)

    let next = try ShardedWriter(topic: topic, environment: .simulated())
    try next.append("new", key: keys[1])
    #expect(Set(next.recoveries.keys) == [1])
    try await next.close()
    let read = try readShards(topic)
    #expect(read[0] == ["before", "after", "after"] && read[2] == read[0])
    #expect(read[1]?.last == "new" && read[3] == ["after"])
  }

  @Test("a sync that fails when a shard is closed for another one is that shard's, not the other's")
  func failedSyncAtEviction() throws {
    let shards = SimulatedShards()
    let writer = try ShardedWriter(
      topic: shards.topic(shards: 3), options: .init(maximumOpenShards: 1),
      environment: .simulated())
    let keys = try keys(writer)
    try writer.append("lost, perhaps", key: keys[0])
    shards[0].setFault(SimulatedStorage.Fault(.fail(Errno.io), at: 1) { $0.isSync })
    #expect(try writer.append("x", key: keys[1]).shard == 1)
    #expect(queueError { try writer.append("y", key: keys[0]) }?.code == .syncFailed)
    #expect(queueError { try writer.sync() }?.code == .syncFailed)
    #expect(queueError { try writer.close() }?.code == .syncFailed)
  }

  @Test("a shard that a full disk keeps from being closed stays open, and loses nothing")
  func noRoomToClose() throws {
    let shards = SimulatedShards()
    let writer = try ShardedWriter(
      topic: shards.topic(shards: 3), options: .init(maximumOpenShards: 1),
      environment: .simulated())
    let keys = try keys(writer)
    try writer.append("first", key: keys[0])
    shards[0].setCapacity(shards[0].used)
    let error = queueError { try writer.append("other", key: keys[1]) }
    #expect(error?.code == .noSpace && error?.appended == 0)
    #expect(writer.pool.isOpen(0) && writer.openShardCount == 1)
    #expect(queueError { try writer.close() }?.code == .noSpace)
    try writer.append("second", key: keys[0])
    shards[0].setCapacity(nil)
    try writer.append("other", key: keys[1])
    try writer.append("third", key: keys[0])
    try writer.close()
    #expect(try readShards(writer.topic) == [0: ["first", "second", "third"], 1: ["other"]])
  }

  @Test("a shard that cannot be opened is tried again by the next append")
  func failedOpening() throws {
    let shards = SimulatedShards()
    let writer = try ShardedWriter(topic: shards.topic(shards: 3), environment: .simulated())
    let keys = try keys(writer)
    shards[0].setFault(SimulatedStorage.Fault(.fail(Errno.noSpace), at: 1))
    #expect(queueError { try writer.append("x", key: keys[0]) } != nil)
    #expect(writer.openShardCount == 0)
    #expect(try writer.append("x", key: keys[1]).shard == 1)
    #expect(try writer.append("x", key: keys[0]).shard == 0)
    try writer.close()
    #expect(try readShards(writer.topic) == [0: ["x"], 1: ["x"]])
  }

  @Test(
    "a task that is cancelled while it waits for its level is told so, with its record in the log")
  func cancelled() async throws {
    let gated = GatedStorage(SimulatedStorage())
    let shards = SimulatedShards()
    let topic = ShardedTopic(root: shards.root, shards: 1) { _ in Topic(storage: gated) }
    let writer = try ShardedWriter(topic: topic)
    try writer.append("first", key: "a")
    let before = gated.gate.syncs
    gated.gate.close()
    let task = Task { try await writer.append("second", key: "a", ensuring: .synced) }
    await gated.gate.waitForSyncs(before + 1)
    task.cancel()
    switch await task.result {
    case .success: Issue.record("it was synced")
    case .failure(let error):
      #expect((error as? QueueError)?.code == .cancelled)
      #expect((error as? QueueError)?.appended == 1)
    }
    gated.gate.open()
    try await writer.close()
    #expect(try readAll(Topic(storage: gated)).texts == ["first", "second"])
  }
}

/// The highest number that was noted.
private final class Most: Sendable {
  private let most = Mutex(0)
  func note(_ value: Int) { most.withLock { $0 = max($0, value) } }
  var value: Int { most.withLock { $0 } }
}

/// Runs `body` on a thread of its own.
func onThread(_ body: @escaping @Sendable () throws -> Void) async throws {
  let thread = BackgroundThread()
  let result: Result<Void, any Error> = await withCheckedContinuation { continuation in
    do {
      try thread.submit { continuation.resume(returning: Result { try body() }) }
    } catch {
      continuation.resume(returning: .failure(error))
    }
  }
  thread.stop()
  try result.get()
}
