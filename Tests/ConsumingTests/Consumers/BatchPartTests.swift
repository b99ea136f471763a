// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("A part of a batch is a batch")
struct BatchPartTests {
  @Test("with the same indices, the same records and no copy of them")
  func indices() async throws {
    let consumer = try ConsumerTopic.consumer(try ConsumerTopic.memory(30))
    let batch = try #require(try await consumer.nextBatch(upTo: 30))
    #expect(batch.indices == 0..<30)
    let part = batch[10..<20]
    #expect(part.indices == 10..<20)
    #expect(Array(part).texts == ConsumerTopic.texts(10..<20))
    #expect(part[12..<15].map(\.ordinal) == [12, 13, 14])
    #expect(part.dropFirst(3).prefix(2).indices == 13..<15)
    #expect(Array(batch.reversed().prefix(2)).texts == ConsumerTopic.texts(28..<30).reversed())
    for index in part.indices {
      let record = part.borrowed(at: index)
      #expect(record.copy() == batch[index])
      #expect(record.text == ConsumerTopic.text(index))
    }
    try await consumer.close()
  }

  @Test("acknowledging it acknowledges all records up to its end")
  func acknowledge() async throws {
    let topic = try ConsumerTopic.memory(30)
    let consumer = try ConsumerTopic.consumer(topic)
    let batch = try #require(try await consumer.nextBatch(upTo: 20))
    try await batch[5..<8].acknowledge()
    #expect(consumer.ordinal == 8)
    try await batch[8..<12].acknowledge(through: 9)
    #expect(consumer.ordinal == 10)
    // A part without records acknowledges the records before it.
    try await batch[12..<12].acknowledge()
    #expect(consumer.ordinal == 12)
    try batch.prefix(15).acknowledge(within: .seconds(3600))
    #expect(consumer.ordinal == 12)
    try await consumer.settle()
    #expect(consumer.ordinal == 15)
    try await batch.acknowledge()
    // The same holds for the first part of a later batch.
    let next = try #require(try await consumer.nextBatch(upTo: 20))
    try await next.prefix(0).acknowledge()
    #expect(consumer.ordinal == 20)
    try await next[...0].acknowledge()
    #expect(consumer.ordinal == 21)
    try await consumer.close()
  }

  @Test("its records alone can be acknowledged, and put aside")
  func alone() async throws {
    let dead = Topic.memory()
    let topic = try ConsumerTopic.memory(30)
    var options = ConsumerTopic.options
    options.deadLetters = dead
    let consumer = try ConsumerTopic.consumer(topic, options: options)
    let batch = try #require(try await consumer.nextBatch(upTo: 30))
    let part = batch[10..<20]
    try await part.acknowledge(only: part.indices)
    #expect(consumer.ordinal == 0)
    try await batch[..<9].acknowledge()
    #expect(consumer.ordinal == 9)
    try await batch[9..<10].deadLetter(9, reason: "number 9")
    #expect(consumer.ordinal == 20)
    try batch[25..<30].acknowledge(only: 25..<27, within: .zero)
    try await batch[20...].deadLetter(20..<25) { "number \($0)" }
    #expect(consumer.ordinal == 27)
    let letters = try readAll(dead).records.map { try DeadLetter($0.payload) }
    #expect(letters.map(\.ordinal) == [9, 20, 21, 22, 23, 24])
    try await consumer.close()
  }

  @Test("a batch that its size ended, and the rest, are delivered once each")
  func sizes() async throws {
    let topic = try ConsumerTopic.memory(60)
    var options = ConsumerTopic.options
    options.maximumBatchBytes = .bytes(300)
    let consumer = try ConsumerTopic.consumer(topic, options: options)
    var ordinals: [UInt64] = []
    var batches: [QueueConsumer.Batch] = []
    // Small requests take from the records that a large one has read ahead.
    for count in [50, 1, 2, 50, 1, 1, 50] {
      let batch = try #require(try await consumer.nextBatch(upTo: count))
      #expect(batch.count <= count)
      #expect(batch.startIndex == 0)
      ordinals += batch.map(\.ordinal)
      batches.append(batch)
    }
    for try await batch in consumer.batches(upTo: 50) {
      ordinals += batch.map(\.ordinal)
      batches.append(batch)
    }
    #expect(ordinals == Array(0..<60))
    // The batches do not change while later ones are read.
    #expect(batches.flatMap { Array($0) }.texts == ConsumerTopic.texts(0..<60))
    for batch in batches {
      let expected = try #require(batch.last).ordinal + 1
      try await batch.acknowledge()
      #expect(consumer.ordinal == expected)
    }
    try await consumer.close()
  }
}
