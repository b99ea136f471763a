// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("A consumer begins where it is told to, and what comes meanwhile does not confuse it")
struct ConsumerBeginningTests {
  /// A topic with its lock, and without a slab yet.
  private func emptyTopic() throws -> SimulatedStorage {
    let storage = SimulatedStorage()
    _ = try storage.lock()
    storage.kill()
    return storage
  }

  // MARK: Before the first slab

  @Test("opened before the first slab, it goes on behind its first batch, acknowledged or not")
  func beforeTheFirstSlab() async throws {
    for acknowledges in [false, true] {
      let topic = Topic(storage: try emptyTopic())
      let consumer = try ConsumerTopic.consumer(topic)
      try ConsumerTopic.append(0..<20, to: topic)
      var records: [QueueRecord] = []
      for try await batch in consumer.batches(upTo: 7, following: false) {
        records += batch
        if acknowledges { try await batch.acknowledge() }
      }
      #expect(records.texts == ConsumerTopic.texts(0..<20))
      try await consumer.close()
      let next = try ConsumerTopic.consumer(topic)
      #expect(next.ordinal == (acknowledges ? 20 : 0))
    }
  }

  @Test("it goes from version 1 slabs into the next epoch without an acknowledgement")
  func intoTheNextEpoch() async throws {
    let storage = SimulatedStorage()
    storage.replace(slab: 0, with: ConsumerTopic.version1Slab(0..<3))
    let topic = Topic(storage: storage)
    let consumer = try ConsumerTopic.consumer(topic)
    try ConsumerTopic.append(3..<30, to: topic)
    let records = try await ConsumerTopic.drain(consumer, upTo: 2)
    #expect(records.texts == ConsumerTopic.texts(0..<30))
  }

  @Test("the first slab may come within one look: nothing is delivered twice")
  func withinALook() async throws {
    let inner = try emptyTopic()
    let storage = HookedStorage(inner)
    var options = ConsumerTopic.options
    options.maximumBatchBytes = .bytes(200)
    let consumer = try ConsumerTopic.consumer(Topic(storage: storage), options: options)
    // The next listing finds no slab in which to look for the cursor.
    storage.atNext(.listed) {
      #expect(throws: Never.self) {
        try ConsumerTopic.append(0..<20, to: Topic(storage: inner))
      }
    }
    var records = try await ConsumerTopic.drain(consumer)
    records += try await ConsumerTopic.drain(consumer)
    #expect(records.texts == ConsumerTopic.texts(0..<20))
  }

  // MARK: At damage

  @Test(
    "damage where it begins is told, also to its next holder",
    arguments: [10, SlabHeader.byteCount + Mark.byteCount + 10], [false, true])
  func damaged(at offset: Int, resets: Bool) async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    let addresses = try ConsumerTopic.append(0..<200, to: topic)
    let base = storage.slabs.keys.sorted()[1]
    storage.replace(slab: 0, with: nil)
    let first = try #require(addresses.firstIndex { $0.rawValue > base })
    #expect(addresses[first].rawValue == base + UInt64(SlabHeader.byteCount + Mark.byteCount))
    if resets {
      let consumer = try ConsumerTopic.consumer(topic, from: .latest)
      storage.flip(bit: offset * 8, ofSlab: base)
      try await consumer.reset(to: .earliest)
      try await consumer.close()
    } else {
      storage.flip(bit: offset * 8, ofSlab: base)
      try await ConsumerTopic.consumer(topic).close()
    }
    // Damage to the header alone loses no record.
    let lost = offset == 10 ? 0 : 1
    for _ in 0..<2 {
      // Nothing is acknowledged in between, so the loss is reported again.
      let reported = Reported()
      let next = try ConsumerTopic.consumer(topic, reported: reported)
      #expect(next.ordinal == UInt64(first))
      let records = try await ConsumerTopic.drain(next)
      #expect(records.texts == ConsumerTopic.texts(first + lost..<200))
      #expect(reported.losses.map(\.cause) == [.damaged])
      #expect(reported.losses.map(\.records) == [UInt64(lost)])
      try await next.close()
    }
    let reported = Reported()
    let last = try ConsumerTopic.consumer(topic, reported: reported)
    try await last.nextBatch(upTo: 1)?.acknowledge()
    #expect(last.ordinal == UInt64(first + lost + 1))
    try await last.close()
    let after = try ConsumerTopic.consumer(topic, reported: reported)
    #expect(
      try await ConsumerTopic.drain(after).texts
        == ConsumerTopic.texts(first + lost + 1..<200))
    #expect(reported.losses.count == 1)
  }

  @Test("the holder that passed the damage itself is told of it as well")
  func reportedAtOnce() async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    let addresses = try ConsumerTopic.append(0..<200, to: topic)
    let base = storage.slabs.keys.sorted()[1]
    storage.replace(slab: 0, with: nil)
    let first = try #require(addresses.firstIndex { $0.rawValue > base })
    storage.flip(bit: (Int(addresses[first].rawValue - base) + 10) * 8, ofSlab: base)
    let reported = Reported()
    let consumer = try ConsumerTopic.consumer(topic, reported: reported)
    let batch = try #require(try await consumer.nextBatch(upTo: 5))
    #expect(Array(batch).texts == ConsumerTopic.texts(first + 1..<first + 6))
    #expect(reported.losses.map(\.records) == [1])
    try await batch.acknowledge(only: 0)
    #expect(consumer.ordinal == UInt64(first + 2))
  }

  // MARK: Failing

  @Test("where a new consumer cannot be made, no file is left that would hold the topic")
  func nothingLeft() throws {
    let faults: [@Sendable (SimulatedStorage.Call) -> Bool] = [
      { $0 == .syncConsumers }, { $0 == .syncParent }, { $0 == .syncDirectory },
      { if case .sync(let name) = $0 { name.hasSuffix(".cursor.new") } else { false } },
      { if case .write(let name, _, _) = $0 { name.hasSuffix(".cursor.new") } else { false } },
      { if case .create(let name) = $0 { name.hasSuffix(".cursor.new") } else { false } },
      { if case .rename = $0 { true } else { false } },
      { if case .identify(let name) = $0 { name.hasSuffix(".cursor") } else { false } },
    ]
    for (number, concerns) in faults.enumerated() {
      let storage = SimulatedStorage()
      let topic = Topic(storage: storage)
      try ConsumerTopic.append(0..<200, to: topic)
      storage.setFault(SimulatedStorage.Fault(.fail(Errno.io), at: 1, of: concerns))
      #expect(queueError { _ = try ConsumerTopic.consumer(topic) } != nil, "\(number)")
      #expect(storage.hits == 1, "\(number)")
      storage.setFault(nil)
      #expect(try topic.cursorFiles() == [], "\(number)")
      let cleaner = try SlabCleaner(topic: topic, environment: .simulated())
      #expect(try cleaner.plan(keeping: .nothing).stopReason == .lastSlab)
    }
  }

  @Test("where an existing consumer cannot be opened, its cursor stays")
  func cursorStays() async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    try ConsumerTopic.append(0..<20, to: topic)
    let consumer = try ConsumerTopic.consumer(topic)
    try await consumer.nextBatch(upTo: 5)?.acknowledge()
    try await consumer.close()
    storage.setFault(SimulatedStorage.Fault(.fail(Errno.io), at: 1) { $0 == .syncConsumers })
    #expect(queueError { _ = try ConsumerTopic.consumer(topic) }?.code == .syncFailed)
    storage.setFault(nil)
    #expect(try ConsumerTopic.consumer(topic).ordinal == 5)
  }
}
