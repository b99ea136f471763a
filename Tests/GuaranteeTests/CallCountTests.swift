// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

/// The number of storage calls of an operation must not grow with the topic.
@Suite("Calls of the storage for one operation, with 1,000 slabs and with 10,000")
struct CallCountTests {
  typealias Call = SimulatedStorage.Call

  private static let sizes = [1000, 10_000]

  /// A closed topic of `count` slabs. Each has two records, and their stamps are a second apart.
  private static func topic(_ count: Int) -> SimulatedStorage {
    let storage = SimulatedStorage()
    var base: UInt64 = 0
    for place in 0..<count {
      var forge = SlabForge(
        base: base, ordinal: UInt64(2 * place), synced: base,
        stamp: 1_600_000_000_000_000_000 + UInt64(place) * 1_000_000_000)
      for number in 0..<2 { forge.putRecord(Array("record \(place) \(number)".utf8)) }
      if place == count - 1 { forge.putClosingMark() }
      storage.replace(slab: base, with: forge.bytes)
      base = forge.end
    }
    return storage
  }

  private static let topics = sizes.map { topic($0) }

  /// Calls `body` with a copy of each topic, and returns the calls that each copy logged.
  private func calls(
    _ body: (SimulatedStorage, _ slabs: Int) throws -> Void
  ) rethrows -> [[Call]] {
    try zip(Self.topics, Self.sizes).map { original, slabs in
      let storage = original.copy()
      try body(storage, slabs)
      return storage.calls
    }
  }

  /// How often each kind of call was made, whatever file it concerned.
  private func kinds(_ calls: [Call]) -> [String: Int] {
    Dictionary(calls.map { (String("\($0)".prefix { $0 != "(" }), 1) }, uniquingKeysWith: +)
  }

  private func expectSame(_ calls: [[Call]], listings: Int, most: Int) {
    #expect(kinds(calls[0]) == kinds(calls[1]))
    #expect(calls[1].count { $0 == .list } == listings)
    #expect(calls[0].count > 0 && calls[1].count <= most, "\(calls[1].count)")
  }

  /// For ten times the slabs, a binary search takes at most four more steps.
  private func expectLogarithmic(_ calls: [[Call]], callsAStep: Int = 4, most: Int) {
    #expect(calls[1].count <= calls[0].count + 4 * callsAStep, "\(calls.map(\.count))")
    #expect(calls[0].count > 0 && calls[1].count <= most, "\(calls.map(\.count))")
  }

  /// Writes the cursor of a consumer that has acknowledged everything below an address.
  private func putCursor(_ address: UInt64, in storage: SimulatedStorage) throws {
    var bytes = [UInt8](repeating: 0, count: CursorSlots.byteCount)
    for generation in [1, 2] as [UInt64] {
      let slot = CursorSlot(generation: generation, topicID: 77, address: address, ordinal: 0)
      let encoded = slot.bytes(of: "reader")
      let start = Int(CursorSlots.offset(ofGeneration: generation))
      bytes.replaceSubrange(start..<start + encoded.count, with: encoded)
    }
    let directory = try storage.consumers(creating: true)
    try? directory.remove("reader.cursor")
    _ = try directory.create("reader.cursor").write(bytes.span.bytes, at: 0)
  }

  private func environment(_ storage: SimulatedStorage) -> Environment {
    fixedEnvironment(ManualClock(1_700_000_000_000_000_000), topicID: 77)
  }

  private func writer(
    _ storage: SimulatedStorage, _ change: (inout QueueWriter.Options) -> Void = { _ in }
  ) throws -> QueueWriter {
    var options = SmallTopic.options
    change(&options)
    return try QueueWriter(
      topic: Topic(storage: storage), options: options, environment: environment(storage))
  }

  @Test("removing a slab takes the same few calls, and no listing")
  func remove() throws {
    let calls = try calls { storage, _ in
      var front = try SlabFront(of: storage)
      storage.logCalls()
      for _ in 0..<5 {
        guard case .removed = try front.removeFirst(of: storage, synced: .max) else {
          return #expect(Bool(false))
        }
      }
    }
    expectSame(calls, listings: 0, most: 5 * 8)
  }

