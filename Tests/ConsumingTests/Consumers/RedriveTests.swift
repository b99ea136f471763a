// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Synchronization
import Testing

@testable import DiskQueue

@Suite("The records of dead letters are appended to a topic again")
struct RedriveTests {
  private let dead = SimulatedStorage()
  private let target = SimulatedStorage()

  /// Puts records of a topic aside.
  private func putAside(_ range: Range<Int>, in dead: SimulatedStorage? = nil) async throws {
    let topic = try ConsumerTopic.memory(range.upperBound)
    var options = ConsumerTopic.options
    options.deadLetters = Topic(storage: dead ?? self.dead)
    let consumer = try ConsumerTopic.consumer(topic, options: options)
    let batch = try #require(try await consumer.nextBatch(upTo: range.upperBound))
    try await batch.deadLetter(range) { "number \($0)" }
    try await consumer.close()
  }

  private func redrive(
    from dead: SimulatedStorage, to writer: QueueWriter, upTo count: Int = .max
  ) async throws -> Int {
    try await DeadLetter.redrive(
      from: Topic(storage: dead), to: writer, upTo: count, environment: .simulated(), onLoss: nil)
  }

  private func texts(_ storage: SimulatedStorage) throws -> [String] {
    try readAll(Topic(storage: storage)).records.texts
  }

  @Test("in order, and the next call continues after them")
  func inOrder() async throws {
    try await putAside(0..<600)
    let writer = try ConsumerTopic.open(Topic(storage: target))
    #expect(try await redrive(from: dead, to: writer, upTo: 5) == 5)
    #expect(try texts(target) == ConsumerTopic.texts(0..<5))
    #expect(try await redrive(from: dead, to: writer) == 595)
    #expect(try await redrive(from: dead, to: writer) == 0)
    try await putAside(0..<2)
    #expect(try await redrive(from: dead, to: writer) == 2)
    #expect(try texts(target) == ConsumerTopic.texts(0..<600) + ConsumerTopic.texts(0..<2))
    try await writer.close()
    // The consumer of the dead letters is the one that is documented.
    let consumers = try QueueConsumer.consumers(of: Topic(storage: dead))
    #expect(consumers.map(\.name) == [DeadLetter.redriveConsumerName])
    #expect(consumers.first?.ordinal == 602)
  }

  @Test("dead letters that come during the call are left to the next one")
  func endless() async throws {
    try await putAside(0..<3)
    let writer = try ConsumerTopic.open(Topic(storage: target))
    let letter = DeadLetter(QueueRecord(payload: Array("late".utf8)), reason: "again")
    let other = try ConsumerTopic.open(Topic(storage: dead))
    let calls = Mutex(0)
    // The receiver refuses each record again, as soon as it is in the target.
    target.setHook { call in
      let count = calls.withLock { calls in
        calls += 1
        return calls
      }
      guard call.isSync, count < 100 else { return }
      _ = try? other.append(letter.encoded)
      try? other.flush()
    }
    #expect(try await redrive(from: dead, to: writer) == 3)
    target.setHook(nil)
    #expect(calls.withLock { $0 } > 0)
    try await other.close()
    #expect(try await redrive(from: dead, to: writer) > 0)
    try await writer.close()
    #expect(try texts(target).last == "late")
  }

  @Test("a crash at any step loses none of them, and keeps their order")
  func crashes() async throws {
    try await putAside(0..<4)
    let writer = try ConsumerTopic.open(Topic(storage: target))
    let crashes = Mutex<[(SimulatedStorage, SimulatedStorage)]>([])
    let random = Mutex(SeededGenerator(seed: 3))
    let hook: @Sendable (SimulatedStorage.Call) -> Void = { [dead, target] call in
      guard call.changes else { return }
      random.withLock { random in
        let after = (dead.powerCut(using: &random), target.powerCut(using: &random))
        crashes.withLock { $0.append(after) }
      }
    }
    dead.setHook(hook)
    target.setHook(hook)
    #expect(try await redrive(from: dead, to: writer) == 4)
    dead.setHook(nil)
    target.setHook(nil)
    hook(.syncDirectory)
    try await writer.close()
    let all = crashes.withLock { $0 }
    #expect(all.count > 8)
    var repeated = 0
    for (dead, target) in all {
      let writer = try ConsumerTopic.open(Topic(storage: target))
      _ = try await redrive(from: dead, to: writer)
      try await writer.close()
      let found = try texts(target)
      #expect(Array(found.suffix(4)) == ConsumerTopic.texts(0..<4))
      if found.count > 4 { repeated += 1 }
    }
    // The last crash came after everything. Some came between the two topics.
    #expect(repeated < all.count)
  }

