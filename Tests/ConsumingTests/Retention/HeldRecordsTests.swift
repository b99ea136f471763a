// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("A consumer holds records, and no marks")
struct HeldRecordsTests {
  private let storage = SimulatedStorage()
  private var topic: Topic { Topic(storage: storage) }

  /// Makes a closed topic with 40 records in one slab. A consumer has acknowledged `count` of them
  /// in steps of seven, and is closed.
  private func consumed(_ count: Int) async throws {
    var options = SmallTopic.options
    options.slabSize = .kibibytes(256)
    let writer = try QueueWriter(topic: topic, options: options, environment: .simulated())
    for number in 0..<40 as Range<UInt64> {
      try writer.append(SmallTopic.payload(number, length: 2500))
    }
    try await writer.close()
    let consumer = try ConsumerTopic.consumer(topic)
    var left = count
    while left > 0, let batch = try await consumer.nextBatch(upTo: min(left, 7)) {
      try await batch.acknowledge()
      left -= batch.count
    }
    if count == 40 { #expect(try await consumer.nextBatch(upTo: 1, following: false) == nil) }
    try await consumer.close()
    #expect(storage.slabs.count == 1)
  }

  private func lower(_ policy: QueueWriter.Options.WhenFull) -> QueueWriter.Options {
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(16)
    options.maximumBytes = .kibibytes(64)
    options.bufferSize = .kibibytes(4)
    options.maximumPayload = .kibibytes(4)
    options.whenFull = policy
    return options
  }

  /// Appends past the bound. Returns the error, if there is one.
  private func appendPastTheBound() throws -> QueueError? {
    let writer = try QueueWriter(
      topic: topic, options: lower(.dropOldestAcknowledged), environment: .simulated())
    defer { try? writer.close() }
    return queueError {
      for number in 100..<160 {
        try writer.append(SmallTopic.payload(UInt64(number), length: 2000))
      }
    }
  }

  @Test("a bound below a topic in which all is acknowledged is reached")
  func allAcknowledged() async throws {
    try await consumed(40)
    let bases = storage.slabs.keys.sorted()
    // The content of the first slab alone is above the bound.
    _ = try appendPastTheBound()
    #expect(!storage.slabs.keys.contains(bases[0]))
  }

  @Test("with one record left, nothing goes")
  func oneLeft() async throws {
    try await consumed(39)
    #expect(try appendPastTheBound()?.code == .noSpace)
    #expect(storage.slabs.keys.contains(0))
  }

  @Test("both slots are written where a consumer is closed at the end of the log, and by a reset")
  func bothSlots() async throws {
    try await consumed(40)
    guard case .sound(let holds, let lowest, count: 2) = try topic.cursorSlots("reader") else {
      Issue.record("two slots")
      return
    }
    #expect(lowest == holds.address && holds.ordinal == 40)
    let consumer = try ConsumerTopic.consumer(topic)
    try await consumer.reset(to: .ordinal(3))
    try await consumer.reset(to: .ordinal(30))
    let between = try topic.cursorSlots("reader")
    guard case .sound(let there, let lower, count: 2) = between else {
      Issue.record("\(between)")
      return
    }
    #expect(there.ordinal == 30 && lower == there.address)
    try await consumer.close()
    try QueueConsumer.reset("reader", of: topic, to: .ordinal(35))
    guard case .sound(let last, let lowestLast, count: 2) = try topic.cursorSlots("reader") else {
      Issue.record("two slots")
      return
    }
    #expect(last.ordinal == 35 && lowestLast == last.address)
  }

  @Test("a consumer that waits at the end gives up a slab that a writer has left")
  func waiting() async throws {
    try await consumed(33)
    let consumer = try ConsumerTopic.consumer(topic)
    try await consumer.nextBatch(upTo: 7)?.acknowledge()
    // One slot is before the last batch. The writer has left the slab for one without records.
    #expect(try appendPastTheBound()?.code == .noSpace)
    #expect(storage.slabs.count == 2)
    #expect(try await consumer.nextBatch(upTo: 7, following: false) == nil)
    _ = try appendPastTheBound()
    #expect(!storage.slabs.keys.contains(0))
    try await consumer.close()
  }

  @Test("a damaged mark may have been a record: the slab stays")
  func damagedMark() async throws {
    try await consumed(40)
    try ConsumerTopic.append(0..<1, to: topic)
    #expect(storage.slabs.count == 2)
    let bytes = try #require(storage.slabs[0])
    let front = try SlabFront(of: storage)
    #expect(
      try ConsumerHolds(of: front, in: storage).hold(below: UInt64(bytes.count)) == nil)
    // The cursor is at the first byte after the last record.
    let cursor = try #require(try QueueConsumer.consumers(of: topic).first?.position).rawValue
    storage.flip(bit: Int(cursor + 20) * 8, ofSlab: 0)
    #expect(
      try ConsumerHolds(of: front, in: storage).hold(below: UInt64(bytes.count))?.address == cursor)
    #expect(try SlabCleaner(topic: topic).clean(keeping: .nothing).removals == [])
  }

  @Test("what nobody knows holds everything, also a slab without a record")
  func unknown() async throws {
    try await consumed(40)
    try topic.putCursor("worse", [UInt8](repeating: 1, count: 8192))
    let front = try SlabFront(of: storage)
    #expect(try ConsumerHolds(of: front, in: storage).lowest?.cause == .damaged)
    #expect(try appendPastTheBound()?.code == .noSpace)
    #expect(storage.slabs.keys.contains(0))
  }

  @Test("a hold of another cause counts before a position at the same address")
  func sameAddress() {
    let position = ConsumerHolds.Hold(consumer: "a", address: 0, cause: .position)
    let damaged = ConsumerHolds.Hold(consumer: "b", address: 0, cause: .damaged)
    #expect(damaged.isLower(than: position))
    #expect(!position.isLower(than: damaged))
    #expect(!damaged.isLower(than: damaged))
  }

  @Test("a channel that is opened again with a lower bound sends again")
  func channel() async throws {
    var options = DiskChannel.Options()
    options.writer.slabSize = .kibibytes(256)
    options.writer.bufferSize = .kibibytes(4)
    var channel = try DiskChannel(topic: topic, options: options, environment: .simulated())
    for number in 0..<100 {
      try await channel.send(SmallTopic.payload(UInt64(number), length: 1000))
    }
    channel.finish()
    for try await message in channel { try message.acknowledge() }
    try await channel.close()
    options.writer = lower(.wait)
    for round in 0..<2 {
      channel = try DiskChannel(topic: topic, options: options, environment: .simulated())
      try await channel.send(SmallTopic.payload(500 + UInt64(round), length: 200))
      #expect(!storage.slabs.keys.contains(0))
      channel.finish()
      var received: [[UInt8]] = []
      for try await message in channel {
        received.append(message.payload)
        try message.acknowledge()
      }
      #expect(received == [SmallTopic.payload(500 + UInt64(round), length: 200)])
      try await channel.close()
    }
  }
}
