// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("A consumer delivers every record at least once, and none again that it acknowledged")
struct QueueConsumerTests {
  @Test("batches come in order, and the next holder goes on behind what was acknowledged")
  func batches() async throws {
    let topic = try ConsumerTopic.memory(100)
    let first = try ConsumerTopic.consumer(topic)
    var seen: [String] = []
    var batch = try #require(try await first.nextBatch(upTo: 30))
    seen += batch.map { $0.text ?? "?" }
    try await batch.acknowledge()
    #expect(first.ordinal == 30)
    batch = try #require(try await first.nextBatch(upTo: 30))
    #expect(Array(batch).texts == ConsumerTopic.texts(30..<60))
    try await batch.acknowledge(through: 9)
    #expect(first.ordinal == 40)
    // These records are not acknowledged, so they are delivered again.
    _ = try await first.nextBatch(upTo: 30)
    try await first.close()
    #expect(seen == ConsumerTopic.texts(0..<30))

    let second = try ConsumerTopic.consumer(topic, from: .latest)
    #expect(second.ordinal == 40)
    let rest = try await ConsumerTopic.drain(second)
    #expect(rest.texts == ConsumerTopic.texts(40..<100))
    #expect(rest.map(\.ordinal) == Array(40..<100))
    #expect(try await second.nextBatch(upTo: 1, following: false) == nil)
    try await second.close()
  }

  @Test("acknowledged out of order, the cursor moves up to the first record that is not")
  func outOfOrder() async throws {
    let topic = try ConsumerTopic.memory(20)
    let consumer = try ConsumerTopic.consumer(topic)
    let batch = try #require(try await consumer.nextBatch(upTo: 20))
    for index in [3, 1, 2, 7, 3] {
      try await batch.acknowledge(only: index)
      #expect(consumer.ordinal == 0)
    }
    try await batch.acknowledge(only: 0)
    #expect(consumer.ordinal == 4)
    try await batch.acknowledge(only: 4..<7)
    #expect(consumer.ordinal == 8)
    try await batch.acknowledge(only: 10)
    try await consumer.close()
    let next = try ConsumerTopic.consumer(topic)
    #expect(try await ConsumerTopic.drain(next).texts == ConsumerTopic.texts(8..<20))
  }

