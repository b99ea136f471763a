// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("Making the shards of a topic on disk, and finding them again")
struct ShardsMakingTests {
  private func writer(_ topic: ShardedTopic) throws -> ShardedWriter {
    try ShardedWriter(topic: topic, environment: .simulated())
  }

  @Test("a directory, a lock and the file are made, and a shard by its first record")
  func layout() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/a/topic"
    let topic = ShardedTopic(path, shards: 1_000)
    #expect(topic.description == path)
    #expect(queueError { _ = try topic.shardCount() }?.code == .noSuchTopic)
    let writer = try ShardedWriter(topic: topic)
    #expect(writer.openShardCount == 0)
    #expect(Set(try snapshot(path).keys) == ["lock", "shards"])
    #expect(try readFile(path + "/shards") == ShardsFormatTests.golden)
    #expect(try writer.append("a user", key: "users").shard == 273)
    try writer.close()
    #expect(
      Set(try snapshot(path).keys)
        == ["lock", "shards", "0273/lock", "0273/00000000000000000000.slab"])
    // A shard is an ordinary topic, also under its own path.
    #expect(try readAll(Topic(path + "/0273")).texts == ["a user"])
    #expect(try topic.topic(ofShard: 273) == Topic(path + "/0273"))
    // No option is needed to find the shards again.
    #expect(try ShardedTopic(path).shardCount() == 1_000)
    #expect(try ShardedWriter(topic: ShardedTopic(path)).append("x", key: "users").shard == 273)
    #expect(queueError { _ = try topic.topic(ofShard: 1_000) }?.code == .invalidOption)
    #expect(queueError { _ = try topic.topic(ofShard: -1) }?.code == .invalidOption)
    #expect(queueError { _ = try topic.reader(ofShard: 0) }?.code == .noSuchTopic)
  }

  @Test("sixteen shards where nothing is said of them")
  func ordinaryCount() throws {
    let directory = try TemporaryDirectory()
    let topic = ShardedTopic(directory.path + "/topic")
    #expect(try ShardedWriter(topic: topic).shardCount == 16)
    #expect(try topic.shardCount() == 16)
  }

  @Test("another number, or another kind of sharder, is refused, and nothing is changed")
  func mismatch() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/topic"
    try ShardedWriter(topic: ShardedTopic(path, shards: 10)).close()
    let before = try snapshot(path)["shards"]
    for topic in [
      ShardedTopic(path, shards: 11),
      ShardedTopic(path, by: .keys(["a"])),
      ShardedTopic(path, shards: 10, by: .custom { _, _ in 0 }),
    ] {
      #expect(queueError { _ = try topic.shardCount() }?.code == .invalidOption)
      #expect(queueError { _ = try topic.shard(of: "a") }?.code == .invalidOption)
      #expect(queueError { _ = try ShardedWriter(topic: topic) }?.code == .invalidOption)
      #expect(queueError { _ = try topic.records() }?.code == .invalidOption)
    }
    // Every refused writer has released the lock.
    try ShardedWriter(topic: ShardedTopic(path, shards: 10)).close()
    #expect(try snapshot(path)["shards"] == before)
    // Another list of keys may open a list's topic, and another custom sharder one of a custom
    // sharder. The file does not distinguish them.
    let list = directory.path + "/list"
    try ShardedWriter(topic: ShardedTopic(list, by: .keys(["a"]))).close()
    #expect(try ShardedTopic(list, by: .keys(["a", "b"])).shard(of: "b") == 1)
    #expect(queueError { _ = try ShardedTopic(list).shardCount() }?.code == .invalidOption)
  }

  @Test("an ordinary topic, and a directory of other files, are refused and stay as they are")
  func otherDirectories() throws {
    let directory = try TemporaryDirectory()
    let ordinary = directory.path + "/ordinary"
    try QueueWriter(topic: Topic(ordinary)).close()
    let others = directory.path + "/others"
    try writeFile(others + "/notes.txt", [1, 2, 3])
    let file = directory.path + "/file"
    try writeFile(file, [1])
    let waiting = directory.path + "/waiting"
    try writeFile(waiting + "/lock", [])
    try writeFile(waiting + "/consumers/a.cursor", [])
    let foreign = directory.path + "/foreign"
    try writeFile(foreign + "/shards", Array("16\n".utf8))
    let years = directory.path + "/years"
    try writeFile(years + "/2026/photo.jpg", [1, 2, 3])
    let empty = directory.path + "/empty"
    try writeFile(empty + "/lock", [])
    try writeFile(empty + "/shards", [])
    try writeFile(empty + "/notes.txt", [1, 2, 3])
    let before = try snapshot(directory.path)
    for path in [ordinary, others, file, waiting, foreign, years, empty] {
      let topic = ShardedTopic(path)
      #expect(queueError { _ = try ShardedWriter(topic: topic) }?.code == .notATopic, "\(path)")
      #expect(queueError { _ = try topic.shardCount() }?.code == .notATopic, "\(path)")
      #expect(queueError { _ = try topic.records() }?.code == .notATopic, "\(path)")
    }
    // A writer that looks again under the lock leaves its process number in it.
    #expect(
      try snapshot(directory.path).filter { $0.key != "empty/lock" }
        == before.filter { $0.key != "empty/lock" })
    // A directory with both this file and slabs would be two things at once.
    try writeFile(ordinary + "/shards", ShardsFormatTests.golden)
    #expect(queueError { _ = try ShardedTopic(ordinary).shardCount() }?.code == .notATopic)
    #expect(
      queueError { _ = try ShardedWriter(topic: ShardedTopic(ordinary)) }?.code == .notATopic)
  }

  @Test("no ordinary topic is opened over shards: not to write, to read, to consume or to clean")
  func ordinaryOverShards() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/topic"
    for records in 0..<2 {
      // Without a shard, and with one.
      let writer = try ShardedWriter(topic: ShardedTopic(path))
      for _ in 0..<records { try writer.append("x", key: "y") }
      try writer.close()
      let before = try snapshot(path)
      #expect(queueError { _ = try QueueWriter(topic: Topic(path)) }?.code == .notATopic)
      #expect(queueError { _ = try QueueReader(topic: Topic(path)) }?.code == .notATopic)
      #expect(
        queueError { _ = try QueueConsumer(topic: Topic(path), name: "a") }?.code == .notATopic)
      #expect(
        queueError { _ = try SlabCleaner(topic: Topic(path)).clean(keeping: Retention()) }?.code
          == .notATopic)
      #expect(try snapshot(path) == before)
    }
  }

  @Test("a file that a crash has cut short is written anew, with what is wanted then")
  func cutShort() throws {
    for count in 0..<24 {
      let directory = try TemporaryDirectory()
      let path = directory.path + "/topic"
      try writeFile(path + "/lock", [])
      try writeFile(path + "/shards", Array(ShardsFormatTests.golden.prefix(count)))
      #expect(queueError { _ = try ShardedTopic(path).shardCount() }?.code == .noSuchTopic)
      #expect(try ShardedWriter(topic: ShardedTopic(path, shards: 7)).shardCount == 7)
      #expect(try readFile(path + "/shards") == ShardsFile(dealer: .hash, count: 7).bytes)
    }
  }

  @Test("where there are shards, a file that is gone or not whole is refused and not guessed")
  func damagedFile() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/topic"
    let topic = ShardedTopic(path, shards: 1_000)
    let writer = try ShardedWriter(topic: topic)
    try writer.append("a user", key: "users")
    try writer.close()
    let sound = try readFile(path + "/shards")
    var flipped = sound
    flipped[12] ^= 1
    for bytes in [[], Array(sound.prefix(10)), flipped, sound + [0], nil] as [[UInt8]?] {
      try removeFile(path + "/shards")
      if let bytes { try writeFile(path + "/shards", bytes) }
      let before = try snapshot(path)
      #expect(queueError { _ = try ShardedWriter(topic: topic) }?.code == .notATopic)
      #expect(queueError { _ = try topic.shardCount() }?.code == .notATopic)
      #expect(try snapshot(path).filter { $0.key != "lock" } == before.filter { $0.key != "lock" })
      #expect(try readAll(Topic(path + "/0273")).texts == ["a user"])
      if bytes == nil { try writeFile(path + "/shards", []) }
    }
    try writeFile(path + "/shards", sound)
    #expect(try readShards(topic) == [273: ["a user"]])
  }

  @Test("a file of a newer version is refused")
  func newerVersion() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/topic"
    var bytes = Array(ShardsFormatTests.golden.prefix(16))
    bytes[8] = 2
    let hash = xxh3(bytes)
    for shift in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: hash >> UInt64(8 * shift))) }
    try writeFile(path + "/shards", bytes)
    let topic = ShardedTopic(path)
    #expect(queueError { _ = try topic.shardCount() }?.code == .unsupportedFormat)
    #expect(queueError { _ = try ShardedWriter(topic: topic) }?.code == .unsupportedFormat)
  }

  @Test("what is a link is not followed")
  func links() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/topic"
    try ShardedWriter(topic: ShardedTopic(path, shards: 4)).close()
    try makeLink(directory.path + "/link", to: path)
    #expect(
      queueError { _ = try ShardedTopic(directory.path + "/link").shardCount() }?.code == .notATopic
    )
    try makeLink(path + "/0001", to: directory.path)
    let writer = try ShardedWriter(topic: ShardedTopic(path, by: .hash))
    let key = try #require((0..<100).first { try writer.shard(of: "\($0)") == 1 })
    #expect(queueError { try writer.append("x", key: "\(key)") }?.code == .notATopic)
  }

  // MARK: Crashes

  @Test("whatever step a writer dies in, the next one makes the shards, or finds them")
  func crashes() throws {
    var steps = 0
    var counts: Set<Int> = []
    for seed in 1...20 as ClosedRange<UInt64> {
      for isPowerCut in [false, true] {
        var number = 1
        while true {
          var root = SimulatedStorage(seed: seed)
          root.setFault(SimulatedStorage.Fault(.die, at: number))
          let first = queueError { _ = try writer(SimulatedShards(root).topic(shards: 16)) }
          guard root.hits > 0 else {
            #expect(first == nil)
            break
          }
          #expect(first != nil)
          steps += 1
          var random = SeededGenerator(seed: seed)
          if isPowerCut { root = root.powerCut(using: &random) } else { root.kill() }
          // If the first writer did not finish, the second writer's number of shards may apply.
          let second = SimulatedShards(root)
          let opened: ShardedWriter
          if let count = try? second.topic().shardCount() {
            #expect(count == 16)
            opened = try writer(second.topic())
          } else {
            opened = try writer(second.topic(shards: 20))
          }
          let count = opened.shardCount
          #expect(count == 16 || count == 20)
          counts.insert(count)
          // From now on, the number is on the disk, whatever happens.
          let later = root.powerCut(using: &random)
          #expect(try SimulatedShards(later).topic().shardCount() == count)
          number += 1
        }
      }
    }
    #expect(steps > 100 && counts == [16, 20])
  }

  @Test("no shard is there before the file that tells of it is on the disk")
  func order() throws {
    let shards = SimulatedShards()
    shards.root.logCalls()
    let writer = try writer(shards.topic(shards: 4))
    let made: [SimulatedStorage.Call] = [
      .syncParent, .create("shards"), .write("shards", offset: 0, count: 24), .sync("shards"),
      .syncDirectory,
    ]
    #expect(shards.root.calls.filter { $0.changes } == made)
    try writer.close()
    // When the file is found again, it is synced before it is read, because a crash may have left
    // it unsynced.
    shards.root.logCalls()
    _ = try self.writer(shards.topic())
    let found = Array(shards.root.calls.drop { $0 != .syncParent })
    #expect(
      found == [
        .syncParent, .open("shards"), .sync("shards"), .syncDirectory, .dropCache("shards"),
        .read("shards"), .identify("lock"), .identify("shards"), .unlock,
      ])
  }

  @Test("a disk that refuses each step says so, and the next try succeeds")
  func refusals() throws {
    var number = 1
    while true {
      let shards = SimulatedShards()
      shards.root.setFault(SimulatedStorage.Fault(.fail(Errno.noSpace), at: number))
      let error = queueError { _ = try writer(shards.topic(shards: 4)) }
      guard shards.root.hits > 0 else { break }
      #expect(error?.code == .noSpace || error?.code == .syncFailed)
      #expect(try writer(shards.topic(shards: 4)).shardCount == 4)
      number += 1
    }
    #expect(number == 6)
  }
}
