// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("Damage to whole stretches and slabs")
struct SlabDamageTests {
  /// What is wrong with a pass over a damaged copy of the topic; nil: nothing.
  ///
  /// - Parameter hit: which addresses may have lost their bytes.
  private func fault(
    in storage: SimulatedStorage, of small: SmallTopic, hit: (UInt64) -> Bool
  ) -> String? {
    let pass = EnginePass(Topic(storage: storage), options: SmallTopic.readerOptions)
    let naive = naiveRead(slabs: storage.slabs)
    if let difference = pass.difference(from: naive) { return difference }
    guard pass.error == nil else { return nil }
    var remaining = small.records[...]
    var missing: UInt64 = 0
    func miss(_ record: NaiveRecord) -> String? {
      if record.address >= pass.end { return nil }
      missing += 1
      return (record.address..<record.end).contains(where: hit)
        ? nil : "record \(record.address) is missing and was not hit"
    }
    for (record, other) in zip(pass.records, naive.records) {
      while let next = remaining.first, next.address < record.address {
        if let fault = miss(remaining.removeFirst()) { return "\(fault); \(next.address)" }
      }
      guard let expected = remaining.popFirst(), expected.address == record.address,
        expected.payload == record.payload
      else { return "record \(record.address) was invented" }
      if let ordinal = other.ordinal, ordinal != expected.ordinal {
        return "record \(record.address) has ordinal \(ordinal)"
      }
    }
    for record in remaining {
      if let fault = miss(record) { return fault }
    }
    let counts = pass.losses.map(\.records)
    if counts.allSatisfy({ $0 != nil }), counts.reduce(0, { $0 + ($1 ?? 0) }) != missing {
      return "\(missing) records are missing, and reported are \(pass.losses)"
    }
    return nil
  }

  /// Tries one way of damaging the topic on a copy of it.
  private func damaged(
    _ small: SmallTopic, hit: (UInt64) -> Bool, _ damage: (SimulatedStorage) -> Void
  ) -> String? {
    let storage = small.storage.copy()
    damage(storage)
    return fault(in: storage, of: small, hit: hit)
  }

  @Test("G5: a zeroed sector costs the records in it, and those that hang over its borders")
  func zeroedSectors() throws {
    let small = try SmallTopic()
    var failures: [String] = []
    for (base, bytes) in small.storage.slabs {
      for start in stride(from: 0, to: bytes.count, by: 512) {
        let end = min(start + 512, bytes.count)
        var zeroed = bytes
        zeroed.replaceSubrange(start..<end, with: repeatElement(0, count: end - start))
        let range = base + UInt64(start)..<base + UInt64(end)
        let fault = damaged(small, hit: range.contains) { $0.replace(slab: base, with: zeroed) }
        if let fault { failures.append("\(range): \(fault)") }
      }
    }
    #expect(failures == [])
  }

  @Test("G5: a header and the mark that repeats it, both hit, cost no record")
  func headerAndFirstMark() throws {
    let small = try SmallTopic()
    var random = SeededGenerator(seed: 11)
    var failures: [String] = []
    for base in small.storage.slabs.keys {
      for _ in 0..<100 {
        let bits = [random.below(80 * 8), 80 * 8 + random.below(48 * 8)]
        let fault = damaged(small, hit: Set<UInt64>().contains) { storage in
          for bit in bits { storage.flip(bit: bit, ofSlab: base) }
        }
        if let fault { failures.append("bits \(bits) of \(base): \(fault)") }
      }
    }
    #expect(failures == [])
  }

