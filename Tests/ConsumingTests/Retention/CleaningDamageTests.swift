// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("Cleaning what others left")
struct CleaningDamageTests {
  private let made = CleaningTopic()
  private var storage: SimulatedStorage { made.storage }

  // MARK: Epochs and damage

  @Test("through crashes and discarded slabs: never a hole, and nothing that was kept is lost")
  func epochs() throws {
    for seed in 0..<40 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      var storage = SimulatedStorage(seed: seed)
      for _ in 0..<4 {
        let writer = try QueueWriter(
          topic: Topic(storage: storage), options: SmallTopic.options,
          environment: fixedEnvironment(topicID: 77, background: .manual))
        for _ in 0..<random.below(30) {
          try writer.append(SmallTopic.payload(writer.position.rawValue, length: 700))
          if random.chance(15) { try writer.sync() }
        }
        try writer.flush()
        writer.dieForTesting()
        storage = storage.powerCut(using: &random)
      }
      let last = try QueueWriter(
        topic: Topic(storage: storage), options: SmallTopic.options,
        environment: fixedEnvironment(topicID: 77))
      try last.append("last")
      try last.close()
      let topic = Topic(storage: storage)
      let all = try readAll(topic).records
      for records in stride(from: UInt64(all.count), through: 0, by: -2) {
        let before = storage.slabs.keys.sorted()
        let left = try readAll(topic).records.count
        let removed = try SlabCleaner(topic: topic).clean(
          keeping: Retention(records: records, minimumBytes: .bytes(0))
        ).removals
        #expect(storage.slabs.keys.sorted() == Array(before.dropFirst(removed.count)))
        let read = try readAll(topic)
        #expect(read.records == Array(all.suffix(read.records.count)), "seed \(seed)")
        #expect(read.records.count >= Int(records), "seed \(seed)")
        #expect(read.losses == [], "seed \(seed)")
        let counted = removed.reduce(0) { $0 + ($1.records ?? 0) }
        if removed.allSatisfy({ $0.records != nil }) {
          #expect(left - read.records.count == Int(counted), "seed \(seed)")
        }
      }
      #expect(storage.slabs.count == 1)
    }
  }

  @Test("damaged beginnings are cleaned with the rest, where what is behind them is known")
  func damagedBeginnings() throws {
    try made.fill(slabs: 7)
    let bases = made.bases
    for base in [bases[0], bases[2], bases[3]] {
      storage.flip(bit: 8 * 20, ofSlab: base)
      storage.flip(bit: 8 * 100, ofSlab: base)
    }
    let all = try readAll(made.topic)
    let report = try made.cleaner().clean(
      keeping: Retention(records: 6, minimumBytes: .bytes(0)))
    #expect(report.removals.count > 3)
    #expect(report.removals[0].records != nil)
    #expect(report.removals[1].records == nil)
    #expect(report.removals[2].records == nil)
    let read = try readAll(made.topic)
    #expect(read.records == Array(all.records.suffix(read.records.count)))
    #expect(read.records.count >= 6)
  }

  @Test("stamps and ordinals without bounds are no crash, and remove nothing they cannot prove")
  func hostile() throws {
    for (ordinal, stamp, synced) in [
      (.max, .max, .max), (0, 0, .max), (.max, 0, 0), (5, .max, 1 << 63),
    ] as [(UInt64, UInt64, UInt64)] {
      let made = CleaningTopic()
      var base: UInt64 = 0
      for place in 0..<4 as Range<UInt64> {
        var forge = SlabForge(
          base: base, ordinal: place == 2 ? ordinal : place, synced: synced, stamp: stamp)
        forge.putRecord([UInt8(place)])
        made.storage.replace(slab: base, with: forge.bytes)
        base = forge.end
      }
      let far = SlabForge(
        base: .max - 200, ordinal: ordinal, synced: synced, kept: synced, stamp: 1)
      made.storage.replace(slab: far.base, with: far.bytes)
      let cleaner = try SlabCleaner(topic: made.topic)
      for retention in [
        Retention(age: .seconds(0), minimumBytes: .bytes(0)),
        Retention(bytes: .bytes(1), minimumBytes: .bytes(.max)),
        Retention(records: .max, minimumBytes: .bytes(0)), .nothing,
      ] {
        let count = made.storage.slabs.count
        let planned = try cleaner.plan(keeping: retention).removals
        #expect(try cleaner.clean(keeping: retention).removals == planned)
        #expect(made.storage.slabs.count == count - planned.count)
        #expect(made.storage.slabs[far.base] != nil)
      }
    }
  }

  @Test("a slab of a newer program, or of another topic, stops everything")
  func refused() throws {
    for place in [0, 1, 3] {
      let made = CleaningTopic()
      try made.fill(slabs: 4)
      let bases = made.bases
      var bytes = try #require(made.storage.slabs[bases[place]])
      bytes[8] = 3
      let header = Array(bytes[..<72])
      let hash = Checksum.xxh3(header.span.bytes, seed: 0)
      for index in 0..<8 { bytes[72 + index] = UInt8(truncatingIfNeeded: hash >> (8 * index)) }
      made.storage.replace(slab: bases[place], with: bytes)
      let newer = queueError {
        try SlabCleaner(topic: made.topic).clean(keeping: .nothing)
      }
      #expect(newer?.code == .unsupportedFormat)
      if place == 3 {
        // It is refused even if no slab near it would be removed.
        let retention = Retention(age: .days(1), minimumBytes: .bytes(0))
        let early = queueError { _ = try made.cleaner().plan(keeping: retention) }
        #expect(early?.code == .unsupportedFormat)
      }
      #expect(made.bases == bases)

      guard place < 3 else { continue }
      var foreign = SlabForge(base: bases[place], synced: 0, topicID: 5)
      foreign.putRecord([1])
      made.storage.replace(slab: bases[place], with: foreign.bytes)
      let other = queueError {
        try SlabCleaner(topic: made.topic).clean(keeping: .nothing)
      }
      #expect(other?.code == .unsupportedFormat)
      #expect(made.bases == bases)
    }
  }

  // MARK: Version 1

  @Test("a topic of queuefka's stays until a writer has opened it, and goes then like any other")
  func version1() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/topic"
    for (base, bytes) in try slabs(fixture("queuefka-seattle")) {
      try writeFile(path + "/" + SlabName.string(base), bytes)
    }
    let topic = Topic(path)
    let old = try slabs(path).keys.sorted()
    let before = try readAll(topic).records
    let cleaner = try SlabCleaner(topic: topic)
    #expect(
      try cleaner.clean(keeping: .nothing).removals == [])
    #expect(try slabs(path).keys.sorted() == old)

    let writer = try QueueWriter(topic: topic)
    let firstNew = try writer.append("new").address
    try writer.close()
    // The number of records in a version 1 slab is unknown. The number of records after all these
    // slabs is known.
    #expect(
      try cleaner.plan(keeping: Retention(records: 2, minimumBytes: .bytes(0))).removals == [])
    // Here, a cursor without an id is accepted.
    let last = try #require(old.last)
    var cursor = [UInt8](repeating: 0, count: CursorSlots.byteCount)
    made.put(made.slot(last, topicID: 0), in: &cursor, of: "reader")
    try writeFile(path + "/consumers/reader.cursor", cursor)
    let held = try cleaner.clean(keeping: .nothing)
    #expect(held.removals.map(\.slab.rawValue) == Array(old.dropLast()))
    #expect(held.removals.allSatisfy { $0.records == nil })
    #expect(held.stopReason == .consumer("reader"))
    let left = try readAll(topic)
    #expect(
      left.records.map(\.payload) == before.filter { $0.address.rawValue >= last }.map(\.payload)
        + [Array("new".utf8)])

    var retention = Retention.nothing
    retention.consumers = .ignored
    #expect(try cleaner.clean(keeping: retention).removals.count == 1)
    let new = try readAll(topic)
    #expect(new.records.map(\.address) == [firstNew])
    #expect(new.records.first?.ordinal == UInt64(before.count))
  }
}
