// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("A record that a task looks up in a topic")
struct RecordOfTopicTests {
  @Test("is found by address and by ordinal, across slabs and epochs")
  func found() async throws {
    let small = try SmallTopic()
    let records = try readAll(small.topic).records
    #expect(records.count > 10)
    for record in records {
      #expect(try await small.topic.record(at: record.address) == record)
      #expect(try await small.topic.record(ordinal: record.ordinal) == record)
    }
  }

  @Test("in a directory and in memory")
  func places() async throws {
    let directory = try TemporaryDirectory()
    for topic in [Topic(directory.path + "/topic"), .memory()] {
      let writer = try QueueWriter(topic: topic)
      try writer.append("first")
      let second = try writer.append("second")
      try await writer.flush()
      #expect(try await topic.record(at: second.address).text == "second")
      #expect(try await topic.record(ordinal: 0).text == "first")
      try await writer.close()
    }
  }

  @Test("an address or ordinal without a record gets the errors of a reader")
  func errors() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    let first = try writer.append("a record").address
    let large = try writer.append("a larger record")
    try await writer.flush()
    let inside = Address(rawValue: first.rawValue + 1)
    let noRecord = await queueError { _ = try await topic.record(at: inside) }
    #expect(noRecord?.code == .notARecord)
    #expect(noRecord?.address == first)
    let end = Address(rawValue: 1 << 30)
    #expect(await queueError { _ = try await topic.record(at: end) }?.code == .beyondLatest)
    #expect(await queueError { _ = try await topic.record(ordinal: 2) }?.code == .beyondLatest)
    let limited = await queueError {
      _ = try await topic.record(at: large.address, maximumPayload: .bytes(8))
    }
    #expect(limited?.code == .payloadTooLarge)
    #expect(limited?.address == large.address)
    let refused = await queueError {
      _ = try await topic.record(at: first, maximumPayload: .bytes(-1))
    }
    #expect(refused?.code == .invalidOption)
    let missing = Topic("/nowhere/at/all")
    #expect(await queueError { _ = try await missing.record(at: first) }?.code == .noSuchTopic)
    try await writer.close()
  }

  @Test("a record that was cleaned is an error, and so is any other address of its range")
  func cleaned() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(
      topic: topic, options: .init(maximumRecords: 20, whenFull: .dropOldest))
    let first = try writer.append("record 0").address
    for number in 1..<100 { try writer.append("record \(number)") }
    try await writer.flush()
    for address in [first, Address(rawValue: first.rawValue + 1)] {
      let error = await queueError { _ = try await topic.record(at: address) }
      guard case .cleaned(let loss) = error?.code else {
        Issue.record("\(String(describing: error)) for \(address)")
        continue
      }
      #expect(loss.addresses.contains(address))
      // Nothing continues after a lookup.
      #expect(error?.message == "\(loss)")
    }
    let error = await queueError { _ = try await topic.record(ordinal: 0) }
    #expect(error?.loss?.cause == .cleaned)
    #expect(error?.message == error?.loss.map { "\($0)" })
    #expect(try await topic.record(ordinal: 99).text == "record 99")
    try await writer.close()
  }

  @Test("the lookup of a cancelled task says so")
  func cancelled() async throws {
    let small = try SmallTopic()
    let topic = small.topic
    let task = Task {
      withUnsafeCurrentTask { $0?.cancel() }
      return try await topic.record(ordinal: 0)
    }
    #expect(await queueError { _ = try await task.value }?.code == .cancelled)
  }
}
