// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("G5, G10: a consumer that was overtaken is told so, with the count, and goes on")
struct OvertakenTests {
  /// A closed topic of several slabs.
  private func make(_ count: Int = 200) throws -> (
    storage: SimulatedStorage, topic: Topic, addresses: [Address]
  ) {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    let addresses = try ConsumerTopic.append(0..<count, to: topic)
    #expect(storage.slabs.count > 3)
    return (storage, topic, addresses)
  }

  /// Removes the first `count` slabs, and returns how many records are below the slabs that are
  /// left.
  private func clean(
    _ storage: SimulatedStorage, _ count: Int, _ addresses: [Address]
  ) throws -> UInt64 {
    let bases = storage.slabs.keys.sorted()
    for base in bases.prefix(count) { try storage.remove(SlabName.string(base)) }
    return UInt64(addresses.count { $0.rawValue < bases[count] })
  }

  // MARK: Cleaned

  @Test("cleaned before the next run, whatever was acknowledged", arguments: [0, 1, 7, 39])
  func cleaned(_ acknowledged: Int) async throws {
    let (storage, topic, addresses) = try make()
    var consumer = try ConsumerTopic.consumer(topic)
    if acknowledged > 0 {
      try await consumer.nextBatch(upTo: acknowledged)?.acknowledge()
    }
    try await consumer.close()
    let gone = try clean(storage, 2, addresses)
    for _ in 0..<2 {
      // Nothing is acknowledged in between, so the loss is reported again, and the records are
      // delivered again.
      let reported = Reported()
      consumer = try ConsumerTopic.consumer(topic, reported: reported)
      let records = try await ConsumerTopic.drain(consumer)
      #expect(records.texts == ConsumerTopic.texts(Int(gone)..<200))
      #expect(reported.losses.map(\.cause) == [.cleaned])
      #expect(reported.losses.map(\.records) == [gone - UInt64(acknowledged)])
      try await consumer.close()
    }
  }

  @Test("more records are lost than may be unacknowledged, and delivery continues all the same")
  func cleanedBeyondBound() async throws {
    let (storage, topic, addresses) = try make()
    var options = ConsumerTopic.options
    options.maximumUnacknowledgedRecords = 2
    try await ConsumerTopic.consumer(topic).close()
    let gone = try clean(storage, 2, addresses)
    #expect(gone > 2)
    let reported = Reported()
    let consumer = try ConsumerTopic.consumer(topic, options: options, reported: reported)
    var texts: [String] = []
    while let batch = try await consumer.nextBatch(upTo: 5) {
      texts += Array(batch).texts
      #expect(batch.count <= 2)
      try await batch.acknowledge()
    }
    #expect(texts == ConsumerTopic.texts(Int(gone)..<200))
    #expect(reported.losses.map(\.records) == [gone])
    try await consumer.close()
  }

