// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

/// What damage costs follows from one rule, which `DamageTopic.cost` states.
@Suite("Damage costs what it hits")
struct DamageTests {
  /// If not all cases are tried, one of this many is.
  private static let sampled = 997

  @Test(
    """
    G1-G6: any single flipped bit costs at most the record it hits, and is reported once. \
    Recovery too
    """,
    arguments: DamageTopic.Kind.allCases)
  func everyBit(_ kind: DamageTopic.Kind) throws {
    let topic = try DamageTopic(kind)
    let bits = topic.slabs.sorted { $0.key < $1.key }.flatMap { base, bytes in
      (0..<bytes.count * 8).map { (base: base, bit: $0) }
    }
    let faults = Exhaustive.faults(
      "one bit, \(kind)", count: bits.count, sampled: Self.sampled,
      on: topic.storage
    ) { storage, number in
      let (base, bit) = bits[number]
      storage.flip(bit: bit, ofSlab: base)
      defer { storage.flip(bit: bit, ofSlab: base) }
      // To the second reader, the eight bits of a byte are alike. It checks one of them.
      let isOwn = bit % 8 == bit / 8 % 8 || !Exhaustive.isOn
      if let fault = topic.fault(reading: storage, asksNaive: isOwn) { return fault }
      guard bit % 8 == (bit / 8 + 4) % 8 || !Exhaustive.isOn else { return nil }
      return try topic.fault(recovering: storage).map { "recovered: \($0)" }
    }
    #expect(faults == [])
  }

  @Test("G2, G5: any two flipped bits of a small slab cost the records that they hit")
  func everyPair() throws {
    let topic = try DamageTopic.tiny()
    let size = try #require(topic.slabs[0]?.count)
    #expect(size > 200 && size <= 300)
    let bits = size * 8
    let faults = Exhaustive.faults(
      "two bits of \(size) bytes", count: bits * bits, sampled: 40_009,
      on: topic.storage
    ) { storage, number in
      let (first, second) = (number / bits, number % bits)
      guard first < second else { return nil }
      for bit in [first, second] { storage.flip(bit: bit, ofSlab: 0) }
      defer { for bit in [first, second] { storage.flip(bit: bit, ofSlab: 0) } }
      let asksNaive = !Exhaustive.isOn || number % 61 == 0
      return topic.fault(reading: storage, asksNaive: asksNaive)
    }
    #expect(faults == [])
  }

  @Test("G2, G5: two random bits of a slab of 4 KiB, near to each other or not")
  func randomPairs() throws {
    let topic = try DamageTopic.full()
    let size = try #require(topic.slabs[0]?.count)
    #expect(size > 3900 && size <= 4096)
    let faults = Exhaustive.faults(
      "two random bits of \(size) bytes", count: 100_000, sampled: 1009,
      on: topic.storage
    ) { storage, number in
      var random = SeededGenerator(seed: UInt64(number))
      let first = random.below(size * 8)
      // In half of the cases, the second bit is at most 300 bytes after the first. Two near bits
      // may make more than two statements false.
      let second =
        number % 2 == 0
        ? random.below(size * 8) : min(first + 1 + random.below(300 * 8), size * 8 - 1)
      guard first != second else { return nil }
      for bit in [first, second] { storage.flip(bit: bit, ofSlab: 0) }
      defer { for bit in [first, second] { storage.flip(bit: bit, ofSlab: 0) } }
      let asksNaive = !Exhaustive.isOn || number % 8 == 0
      return topic.fault(reading: storage, asksNaive: asksNaive)
    }
    #expect(faults == [])
  }

  @Test(
    "G2, G5: two random bits anywhere, in version 1 slabs and in what nothing states, too",
    arguments: DamageTopic.Kind.allCases)
  func pairsAnywhere(_ kind: DamageTopic.Kind) throws {
    let topic = try DamageTopic(kind)
    let slabs = topic.slabs.sorted { $0.key < $1.key }
    let faults = Exhaustive.faults(
      "two bits anywhere, \(kind)", count: 20_000, sampled: 1009,
      on: topic.storage
    ) { storage, number in
      var random = SeededGenerator(seed: UInt64(number))
      let hits = (0..<2).map { _ in
        let slab = slabs[random.below(slabs.count)]
        return (slab.key, random.below(slab.value.count * 8))
      }
      for (base, bit) in hits { storage.flip(bit: bit, ofSlab: base) }
      defer { for (base, bit) in hits { storage.flip(bit: bit, ofSlab: base) } }
      if let fault = topic.fault(reading: storage, asksNaive: number % 4 == 0) { return fault }
      guard number % 4 == 1 else { return nil }
      return try topic.fault(recovering: storage).map { "recovered: \($0)" }
    }
    #expect(faults == [])
  }
}
