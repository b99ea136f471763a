// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("G10: a cursor is durable behind the data below it, and never before")
struct CursorDurabilityTests {
  private typealias Call = SimulatedStorage.Call

  private static let cursor = "consumers/reader.cursor"
  private static let lock = "consumers/reader.lock"
  private static let unfinished = "consumers/reader.cursor.new"

  /// The calls that change the disk.
  private func changes(_ storage: SimulatedStorage) -> [Call] {
    storage.calls.filter(\.changes)
  }

  @Test("a new cursor: the directory's names, the file whole and synced, and then its own name")
  func making() throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    try ConsumerTopic.append(0..<3, to: topic)
    storage.logCalls()
    let consumer = try ConsumerTopic.consumer(topic)
    #expect(
      changes(storage) == [
        .consumers, .lockFile(Self.lock), .syncParent, .syncDirectory, .syncConsumers,
        .remove(Self.unfinished), .create(Self.unfinished),
        .write(Self.unfinished, offset: 0, count: 8192), .sync(Self.unfinished),
        .rename(Self.unfinished, to: Self.cursor), .syncConsumers,
      ])
    try consumer.close()
    // Everything but the first slot is zeros.
    let bytes = try topic.cursor("reader")
    #expect(bytes.count == 8192)
    #expect(bytes[..<4096].allSatisfy { $0 == 0 } && bytes[4160...].allSatisfy { $0 == 0 })
    storage.logCalls()
    let again = try ConsumerTopic.consumer(topic)
    #expect(
      changes(storage) == [
        .consumers, .lockFile(Self.lock), .syncParent, .syncDirectory, .syncConsumers,
        .sync(Self.cursor),
      ])
    #expect(storage.calls.contains(.dropCache(Self.cursor)))
    try again.close()
  }

  /// The calls after the cursor has moved into another slab. Both slots are written, because a
  /// cleaner goes by the lower one.
  private static let bothSlots: [Call] = [
    .write(cursor, offset: 0, count: 64), .sync(cursor),
    .write(cursor, offset: 4096, count: 64), .sync(cursor),
  ]

  @Test("the directory, if slabs were made since; the slabs, oldest first; the slot; its sync")
  func acknowledging() async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    let writer = try ConsumerTopic.open(topic)
    let consumer = try ConsumerTopic.consumer(topic)
    for number in 0..<200 { try writer.append(ConsumerTopic.text(number)) }
    try await writer.flush()
    let bases = storage.slabs.keys.sorted()
    #expect(bases.count > 2)
    let batch = try #require(try await consumer.nextBatch(upTo: 150))
    let reached = try #require(bases.last { $0 <= batch[149].address.rawValue })
    storage.logCalls()
    try await batch.acknowledge()
    let synced = bases.filter { $0 <= reached }.map { Call.sync(SlabName.string($0)) }
    #expect(changes(storage) == [.syncDirectory] + synced + Self.bothSlots)
    #expect(orderFault(in: storage.calls) == nil)

    // If the cursor stays in its slab, only that slab is synced.
    let next = try #require(try await consumer.nextBatch(upTo: 1))
    storage.logCalls()
    try await next.acknowledge()
    #expect(
      changes(storage) == [
        .sync(SlabName.string(reached)), .write(Self.cursor, offset: 0, count: 64),
        .sync(Self.cursor),
      ])

    // An acknowledgement that is repeated, or that is held out of order, writes nothing.
    storage.logCalls()
    try await batch.acknowledge()
    #expect(changes(storage).isEmpty)
    try await consumer.close()
    try await writer.close()
  }

  @Test("where marks state that all below is durable, only the slots are written")
  func proven() async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    try ConsumerTopic.append(0..<200, to: topic)
    let consumer = try ConsumerTopic.consumer(topic)
    let all = try await #require(consumer.nextBatch(upTo: 200))
    // This moves the consumer past the closing mark.
    #expect(try await consumer.nextBatch(upTo: 1, following: false) == nil)
    storage.logCalls()
    try await all.acknowledge()
    #expect(changes(storage) == Self.bothSlots)
    try await consumer.close()
  }

  @Test("a short write of a slot is finished")
  func shortWrites() async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    try ConsumerTopic.append(0..<50, to: topic)
    storage.setShortWrites(percent: 90)
    let consumer = try ConsumerTopic.consumer(topic)
    for try await batch in consumer.batches(upTo: 3, following: false) {
      try await batch.acknowledge()
    }
    try await consumer.close()
    let next = try ConsumerTopic.consumer(topic)
    #expect(next.ordinal == 50)
  }

  @Test("acknowledgements at the same time share a write and its sync")
  func sharing() async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    try ConsumerTopic.append(0..<200, to: topic)
    let consumer = try ConsumerTopic.consumer(topic)
    let batch = try #require(try await consumer.nextBatch(upTo: 200))
    storage.logCalls()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in batch.indices {
        group.addTask { try await batch.acknowledge(through: index) }
      }
      try await group.waitForAll()
    }
    #expect(consumer.ordinal == 200)
    // An acknowledgement that was noted before a write began needs no write of its own.
    storage.logCalls()
    try await consumer.reset(to: .earliest)
    let again = try #require(try await consumer.nextBatch(upTo: 200))
    for index in again.indices { try again.acknowledge(only: index..<index + 1, within: .zero) }
    try await consumer.settle()
    // One write is for the reset, back into the first slab. There is one more for each slot in the
    // last slab.
    #expect(storage.calls.filter(\.isWrite).count == 3)
  }

  @Test(
    "G7: a failed sync ends the consumer, of the data, of the directory and of the cursor",
    arguments: ["slab", "directory", "cursor"])
  func failedSync(_ what: String) async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    let writer = try ConsumerTopic.open(topic)
    let consumer = try ConsumerTopic.consumer(topic)
    for number in 0..<200 { try writer.append(ConsumerTopic.text(number)) }
    try await writer.flush()
    let batch = try #require(try await consumer.nextBatch(upTo: 150))
    storage.setFault(
      SimulatedStorage.Fault(.fail(Errno.io), at: 1) { call in
        switch call {
        case .sync(let name):
          what == "slab" && SlabName.parse(name) != nil
            || what == "cursor" && name == "consumers/reader.cursor"
        case .syncDirectory: what == "directory"
        default: false
        }
      })
    let waiting = Task { try await consumer.acknowledgeAndFollow() }
    let error = await queueError { try await batch.acknowledge() }
    #expect(error?.code == .syncFailed)
    #expect(error?.message.contains("this consumer") == true)
    #expect(await queueError { try await waiting.value }?.code == .syncFailed)
    storage.logCalls()
    #expect(await queueError { try await batch.acknowledge() }?.code == .syncFailed)
    #expect(await queueError { _ = try await consumer.nextBatch(upTo: 1) }?.code == .syncFailed)
    #expect(await queueError { try await consumer.settle() }?.code == .syncFailed)
    #expect(await queueError { try await consumer.reset(to: .latest) }?.code == .syncFailed)
    #expect(await queueError { try await consumer.close() }?.code == .syncFailed)
    #expect(changes(storage).isEmpty)
    #expect(consumer.ordinal == 0)
    // The name is free again, and the next consumer begins at the position on the disk.
    storage.setFault(nil)
    let next = try ConsumerTopic.consumer(topic)
    #expect(next.ordinal == 0 || what == "cursor" && next.ordinal == 150)
    // The system reports a slab's failed sync to every holder of the slab, so the writer fails,
    // too.
    let closing = await queueError { try await writer.close() }
    #expect(closing?.code == (what == "slab" ? .syncFailed : nil))
  }

  @Test(
    "a slot that cannot be written is told, and written by the next acknowledgement",
    arguments: [Errno.io, Errno.noSpace])
  func failedWrite(_ errno: Int32) async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    try ConsumerTopic.append(0..<20, to: topic)
    let consumer = try ConsumerTopic.consumer(topic)
    let batch = try #require(try await consumer.nextBatch(upTo: 20))
    let fault = SimulatedStorage.Fault(.fail(errno), at: 1) { $0.isWrite }
    storage.setFault(fault)
    let expected: QueueError.Code = errno == Errno.io ? .system(errno: errno) : .noSpace
    #expect(await queueError { try await batch.acknowledge(through: 4) }?.code == expected)
    #expect(consumer.ordinal == 0)
    // The same acknowledgement is written, although the consumer already knows it.
    try await batch.acknowledge(through: 4)
    #expect(consumer.ordinal == 5)
    storage.setFault(fault)
    #expect(await queueError { try await consumer.reset(to: .latest) }?.code == expected)
    #expect(consumer.ordinal == 5)
    storage.setFault(fault)
    try batch[...9].acknowledge(within: .zero)
    #expect(await queueError { try await consumer.close() }?.code == expected)
    try await batch.acknowledge(through: 10)
    try await consumer.close()
    #expect(consumer.ordinal == 11)
  }

  @Test("what nobody waited for and failed is thrown by the next call, once")
  func owed() async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    try ConsumerTopic.append(0..<20, to: topic)
    let consumer = try ConsumerTopic.consumer(topic, background: .thread)
    let batch = try #require(try await consumer.nextBatch(upTo: 10))
    storage.setFault(SimulatedStorage.Fault(.fail(Errno.io), at: 1) { $0.isWrite })
    try batch[...4].acknowledge(within: .zero)
    // This call runs after the write, on the same thread.
    let error = await queueError { _ = try await consumer.nextBatch(upTo: 10) }
    #expect(error?.code == .system(errno: Errno.io))
    #expect(try await consumer.nextBatch(upTo: 10)?.count == 10)
    try await consumer.close()
    #expect(consumer.ordinal == 5)
  }

  @Test("what was made good meanwhile is not thrown any more")
  func madeGood() async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    try ConsumerTopic.append(0..<20, to: topic)
    let consumer = try ConsumerTopic.consumer(topic, background: .thread)
    let batch = try #require(try await consumer.nextBatch(upTo: 10))
    storage.setFault(SimulatedStorage.Fault(.fail(Errno.io), at: 1) { $0.isWrite })
    try batch[...4].acknowledge(within: .zero)
    // `settle` runs after the write, on the same thread.
    try await consumer.settle()
    #expect(storage.hits == 1)
    #expect(consumer.ordinal == 5)
    #expect(try await consumer.nextBatch(upTo: 10)?.count == 10)
    try await consumer.close()
  }

  @Test("G9: on a full disk acknowledging works, and a new consumer leaves nothing behind")
  func fullDisk() async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    try ConsumerTopic.append(0..<50, to: topic)
    let consumer = try ConsumerTopic.consumer(topic)
    storage.setCapacity(storage.used)
    for try await batch in consumer.batches(upTo: 5, following: false) {
      try await batch.acknowledge()
    }
    #expect(consumer.ordinal == 50)
    try await consumer.reset(to: .earliest)
    try await consumer.close()
    for room in [0, 1, 100, 4096, 4097, 8191] {
      storage.setCapacity(storage.used + room)
      let error = queueError { _ = try ConsumerTopic.consumer(topic, "new") }
      #expect(error?.code == .noSpace)
      #expect(try topic.cursorFiles() == ["reader.cursor", "reader.lock"])
    }
    storage.setCapacity(storage.used + 8192)
    let new = try ConsumerTopic.consumer(topic, "new")
    #expect(try await ConsumerTopic.drain(new).count == 50)
  }

  // MARK: Crashes

  /// The reports that one run got before it died.
  private struct Run {
    /// Every record below this ordinal was acknowledged durably.
    var promised: UInt64 = 0
    /// Acknowledged, durably or not.
    var acknowledged: Set<UInt64> = []
    /// The number of records that were flushed.
    var flushed: UInt64 = 0

    /// The lowest record that was not acknowledged.
    var lowest: UInt64 {
      var ordinal: UInt64 = 0
      while acknowledged.contains(ordinal) { ordinal += 1 }
      return ordinal
    }
  }

  /// Writes without syncing, reads and acknowledges at random, until it dies.
  private func run(_ storage: SimulatedStorage, seed: UInt64) async -> Run {
    var random = SeededGenerator(seed: seed)
    var run = Run()
    let topic = Topic(storage: storage)
    do {
      let writer = try ConsumerTopic.open(topic)
      var consumer = try ConsumerTopic.consumer(topic)
      var batches: [QueueConsumer.Batch] = []
      for round in 0..<8 {
        for _ in 0..<15 {
          try writer.append(ConsumerTopic.text(Int(run.flushed)))
          run.flushed += 1
        }
        try await writer.flush()
        while let batch = try await consumer.nextBatch(
          upTo: 1 + random.below(9), following: false)
        {
          batches.append(batch)
        }
        for _ in 0..<6 {
          let batch = batches[random.below(batches.count)]
          let index = random.below(batch.count)
          if random.chance(50) {
            run.acknowledged.insert(batch[index].ordinal)
            try await batch.acknowledge(only: index)
          } else {
            run.acknowledged.formUnion(0...batch[index].ordinal)
            try await batch.acknowledge(through: index)
            run.promised = max(run.promised, batch[index].ordinal + 1)
          }
          run.promised = max(run.promised, consumer.ordinal)
        }
        if round == 4 {
          try await consumer.close()
          run.promised = max(run.promised, consumer.ordinal)
          batches = []
          run.acknowledged = Set(0..<consumer.ordinal)
          consumer = try ConsumerTopic.consumer(topic)
        }
      }
      try await consumer.close()
      run.promised = max(run.promised, consumer.ordinal)
    } catch {
      #expect(storage.isDead, "\(error)")
    }
    return run
  }

  private func check(_ storage: SimulatedStorage, _ run: Run, _ note: Comment) async throws {
    let topic = Topic(storage: storage)
    // Every record below the cursor is there, so the cursor is not ahead of the disk.
    let reported = Reported()
    guard storage.slabs.isEmpty == false || run.promised > 0 else { return }
    let before = try QueueConsumer.consumers(of: topic).first { $0.state == .sound }
    let kept = try readAll(topic)
    #expect(kept.losses.isEmpty, note)
    #expect(UInt64(kept.records.count) >= before?.ordinal ?? 0, note)
    #expect(before?.ordinal ?? 0 >= run.promised, note)
    #expect(before?.ordinal ?? 0 <= run.lowest, note)
    let writer = try ConsumerTopic.open(topic)
    try writer.append("new")
    try await writer.close()
    let all = try readAll(topic)
    let consumer = try ConsumerTopic.consumer(topic, reported: reported)
    #expect(consumer.ordinal >= run.promised, note)
    let delivered = try await ConsumerTopic.drain(consumer)
    #expect(delivered.map(\.ordinal) == Array(consumer.ordinal..<UInt64(all.records.count)), note)
    #expect(delivered == Array(all.records.suffix(delivered.count)), note)
    #expect(reported.losses.isEmpty, note)
    try await consumer.close()
  }

  @Test("a crash at any call keeps every promise, also when the power goes with it")
  func crashes() async throws {
    var number = 0
    var isDead = true
    while isDead, number < 1000 {
      number += 1
      for seed in UInt64(1)...3 {
        let storage = SimulatedStorage(seed: seed &+ UInt64(number) << 8)
        storage.setFault(SimulatedStorage.Fault(.die, at: number))
        let reported = await run(storage, seed: seed)
        isDead = storage.isDead
        var random = SeededGenerator(seed: seed &* 31 &+ UInt64(number))
        for _ in 0..<2 {
          try await check(
            storage.powerCut(using: &random), reported, "call \(number), seed \(seed), power")
        }
        storage.kill()
        try await check(storage, reported, "call \(number), seed \(seed), kill")
      }
    }
    #expect(number > 50 && number < 1000)
  }
}

extension QueueConsumer {
  /// Reads all batches, and then waits for another one.
  fileprivate func acknowledgeAndFollow() async throws {
    while try await nextBatch(upTo: 1000, following: true) != nil {}
  }
}