  @Test("an error of any call loses none of them, and keeps their order", arguments: [false, true])
  func errors(_ isInTarget: Bool) async throws {
    var number = 0
    var hits = 1
    while hits > 0 {
      number += 1
      let (dead, target) = (SimulatedStorage(), SimulatedStorage())
      try await putAside(0..<4, in: dead)
      let faulty = isInTarget ? target : dead
      let first = try ConsumerTopic.open(Topic(storage: target))
      faulty.setFault(SimulatedStorage.Fault(.fail(Errno.io), at: number))
      let error = await queueError { _ = try await redrive(from: dead, to: first) }
      hits = faulty.hits
      faulty.setFault(nil)
      #expect(error == nil || hits > 0)
      // If a sync failed, closing fails as well.
      _ = await queueError { try await first.close() }
      let second = try ConsumerTopic.open(Topic(storage: target))
      _ = try await redrive(from: dead, to: second)
      try await second.close()
      var order: [String] = []
      for text in try texts(target) where !order.contains(text) { order.append(text) }
      #expect(order == ConsumerTopic.texts(0..<4))
    }
    #expect(number > 2)
  }

  @Test("a record that is no dead letter stops it, after all records before it")
  func notADeadLetter() async throws {
    try await putAside(0..<3)
    let other = try ConsumerTopic.open(Topic(storage: dead))
    try other.append("not a dead letter")
    try await other.close()
    let address = try readAll(Topic(storage: dead)).records.last?.address
    try await putAside(3..<4)
    let writer = try ConsumerTopic.open(Topic(storage: target))
    for appended in [3, 0] {
      let error = await queueError { _ = try await redrive(from: dead, to: writer) }
      #expect(error?.code == .unsupportedFormat)
      #expect(error?.address == address)
      #expect(error?.appended == appended)
    }
    #expect(try texts(target) == ConsumerTopic.texts(0..<3))
    try await writer.close()
  }

  @Test("a record that the target refuses stops it, and those before it do not come again")
  func refused() async throws {
    try await putAside(0..<3)
    var options = ConsumerTopic.options
    options.deadLetters = Topic(storage: dead)
    let large = Topic.memory()
    let source = try QueueWriter(topic: large)
    try source.append([UInt8](repeating: 1, count: 5000))
    try await source.close()
    let consumer = try ConsumerTopic.consumer(large, options: options)
    try await consumer.nextBatch(upTo: 1)?.deadLetter(0, reason: "large")
    try await consumer.close()
    var writing = SmallTopic.options
    writing.maximumPayload = .bytes(1000)
    var writer = try QueueWriter(
      topic: Topic(storage: target), options: writing, environment: .simulated())
    let error = await queueError { _ = try await redrive(from: dead, to: writer) }
    #expect(error?.code == .payloadTooLarge)
    try await writer.close()
    writer = try ConsumerTopic.open(Topic(storage: target))
    _ = try await redrive(from: dead, to: writer)
    try await writer.close()
    let found = try readAll(Topic(storage: target)).records
    #expect(found.prefix(3).map { $0.text ?? "" } == ConsumerTopic.texts(0..<3))
    #expect(found.map(\.payload.count).last == 5000)
    #expect(found.count == 4)
  }

  @Test("its own topic is refused as the target, and a count below 1")
  func options() async throws {
    try await putAside(0..<1)
    let writer = try ConsumerTopic.open(Topic(storage: dead))
    let same = await queueError { _ = try await redrive(from: dead, to: writer) }
    #expect(same?.code == .invalidOption)
    try await writer.close()
    let other = try ConsumerTopic.open(Topic(storage: target))
    let none = await queueError { _ = try await redrive(from: dead, to: other, upTo: 0) }
    #expect(none?.code == .invalidOption)
    try await other.close()
    #expect(try QueueConsumer.consumers(of: Topic(storage: dead)).isEmpty)
  }

  @Test("a topic of dead letters that does not exist has none to redrive, and is not made")
  func none() async throws {
    let directory = try TemporaryDirectory()
    let writer = try QueueWriter(topic: Topic(directory.path + "/sensors"))
    let deadLetters = try writer.topic.deadLetters
    #expect(try await DeadLetter.redrive(from: deadLetters, to: writer) == 0)
    let missing = queueError { _ = try QueueReader(topic: deadLetters) }
    #expect(missing?.code == .noSuchTopic)
    #expect(writer.ordinal == 0)
    try writer.append("21.5")
    #expect(writer.ordinal == 1)
    try await writer.close()
  }
}
