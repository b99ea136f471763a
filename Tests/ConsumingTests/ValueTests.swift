// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueFoundation
import DiskQueueTestSupport
import Testing

@Suite("Values of a writer, a reader and a consumer")
struct ValueTests {
  struct Reading: Codable, Equatable, Sendable {
    var sensor: String
    var celsius: Double
  }

  private let codec = JSONCodec<Reading>()
  /// JSON cannot express infinity.
  private let refused = Reading(sensor: "refused", celsius: .infinity)

  private func readings(_ numbers: Range<Int>) -> [Reading] {
    numbers.map { Reading(sensor: "sensor \($0)", celsius: Double($0) / 4) }
  }

  /// A topic with two readings and a payload that is no reading between them.
  private func topicWithAStranger() throws -> (topic: Topic, stranger: Address) {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    try writer.values(codec).append(readings(0..<1)[0])
    let stranger = writer.position
    try writer.append("no JSON")
    try writer.values(codec).append(readings(1..<2)[0])
    try writer.close()
    return (topic, stranger)
  }

  @Test("all ways of appending keep the values and their order")
  func appended() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    let values = writer.values(codec)
    let sent = readings(0..<6)
    try values.append(sent[0])
    try await values.append(sent[1], ensuring: .synced)
    try values.append(contentsOf: sent[2..<4])
    try await values.append(contentsOf: sent[4...], ensuring: .flushed)
    try await writer.close()
    var received: [Reading] = []
    for try await found in try QueueReader(topic: topic).values(codec) {
      #expect(found.record.ordinal == UInt64(received.count))
      received.append(try found.value())
    }
    #expect(received == sent)
  }

  @Test("a value that cannot be encoded leaves nothing of its call in the log")
  func refusedValue() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    let values = writer.values(codec)
    let batch = readings(0..<2) + [refused]
    let errors = [
      #expect(throws: QueueError.self) { try values.append(refused) },
      await #expect(throws: QueueError.self) {
        try await values.append(refused, ensuring: .flushed)
      },
      #expect(throws: QueueError.self) { try values.append(contentsOf: batch) },
      await #expect(throws: QueueError.self) {
        try await values.append(contentsOf: batch, ensuring: .flushed)
      },
    ]
    for error in errors {
      #expect(error?.code == .notCoded)
      #expect(error?.underlyingError is EncodingError)
      #expect(error?.appended == 0)
      #expect(error?.path == topic.description)
    }
    try await writer.close()
    #expect(try readAll(topic).records.isEmpty)
  }

  @Test("a reader passes a payload that is no value, and says where it is")
  func readOn() async throws {
    let (topic, stranger) = try topicWithAStranger()
    var received: [Reading] = []
    var refused: [Address?] = []
    for try await found in try QueueReader(topic: topic).records().values(codec) {
      do throws(QueueError) {
        received.append(try found.value())
      } catch {
        #expect(error.code == .notCoded)
        #expect(found.record.text == "no JSON")
        refused.append(error.address)
      }
    }
    #expect(received == readings(0..<2))
    #expect(refused == [stranger])
  }

  @Test("a single record gives its value, borrowed or copied")
  func ofARecord() throws {
    let (topic, stranger) = try topicWithAStranger()
    var reader = try QueueReader(topic: topic)
    let first = try reader.next()?.value(codec)
    #expect(first == readings(0..<1)[0])
    let strange = try #require(try reader.nextCopy())
    let error = #expect(throws: QueueError.self) { try strange.value(codec) }
    #expect(error?.code == .notCoded)
    #expect(error?.address == stranger)
    let last = try reader.nextCopy()?.value(codec)
    #expect(last == readings(1..<2)[0])
  }

  @Test("a consumer puts aside a payload that is no value, and acknowledges the rest")
  func consumed() async throws {
    let (topic, stranger) = try topicWithAStranger()
    let dead = Topic.memory()
    var options = QueueConsumer.Options()
    options.deadLetters = dead
    let consumer = try QueueConsumer(topic: topic, name: "values", options: options)
    var received: [Reading] = []
    for try await batch in consumer.values(codec).batches(upTo: 10) {
      #expect(batch.raw.count == batch.count)
      for index in batch.indices {
        do throws(QueueError) {
          received.append(try batch[index].value())
        } catch {
          #expect(error.address == stranger)
          #expect(error.path == topic.description)
          try await batch.deadLetter(index, reason: "\(error.underlyingError ?? error)")
        }
      }
      try await batch.acknowledge()
    }
    #expect(received == readings(0..<2))
    let letter = try #require(try readAll(dead).records.first)
    #expect(try DeadLetter(letter.payload).payload == Array("no JSON".utf8))
    // The reason is the codec's, without advice to a programmer.
    let codecError = #expect(throws: DecodingError.self) { try codec.decode(Array("no JSON".utf8)) }
    #expect(try DeadLetter(letter.payload).reason == codecError.map { "\($0)" })
    #expect(consumer.ordinal == 3)
    try await consumer.close()
  }

  @Test("parts of a batch of values are acknowledged like parts of a batch of records")
  func acknowledgedInParts() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    try writer.values(codec).append(contentsOf: readings(0..<6))
    let consumer = try QueueConsumer(topic: topic, name: "values")
    let next = try await consumer.values(codec).nextBatch(upTo: 6)
    let batch = try #require(next)
    let first = batch.prefix(1)
    #expect(try first.map { try $0.value() } == readings(0..<1))
    try await first.acknowledge()
    #expect(consumer.ordinal == 1)
    try await batch.acknowledge(through: 1)
    #expect(consumer.ordinal == 2)
    try await batch.acknowledge(only: 3)
    #expect(consumer.ordinal == 2)
    try await batch.acknowledge(only: 2)
    #expect(consumer.ordinal == 4)
    try await batch.acknowledge(only: 4..<6)
    #expect(consumer.ordinal == 6)
    let none = try await consumer.values(codec).nextBatch(upTo: 6, timeout: .zero)
    #expect(none == nil)
    try await consumer.close()
    try await writer.close()
  }
}