  @Test("cleaned while it reads")
  func cleanedMeanwhile() async throws {
    let (storage, topic, addresses) = try make()
    let reported = Reported()
    let consumer = try ConsumerTopic.consumer(topic, reported: reported)
    let batch = try #require(try await consumer.nextBatch(upTo: 3))
    let second = storage.slabs.keys.sorted()[1]
    let gone = try clean(storage, 3, addresses)
    // The slab that the consumer has open stays readable.
    let own = addresses.count { $0.rawValue < second }
    let rest = try await ConsumerTopic.drain(consumer)
    #expect(
      (Array(batch) + rest).texts
        == ConsumerTopic.texts(0..<own) + ConsumerTopic.texts(Int(gone)..<200))
    #expect(reported.losses.map(\.cause) == [.cleaned])
    #expect(reported.losses.map(\.records) == [gone - UInt64(own)])
    // Records that are gone, and the records after them, can still be acknowledged.
    try await batch.acknowledge()
    #expect(consumer.ordinal == 3)
  }

  @Test("a consumer that began at the first slab left knows its ordinal")
  func begunLater() async throws {
    let (storage, topic, addresses) = try make()
    let before = try clean(storage, 1, addresses)
    let reported = Reported()
    var consumer = try ConsumerTopic.consumer(topic, reported: reported)
    #expect(consumer.ordinal == before)
    #expect(try await ConsumerTopic.drain(consumer).first?.ordinal == before)
    #expect(reported.losses.isEmpty)
    try await consumer.close()
    let gone = try clean(storage, 1, addresses)
    consumer = try ConsumerTopic.consumer(topic, reported: reported)
    #expect(try await ConsumerTopic.drain(consumer).first?.ordinal == gone)
    #expect(reported.losses.map(\.records) == [gone - before])
  }

  @Test("without a closure the loss is thrown once, and the next batch comes from behind it")
  func thrown() async throws {
    let (storage, topic, addresses) = try make()
    try await ConsumerTopic.consumer(topic).close()
    let gone = try clean(storage, 2, addresses)
    let consumer = try ConsumerTopic.consumer(topic)
    let error = await queueError { _ = try await consumer.nextBatch(upTo: 5) }
    #expect(error?.loss?.records == gone)
    #expect(try await ConsumerTopic.drain(consumer).texts == ConsumerTopic.texts(Int(gone)..<200))
  }

  // MARK: Discarded

  /// Acknowledges `count` records. Then it takes all but the first `kept` from the disk, which had
  /// reported them as synced.
  private func lied(
    acknowledging count: Int, keeping kept: Int
  ) async throws -> (storage: SimulatedStorage, topic: Topic) {
    let (storage, topic, addresses) = try make()
    let consumer = try ConsumerTopic.consumer(topic)
    try await consumer.nextBatch(upTo: count)?.acknowledge()
    try await consumer.close()
    let end = addresses[kept].rawValue
    for (base, bytes) in storage.slabs {
      if base >= end {
        storage.replace(slab: base, with: nil)
      } else if base + UInt64(bytes.count) > end {
        storage.replace(slab: base, with: Array(bytes.prefix(Int(end - base))))
      }
    }
    return (storage, topic)
  }

  @Test(
    "what was acknowledged and discarded is counted, before and behind a writer's recovery",
    arguments: [false, true])
  func discarded(_ isRecovered: Bool) async throws {
    for kept in [3, 60, 100, 149] {
      let (_, topic) = try await lied(acknowledging: 150, keeping: kept)
      let new = { _ = try ConsumerTopic.append(1000..<1300, to: topic) }
      if isRecovered { try new() }
      let reported = Reported()
      let consumer = try ConsumerTopic.consumer(topic, reported: reported)
      if !isRecovered {
        #expect(consumer.ordinal == UInt64(kept))
        #expect(try await consumer.nextBatch(upTo: 1, following: false) == nil)
        // Nothing is acknowledged, and the log grows past the cursor's old position.
        try await consumer.close()
        try new()
        #expect(reported.losses.map(\.records) == [UInt64(150 - kept)], "kept \(kept)")
      }
      let next = isRecovered ? consumer : try ConsumerTopic.consumer(topic, reported: reported)
      #expect(try await ConsumerTopic.drain(next).texts == ConsumerTopic.texts(1000..<1300))
      #expect(reported.losses.map(\.cause) == [.discarded])
      #expect(reported.losses.map(\.records) == [UInt64(150 - kept)], "kept \(kept)")
      try await next.close()
    }
  }

  @Test("discarded while it reads: what it was given and lost is counted")
  func discardedMeanwhile() async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    let writer = try ConsumerTopic.open(topic)
    for number in 0..<30 { try writer.append(ConsumerTopic.text(number)) }
    try await writer.sync()
    for number in 30..<50 { try writer.append(ConsumerTopic.text(number)) }
    try await writer.flush()
    let reported = Reported()
    let consumer = try ConsumerTopic.consumer(topic, reported: reported)
    let batch = try #require(try await consumer.nextBatch(upTo: 50))
    #expect(batch.count == 50)
    writer.dieForTesting()
    let base = try #require(storage.slabs.keys.max())
    let bytes = try #require(storage.slabs[base])
    let cut = Int(batch[40].address.rawValue - base)
    storage.replace(slab: base, with: Array(bytes.prefix(cut)))
    try ConsumerTopic.append(900..<910, to: topic)
    let rest = try await ConsumerTopic.drain(consumer)
    #expect(rest.texts == ConsumerTopic.texts(900..<910))
    #expect(reported.losses.map(\.cause) == [.discarded])
    #expect(reported.losses.map(\.records) == [10])
    try await batch.acknowledge()
    let next = try #require(try await acknowledgeAll(consumer, rest))
    #expect(next == 50)
  }

  /// Resets to the durable position, and acknowledges everything after it.
  private func acknowledgeAll(
    _ consumer: QueueConsumer, _ records: [QueueRecord]
  ) async throws -> UInt64? {
    try await consumer.reset(to: .address(consumer.position))
    for try await batch in consumer.batches(upTo: 100, following: false) {
      #expect(Array(batch) == records)
      try await batch.acknowledge()
    }
    return consumer.ordinal
  }

  // MARK: Damaged

  @Test(
    "one flipped bit costs one record where it is still to come, and nothing where it is behind")
  func flips() async throws {
    let (storage, topic, addresses) = try make()
    let consumer = try ConsumerTopic.consumer(topic)
    try await consumer.nextBatch(upTo: 100)?.acknowledge()
    try await consumer.close()
    let cursor = consumer.position.rawValue
    for (base, bytes) in storage.slabs.sorted(by: { $0.key < $1.key }) {
      for byte in stride(from: 0, to: bytes.count, by: 11) {
        let damaged = storage.copy()
        damaged.flip(bit: byte * 8 + byte % 8, ofSlab: base)
        let reported = Reported()
        let address = base + UInt64(byte)
        let hit = addresses.indices.last { addresses[$0].rawValue <= address }
        let isInRecord = hit.map {
          address < addresses[$0].rawValue + 8 + UInt64(ConsumerTopic.text($0).utf8.count)
        }
        var expected = Array(100..<200)
        if let hit, isInRecord == true { expected.removeAll { $0 == hit } }
        let consumer = try ConsumerTopic.consumer(Topic(storage: damaged), reported: reported)
        #expect(consumer.ordinal == 100)
        let records = try await ConsumerTopic.drain(consumer)
        #expect(records.map(\.ordinal) == expected.map(UInt64.init), "address \(address)")
        // Damage at the very end is a torn tail, and no loss.
        if address < addresses[199].rawValue {
          let lost = reported.losses.reduce(UInt64(0)) { $0 + ($1.records ?? 1000) }
          #expect(lost == UInt64(100 - records.count), "address \(address), \(reported.losses)")
          if address < cursor { #expect(reported.losses.isEmpty, "address \(address)") }
        }
        try await consumer.close()
      }
    }
  }

  @Test("a loss is told before anything behind it can be acknowledged: no restart hides it")
  func restarts() async throws {
    let (storage, _, addresses) = try make()
    for hit in stride(from: 0, to: 190, by: 9) {
      let damaged = storage.copy()
      let base = try #require(damaged.slabs.keys.sorted().last { $0 <= addresses[hit].rawValue })
      damaged.flip(bit: Int(addresses[hit].rawValue - base + 9) * 8, ofSlab: base)
      let reported = Reported()
      var ordinals: [UInt64] = []
      while ordinals.last != 199 {
        let consumer = try ConsumerTopic.consumer(Topic(storage: damaged), reported: reported)
        let batch = try #require(try await consumer.nextBatch(upTo: 1, following: false))
        ordinals += batch.map(\.ordinal)
        try await batch.acknowledge()
        try await consumer.close()
      }
      #expect(ordinals == (0..<200).filter { $0 != hit })
      #expect(reported.losses.compactMap(\.records).allSatisfy { $0 == 1 })
      #expect(!reported.losses.isEmpty && reported.losses.count <= 2, "record \(hit)")
    }
  }

  @Test("damage below a cursor that nothing else proves is damage, and not the end of the log")
  func provenByTheCursor() async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    let writer = try ConsumerTopic.open(topic)
    let addresses = try (0..<30).map { try writer.append(ConsumerTopic.text($0)).address }
    try await writer.flush()
    #expect(storage.slabs.count == 1)
    var consumer = try ConsumerTopic.consumer(topic)
    try await consumer.nextBatch(upTo: 20)?.acknowledge()
    try await consumer.close()
    for hit in [5, 12] { storage.flip(bit: Int(addresses[hit].rawValue) * 8 + 70, ofSlab: 0) }
    let reported = Reported()
    consumer = try ConsumerTopic.consumer(topic, reported: reported)
    #expect(consumer.ordinal == 20)
    #expect(try await ConsumerTopic.drain(consumer).texts == ConsumerTopic.texts(20..<30))
    #expect(reported.losses.isEmpty)
    try await consumer.close()
    try await writer.close()
  }

  @Test("damage that swallows the cursor is counted from the cursor on")
  func swallowed() async throws {
    let (storage, topic, addresses) = try make()
    let consumer = try ConsumerTopic.consumer(topic)
    try await consumer.nextBatch(upTo: 100)?.acknowledge()
    try await consumer.close()
    let base = try #require(storage.slabs.keys.sorted().last { $0 <= addresses[95].rawValue })
    for last in [100, 101, 104] where addresses[last].rawValue - base < 4000 {
      let damaged = storage.copy()
      for record in 95...last {
        damaged.flip(bit: Int(addresses[record].rawValue - base) * 8 + 60, ofSlab: base)
      }
      let reported = Reported()
      let consumer = try ConsumerTopic.consumer(Topic(storage: damaged), reported: reported)
      let records = try await ConsumerTopic.drain(consumer)
      #expect(records.map(\.ordinal) == Array(UInt64(last + 1)..<200))
      #expect(reported.losses.map(\.records) == [UInt64(last - 99)])
      try await consumer.close()
    }
  }
}
