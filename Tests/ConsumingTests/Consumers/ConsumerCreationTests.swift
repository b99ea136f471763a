// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@testable import DiskQueue

@Suite("Creating a consumer by name")
struct ConsumerCreationTests {
  private func makeTopic(_ topic: Topic) throws -> [Address] {
    let writer = try QueueWriter(topic: topic)
    let addresses = try (0..<10).map { try writer.append("record \($0)").address }
    try writer.close()
    return addresses
  }

  @Test("it begins at its position, and is not held", arguments: [true, false])
  func position(inMemory: Bool) async throws {
    let directory = try TemporaryDirectory()
    let topic = inMemory ? Topic.memory() : Topic(directory.path + "/topic")
    let addresses = try makeTopic(topic)
    for (name, position, first) in [
      ("a", .earliest, 0), ("b", .ordinal(4), 4), ("c", .address(addresses[7]), 7),
    ] as [(String, Topic.Position, Int)] {
      try QueueConsumer.create(name, of: topic, at: position)
      let consumer = try QueueConsumer(topic: topic, name: name, from: .latest)
      let record = try await consumer.nextBatch(upTo: 1)?.first
      #expect(record?.ordinal == UInt64(first))
      try await consumer.close()
    }
    try QueueConsumer.create("d", of: topic, at: .latest)
    #expect(try QueueConsumer.consumers(of: topic).map(\.ordinal) == [0, 4, 7, 10])
  }

  @Test("an existing consumer stays, also a held one or one with a damaged cursor")
  func existing() throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    _ = try makeTopic(topic)
    try QueueConsumer.create("one", of: topic, at: .ordinal(3))
    func create() -> QueueError? {
      queueError { try QueueConsumer.create("one", of: topic, at: .latest) }
    }
    #expect(create()?.code == .alreadyExists)
    #expect(try QueueConsumer.consumers(of: topic).map(\.ordinal) == [3])
    let held = try QueueConsumer(topic: topic, name: "one")
    #expect(create()?.code == .locked)
    try held.close()
    let path = directory.path + "/topic/consumers/one.cursor"
    try writeFile(path, try readFile(path).map { _ in 0xA5 })
    #expect(create()?.code == .alreadyExists)
    #expect(try QueueConsumer.consumers(of: topic).map(\.state) == [.damaged])
  }

  @Test("a position or a name that is refused leaves no file")
  func refused() throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    let addresses = try makeTopic(topic)
    let before = try snapshot(directory.path)
    let inside = Address(rawValue: addresses[2].rawValue + 1)
    for (name, position, code) in [
      ("one", .address(inside), .notARecord), ("../up", .earliest, .invalidOption),
    ] as [(String, Topic.Position, QueueError.Code)] {
      #expect(queueError { try QueueConsumer.create(name, of: topic, at: position) }?.code == code)
    }
    let missing = Topic(directory.path + "/missing")
    #expect(
      queueError { try QueueConsumer.create("one", of: missing, at: .earliest) }?.code
        == .noSuchTopic)
    #expect(try snapshot(directory.path) == before)
  }

  @Test("a cleaner keeps the records of a consumer that was created")
  func keeps() throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(4)
    let writer = try QueueWriter(topic: topic, options: options)
    for number in 0..<1_000 { try writer.append("record number \(number)") }
    try writer.close()
    try QueueConsumer.create("late", of: topic, at: .earliest)
    let bounds = Retention(records: 0, minimumBytes: .bytes(0))
    #expect(try SlabCleaner(topic: topic).plan(keeping: bounds).removals.isEmpty)
    try QueueConsumer.delete("late", of: topic)
    #expect(try !SlabCleaner(topic: topic).plan(keeping: bounds).removals.isEmpty)
  }
}