  @Test("at the cap, dropping the oldest takes the same calls an append, and no listing")
  func appendAtTheCap() throws {
    for whenFull in [.dropOldest, .dropOldestAcknowledged] as [QueueWriter.Options.WhenFull] {
      let calls = try calls { storage, _ in
        try putCursor(.max, in: storage)
        let writer = try writer(storage) {
          $0.maximumBytes = .bytes(Int64(storage.used) + 1000)
          $0.whenFull = whenFull
        }
        try writer.append([UInt8](repeating: 1, count: 900))
        let before = writer.statistics.droppedSlabs
        storage.logCalls()
        for number in 0..<50 as Range<UInt8> {
          try writer.append([UInt8](repeating: number, count: 300))
        }
        #expect(writer.statistics.droppedSlabs > before + 50)
      }
      // Before each removal, the writer lists the consumers, because they may hold the slab.
      let asked = calls[1].count { $0 == .consumers }
      if case .dropOldest = whenFull { #expect(asked == 0) } else { #expect(asked > 50) }
      expectSame(calls, listings: asked, most: 6000)
    }
  }

  @Test("a sync looks at the names again only after one of them changed")
  func syncs() throws {
    let calls = try calls { storage, _ in
      let writer = try writer(storage)
      try writer.append([0])
      try writer.sync()
      storage.logCalls()
      for number in 1...20 as ClosedRange<UInt8> {
        try writer.append([number])
        try writer.sync()
      }
    }
    #expect(kinds(calls[1]) == ["write": 20, "sync": 20, "namesStamp": 20, "unlock": 1])
    expectSame(calls, listings: 0, most: 61)
    #expect(calls[1].count { $0 == .namesStamp } == 20)
    #expect(calls[1].allSatisfy { if case .identify = $0 { false } else { true } })
  }

  @Test("at the cap, an append that is refused takes the same calls, and no listing")
  func refusedAtTheCap() throws {
    let calls = try calls { storage, _ in
      let writer = try writer(storage) { $0.maximumBytes = .bytes(Int64(storage.used) + 600) }
      try writer.flush()
      _ = queueError { try writer.append([UInt8](repeating: 1, count: 300)) }
      storage.logCalls()
      for _ in 0..<10 {
        let error = queueError { try writer.append([UInt8](repeating: 1, count: 900)) }
        #expect(error?.code == .noSpace)
      }
    }
    expectSame(calls, listings: 0, most: 30)
  }

  @Test("on a full disk, dropping the oldest lists the topic once, however often")
  func fullDisk() throws {
    let calls = try calls { storage, _ in
      let writer = try writer(storage) { $0.whenFull = .dropOldest }
      try writer.flush()
      storage.setCapacity(storage.used + 100)
      storage.logCalls()
      for number in 0..<40 as Range<UInt8> {
        try writer.append([UInt8](repeating: number, count: 1000))
        try writer.flush()
      }
    }
    expectSame(calls, listings: 1, most: 6000)
  }

  @Test("cleaning lists the topic a few times, and takes the same calls for each slab that goes")
  func clean() throws {
    var counts: [Int] = []
    for removals in [1, 11] {
      let calls = try calls { storage, slabs in
        let cleaner = try SlabCleaner(
          topic: Topic(storage: storage), environment: environment(storage))
        storage.logCalls()
        let removed = try cleaner.clean(
          keeping: Retention(
            records: UInt64(2 * (slabs - removals)), minimumBytes: .bytes(500))
        ).removals
        #expect(removed.count == removals)
      }
      expectSame(calls, listings: 5, most: 400)
      counts.append(calls[1].count)
    }
    #expect(counts[1] - counts[0] <= 10 * 20, "\(counts)")
  }

  @Test(
    "cleaning by age where no clock knew the time finds the first known one in logarithmic time")
  func cleanUnknownTimes() throws {
    let calls = Self.sizes.map { count in
      let storage = SimulatedStorage()
      for place in 0..<count {
        var forge = SlabForge(
          base: UInt64(place * 137), ordinal: UInt64(place), synced: UInt64(place * 137), stamp: 5)
        forge.putRecord([UInt8(truncatingIfNeeded: place)])
        storage.replace(slab: forge.base, with: forge.bytes)
      }
      storage.logCalls()
      let cleaner = queueErrorOr { try SlabCleaner(topic: Topic(storage: storage)) }
      #expect(
        queueErrorOr {
          try cleaner?.plan(keeping: Retention(age: .seconds(1), minimumBytes: .bytes(0)))
        }??.removals.count == 0)
      return storage.calls
    }
    expectLogarithmic(calls, most: 120)
  }