  @Test("G5: an epoch whose every header and mark is hit still gives its records")
  func hiddenEpoch() throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    var addresses: [UInt64] = []
    for epoch in UInt64(0)..<3 {
      let writer = try QueueWriter(topic: topic, options: .init(), environment: .simulated())
      for number in 0..<5 {
        let payload = SmallTopic.payload(epoch * 5 + UInt64(number), length: 60)
        addresses.append(try writer.append(payload).rawValue)
      }
      try writer.flush()
      writer.dieForTesting()
    }
    storage.flip(bit: 30 * 8, ofSlab: 1 << 40)
    storage.flip(bit: 100 * 8, ofSlab: 1 << 40)
    let pass = EnginePass(topic)
    #expect(pass.records.map(\.address) == addresses)
    #expect(pass.records.map(\.ordinal) == (0..<15).map { UInt64($0) })
    #expect(pass.losses.map(\.records) == [0])
    #expect(pass.difference(from: naiveRead(slabs: storage.slabs)) == nil)
  }

  @Test("G2, G5: any two flipped bits invent no record, and cost what they hit")
  func pairsOfBits() throws {
    let small = try SmallTopic()
    let slabs = small.storage.slabs.sorted { $0.key < $1.key }
    var random = SeededGenerator(seed: 12)
    var failures: [String] = []
    for round in 0..<2500 {
      // Half of the pairs near to each other: that is where they may tell more than two lies.
      let first = slabs[random.below(slabs.count)]
      let bit = random.below(first.value.count * 8)
      var second = slabs[random.below(slabs.count)]
      var other = random.below(second.value.count * 8)
      if round % 2 == 0 {
        second = first
        other = min(bit + 8 + random.below(400 * 8), first.value.count * 8 - 1)
      }
      guard bit != other || first.key != second.key else { continue }
      let hits = [first.key + UInt64(bit / 8), second.key + UInt64(other / 8)]
      let fault = damaged(small, hit: hits.contains) { storage in
        storage.flip(bit: bit, ofSlab: first.key)
        storage.flip(bit: other, ofSlab: second.key)
      }
      if let fault { failures.append("\(hits): \(fault)") }
    }
    #expect(failures == [])
  }

  @Test("G5: a slab that is cut, gone, empty or zero costs its own records only")
  func middleSlabs() throws {
    let small = try SmallTopic()
    let slabs = small.storage.slabs.sorted { $0.key < $1.key }
    var failures: [String] = []
    for (base, bytes) in slabs.dropFirst().dropLast() {
      let range = base..<base + UInt64(bytes.count)
      for length in 0..<bytes.count where length % 7 == 0 || length < 140 {
        let cut = base + UInt64(length)
        let fault = damaged(small, hit: (cut..<range.upperBound).contains) {
          $0.replace(slab: base, with: Array(bytes[..<length]))
        }
        if let fault { failures.append("slab \(base) cut to \(length): \(fault)") }
      }
      let others: [(String, [UInt8]?)] = [
        ("gone", nil), ("zero", [UInt8](repeating: 0, count: bytes.count)),
        ("ones", [UInt8](repeating: 0xFF, count: bytes.count)),
      ]
      for (name, other) in others {
        let fault = damaged(small, hit: range.contains) { $0.replace(slab: base, with: other) }
        if let fault { failures.append("slab \(base) \(name): \(fault)") }
      }
    }
    #expect(failures == [])
  }

  @Test("G2: slabs that changed places, or stand in two, invent no record")
  func swappedSlabs() throws {
    let small = try SmallTopic()
    let slabs = small.storage.slabs.sorted { $0.key < $1.key }
    var failures: [String] = []
    for (base, bytes) in slabs {
      let range = base..<base + UInt64(bytes.count)
      for (other, otherBytes) in slabs where other != base {
        let otherRange = other..<other + UInt64(otherBytes.count)
        let both = Set(range).union(otherRange)
        let swapped = damaged(small, hit: both.contains) {
          $0.replace(slab: base, with: otherBytes)
          $0.replace(slab: other, with: bytes)
        }
        if let swapped { failures.append("\(base) and \(other) swapped: \(swapped)") }
        let copied = damaged(small, hit: range.contains) {
          $0.replace(slab: base, with: otherBytes)
        }
        if let copied { failures.append("\(other) copied over \(base): \(copied)") }
      }
    }
    #expect(failures == [])
  }
}
