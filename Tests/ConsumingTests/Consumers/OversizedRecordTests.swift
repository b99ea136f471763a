// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("A record above a consumer's limit is neither delivered nor passed")
struct OversizedRecordTests {
  private let storage = SimulatedStorage()
  private let dead = SimulatedStorage()
  private var topic: Topic { Topic(storage: storage) }

  private var options: QueueConsumer.Options {
    var options = ConsumerTopic.options
    options.maximumPayload = .bytes(500)
    options.deadLetters = Topic(storage: dead)
    return options
  }

  /// Records 5 and 6 of 12 are above the limit.
  private func payload(_ number: Int) -> [UInt8] {
    SmallTopic.payload(UInt64(number), length: number == 5 || number == 6 ? 1500 : 100)
  }

  private func fill() throws {
    let writer = try ConsumerTopic.open(topic)
    for number in 0..<12 { try writer.append(payload(number)) }
    try writer.close()
  }

  @Test("all before it is delivered and acknowledged, and each call after that says it is there")
  func stops() async throws {
    try fill()
    var address: Address?
    for _ in 0..<2 {
      let consumer = try ConsumerTopic.consumer(topic, options: options)
      while consumer.ordinal < 5 {
        let batch = try #require(try await consumer.nextBatch(upTo: 3))
        try await batch.acknowledge()
      }
      #expect(consumer.ordinal == 5)
      for following in [false, true, true] {
        let error = await queueError {
          _ = try await consumer.nextBatch(upTo: 3, following: following)
        }
        #expect(error?.code == .payloadTooLarge)
        #expect(error?.message.contains("1500 bytes") == true)
        #expect(error?.message.contains("maximumPayload") == true)
        address = try #require(error?.address)
      }
      try await consumer.close()
      #expect(consumer.ordinal == 5)
    }
    // A consumer with a higher limit gets the record.
    let consumer = try ConsumerTopic.consumer(topic)
    let batch = try #require(try await consumer.nextBatch(upTo: 20))
    #expect(batch.map(\.payload) == (5..<12).map(payload))
    #expect(batch.first?.address == address)
  }

  @Test("it can be put aside, synced before it is acknowledged, and the next ones come")
  func aside() async throws {
    try fill()
    let consumer = try ConsumerTopic.consumer(topic, options: options)
    let first = try #require(try await consumer.nextBatch(upTo: 9))
    #expect(first.count == 5)
    try await first.acknowledge(through: 2)
    for number in 5..<7 {
      let error = await queueError { _ = try await consumer.nextBatch(upTo: 9) }
      let address = try #require(error?.address)
      let tight = await queueError {
        try await consumer.deadLetterOversized(at: address, upTo: .bytes(1499), reason: "no")
      }
      #expect(tight?.code == .payloadTooLarge)
      let wrong = await queueError {
        try await consumer.deadLetterOversized(
          at: Address(rawValue: address.rawValue + 1), upTo: .bytes(1500), reason: "no")
      }
      #expect(wrong?.code == .invalidOption)
      try await consumer.deadLetterOversized(
        at: address, upTo: .bytes(1500), reason: "number \(number)")
      var random = SeededGenerator(seed: UInt64(number))
      let letters = try readAll(Topic(storage: dead.powerCut(using: &random))).records.map {
        try DeadLetter($0.payload)
      }
      #expect(letters.map(\.payload) == (5...number).map(payload))
      #expect(letters.last?.address == address && letters.last?.ordinal == UInt64(number))
    }
    // The records that were delivered before them still have to be acknowledged.
    #expect(consumer.ordinal == 3)
    try await first.acknowledge()
    #expect(consumer.ordinal == 7)
    let rest = try #require(try await consumer.nextBatch(upTo: 9))
    #expect(rest.map(\.payload) == (7..<12).map(payload))
    #expect(rest.map(\.ordinal) == [7, 8, 9, 10, 11])
    try await rest.acknowledge()
    #expect(consumer.ordinal == 12)
  }