  @Test("a batch ends before it exceeds its bytes, and has at least one record")
  func bytes() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    for length in [10, 10, 200, 10, 10, 10] {
      try writer.append([UInt8](repeating: UInt8(length), count: length))
    }
    try await writer.close()
    var options = ConsumerTopic.options
    options.maximumBatchBytes = .bytes(40)
    let consumer = try ConsumerTopic.consumer(topic, options: options)
    var counts: [[Int]] = []
    for try await batch in consumer.batches(upTo: 100, following: false) {
      counts.append(batch.map(\.payload.count))
    }
    #expect(counts == [[10, 10], [200], [10, 10], [10]])
  }

  @Test("two iterators share the records: each goes to one of them")
  func sharing() async throws {
    let topic = try ConsumerTopic.memory(300)
    let consumer = try ConsumerTopic.consumer(topic)
    let ordinals = try await withThrowingTaskGroup(of: [UInt64].self) { group in
      for _ in 0..<4 {
        group.addTask {
          var mine: [UInt64] = []
          for try await batch in consumer.batches(upTo: 5, following: false) {
            mine += batch.map(\.ordinal)
            try await batch.acknowledge(only: batch.indices)
          }
          return mine
        }
      }
      var all: [UInt64] = []
      for try await mine in group { all += mine }
      return all
    }
    #expect(ordinals.sorted() == Array(0..<300))
    #expect(consumer.ordinal == 300)
  }

  @Test("a loop that does not ask to follow ends at the end of the log")
  func notFollowing() async throws {
    let consumer = try ConsumerTopic.consumer(try ConsumerTopic.memory(7))
    var texts: [String] = []
    for try await batch in consumer.batches(upTo: 4) { texts += batch.map { $0.text ?? "?" } }
    #expect(texts == ConsumerTopic.texts(0..<7))
    #expect(try await consumer.nextBatch(upTo: 4) == nil)
  }

  @Test("one who follows is woken by what is appended, and by nothing less")
  func following() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    let consumer = try ConsumerTopic.consumer(topic)
    let task = Task {
      var texts: [String] = []
      for try await batch in consumer.batches(upTo: 4, following: true) {
        texts += batch.map { $0.text ?? "?" }
        try await batch.acknowledge()
        if texts.count == 20 { break }
      }
      return texts
    }
    for number in 0..<20 {
      try writer.append(ConsumerTopic.text(number))
      try await writer.flush()
      await Task.yield()
    }
    #expect(try await task.value == ConsumerTopic.texts(0..<20))
    #expect(consumer.ordinal == 20)
    try await writer.close()
  }

  @Test("a task that is cancelled while it waits is told so, and no record is lost by it")
  func cancelling() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    let consumer = try ConsumerTopic.consumer(topic)
    for number in 0..<10 {
      let task = Task { try await consumer.nextBatch(upTo: 1, following: true) }
      task.cancel()
      let error = await queueError { _ = try await task.value }
      #expect(error?.code == .cancelled)
      try writer.append(ConsumerTopic.text(number))
      try await writer.flush()
    }
    #expect(try await ConsumerTopic.drain(consumer).texts == ConsumerTopic.texts(0..<10))
    try await writer.close()
  }

  @Test("one who waits is told when the consumer closes")
  func closing() async throws {
    let topic = try ConsumerTopic.memory(1)
    let consumer = try ConsumerTopic.consumer(topic)
    let batch = try #require(try await consumer.nextBatch(upTo: 1))
    let task = Task { try await consumer.nextBatch(upTo: 1, following: true) }
    try await consumer.close()
    #expect(await queueError { _ = try await task.value }?.code == .closed)
    #expect(await queueError { try await batch.acknowledge() }?.code == .closed)
    #expect(await queueError { _ = try await consumer.nextBatch(upTo: 1) }?.code == .closed)
    #expect(await queueError { try await consumer.reset(to: .earliest) }?.code == .closed)
    try await consumer.close()
    #expect(queueError { try consumer.settle() }?.code == .closed)
  }

  @Test("at the bound of what is held, delivery waits until the cursor moves")
  func holding() async throws {
    let topic = try ConsumerTopic.memory(20)
    var options = ConsumerTopic.options
    options.maximumOutOfOrderRanges = 3
    let consumer = try ConsumerTopic.consumer(topic, options: options)
    let batch = try #require(try await consumer.nextBatch(upTo: 10))
    for index in [2, 4, 6, 8] { try await batch.acknowledge(only: index) }
    let task = Task { try await consumer.nextBatch(upTo: 10, following: true) }
    await Task.yield()
    try await batch.acknowledge(only: 0..<4)
    let next = try #require(try await task.value)
    #expect(Array(next).texts == ConsumerTopic.texts(10..<20))
    #expect(consumer.ordinal == 5)
  }

  @Test("at the bound of unacknowledged records, a batch is cut, and delivery waits for the cursor")
  func unacknowledgedRecords() async throws {
    let topic = try ConsumerTopic.memory(30)
    var options = ConsumerTopic.options
    options.maximumUnacknowledgedRecords = 10
    let consumer = try ConsumerTopic.consumer(topic, options: options)
    let slow = try #require(try await consumer.nextBatch(upTo: 4))
    let cut = try #require(try await consumer.nextBatch(upTo: 100))
    #expect(Array(cut).texts == ConsumerTopic.texts(4..<10))
    // All of it is one range, and does not move the cursor.
    try await cut.acknowledge(only: cut.indices)
    #expect(try await consumer.nextBatch(upTo: 100, timeout: .zero) == nil)
    let task = Task { try await consumer.nextBatch(upTo: 100) }
    while consumer.core.waitingIterators == 0 { await Task.yield() }
    try await slow.acknowledge(only: 0)
    let one = try #require(try await task.value)
    #expect(Array(one).texts == ConsumerTopic.texts(10..<11))
    try await slow.acknowledge(only: slow.indices)
    try await consumer.close()
    // The next holder receives no more than the bound again.
    let next = try ConsumerTopic.consumer(topic, options: options)
    #expect(next.ordinal == 10)
    let batch = try #require(try await next.nextBatch(upTo: 100))
    #expect(Array(batch).texts == ConsumerTopic.texts(10..<20))
    try await batch.acknowledge(through: 4)
    #expect(try await next.nextBatch(upTo: 100)?.count == 5)
  }

  @Test("a reset goes anywhere, durably, and makes void what was handed out before")
  func resetting() async throws {
    let topic = try ConsumerTopic.memory(50)
    let consumer = try ConsumerTopic.consumer(topic)
    let old = try #require(try await consumer.nextBatch(upTo: 20))
    try await old.acknowledge(through: 9)
    try await old.acknowledge(only: 15)
    // Redelivery begins at the durable position.
    try await consumer.reset(to: .address(consumer.position))
    try await old.acknowledge()
    #expect(consumer.ordinal == 10)
    #expect(try await ConsumerTopic.drain(consumer).texts == ConsumerTopic.texts(10..<50))
    try await consumer.reset(to: .ordinal(40))
    #expect(consumer.ordinal == 40)
    #expect(try await ConsumerTopic.drain(consumer).texts == ConsumerTopic.texts(40..<50))
    try await consumer.reset(to: .earliest)
    try await consumer.close()
    let next = try ConsumerTopic.consumer(topic)
    #expect(try await ConsumerTopic.drain(next).texts == ConsumerTopic.texts(0..<50))
    try await next.reset(to: .latest)
    #expect(try await ConsumerTopic.drain(next).isEmpty)
    #expect(next.ordinal == 50)
    let error = await queueError { try await next.reset(to: .ordinal(51)) }
    #expect(error?.code == .beyondLatest)
    #expect(next.ordinal == 50)
  }

  @Test("a consumer of a topic without a slab begins with the first record")
  func emptyTopic() async throws {
    for start in [Topic.Position.earliest, .latest, .ordinal(0), .time(since1970: .seconds(1))] {
      let topic = Topic.memory()
      let consumer = try ConsumerTopic.consumer(topic, from: start)
      #expect(try await consumer.nextBatch(upTo: 1, following: false) == nil)
      try ConsumerTopic.append(0..<3, to: topic)
      let batch = try #require(try await consumer.nextBatch(upTo: 10))
      #expect(Array(batch).texts == ConsumerTopic.texts(0..<3))
      try await batch.acknowledge()
      try await consumer.close()
      let next = try ConsumerTopic.consumer(topic)
      #expect(next.ordinal == 3)
      #expect(try await ConsumerTopic.drain(next).isEmpty)
    }
  }

  @Test("acknowledged without waiting, it is durable when it is settled or closed")
  func soon() async throws {
    let topic = try ConsumerTopic.memory(20)
    let consumer = try ConsumerTopic.consumer(topic)
    let batch = try #require(try await consumer.nextBatch(upTo: 20))
    try batch.acknowledge(only: 0..<1, within: .nanoseconds(1))
    try batch.acknowledge(only: 2..<3, within: .nanoseconds(1))
    #expect(consumer.ordinal == 0)
    try await consumer.settle()
    #expect(consumer.ordinal == 1)
    try batch[...5].acknowledge(within: .nanoseconds(1))
    try await consumer.close()
    #expect(consumer.ordinal == 6)
  }

  @Test("acknowledged without waiting, it is written by the thread")
  func timer() async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    try ConsumerTopic.append(0..<20, to: topic)
    let consumer = try ConsumerTopic.consumer(topic, background: .thread)
    let batch = try #require(try await consumer.nextBatch(upTo: 20))
    storage.logCalls()
    try batch[...5].acknowledge(within: .zero)
    // This call shares that write, or finds it done.
    try await batch.acknowledge(through: 5)
    #expect(consumer.ordinal == 6)
    #expect(storage.calls.filter(\.isWrite).count == 1)
    try await consumer.close()
  }

  @Test("acknowledged without waiting, several share a write when their time comes")
  func later() async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    try ConsumerTopic.append(0..<20, to: topic)
    let consumer = try ConsumerTopic.consumer(topic, background: .thread)
    let batch = try #require(try await consumer.nextBatch(upTo: 20))
    let (writes, written) = AsyncStream.makeStream(of: Void.self)
    let watch = try storage.watch { written.yield() }
    storage.logCalls()
    for index in 0..<5 { try batch.acknowledge(only: index..<index + 1, within: .milliseconds(50)) }
    for await _ in writes { break }
    // This call runs after the write on the thread.
    _ = try await consumer.nextBatch(upTo: 1, following: false)
    #expect(consumer.ordinal == 5)
    #expect(storage.calls.filter(\.isWrite).count == 1)
    try await consumer.close()
    withExtendedLifetime(watch) {}
  }

  @Test("options out of their bounds, and names that are paths, are refused")
  func options() throws {
    let topic = try ConsumerTopic.memory(1)
    let changes: [(inout QueueConsumer.Options) -> Void] = [
      { $0.maximumPayload = .bytes(-1) }, { $0.bufferSize = .bytes(1) },
      { $0.maximumBatchBytes = .bytes(0) }, { $0.maximumOutOfOrderRanges = 0 },
      { $0.maximumOutOfOrderRanges = .max }, { $0.permissions.files = 0o1777 },
      { $0.maximumUnacknowledgedRecords = 0 },
    ]
    for change in changes {
      var options = QueueConsumer.Options()
      change(&options)
      let error = queueError { _ = try ConsumerTopic.consumer(topic, options: options) }
      #expect(error?.code == .invalidOption)
    }
    let names = [
      "", ".", "..", ".hidden", "a/b", "/etc/passwd", "../up", "a b", "ä", "a\0b", "a\n",
      String(repeating: "x", count: 65),
    ]
    for name in names {
      let error = queueError { _ = try ConsumerTopic.consumer(topic, name) }
      #expect(error?.code == .invalidOption, "\(name)")
    }
    #expect(try QueueConsumer.consumers(of: topic).isEmpty)
    for name in ["a", "_", "-", "9.9", "A-b_c.cursor", String(repeating: "x", count: 64)] {
      try ConsumerTopic.consumer(topic, name).close()
    }
    #expect(try QueueConsumer.consumers(of: topic).count == 6)
  }

  @Test("a batch of no records cannot be asked for")
  func noRecords() async throws {
    let consumer = try ConsumerTopic.consumer(try ConsumerTopic.memory(1))
    for count in [0, -1, .min] {
      let error = await queueError { _ = try await consumer.nextBatch(upTo: count) }
      #expect(error?.code == .invalidOption)
    }
    #expect(try await ConsumerTopic.drain(consumer, upTo: .max).count == 1)
  }
}
