// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Foundation
import Testing

@Suite("A record that cannot be processed is put aside, and is no longer in the way")
struct DeadLetterTests {
  private func letters(_ topic: Topic) throws -> [DeadLetter] {
    try readAll(topic).records.map { try DeadLetter($0.payload) }
  }

  @Test("beside the topic, with its reason and where it came from")
  func beside() async throws {
    let directory = try TemporaryDirectory()
    for path in ["/topic", "/other/"] {
      let topic = Topic(directory.path + path)
      try ConsumerTopic.append(0..<5, to: topic)
      let consumer = try QueueConsumer(topic: topic, name: "reader")
      let batch = try #require(try await consumer.nextBatch(upTo: 5))
      let address = try await batch.deadLetter(0, reason: "no number: ä")
      try await batch.deadLetter(2, reason: "")
      #expect(consumer.ordinal == 1)
      try await batch.acknowledge(only: 1)
      #expect(consumer.ordinal == 3)
      let kept = path == "/topic" ? "/topic.dead" : "/other.dead"
      #expect(try topic.deadLetters == Topic(directory.path + kept))
      #expect(try consumer.deadLetters == Topic(directory.path + kept))
      let found = try letters(Topic(directory.path + kept))
      #expect(found.map(\.reason) == ["no number: ä", ""])
      #expect(found.map(\.ordinal) == [0, 2])
      #expect(found.map(\.address) == [batch[0].address, batch[2].address])
      #expect(found.map(\.payload) == [batch[0].payload, batch[2].payload])
      #expect(try readAll(Topic(directory.path + kept)).records.first?.address == address)
      try await consumer.close()
    }
  }

  @Test("it is on stable storage before it counts as acknowledged; where that fails it does not")
  func order() async throws {
    let storage = SimulatedStorage()
    let dead = SimulatedStorage()
    let topic = Topic(storage: storage)
    try ConsumerTopic.append(0..<5, to: topic)
    var options = ConsumerTopic.options
    options.deadLetters = Topic(storage: dead)
    let consumer = try ConsumerTopic.consumer(topic, options: options)
    let batch = try #require(try await consumer.nextBatch(upTo: 5))
    // Another writer has the dead-letter topic open.
    let other = try ConsumerTopic.open(Topic(storage: dead))
    let locked = await queueError { try await batch.deadLetter(0, reason: "x") }
    #expect(locked?.code == .locked)
    try await other.close()
    dead.setFault(SimulatedStorage.Fault(.fail(Errno.io), at: 2) { $0.isSync })
    let failed = await queueError { try await batch.deadLetter(0, reason: "x") }
    #expect(failed?.code == .syncFailed)
    #expect(consumer.ordinal == 0)
    dead.setFault(nil)
    try await batch.deadLetter(0, reason: "y")
    #expect(consumer.ordinal == 1)
    var random = SeededGenerator(seed: 5)
    let after = try letters(Topic(storage: dead.powerCut(using: &random)))
    #expect(after.last?.reason == "y")
    #expect(after.last?.ordinal == 0)
    try await consumer.close()
  }

  @Test("many are put aside with the syncs of one, each with its reason, and acknowledged together")
  func many() async throws {
    var syncs: [Int] = []
    for count in [1, 40] {
      let storage = SimulatedStorage()
      let dead = SimulatedStorage()
      let topic = Topic(storage: storage)
      try ConsumerTopic.append(0..<50, to: topic)
      var options = ConsumerTopic.options
      options.deadLetters = Topic(storage: dead)
      let consumer = try ConsumerTopic.consumer(topic, options: options)
      let batch = try #require(try await consumer.nextBatch(upTo: 50))
      dead.logCalls()
      storage.logCalls()
      let indices = Array(0..<count)
      let addresses = try await batch.deadLetter(indices) { "reason \($0)" }
      syncs.append(dead.calls.count { $0.isSync || $0 == .syncDirectory })
      #expect(storage.calls.count { $0 == .sync("consumers/reader.cursor") } <= 2)
      #expect(consumer.ordinal == UInt64(count))
      let found = try readAll(Topic(storage: dead)).records
      #expect(found.map(\.address) == addresses)
      let letters = try found.map { try DeadLetter($0.payload) }
      #expect(letters.map(\.reason) == indices.map { "reason \($0)" })
      #expect(letters.map(\.payload) == indices.map { batch[$0].payload })
      // No record at all, and records that are not adjacent.
      #expect(try await batch.deadLetter([]) { _ in "" } == [])
      try await batch.deadLetter([45, 47]) { _ in "later" }
      #expect(consumer.ordinal == UInt64(count))
      try await consumer.close()
    }
    #expect(syncs[0] == syncs[1])
  }