  @Test("where putting it aside fails, it is still the next one")
  func asideFails() async throws {
    try fill()
    let consumer = try ConsumerTopic.consumer(topic, options: options)
    try await consumer.nextBatch(upTo: 9)?.acknowledge()
    let error = await queueError { _ = try await consumer.nextBatch(upTo: 9) }
    let address = try #require(error?.address)
    dead.setFault(SimulatedStorage.Fault(.fail(Errno.io), at: 2) { $0.isSync })
    let failed = await queueError {
      try await consumer.deadLetterOversized(at: address, upTo: .kibibytes(2), reason: "x")
    }
    #expect(failed?.code == .syncFailed)
    #expect(consumer.ordinal == 5)
    dead.setFault(nil)
    #expect(
      await queueError { _ = try await consumer.nextBatch(upTo: 9) }?.code == .payloadTooLarge)
    // After a reset, the consumer meets the record again. The refusal from before the reset is
    // void.
    try await consumer.reset(to: .earliest)
    let stale = await queueError {
      try await consumer.deadLetterOversized(at: address, upTo: .kibibytes(2), reason: "x")
    }
    #expect(stale?.code == .invalidOption)
    #expect(try await consumer.nextBatch(upTo: 9)?.count == 5)
  }

  @Test("damage before it is told with its number, and the records between come before it")
  func afterDamage() async throws {
    let writer = try ConsumerTopic.open(topic)
    var addresses: [Address] = []
    for number in 0..<12 { addresses.append(try writer.append(payload(number)).address) }
    try await writer.close()
    storage.flip(bit: Int(addresses[2].rawValue + 20) * 8, ofSlab: 0)
    let reported = Reported()
    let consumer = try ConsumerTopic.consumer(topic, options: options, reported: reported)
    var ordinals: [UInt64] = []
    var error: QueueError?
    while error == nil {
      error = await queueError {
        let batch = try #require(try await consumer.nextBatch(upTo: 2))
        ordinals += batch.map(\.ordinal)
        try await batch.acknowledge()
      }
    }
    #expect(error?.code == .payloadTooLarge && error?.address == addresses[5])
    #expect(ordinals == [0, 1, 3, 4])
    #expect(reported.losses.map(\.records) == [1])
    #expect(consumer.ordinal == 5)
    for number in 5..<7 {
      try await consumer.deadLetterOversized(
        at: addresses[number], upTo: .kibibytes(2), reason: "x")
      _ = await queueError { _ = try await consumer.nextBatch(upTo: 1) }
    }
    #expect(consumer.ordinal == 7)
    try await consumer.close()
    let rest = try ConsumerTopic.consumer(topic, reported: reported)
    #expect(try await ConsumerTopic.drain(rest).map(\.ordinal) == [7, 8, 9, 10, 11])
    #expect(reported.losses.count == 1)
  }

  @Test("a channel stops before it, and goes on when it was put aside")
  func channel() async throws {
    try fill()
    var channelOptions = DiskChannel.Options()
    channelOptions.consumer.maximumPayload = .bytes(500)
    channelOptions.consumer.deadLetters = Topic(storage: dead)
    let channel = try DiskChannel(
      topic: topic, options: channelOptions, environment: .simulated())
    channel.finish()
    var received: [[UInt8]] = []
    var stops = 0
    while stops < 3 {
      do {
        for try await message in channel {
          received.append(message.payload)
          try message.acknowledge()
        }
        break
      } catch {
        #expect(error.code == .payloadTooLarge)
        stops += 1
        let again = await queueError { for try await _ in channel {} }
        #expect(again?.code == .payloadTooLarge && again?.address == error.address)
        try await channel.deadLetterOversized(
          at: try #require(error.address), upTo: .kibibytes(2), reason: "too large")
      }
    }
    #expect(stops == 2)
    #expect(received == [0, 1, 2, 3, 4, 7, 8, 9, 10, 11].map(payload))
    try await channel.close()
    #expect(try QueueConsumer.consumers(of: topic).map(\.ordinal) == [12])
  }
}
