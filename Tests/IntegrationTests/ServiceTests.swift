// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueLifecycle
import DiskQueueTestSupport
import Logging
import ServiceLifecycle
import ServiceLifecycleTestKit
import Synchronization
import Testing

@Suite("Services, and their graceful end")
struct ServiceTests {
  private struct Stop: Error {}

  /// A payload as a text.
  private struct Text: PayloadCodec {
    func encode(_ value: String) -> [UInt8] { Array(value.utf8) }
    func decode(_ payload: [UInt8]) -> String { String(decoding: payload, as: UTF8.self) }
  }

  private func group(_ services: [any Service]) -> ServiceGroup {
    ServiceGroup(
      services: services, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  /// A closed topic of `count` records.
  private func topic(of count: Int, in directory: TemporaryDirectory) async throws -> Topic {
    let topic = Topic(directory.path + "/topic")
    let writer = try QueueWriter(topic: topic)
    for number in 0..<count { try writer.append("record \(number)") }
    try await writer.close()
    return topic
  }

  private final class Count: Sendable {
    private let count = Mutex(0)
    func add() { count.withLock { $0 += 1 } }
    var value: Int { count.withLock { $0 } }
  }

  /// Collects the records that a consumer delivers, so that a test can wait for a number of them.
  private final class Taken: Sendable {
    private let texts = Mutex<[String]>([])
    private let signal = AsyncStream<Int>.makeStream()

    func add(_ batch: QueueConsumer.Batch) {
      let count = texts.withLock { texts in
        texts += batch.map { $0.text ?? "" }
        return texts.count
      }
      signal.continuation.yield(count)
    }

    var all: [String] { texts.withLock { $0 } }

    func wait(for count: Int) async {
      for await now in signal.stream where now >= count { return }
    }
  }

  @Test("a writer, a consumer and a cleaner end in order: all that was appended is kept")
  func program() async throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    var options = QueueWriter.Options()
    options.flushEvery = .never
    let writer = try QueueWriter(topic: topic, options: options)
    let consumer = try QueueConsumer(topic: topic, name: "uploader")
    let taken = Taken()
    let rounds = AsyncStream<Int>.makeStream()
    let group = group([
      WriterService(writer),
      CleanerService(
        try SlabCleaner(topic: topic), every: .seconds(3600), keeping: Retention(age: .days(7)),
        onClean: { rounds.continuation.yield($0.removals.count) }),
      ConsumerService(consumer, batchesUpTo: 10) { batch in
        taken.add(batch)
        try await batch.acknowledge()
      },
    ])
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { try await group.run() }
      for number in 0..<25 { try writer.append("record \(number)") }
      try await writer.flush()
      await taken.wait(for: 25)
      for await _ in rounds.stream { break }
      // This record is appended, but not flushed.
      try writer.append("the last")
      await group.triggerGracefulShutdown()
      try await tasks.waitForAll()
    }
    #expect(taken.all == (0..<25).map { "record \($0)" })
    // The services have closed everything, so the topic and the consumer can be opened again.
    let next = try QueueWriter(topic: topic)
    #expect(next.recovery.state == .clean)
    let again = try QueueConsumer(topic: topic, name: "uploader")
    #expect(again.ordinal == 25)
    #expect(try await again.nextBatch(upTo: 10, following: false)?.map(\.text) == ["the last"])
    try await again.close()
    try await next.close()
  }

  @Test("a closure that is cancelled in the library ends its service with CancellationError")
  func cancelledClosure() async throws {
    let directory = try TemporaryDirectory()
    let topic = try await topic(of: 1, in: directory)
    let cancelled = QueueError(.cancelled, "the task was cancelled")
    let consumer = try QueueConsumer(topic: topic, name: "uploader")
    let channel = try DiskChannel(topic: Topic.memory())
    try await channel.send("a message")
    let services: [any Service] = [
      ConsumerService(consumer, batchesUpTo: 1) { _ in throw cancelled },
      ReceiverService(channel) { _ in throw cancelled },
      PeriodicService(every: .nanoseconds(1)) { throw cancelled },
    ]
    for service in services {
      await #expect(throws: CancellationError.self) { try await service.run() }
    }
    try await channel.close()
  }

