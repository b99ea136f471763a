// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

/// A topic whose contents are all known, and a naive cleaner for it.
private struct KnownTopic {
  struct Slab {
    var base: UInt64
    var size: UInt64
    /// The ordinal of its first record.
    var ordinal: UInt64
    var records: UInt64
    var stamp: UInt64
    /// Whether its header and first mark can be read.
    var isReadable: Bool
  }

  let storage = SimulatedStorage()
  private(set) var slabs: [Slab] = []
  /// How many records the log took.
  private(set) var endOrdinal: UInt64 = 0
  /// The address that the last mark states as synced.
  let synced: UInt64
  /// A cleaner can make everything below this address durable: it is the end of the log.
  private var durable: UInt64 = 0
  let newestStamp: UInt64

  /// - Parameters:
  ///   - records: how many records each slab holds.
  ///   - unreadable: indexes of the slabs whose beginning is damaged.
  ///   - syncedSlabs: how many slabs are durable. Nothing of the next one is durable.
  init(records: [Int], unreadable: Set<Int> = [], syncedSlabs: Int) {
    var forges: [SlabForge] = []
    var base: UInt64 = 0
    var stamp = Stamp.firstKnown + 1000
    for (place, count) in records.enumerated() {
      var forge = SlabForge(base: base, ordinal: endOrdinal, synced: 0, stamp: stamp)
      for number in 0..<count { forge.putRecord([UInt8(place), UInt8(number)]) }
      slabs.append(
        Slab(
          base: base, size: 0, ordinal: endOrdinal, records: UInt64(count), stamp: stamp,
          isReadable: !unreadable.contains(place)))
      endOrdinal += UInt64(count)
      base = forge.end
      stamp += 100
      forges.append(forge)
    }
    // The last mark of the last slab states how much is durable. A slab is durable whole or not at
    // all. The last slab counts as whole up to this mark.
    let last = forges.count - 1
    synced = syncedSlabs > last ? forges[last].end : slabs[syncedSlabs].base
    forges[last].putMark(synced: synced)
    newestStamp = slabs[last].stamp
    // The log ends at a slab without a sound header, unless a mark states that this slab was
    // durable.
    let torn = slabs.first { !$0.isReadable && $0.base >= synced }
    endOrdinal = torn?.ordinal ?? endOrdinal
    for (place, forge) in forges.enumerated() {
      var bytes = forge.bytes
      if unreadable.contains(place) {
        bytes[20] ^= 1
        bytes[100] ^= 1
      }
      slabs[place].size = UInt64(bytes.count)
      durable = torn?.base ?? slabs[place].base + slabs[place].size
      storage.replace(slab: slabs[place].base, with: bytes)
    }
  }

  /// The bases of the slabs to remove, by naive sums over all slabs.
  func naive(_ retention: Retention, now: UInt64, held: UInt64?) -> [UInt64] {
    let present = min(now, newestStamp)
    var removed: [UInt64] = []
    for place in slabs.indices.dropLast() {
      let after = slabs[(place + 1)...]
      let next = after[place + 1].base
      let bytesAfter = after.reduce(0) { $0 + $1.size }
      let durableAfter = after.reduce(0) {
        $0 + max(min($1.base + $1.size, durable), $1.base) - $1.base
      }
      let readable = after.first(where: \.isReadable)
      var wanted = false
      if let age = retention.age, let readable {
        wanted = Int64(present) - Int64(readable.stamp) > Int64(age.duration.clampedNanoseconds)
      }
      if let bytes = retention.bytes, bytesAfter >= UInt64(bytes.bytes) { wanted = true }
      if let records = retention.records, let readable, endOrdinal >= readable.ordinal,
        endOrdinal - readable.ordinal >= records
      {
        wanted = true
      }
      guard wanted, durable > next, held.map({ $0 >= next }) ?? true,
        durableAfter >= UInt64(retention.minimumBytes.bytes)
      else { break }
      removed.append(slabs[place].base)
    }
    return removed
  }

  func planned(
    _ retention: Retention, now: UInt64
  ) throws -> [SlabCleaner.Removal] {
    let cleaner = try SlabCleaner(
      topic: Topic(storage: storage),
      environment: Environment(now: { now }, randomID: { 1 }, background: .manual))
    return try cleaner.plan(keeping: retention).removals
  }