  @Test("a consumer names the topic of its option, and a topic in memory names none")
  func named() async throws {
    let topic = try ConsumerTopic.memory(1)
    #expect(queueError { _ = try topic.deadLetters }?.code == .invalidOption)
    for path in ["", "/", ".", "..", "a/..", "./"] {
      #expect(queueError { _ = try Topic(path).deadLetters }?.code == .invalidOption, "\(path)")
    }
    #expect(try Topic("sensors//").deadLetters == "sensors.dead")
    var options = ConsumerTopic.options
    options.deadLetters = .memory()
    let consumer = try ConsumerTopic.consumer(topic, options: options)
    #expect(try consumer.deadLetters == options.deadLetters)
    try await consumer.close()
    let other = try ConsumerTopic.consumer(topic)
    #expect(queueError { _ = try other.deadLetters }?.code == .invalidOption)
  }

  @Test("a topic in memory has no place beside it")
  func memory() async throws {
    let consumer = try ConsumerTopic.consumer(try ConsumerTopic.memory(1))
    let batch = try #require(try await consumer.nextBatch(upTo: 1))
    let error = await queueError { try await batch.deadLetter(0, reason: "x") }
    #expect(error?.code == .invalidOption)
    #expect(consumer.ordinal == 0)
  }

  @Test("a topic whose path does not end in a name has no place beside it", arguments: [".", "./"])
  func noName(_ ending: String) async throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/topic"
    try ConsumerTopic.append(0..<1, to: Topic(path))
    let files = try names(path)
    for ending in ["/" + ending, "/../topic/" + ending, "/consumers/." + ending] {
      let consumer = try QueueConsumer(topic: Topic(path + ending), name: "reader")
      let batch = try #require(try await consumer.nextBatch(upTo: 1))
      let error = await queueError { try await batch.deadLetter(0, reason: "x") }
      #expect(error?.code == .invalidOption)
      #expect(error?.message.contains("deadLetters") == true)
      #expect(consumer.ordinal == 0)
      try await consumer.close()
    }
    #expect(try names(path).subtracting(["consumers"]) == files)
    #expect(try names(directory.path) == ["topic"])
  }

  private func names(_ path: String) throws -> Set<String> {
    Set(try FileManager.default.contentsOfDirectory(atPath: path))
  }

  @Test("the topic itself is refused as the place for them")
  func itself() throws {
    let directory = try TemporaryDirectory()
    let onDisk = Topic(directory.path + "/topic")
    try ConsumerTopic.append(0..<1, to: onDisk)
    let inMemory = try ConsumerTopic.memory(1)
    for (topic, dead) in [
      (onDisk, onDisk), (onDisk, Topic(directory.path + "/topic/")), (inMemory, inMemory),
    ] {
      var options = ConsumerTopic.options
      options.deadLetters = dead
      let error = queueError { _ = try ConsumerTopic.consumer(topic, options: options) }
      #expect(error?.code == .invalidOption)
      #expect(try QueueConsumer.consumers(of: topic).isEmpty)
    }
  }

  @Test("the largest record the consumer takes finds room there")
  func large() async throws {
    let topic = Topic.memory()
    var options = ConsumerTopic.options
    options.maximumPayload = .mebibytes(16)
    options.deadLetters = .memory()
    let writer = try QueueWriter(topic: topic)
    try writer.append([UInt8](repeating: 3, count: 16 << 20))
    try await writer.close()
    let consumer = try ConsumerTopic.consumer(topic, options: options)
    let batch = try #require(try await consumer.nextBatch(upTo: 1))
    try await batch.deadLetter(0, reason: String(repeating: "é", count: 40_000))
    var readerOptions = QueueReader.Options()
    readerOptions.maximumPayload = .mebibytes(17)
    let dead = try #require(options.deadLetters)
    let kept = try readAll(dead, options: readerOptions).records
    let letter = try DeadLetter(try #require(kept.first).payload)
    // The reason is cut after the last whole character.
    #expect(letter.reason == String(repeating: "é", count: 32_767))
    #expect(letter.payload == batch[0].payload)
  }

  @Test("payloads that are none are refused, at every length and with every bit flipped")
  func hostile() async throws {
    let topic = try ConsumerTopic.memory(1)
    var options = ConsumerTopic.options
    let dead = Topic.memory()
    options.deadLetters = dead
    let consumer = try ConsumerTopic.consumer(topic, options: options)
    try await consumer.nextBatch(upTo: 1)?.deadLetter(0, reason: "why")
    let bytes = try #require(try readAll(dead).records.first).payload
    for count in 0..<23 {
      let error = queueError { _ = try DeadLetter(Array(bytes.prefix(count))) }
      #expect(error?.code == .unsupportedFormat, "\(count)")
    }
    for bit in 0..<bytes.count * 8 {
      var flipped = bytes
      flipped[bit / 8] ^= 1 << UInt8(bit % 8)
      do {
        #expect(try DeadLetter(flipped) != (try DeadLetter(bytes)))
      } catch {
        #expect(error.code == .unsupportedFormat)
      }
    }
  }
}
