// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("The error that ended a consumer or a channel")
struct FailureTests {
  private static let failsSync = SimulatedStorage.Fault(.fail(Errno.io), at: 1) {
    $0.isSync || $0 == .syncConsumers
  }

  @Test("a consumer has none until a sync of its cursor fails")
  func consumer() async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    try ConsumerTopic.append(0..<20, to: topic)
    let consumer = try ConsumerTopic.consumer(topic)
    let batch = try #require(try await consumer.nextBatch(upTo: 5))
    #expect(consumer.failure == nil)
    storage.setFault(Self.failsSync)
    #expect(await queueError { try await batch.acknowledge() }?.code == .syncFailed)
    #expect(consumer.failure?.code == .syncFailed)
    #expect(queueError { try closeBlocking(consumer) }?.code == .syncFailed)
    #expect(consumer.failure?.code == .syncFailed)
  }

  @Test("a channel has that of its writer")
  func channel() async throws {
    let storage = SimulatedStorage()
    let channel = try DiskChannel(
      topic: Topic(storage: storage), options: .init(ensuring: .synced), environment: .simulated())
    try await channel.send("one")
    #expect(channel.failure == nil)
    storage.setFault(Self.failsSync)
    #expect(await queueError { try await channel.send("two") }?.code == .syncFailed)
    #expect(channel.failure?.code == .syncFailed)
    #expect(await queueError { try await channel.close() }?.code == .syncFailed)
  }

  private func closeBlocking(_ consumer: QueueConsumer) throws(QueueError) {
    try consumer.close()
  }
}