  func hold(from address: UInt64) throws {
    var bytes = [UInt8](repeating: 0, count: CursorSlots.byteCount)
    for generation in [1, 2] as [UInt64] {
      let encoded = CursorSlot(
        generation: generation, topicID: 77, address: address, ordinal: 0
      ).bytes(of: "reader")
      let start = Int(CursorSlots.offset(ofGeneration: generation))
      bytes.replaceSubrange(start..<start + encoded.count, with: encoded)
    }
    let directory = try storage.consumers(creating: true)
    _ = try directory.create("reader.cursor").write(bytes.span.bytes, at: 0)
  }
}

@Suite("What is to be cleaned")
struct CleaningPlanTests {
  /// Every value at which something changes, and the values directly below and above it.
  private func around(_ values: [UInt64]) -> [UInt64] {
    Array(Set(values.flatMap { [$0 &- min($0, 1), $0, $0 + 1] })).sorted()
  }

  private func age(_ nanoseconds: UInt64) -> Age { Age(.nanoseconds(Int64(nanoseconds))) }

  @Test("is what a naive cleaner finds, for every small topic and one bound at a time")
  func exhaustive() throws {
    var removals = 0
    for unreadable in [[], [0], [1], [2], [1, 2], [0, 1, 2], [3]] as [Set<Int>] {
      for syncedSlabs in 0...4 {
        let topic = KnownTopic(
          records: [2, 0, 3, 1], unreadable: unreadable, syncedSlabs: syncedSlabs)
        let suffixes = topic.slabs.indices.map { place in
          topic.slabs[place...].reduce(0) { $0 + $1.size }
        }
        var retentions: [Retention] = []
        for age in around([0, 100, 200, 300]) {
          retentions.append(Retention(age: self.age(age), minimumBytes: .bytes(0)))
        }
        for bytes in around(suffixes + [0]) {
          retentions.append(Retention(bytes: .bytes(Int64(bytes)), minimumBytes: .bytes(0)))
          retentions.append(Retention(records: 0, minimumBytes: .bytes(Int64(bytes))))
        }
        for records in around([0, 1, 4, 6]) {
          retentions.append(Retention(records: records, minimumBytes: .bytes(0)))
        }
        for retention in retentions {
          let planned = try topic.planned(retention, now: Stamp.firstKnown + 5000)
          let naive = topic.naive(retention, now: Stamp.firstKnown + 5000, held: nil)
          #expect(
            planned.map(\.slab.rawValue) == naive,
            "\(retention), \(unreadable) unreadable, \(syncedSlabs) synced")
          removals += naive.count
        }
      }
    }
    #expect(removals > 500)
  }

  @Test("is what a naive cleaner finds, for bounds, consumers and clocks in any mixture")
  func mixtures() throws {
    var removals = 0
    for seed in 0..<1500 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let count = 1 + random.below(6)
      let unreadable = Set((0..<count).filter { _ in random.chance(20) })
      let topic = KnownTopic(
        records: (0..<count).map { _ in random.below(4) }, unreadable: unreadable,
        syncedSlabs: random.chance(70) ? count : random.below(count + 1))
      var retention = Retention(
        minimumBytes: .bytes(random.chance(50) ? 0 : Int64(random.below(800))))
      if random.chance(50) { retention.age = age(UInt64(random.below(700))) }
      if random.chance(50) { retention.bytes = .bytes(Int64(random.below(1000))) }
      if random.chance(50) { retention.records = UInt64(random.below(12)) }
      var held: UInt64?
      if random.chance(40) {
        let address = UInt64(random.below(900))
        held = address
        try topic.hold(from: address)
      }
      let now = Stamp.firstKnown + (random.chance(30) ? UInt64(random.below(1800)) : 1_000_000)
      let planned = try topic.planned(retention, now: now)
      let naive = topic.naive(retention, now: now, held: held)
      #expect(planned.map(\.slab.rawValue) == naive, "seed \(seed)")
      removals += naive.count

      // The slabs' contents agree: no record is removed that the bound of its removal keeps.
      for removal in planned {
        let place = try #require(topic.slabs.firstIndex { $0.base == removal.slab.rawValue })
        let slab = topic.slabs[place]
        #expect(removal.bytes.bytes == Int64(slab.size))
        #expect(removal.records == nil || removal.records == slab.records)
        let after = topic.slabs[(place + 1)...]
        switch removal.cause {
        case .age(let age):
          let end = after.first?.stamp ?? .max
          #expect(min(now, topic.newestStamp) - end > age.duration.clampedNanoseconds)
        case .bytes(let bytes):
          #expect(after.reduce(0) { $0 + $1.size } >= UInt64(bytes.bytes))
        case .records(let records):
          #expect(after.reduce(0) { $0 + $1.records } >= records)
        @unknown default: Issue.record("a cause without a check: \(removal.cause)")
        }
      }
    }
    #expect(removals > 500)
  }

  @Test("what stops it is said")
  func kept() {
    var plan = CleaningPlan(
      retention: Retention(records: 1), present: 50, synced: 300, endOrdinal: 100, bytesFrom: nil,
      minimumFrom: 200)
    var slab = CleaningPlan.FirstSlab(
      base: 100, next: 200, contentEnd: 200, stampAfter: 10, ordinalAfter: 7)
    let none = ConsumerHolds()
    #expect(plan.judge(slab, none) == .remove(.records(1)))
    plan.minimumFrom = 199
    #expect(plan.judge(slab, none) == .keep(.minimum))
    plan.minimumFrom = nil
    #expect(plan.judge(slab, none) == .keep(.minimum))
    plan.minimumFrom = .max
    plan.synced = 200
    #expect(plan.judge(slab, none) == .keep(.unproven))
    plan.retention.records = 94
    #expect(plan.judge(slab, none) == .keep(.withinBounds))
    slab.ordinalAfter = nil
    plan.retention.records = 0
    #expect(plan.judge(slab, none) == .keep(.withinBounds))
    slab.ordinalAfter = .max
    #expect(plan.judge(slab, none) == .keep(.withinBounds))
    slab.next = nil
    #expect(plan.judge(slab, none) == .keep(.lastSlab))
    plan.retention = Retention()
    #expect(plan.judge(slab, none) == .keep(.noBound))
  }

  @Test("a consumer that has all of an epoch does not hold that epoch's last slab")
  func heldToTheEndOfAnEpoch() throws {
    let plan = CleaningPlan(
      retention: Retention(records: 1), present: 0, synced: .max, endOrdinal: 100, bytesFrom: nil,
      minimumFrom: .max)
    let slab = CleaningPlan.FirstSlab(
      base: 100, next: 1 << 40, contentEnd: 150, stampAfter: nil, ordinalAfter: 7)
    let made = CleaningTopic()
    for (address, goes) in [(149, false), (150, true), (1 << 40, true)] as [(UInt64, Bool)] {
      try made.putCursor("reader", made.slot(address), made.slot(address, generation: 2))
      #expect(
        plan.judge(slab, try made.holds())
          == (goes ? .remove(.records(1)) : .keep(.consumer("reader"))))
    }
  }

  @Test("nothing is old by a stamp ahead of the present, or without one")
  func stamps() {
    let plan = CleaningPlan(
      retention: Retention(age: .seconds(0)), present: Stamp.firstKnown + 50, synced: .max,
      endOrdinal: 0, bytesFrom: nil, minimumFrom: .max)
    let known = Stamp.firstKnown
    for (stamp, isOld) in [
      (nil, false), (0, false), (known - 1, false), (known, true), (known + 49, true),
      (known + 50, false), (known + 51, false), (.max, false),
    ] as [(UInt64?, Bool)] {
      let slab = CleaningPlan.FirstSlab(
        base: 0, next: 200, contentEnd: 200, stampAfter: stamp, ordinalAfter: nil)
      #expect(
        plan.judge(slab, ConsumerHolds())
          == (isOld ? .remove(.age(.seconds(0))) : .keep(.withinBounds)))
    }
  }

  @Test("negative bounds and impossible names are refused, and long ones are no crash")
  func validation() throws {
    let bad = [
      Retention(age: .seconds(-1)), Retention(bytes: .bytes(-1)),
      Retention(minimumBytes: .bytes(-1)), Retention(consumers: .only(["../up"])),
      Retention(consumers: .except([""])), Retention(consumers: .only([".hidden"])),
    ]
    for retention in bad {
      #expect(queueError { try retention.validate() }?.code == .invalidOption)
    }
    let topic = KnownTopic(records: [1, 1, 1], syncedSlabs: 3)
    let most = Retention(
      age: .days(.max), bytes: .bytes(.max), records: .max, minimumBytes: .bytes(.max))
    #expect(try topic.planned(most, now: .max) == [])
    let least = Retention(
      age: .seconds(0), bytes: .bytes(0), records: 0, minimumBytes: .bytes(0))
    #expect(try topic.planned(least, now: 0).count == 2)
    #expect(try topic.planned(Retention(minimumBytes: .bytes(0)), now: .max) == [])
  }
}
