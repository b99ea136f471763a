// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("A batch waits to be filled, and a call waits for a time", .timeLimit(.minutes(10)))
struct LingeringTests {
  private let clock = ManualClock(1)
  private let storage = SimulatedStorage()
  private var topic: Topic { Topic(storage: storage) }

  /// A consumer whose time passes only when a test says so.
  private func consumer(
    _ options: QueueConsumer.Options = ConsumerTopic.options, reported: Reported? = nil
  ) throws -> QueueConsumer {
    var onLoss: (@Sendable (Loss) -> Void)?
    if let reported { onLoss = { reported.take($0) } }
    var environment = Environment.simulated(background: .manual)
    environment.monotonic = { [clock] in clock.now }
    return try QueueConsumer(
      topic: topic, name: "reader", from: .earliest, options: options, environment: environment,
      onLoss: onLoss)
  }

  private func waits(_ consumer: QueueConsumer, _ count: Int = 1) async {
    while consumer.core.waitingIterators < count { await Task.yield() }
  }

  /// Lets time pass, and does what the consumer's timers do then.
  private func pass(_ time: Duration, _ consumer: QueueConsumer) {
    clock.advance(by: time.clampedNanoseconds)
    consumer.core.wakeIterators()
  }

  private func next(
    _ consumer: QueueConsumer, upTo count: Int, lingering: Duration, following: Bool = true
  ) -> Task<[UInt64]?, any Error> {
    Task {
      try await consumer.nextBatch(upTo: count, lingering: lingering, following: following)?
        .map(\.ordinal)
    }
  }

  // MARK: Lingering

  @Test("it is delivered when it is full, and each flush wakes the consumer")
  func fills() async throws {
    let writer = try ConsumerTopic.open(topic)
    let consumer = try consumer()
    let batch = next(consumer, upTo: 3, lingering: .seconds(2))
    await waits(consumer)
    for number in 0..<5 {
      try writer.append(ConsumerTopic.text(number))
      if number != 2 { try await writer.flush() }
    }
    #expect(try await batch.value == [0, 1, 2])
    let rest = next(consumer, upTo: 3, lingering: .seconds(2))
    await waits(consumer)
    try writer.append(ConsumerTopic.text(5))
    try await writer.close()
    #expect(try await rest.value == [3, 4, 5])
    try await consumer.close()
  }

  @Test("it is delivered when its time has passed since its first record was found")
  func passes() async throws {
    let writer = try ConsumerTopic.open(topic)
    let consumer = try consumer()
    let batch = next(consumer, upTo: 3, lingering: .seconds(2))
    await waits(consumer)
    // The time before the first record does not count.
    pass(.seconds(10), consumer)
    await waits(consumer)
    try writer.append(ConsumerTopic.text(0))
    try await writer.flush()
    await waits(consumer)
    pass(.milliseconds(1999), consumer)
    await waits(consumer)
    try writer.append(ConsumerTopic.text(1))
    try await writer.flush()
    await waits(consumer)
    pass(.milliseconds(1), consumer)
    #expect(try await batch.value == [0, 1])
    try await writer.close()
    try await consumer.close()
  }

  @Test("without it, or with records enough, nothing waits")
  func immediate() async throws {
    try ConsumerTopic.append(0..<10, to: topic)
    let consumer = try consumer()
    #expect(try await consumer.nextBatch(upTo: 4, lingering: .seconds(60))?.count == 4)
    #expect(try await consumer.nextBatch(upTo: 20, lingering: .zero)?.count == 6)
    #expect(try await consumer.nextBatch(upTo: 20, lingering: .seconds(60)) == nil)
    try await consumer.close()
  }

  @Test("also at the end of a log that is not followed")
  func notFollowed() async throws {
    try ConsumerTopic.append(0..<2, to: topic)
    let consumer = try consumer()
    let batch = next(consumer, upTo: 3, lingering: .seconds(2), following: false)
    await waits(consumer)
    pass(.seconds(2), consumer)
    #expect(try await batch.value == [0, 1])
    try await consumer.close()
  }

  @Test("a cancelled call loses nothing, and the next call waits for the rest of the time")
  func cancelled() async throws {
    try ConsumerTopic.append(0..<2, to: topic)
    let consumer = try consumer()
    let cancelled = next(consumer, upTo: 3, lingering: .seconds(2))
    await waits(consumer)
    cancelled.cancel()
    let error = await queueError { _ = try await cancelled.value }
    #expect(error?.code == .cancelled)
    clock.advance(by: Duration.milliseconds(1999).clampedNanoseconds)
    let batch = next(consumer, upTo: 3, lingering: .seconds(2))
    await waits(consumer)
    pass(.milliseconds(1), consumer)
    #expect(try await batch.value == [0, 1])
    try await consumer.close()
  }

  @Test("a consumer that is closed meanwhile delivers its records to the next holder")
  func closed() async throws {
    try ConsumerTopic.append(0..<2, to: topic)
    let first = try consumer()
    let batch = next(first, upTo: 3, lingering: .seconds(2))
    await waits(first)
    try await first.close()
    let error = await queueError { _ = try await batch.value }
    #expect(error?.code == .closed)
    let second = try consumer()
    #expect(try await second.nextBatch(upTo: 3)?.map(\.ordinal) == [0, 1])
    try await second.close()
  }