  @Test("the batch in hand at the shutdown is finished, and no other one is begun")
  func batchInHand() async throws {
    let directory = try TemporaryDirectory()
    let topic = try await topic(of: 20, in: directory)
    let consumer = try QueueConsumer(topic: topic, name: "uploader")
    let taken = Taken()
    let isShutDown = AsyncStream<Void>.makeStream()
    try await testGracefulShutdown { trigger in
      try await ConsumerService(consumer, batchesUpTo: 5) { batch in
        taken.add(batch)
        trigger.triggerGracefulShutdown()
        #expect(!Task.isCancelled)
        try await batch.acknowledge()
        isShutDown.continuation.yield()
      }.run()
    }
    #expect(taken.all == (0..<5).map { "record \($0)" })
    let again = try QueueConsumer(topic: topic, name: "uploader")
    #expect(again.ordinal == 5)
    try await again.close()
  }

  @Test("what the handler throws ends the service; what it acknowledged before is kept")
  func handlerThrows() async throws {
    let directory = try TemporaryDirectory()
    let topic = try await topic(of: 20, in: directory)
    let consumer = try QueueConsumer(topic: topic, name: "uploader")
    await #expect(throws: Stop.self) {
      try await ConsumerService(consumer, batchesUpTo: 5) { batch in
        if batch[0].ordinal == 10 { throw Stop() }
        try await batch.acknowledge()
      }.run()
    }
    let again = try QueueConsumer(topic: topic, name: "uploader")
    #expect(again.ordinal == 10)
    try await again.close()
  }

  @Test("several workers of one service process batches at the same time")
  func workers() async throws {
    let directory = try TemporaryDirectory()
    let topic = try await topic(of: 2, in: directory)
    let consumer = try QueueConsumer(topic: topic, name: "uploader")
    let (second, begin) = AsyncStream<Void>.makeStream()
    let taken = Taken()
    let group = group([
      ConsumerService(consumer, batchesUpTo: 1, workers: 2) { batch in
        // The first record is done only after the second one was.
        if batch[0].ordinal == 0 { for await _ in second { break } }
        try await batch.acknowledge(only: batch.indices)
        taken.add(batch)
        begin.yield()
      }
    ])
    let run = Task { try await group.run() }
    await taken.wait(for: 2)
    await group.triggerGracefulShutdown()
    try await run.value
    #expect(taken.all == ["record 1", "record 0"])
    let again = try QueueConsumer(topic: topic, name: "uploader")
    #expect(again.ordinal == 2)
    try await again.close()
  }

  @Test("an error of one worker ends the others, and then the consumer is closed")
  func workerFails() async throws {
    let directory = try TemporaryDirectory()
    let topic = try await topic(of: 2, in: directory)
    let consumer = try QueueConsumer(topic: topic, name: "uploader")
    let (waiting, begin) = AsyncStream<Void>.makeStream()
    await #expect(throws: Stop.self) {
      try await ConsumerService(consumer, batchesUpTo: 1, workers: 2) { batch in
        if batch[0].ordinal == 0 {
          begin.yield()
          try await Task.sleep(for: .seconds(86_400))
        }
        for await _ in waiting { break }
        throw Stop()
      }.run()
    }
    let again = try QueueConsumer(topic: topic, name: "uploader")
    #expect(again.ordinal == 0)
    try await again.close()
  }

  @Test("a service without workers is refused, and its consumer is closed")
  func noWorkers() async throws {
    let directory = try TemporaryDirectory()
    let topic = try await topic(of: 1, in: directory)
    let consumer = try QueueConsumer(topic: topic, name: "uploader")
    let error = await #expect(throws: QueueError.self) {
      try await ConsumerService(consumer, batchesUpTo: 1, workers: 0) { _ in }.run()
    }
    #expect(error?.code == .invalidOption)
    try await QueueConsumer(topic: topic, name: "uploader").close()
  }

  @Test("a back-off that the shutdown cancels is a clean end, and its batch comes again")
  func backOff() async throws {
    let directory = try TemporaryDirectory()
    let topic = try await topic(of: 2, in: directory)
    let consumer = try QueueConsumer(topic: topic, name: "uploader")
    try await testGracefulShutdown { trigger in
      try await ConsumerService(consumer, batchesUpTo: 1, workers: 2) { batch in
        trigger.triggerGracefulShutdown()
        try await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(86_400)) }
        try await batch.acknowledge(only: batch.indices)
      }.run()
    }
    let again = try QueueConsumer(topic: topic, name: "uploader")
    try await testGracefulShutdown { trigger in
      try await ConsumerService(again, batchesUpTo: 1) { _ in
        trigger.triggerGracefulShutdown()
        throw QueueError(.cancelled, "the task was cancelled")
      }.run()
    }
    let last = try QueueConsumer(topic: topic, name: "uploader")
    #expect(try await last.nextBatch(upTo: 10)?.map(\.text) == ["record 0", "record 1"])
    try await last.close()
  }

  @Test("a receiver's and a reader's back-off that the shutdown cancels is a clean end, too")
  func otherBackOffs() async throws {
    let directory = try TemporaryDirectory()
    let topic = try await topic(of: 1, in: directory)
    let records = try QueueReader(topic: topic).records(following: true)
    let channel = try DiskChannel(topic: Topic(directory.path + "/channel"))
    try await channel.send("a message")
    let begun = Count()
    try await testGracefulShutdown { trigger in
      try await ReaderService(records) { _ in
        begun.add()
        trigger.triggerGracefulShutdown()
        try await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(86_400)) }
      }.run()
    }
    try await testGracefulShutdown { trigger in
      try await ReceiverService(channel) { message in
        begun.add()
        trigger.triggerGracefulShutdown()
        try await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(86_400)) }
        try message.acknowledge()
      }.run()
    }
    #expect(begun.value == 2)
    try await channel.close()
    let again = try DiskChannel(topic: Topic(directory.path + "/channel"))
    var messages = again.makeAsyncIterator()
    #expect(try await messages.next()?.text == "a message")
    try await again.close()
  }

  @Test("a writer that fails for good ends its service with the reason, also where nobody calls it")
  func failingWriter() async throws {
    let storage = SimulatedStorage()
    let writer = try QueueWriter(
      topic: Topic(storage: storage), options: .init(), environment: fixedEnvironment())
    try writer.append("one")
    storage.setFault(SimulatedStorage.Fault(.fail(5), at: 1) { $0.isSync })
    let service = WriterService(writer)
    let error = await #expect(throws: QueueError.self) {
      try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask { try await service.run() }
        #expect(queueError { try writer.sync() }?.code == .syncFailed)
        try await tasks.waitForAll()
      }
    }
    #expect(error?.code == .syncFailed)
    storage.setFault(nil)
    // The writer has released the topic, although the test still has a reference to it.
    let next = try QueueWriter(
      topic: Topic(storage: storage), options: .init(), environment: fixedEnvironment())
    try await next.close()
    withExtendedLifetime(writer) {}
  }

  @Test("a consumer's batches are filled if its service lingers, and the shutdown ends the wait")
  func lingering() async throws {
    let directory = try TemporaryDirectory()
    let topic = try await topic(of: 1, in: directory)
    let consumer = try QueueConsumer(topic: topic, name: "uploader")
    let taken = Taken()
    let (sizes, continuation) = AsyncStream<Int>.makeStream()
    let group = group([
      ConsumerService(consumer, batchesUpTo: 3, lingering: .seconds(3600)) { batch in
        try await batch.acknowledge()
        continuation.yield(batch.count)
        taken.add(batch)
      }
    ])
    let run = Task { try await group.run() }
    let writer = try QueueWriter(topic: topic)
    for number in 1..<4 {
      try writer.append("record \(number)")
      try await writer.flush()
    }
    await taken.wait(for: 3)
    await group.triggerGracefulShutdown()
    try await run.value
    continuation.finish()
    #expect(await sizes.reduce(into: []) { $0.append($1) } == [3])
    try await writer.close()
    // The fourth record was not delivered, so the next holder gets it.
    let next = try QueueConsumer(topic: topic, name: "uploader")
    #expect(try await next.nextBatch(upTo: 3)?.first?.text == "record 3")
    try await next.close()
  }

  @Test("a service takes a consumer's values in filled batches, and closes the consumer")
  func values() async throws {
    let directory = try TemporaryDirectory()
    let topic = try await topic(of: 1, in: directory)
    let values = try QueueConsumer(topic: topic, name: "uploader").values(Text())
    let (batches, continuation) = AsyncStream<[String]>.makeStream()
    let group = group([
      ConsumerService(values, batchesUpTo: 3, lingering: .seconds(3600)) { batch in
        let texts = try batch.map { try $0.value() }
        try await batch.acknowledge()
        continuation.yield(texts)
      }
    ])
    let run = Task { try await group.run() }
    let writer = try QueueWriter(topic: topic)
    for number in 1..<4 {
      try writer.append("record \(number)")
      try await writer.flush()
    }
    var iterator = batches.makeAsyncIterator()
    #expect(await iterator.next() == (0..<3).map { "record \($0)" })
    await group.triggerGracefulShutdown()
    try await run.value
    try await writer.close()
    // The service has closed the consumer, so the name is free. The fourth record was not
    // delivered.
    let next = try QueueConsumer(topic: topic, name: "uploader")
    #expect(try await next.nextBatch(upTo: 3)?.first?.text == "record 3")
    try await next.close()
  }

  @Test("two services of one writer are both told of its failure")
  func twoServices() async throws {
    let storage = SimulatedStorage()
    let writer = try QueueWriter(
      topic: Topic(storage: storage), options: .init(), environment: fixedEnvironment())
    try writer.append("one")
    storage.setFault(SimulatedStorage.Fault(.fail(5), at: 1) { $0.isSync })
    let services = [WriterService(writer), WriterService(writer)].map { service in
      Task { try await service.run() }
    }
    #expect(queueError { try writer.sync() }?.code == .syncFailed)
    for service in services {
      await #expect(throws: QueueError.self) { try await service.value }
    }
  }

  @Test("a channel that fails gives up its topic, and its consumer's name")
  func failingChannel() async throws {
    let storage = SimulatedStorage()
    let channel = try DiskChannel(
      topic: Topic(storage: storage), options: .init(), environment: fixedEnvironment())
    try await channel.send("one")
    storage.setFault(SimulatedStorage.Fault(.fail(5), at: 1) { $0.isSync })
    #expect(queueError { try channel.writer.sync() }?.code == .syncFailed)
    await #expect(throws: QueueError.self) { try await ChannelService(channel).run() }
    storage.setFault(nil)
    let next = try DiskChannel(
      topic: Topic(storage: storage), options: .init(), environment: fixedEnvironment())
    try await next.close()
    withExtendedLifetime(channel) {}
  }

  @Test("a program that sends to itself ends in order; the message in hand is finished")
  func receiver() async throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    let channel = try DiskChannel(topic: topic)
    for text in ["one", "two", "three"] { try await channel.send(text) }
    let (taken, continuation) = AsyncStream<String>.makeStream()
    let box = Mutex<ServiceGroup?>(nil)
    let group = group([
      ChannelService(channel),
      ReceiverService(channel) { message in
        if message.text == "two" {
          await box.withLock { $0 }?.triggerGracefulShutdown()
          try await gracefulShutdown()
        }
        try message.acknowledge()
        continuation.yield(message.text ?? "")
      },
    ])
    box.withLock { $0 = group }
    try await group.run()
    continuation.finish()
    #expect(await taken.reduce(into: []) { $0.append($1) } == ["one", "two"])
    let again = try DiskChannel(topic: topic)
    #expect(again.recovery.wasClean)
    var rest = again.makeAsyncIterator()
    #expect(try await rest.next()?.text == "three")
    try await again.close()
  }

  @Test("a receiver of values ends when the channel is finished")
  func valueReceiver() async throws {
    let directory = try TemporaryDirectory()
    let channel = try DiskChannel(topic: Topic(directory.path + "/topic"))
    let values = channel.values(Text())
    try await values.send("one")
    try await values.send("two")
    channel.finish()
    let taken = Mutex<[String]>([])
    try await ReceiverService(values) { message in
      let value = try message.value()
      taken.withLock { $0.append(value) }
      try message.acknowledge()
    }.run()
    #expect(taken.withLock { $0 } == ["one", "two"])
    try await channel.close()
  }

  @Test("a channel is closed at the shutdown; what was not acknowledged comes first next time")
  func channel() async throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    let channel = try DiskChannel(topic: topic)
    try await channel.send(Array("one".utf8))
    try await channel.send(Array("two".utf8))
    var messages = channel.makeAsyncIterator()
    try await messages.next()?.acknowledge()
    try await testGracefulShutdown { trigger in
      trigger.triggerGracefulShutdown()
      try await ChannelService(channel).run()
    }
    let again = try DiskChannel(topic: topic)
    #expect(again.recovery.wasClean)
    var rest = again.makeAsyncIterator()
    #expect(try await rest.next()?.payload == Array("two".utf8))
    try await again.close()
  }

  @Test("a periodic service does its work each time, and once more at the end")
  func periodic() async throws {
    let signal = AsyncStream<Void>.makeStream()
    let service = PeriodicService(every: .milliseconds(1)) { signal.continuation.yield() }
    try await testGracefulShutdown { trigger in
      async let running: Void = service.run()
      var times = 0
      for await _ in signal.stream {
        times += 1
        if times == 3 { break }
      }
      trigger.triggerGracefulShutdown()
      try await running
    }
    signal.continuation.finish()
    // At least the call at the end is counted.
    #expect(await signal.stream.reduce(0) { count, _ in count + 1 } >= 1)
  }

  @Test("a periodic service whose time never comes still does its work at the end, once")
  func periodicAtTheEnd() async throws {
    let times = Mutex(0)
    try await testGracefulShutdown { trigger in
      trigger.triggerGracefulShutdown()
      try await PeriodicService(every: .seconds(86_400)) { times.withLock { $0 += 1 } }.run()
    }
    #expect(times.withLock { $0 } == 1)
  }

  @Test("a periodic service writes a snapshot of a topic in memory, round after round, to one path")
  func periodicSnapshots() async throws {
    let directory = try TemporaryDirectory()
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    let path = directory.path + "/snapshot"
    let rounds = Mutex(0)
    let signal = AsyncStream<Int>.makeStream()
    let service = PeriodicService(every: .milliseconds(1)) {
      let round = rounds.withLock {
        $0 += 1
        return $0
      }
      try writer.append("round \(round)")
      try topic.snapshot(to: path)
      signal.continuation.yield(round)
    }
    try await testGracefulShutdown { trigger in
      async let running: Void = service.run()
      for await round in signal.stream where round == 3 { break }
      trigger.triggerGracefulShutdown()
      try await running
    }
    let last = rounds.withLock { $0 }
    #expect(last >= 3)
    #expect(
      try readAll(Topic(path)).records.map(\.text) == (1...last).map { "round \($0)" })
    try await writer.close()
  }

  @Test("what a periodic service throws ends it")
  func periodicThrows() async throws {
    await #expect(throws: Stop.self) {
      try await PeriodicService(every: .milliseconds(1)) { throw Stop() }.run()
    }
  }

  @Test("a periodic service that is cancelled does no last work, and refuses a bad interval")
  func periodicCancelled() async throws {
    let times = Count()
    let task = Task {
      try await PeriodicService(every: .seconds(86_400)) { times.add() }.run()
    }
    task.cancel()
    try await task.value
    #expect(times.value == 0)
    let error = await #expect(throws: QueueError.self) {
      try await PeriodicService(every: .zero) { times.add() }.run()
    }
    #expect(error?.code == .invalidOption)
    #expect(times.value == 0)
  }

  @Test("no batch is begun behind the shutdown")
  func noneBehind() async throws {
    let directory = try TemporaryDirectory()
    let topic = try await topic(of: 500, in: directory)
    for _ in 0..<20 {
      let consumer = try QueueConsumer(topic: topic, name: "uploader")
      let begun = Count()
      let late = Count()
      let signal = AsyncStream<Void>.makeStream()
      try await testGracefulShutdown { trigger in
        async let running: Void = ConsumerService(consumer, batchesUpTo: 1) { batch in
          begun.add()
          if Task.isShuttingDownGracefully { late.add() }
          signal.continuation.yield()
        }.run()
        for await _ in signal.stream { break }
        trigger.triggerGracefulShutdown()
        try await running
      }
      #expect(begun.value > 0)
      // At most one batch was beginning when the shutdown came.
      #expect(late.value <= 1)
    }
  }

  @Test("a cleaner's service refuses a bad interval at once")
  func cleanerRefuses() async throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    try await QueueWriter(topic: topic).close()
    let error = await #expect(throws: QueueError.self) {
      try await CleanerService(
        try SlabCleaner(topic: topic), every: .zero, keeping: Retention(age: .days(1))
      ).run()
    }
    #expect(error?.code == .invalidOption)
  }

  @Test("a group logs each service as its kind, its topic and its settings")
  func descriptions() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    let consumer = try QueueConsumer(topic: topic, name: "uploader")
    let cleaner = try SlabCleaner(topic: topic)
    let channel = try DiskChannel(topic: Topic.memory())
    let services: [(any Service, String)] = [
      (WriterService(writer), "WriterService: writer of \(topic)"),
      (
        CleanerService(cleaner, every: .seconds(600), keeping: .init(age: .days(7))),
        "CleanerService: cleaner of \(topic), every 10 minutes, \(Retention(age: .days(7)))"
      ),
      (
        ConsumerService(consumer, batchesUpTo: 1) { _ in },
        "ConsumerService: consumer uploader of \(topic)"
      ),
      (
        ConsumerService(consumer.values(Text()), batchesUpTo: 1) { _ in },
        "ConsumerService: consumer uploader of \(topic)"
      ),
      (
        ReaderService(try QueueReader(topic: topic).records()) { _ in },
        "ReaderService: records of \(topic)"
      ),
      (ChannelService(channel), "ChannelService: channel of \(channel.topic)"),
      (ReceiverService(channel) { _ in }, "ReceiverService: channel of \(channel.topic)"),
      (PeriodicService(every: .seconds(10)) {}, "PeriodicService: every 10 seconds"),
    ]
    for (service, text) in services { #expect("\(service)" == text) }
    try await channel.close()
    try await consumer.close()
    try await writer.close()
  }
}
