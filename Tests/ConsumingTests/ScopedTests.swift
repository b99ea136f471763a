// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("An object that is opened for a closure")
struct ScopedTests {
  /// An error of the program.
  private struct Refusal: Error {}

  /// Holds what a closure was lent, as a program might by mistake.
  @MainActor
  private final class Holder {
    var count = 0
  }

  // MARK: The result, and the end

  @Test("is closed after the closure, whose result is returned")
  func result() throws {
    let topic = Topic(storage: SimulatedStorage())
    let record = try withQueueWriter(topic: topic) { writer in try writer.append("one") }
    #expect(record.ordinal == 0)
    let name = try withQueueConsumer(topic: topic, name: "c") { consumer in consumer.name }
    #expect(name == "c")
    try withQueueWriter(topic: topic) { writer in #expect(writer.recovery.wasClean) }
    _ = try QueueConsumer(topic: topic, name: "c")

    let shards = SimulatedShards().topic(shards: 2)
    let shard = try withShardedWriter(topic: shards) { try $0.append("two", key: "k").shard }
    try withShardedWriter(topic: shards) { writer in
      try writer.append("three", key: "k")
      #expect(writer.recoveries.isEmpty)
    }
    #expect(try readShards(shards) == [shard: ["two", "three"]])
  }

  @Test("is closed after an asynchronous closure, which may be a topic's first use on disk")
  func asyncResult() async throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    let record = try await withQueueWriter(topic: topic) { writer in
      try await writer.append("one", ensuring: .flushed)
    }
    #expect(record.ordinal == 0)
    try await withQueueWriter(topic: topic) { writer in #expect(writer.recovery.wasClean) }
    let texts = try await withQueueConsumer(topic: topic, name: "c") { consumer in
      var texts: [String?] = []
      for try await batch in consumer.batches(upTo: 10) {
        texts += batch.map(\.text)
        try await batch.acknowledge()
      }
      return texts
    }
    #expect(texts == ["one"])
    let next = try QueueConsumer(topic: topic, name: "c")
    #expect(next.ordinal == 1)

    let work = Topic(directory.path + "/work")
    try await withDiskChannel(topic: work) { channel in try await channel.send("job") }
    let job = try await withDiskChannel(topic: work) { channel in
      #expect(channel.recovery.wasClean)
      channel.finish()
      var receiving = channel.makeAsyncIterator()
      let message = try await receiving.next()
      try message?.acknowledge()
      return message?.text
    }
    #expect(job == "job")

    let shards = ShardedTopic(directory.path + "/shards", shards: 2)
    let shard = try await withShardedWriter(topic: shards) { writer in
      try await writer.append("two", key: "k", ensuring: .buffered).shard
    }
    try await withShardedWriter(topic: shards) { #expect($0.recoveries.isEmpty) }
    #expect(try readShards(shards) == [shard: ["two"]])
  }

  @Test("works in memory as well")
  func inMemory() async throws {
    let topic = Topic.memory()
    try await withQueueWriter(topic: topic) { try $0.append("one") }
    try await withQueueWriter(topic: topic) { try $0.append("two") }
    #expect(try readAll(topic).texts == ["one", "two"])
    let shards = ShardedTopic.memory(shards: 2)
    try await withShardedWriter(topic: shards) { try $0.append("three", key: "k") }
    #expect(try readShards(shards).values.map { $0 } == [["three"]])
  }

  @Test("may be closed by the closure itself")
  func closedInside() async throws {
    let topic = Topic(storage: SimulatedStorage())
    try await withQueueWriter(topic: topic) { writer in
      try writer.append("one")
      try writer.close()
    }
    try await withQueueConsumer(topic: topic, name: "c") { try await $0.close() }
    try await withDiskChannel(topic: .memory()) { try await $0.close() }
    #expect(try readAll(topic).texts == ["one"])
  }

  @Test("is used in the isolation of its caller")
  @MainActor
  func isolation() async throws {
    let holder = Holder()
    try await withQueueWriter(topic: .memory()) { writer in
      try writer.append("one")
      holder.count += 1
    }
    #expect(holder.count == 1)
  }

  @Test("that cannot be opened is not lent, and its error is thrown")
  func notOpened() async throws {
    let topic = Topic(storage: SimulatedStorage())
    let other = try QueueWriter(topic: topic)
    var calls = 0
    #expect(queueError { try withQueueWriter(topic: topic) { _ in calls += 1 } }?.code == .locked)
    let error = await queueError {
      try await withDiskChannel(topic: topic) { _ in _ = Issue.record("it was lent") }
    }
    #expect(error?.code == .locked)
    let directory = try TemporaryDirectory()
    let missing = Topic(directory.path + "/missing")
    let noTopic = await queueError {
      try await withQueueConsumer(topic: missing, name: "c") { _ in _ = Issue.record("it was lent")
      }
    }
    #expect(noTopic?.code == .noSuchTopic)
    #expect(calls == 0)
    try await other.close()
  }

  // MARK: Errors of the closure

  @Test("is closed if the closure fails, and throws the closure's error")
  func failing() async throws {
    let topic = Topic(storage: SimulatedStorage())
    #expect(throws: Refusal.self) {
      try withQueueWriter(topic: topic) { writer in
        try writer.append("one")
        throw Refusal()
      }
    }
    await #expect(throws: Refusal.self) {
      try await withQueueWriter(topic: topic) { writer in
        #expect(writer.recovery.wasClean)
        try await writer.append("two", ensuring: .buffered)
        throw Refusal()
      }
    }
    #expect(throws: Refusal.self) {
      try withQueueConsumer(topic: topic, name: "c") { _ in throw Refusal() }
    }
    await #expect(throws: Refusal.self) {
      try await withQueueConsumer(topic: topic, name: "c") { _ in throw Refusal() }
    }
    await #expect(throws: Refusal.self) {
      try await withDiskChannel(topic: topic) { channel in
        #expect(channel.recovery.wasClean)
        try await channel.send("three")
        throw Refusal()
      }
    }
    #expect(try readAll(topic).texts == ["one", "two", "three"])
    try await withQueueWriter(topic: topic) { #expect($0.recovery.wasClean) }

    let shards = SimulatedShards().topic(shards: 1)
    #expect(throws: Refusal.self) {
      try withShardedWriter(topic: shards) { writer in
        try writer.append("one", key: "k")
        throw Refusal()
      }
    }
    await #expect(throws: Refusal.self) {
      try await withShardedWriter(topic: shards) { writer in
        try writer.append("two", key: "k")
        #expect(writer.recoveries.isEmpty)
        throw Refusal()
      }
    }
    #expect(try readShards(shards) == [0: ["one", "two"]])
  }

  // MARK: Errors of closing

  // In an asynchronous function, the asynchronous form is chosen.
  private static func use(_ topic: Topic, _ body: (QueueWriter) throws -> Void) throws {
    try withQueueWriter(topic: topic, body)
  }

  private static func use(_ topic: ShardedTopic, _ body: (ShardedWriter) throws -> Void) throws {
    try withShardedWriter(topic: topic, body)
  }

  @Test("whose close finds no space throws that, and holds no lock even if it lives on")
  func fullDisk() async throws {
    for isFailing in [false, true] {
      for isAwaited in [false, true] {
        let storage = SimulatedStorage()
        let topic = Topic(storage: storage)
        nonisolated(unsafe) var held: QueueWriter?
        let body = { (writer: QueueWriter) in
          held = writer
          try writer.append("lost")
          storage.setCapacity(storage.used)
          if isFailing { throw Refusal() }
        }
        let error = await #expect(throws: (any Error).self) {
          if isAwaited {
            try await withQueueWriter(topic: topic) { writer in try body(writer) }
          } else {
            try Self.use(topic, body)
          }
        }
        #expect((error is Refusal) == isFailing)
        if !isFailing { #expect((error as? QueueError)?.code == .noSpace) }
        storage.setCapacity(nil)
        try await withQueueWriter(topic: topic) { try $0.append("next") }
        #expect(try readAll(topic).texts == ["next"])
        let writer = try #require(held)
        #expect(queueError { try writer.append("late") }?.code == .closed)
        #expect(await queueError { try await writer.sync() }?.code == .closed)
        try await writer.close()
      }
    }
  }

  @Test("with shards, whose close finds no space, throws that and holds no lock")
  func fullShard() async throws {
    for isAwaited in [false, true] {
      let shards = SimulatedShards()
      let topic = shards.topic(shards: 2)
      nonisolated(unsafe) var held: ShardedWriter?
      let body = { (writer: ShardedWriter) in
        held = writer
        for key in 0..<20 { try writer.append("lost", key: "\(key)") }
        shards[1].setCapacity(shards[1].used)
      }
      let error = await queueError {
        if isAwaited {
          try await withShardedWriter(topic: topic) { writer in try body(writer) }
        } else {
          try Self.use(topic, body)
        }
      }
      #expect(error?.code == .noSpace)
      shards[1].setCapacity(nil)
      try await withShardedWriter(topic: topic) { writer in
        for key in 0..<20 { try writer.append("next", key: "\(key)") }
      }
      #expect(try readShards(topic)[1]?.contains("lost") == false)
      let writer = try #require(held)
      #expect(queueError { try writer.append("late", key: "0") }?.code == .closed)
      #expect(await queueError { try await writer.flush() }?.code == .closed)
      #expect(await queueError { try await writer.sync() }?.code == .closed)
      try await writer.close()
    }
  }

  @Test("whose acknowledgements cannot be written throws that, and gives up the name")
  func fullDiskOfConsumer() async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    try await withQueueWriter(topic: topic) { try $0.append(contentsOf: ["one", "two"]) }
    nonisolated(unsafe) var held: QueueConsumer?
    let error = await queueError {
      try await withQueueConsumer(topic: topic, name: "c") { consumer in
        held = consumer
        let batch = try await consumer.nextBatch(upTo: 1)
        try batch?.acknowledge(within: .seconds(3_600))
        storage.setFault(SimulatedStorage.Fault(.fail(Errno.noSpace), at: 1) { $0.isWrite })
      }
    }
    #expect(error?.code == .noSpace)
    let next = try QueueConsumer(topic: topic, name: "c")
    #expect(next.ordinal == 0)
    let consumer = try #require(held)
    #expect(await queueError { _ = try await consumer.nextBatch(upTo: 1) }?.code == .closed)
  }

  @Test("as a channel whose acknowledgements cannot be written throws that, and holds no lock")
  func fullDiskOfChannel() async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    var options = DiskChannel.Options()
    options.acknowledgementDelay = .seconds(3_600)
    nonisolated(unsafe) var held: DiskChannel?
    let error = await queueError {
      try await withDiskChannel(topic: topic, options: options) { channel in
        held = channel
        try await channel.send("job")
        var receiving = channel.makeAsyncIterator()
        try await receiving.next()?.acknowledge()
        storage.setFault(SimulatedStorage.Fault(.fail(Errno.noSpace), at: 1) { $0.isWrite })
      }
    }
    #expect(error?.code == .noSpace)
    let again = try await withDiskChannel(topic: topic) { channel in
      var receiving = channel.makeAsyncIterator()
      return try await receiving.next()?.text
    }
    #expect(again == "job")
    let channel = try #require(held)
    #expect(await queueError { try await channel.send("late") }?.code == .closed)
    try await channel.close()
  }

  // MARK: Cancellation

  @Test("is closed if the task is cancelled")
  func cancelled() async throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    let writing = Task {
      try await withQueueWriter(topic: topic) { writer in
        try writer.append("one")
        withUnsafeCurrentTask { $0?.cancel() }
        try Task.checkCancellation()
      }
    }
    await #expect(throws: CancellationError.self) { try await writing.value }
    try await withQueueWriter(topic: topic) { #expect($0.recovery.wasClean) }

    // A task that waits in the closure, and one that had been cancelled before it opened.
    let waiting = Task {
      withUnsafeCurrentTask { $0?.cancel() }
      try await withQueueConsumer(topic: topic, name: "c") { consumer in
        let batch = try await consumer.nextBatch(upTo: 10)
        try await batch?.acknowledge()
        _ = try await consumer.nextBatch(upTo: 10, following: true)
      }
    }
    let error = await #expect(throws: QueueError.self) { try await waiting.value }
    #expect(error?.code == .cancelled)
    _ = try QueueConsumer(topic: topic, name: "c")

    let receiving = Task {
      try await withDiskChannel(topic: topic) { channel in
        withUnsafeCurrentTask { $0?.cancel() }
        for try await message in channel { try message.acknowledge() }
      }
    }
    #expect(await queueError { try await receiving.value }?.code == .cancelled)
    try await withQueueWriter(topic: topic) { #expect($0.recovery.wasClean) }

    let shards = ShardedTopic(directory.path + "/shards", shards: 2)
    let sharding = Task {
      try await withShardedWriter(topic: shards) { writer in
        try writer.append("two", key: "k")
        withUnsafeCurrentTask { $0?.cancel() }
        try await writer.append("three", key: "k", ensuring: .synced)
      }
    }
    #expect(await queueError { try await sharding.value }?.code == .cancelled)
    try await withShardedWriter(topic: shards) { writer in
      try writer.append("four", key: "k")
      #expect(writer.recoveries.isEmpty)
    }
    #expect(try readShards(shards).values.map { $0 } == [["two", "three", "four"]])
  }
}