  @Test("it ends at the size of a batch, and before a record above the limit")
  func ends() async throws {
    let writer = try ConsumerTopic.open(topic)
    for number in 0..<3 { try writer.append(ConsumerTopic.text(number)) }
    try writer.append([UInt8](repeating: 7, count: 1000))
    try await writer.close()
    var options = ConsumerTopic.options
    options.maximumBatchBytes = .bytes(100)
    options.maximumPayload = .bytes(500)
    let consumer = try consumer(options)
    var ordinals: [UInt64] = []
    for _ in 0..<3 {
      let batch = try await consumer.nextBatch(upTo: 10, lingering: .seconds(60))
      ordinals += try #require(batch).map(\.ordinal)
      guard ordinals.count < 3 else { break }
    }
    #expect(ordinals == [0, 1, 2])
    let error = await queueError {
      _ = try await consumer.nextBatch(upTo: 10, lingering: .seconds(60))
    }
    #expect(error?.code == .payloadTooLarge)
    try await consumer.close()
  }

  @Test("a loss is reported at once, by an error or by the closure", arguments: [false, true])
  func loss(_ throwsIt: Bool) async throws {
    try ConsumerTopic.append(0..<200, to: topic)
    try await self.consumer().close()
    let bases = storage.slabs.keys.sorted()
    for base in bases.prefix(2) { try storage.remove(SlabName.string(base)) }
    let reported = Reported()
    let consumer = try consumer(reported: throwsIt ? nil : reported)
    if throwsIt {
      let error = await queueError {
        _ = try await consumer.nextBatch(upTo: 500, lingering: .seconds(2))
      }
      #expect(error?.loss?.cause == .cleaned)
    }
    let batch = next(consumer, upTo: 500, lingering: .seconds(2))
    await waits(consumer)
    if !throwsIt { #expect(reported.losses.map(\.cause) == [.cleaned]) }
    pass(.seconds(2), consumer)
    #expect(try await batch.value?.last == 199)
    try await consumer.close()
  }

  @Test("another call takes the records that a batch waits with")
  func shared() async throws {
    try ConsumerTopic.append(0..<2, to: topic)
    let consumer = try consumer()
    let waiting = next(consumer, upTo: 3, lingering: .seconds(2))
    await waits(consumer)
    #expect(try await consumer.nextBatch(upTo: 3)?.map(\.ordinal) == [0, 1])
    try ConsumerTopic.append(2..<5, to: topic)
    #expect(try await waiting.value == [2, 3, 4])
    try await consumer.close()
  }

  @Test("the consumer's own timer ends it, also if a later one was set before")
  func timer() async throws {
    let writer = try ConsumerTopic.open(topic)
    try writer.append(ConsumerTopic.text(0))
    try await writer.flush()
    let consumer = try ConsumerTopic.consumer(topic, background: .thread)
    let long = next(consumer, upTo: 50, lingering: .seconds(3600))
    await waits(consumer)
    #expect(try await consumer.nextBatch(upTo: 1)?.count == 1)
    let short = next(consumer, upTo: 40, lingering: .milliseconds(20))
    await waits(consumer, 2)
    for number in 1..<3 { try writer.append(ConsumerTopic.text(number)) }
    try await writer.close()
    #expect(try await short.value == [1, 2])
    long.cancel()
    let error = await queueError { _ = try await long.value }
    #expect(error?.code == .cancelled)
    try await consumer.close()
  }

  // MARK: Time-outs

  @Test("a call returns nil when its time has passed, and not before")
  func timeout() async throws {
    let writer = try ConsumerTopic.open(topic)
    let consumer = try consumer()
    let none = Task { try await consumer.nextBatch(upTo: 3, timeout: .seconds(2))?.count }
    await waits(consumer)
    pass(.milliseconds(1999), consumer)
    await waits(consumer)
    pass(.milliseconds(1), consumer)
    #expect(try await none.value == nil)
    #expect(try await consumer.nextBatch(upTo: 3, timeout: .zero) == nil)
    let some = Task { try await consumer.nextBatch(upTo: 3, timeout: .seconds(2))?.count }
    await waits(consumer)
    try writer.append(ConsumerTopic.text(0))
    try await writer.close()
    #expect(try await some.value == 1)
    try await consumer.close()
  }

  @Test("the time for a batch to be filled is not part of it")
  func both() async throws {
    try ConsumerTopic.append(0..<2, to: topic)
    let consumer = try consumer()
    let batch = Task {
      try await consumer.nextBatch(upTo: 3, lingering: .seconds(5), timeout: .seconds(2))?.count
    }
    await waits(consumer)
    pass(.seconds(3), consumer)
    await waits(consumer)
    pass(.seconds(2), consumer)
    #expect(try await batch.value == 2)
    try await consumer.close()
  }

  @Test("it ends a wait for acknowledgements as well", arguments: [false, true])
  func held(_ hasTimers: Bool) async throws {
    try ConsumerTopic.append(0..<10, to: topic)
    var options = ConsumerTopic.options
    options.maximumOutOfOrderRanges = 1
    let consumer =
      hasTimers
      ? try ConsumerTopic.consumer(topic, options: options, background: .thread)
      : try self.consumer(options)
    let batch = try #require(try await consumer.nextBatch(upTo: 5))
    try await batch.acknowledge(only: 3)
    let timeout = Duration.milliseconds(hasTimers ? 1 : 2000)
    let none = Task { try await consumer.nextBatch(upTo: 3, timeout: timeout)?.count }
    if !hasTimers {
      await waits(consumer)
      pass(.milliseconds(1999), consumer)
      await waits(consumer)
      pass(.milliseconds(1), consumer)
    }
    #expect(try await none.value == nil)
    try await batch.acknowledge()
    #expect(try await consumer.nextBatch(upTo: 9, timeout: .zero)?.count == 5)
    try await consumer.close()
  }
}
