// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("An acknowledgement that fails is told of, whoever waits for it")
struct AcknowledgementTests {
  @Test("cancelled, and not written: the next call is told")
  func cancelled() async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    try ConsumerTopic.append(0..<10, to: topic)
    let consumer = try ConsumerTopic.consumer(topic)
    let batch = try #require(try await consumer.nextBatch(upTo: 3))
    storage.setFault(
      SimulatedStorage.Fault(.fail(Errno.noSpace), at: 1) {
        if case .write(let name, _, _) = $0 { name.hasSuffix(".cursor") } else { false }
      })
    let task = Task {
      withUnsafeCurrentTask { $0?.cancel() }
      return await queueError { try await batch.acknowledge() }
    }
    #expect(await task.value?.code == .cancelled)
    // The cancelled call's write was queued before this call, on the same thread.
    let error = await queueError { _ = try await consumer.nextBatch(upTo: 3) }
    #expect(storage.hits == 1)
    #expect(error?.code == .noSpace)
    // The error is thrown once. The batch is still acknowledged, and can still become durable.
    let next = try #require(try await consumer.nextBatch(upTo: 3))
    #expect(next.first?.ordinal == 3)
    try await consumer.close()
    #expect(consumer.ordinal == 3)
  }

  @Test("of several times to write it by, the soonest counts", .timeLimit(.minutes(10)))
  func soonest() async throws {
    let topic = try ConsumerTopic.memory(10)
    let consumer = try ConsumerTopic.consumer(topic, background: .thread)
    let (addresses, durable) = AsyncStream.makeStream(of: UInt64.self)
    consumer.core.whenDurable { address throws(QueueError) in durable.yield(address) }
    let batch = try #require(try await consumer.nextBatch(upTo: 5))
    let hour = Duration.seconds(3600)
    try batch[...0].acknowledge(within: hour)
    try batch[...1].acknowledge(within: hour * 2)
    try batch[...2].acknowledge(within: .milliseconds(1))
    var iterator = addresses.makeAsyncIterator()
    #expect(await iterator.next() == batch[3].address.rawValue)
    #expect(consumer.ordinal == 3)
    // The write in an hour is still scheduled. An acknowledgement with less time is scheduled
    // before it.
    try batch[...3].acknowledge(within: .milliseconds(1))
    #expect(await iterator.next() != nil)
    #expect(consumer.ordinal == 4)
    try await consumer.close()
  }

  @Test("one into a topic that was removed is refused, and the consumer ends")
  func removedTopic() async throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/topic"
    let topic = Topic(path)
    try ConsumerTopic.append(0..<10, to: topic)
    let consumer = try ConsumerTopic.consumer(topic)
    let batch = try #require(try await consumer.nextBatch(upTo: 10))
    try removeFile(path)
    let error = await queueError { _ = try await consumer.nextBatch(upTo: 1, following: true) }
    #expect(error?.code == .noSuchTopic)
    #expect(await queueError { try await batch.acknowledge() }?.code == .noSuchTopic)
    #expect(await queueError { try await consumer.close() }?.code == .noSuchTopic)
  }
}