  private func queueErrorOr<R>(_ body: () throws -> R) -> R? { try? body() }

  @Test("opening for writing takes the same calls, after a close and after a crash")
  func open() throws {
    for isClosed in [true, false] {
      let calls = try calls { storage, _ in
        if !isClosed {
          let writer = try writer(storage)
          try writer.append("not closed")
          try writer.flush()
          writer.dieForTesting()
          storage.kill()
        }
        storage.logCalls()
        let opened = try writer(storage) { $0.maximumBytes = .mebibytes(64) }
        #expect(opened.recovery.wasClean == isClosed)
      }
      expectSame(calls, listings: isClosed ? 4 : 6, most: 90)
    }
  }

  @Test("a lookup takes the same calls by address and from the end, and a logarithmic number else")
  func lookup() throws {
    func reading(_ position: (Int) -> Topic.Position) throws -> [[Call]] {
      try calls { storage, slabs in
        storage.logCalls()
        var reader = try QueueReader(
          topic: Topic(storage: storage), from: position(slabs), options: SmallTopic.readerOptions)
        _ = try reader.nextCopy()
      }
    }
    expectSame(try reading { _ in .earliest }, listings: 2, most: 30)
    expectSame(try reading { _ in .latest }, listings: 4, most: 60)
    expectLogarithmic(try reading { .ordinal(UInt64($0) + 1) }, most: 120)
    expectLogarithmic(
      try reading { slabs in .time(since1970: .seconds(1_600_000_000 + Int64(slabs) / 2)) },
      most: 120)
    let middles = Self.topics.map { $0.slabs.keys.sorted()[500] + 128 }
    let byAddress = try calls { storage, slabs in
      storage.logCalls()
      let middle = middles[slabs == Self.sizes[0] ? 0 : 1]
      var reader = try QueueReader(
        topic: Topic(storage: storage), from: .address(Address(rawValue: middle)),
        options: SmallTopic.readerOptions)
      #expect(try reader.nextCopy()?.address.rawValue == middle)
    }
    expectSame(byAddress, listings: 2, most: 40)
  }

  @Test("a reader's roll takes the same calls, and no listing")
  func roll() throws {
    let calls = try calls { storage, _ in
      var reader = try QueueReader(
        topic: Topic(storage: storage), options: SmallTopic.readerOptions)
      _ = try reader.nextCopy()
      storage.logCalls()
      for _ in 0..<40 { #expect(try reader.nextCopy() != nil) }
    }
    expectSame(calls, listings: 0, most: 20 * 5)
  }

  @Test("an acknowledgement takes the same calls, and no listing")
  func acknowledge() async throws {
    var all: [[Call]] = []
    for original in Self.topics {
      let storage = original.copy()
      let consumer = try QueueConsumer(topic: Topic(storage: storage), name: "reader")
      try await consumer.nextBatch(upTo: 3, following: false)?.acknowledge()
      storage.logCalls()
      for _ in 0..<10 {
        let batch = try #require(try await consumer.nextBatch(upTo: 3, following: false))
        #expect(batch.count == 3)
        try await batch.acknowledge()
      }
      all.append(storage.calls)
      try await consumer.close()
    }
    expectSame(all, listings: 0, most: 10 * 15)
  }

  @Test("a channel's cleaner lists the topic once for all that was acknowledged")
  func channelCleaner() throws {
    let calls = try calls { storage, _ in
      let writer = try writer(storage)
      let cleaner = ChannelCleaner(writer.core)
      let bases = storage.slabs.keys.sorted()
      storage.logCalls()
      for place in 1...30 {
        try putCursor(bases[place], in: storage)
        try cleaner.clean(upTo: bases[place] + 1)
        #expect(storage.slabs.keys.min() == bases[place])
      }
    }
    // Each of the 30 cleanings lists the consumers.
    expectSame(calls, listings: 31, most: 30 * 40)
  }
}
