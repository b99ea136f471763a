// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("Damage to what a slab begins with")
struct SlabBeginningTests {
  @Test(
    "G5: a header and the mark that repeats it, both hit, cost no record",
    arguments: DamageTopic.Kind.allCases)
  func headerAndFirstMark(_ kind: DamageTopic.Kind) throws {
    let topic = try DamageTopic(kind)
    let bases = topic.frames.filter { $0.kind == .header }.map(\.base)
    let faults = Exhaustive.faults(
      "header and mark, \(kind)", count: bases.count * 1000, sampled: 101, on: topic.storage
    ) { storage, number in
      var random = SeededGenerator(seed: UInt64(number))
      let base = bases[number / 1000]
      let bits = [random.below(80 * 8), 80 * 8 + random.below(48 * 8)]
      for bit in bits { storage.flip(bit: bit, ofSlab: base) }
      defer { for bit in bits { storage.flip(bit: bit, ofSlab: base) } }
      return topic.fault(reading: storage, asksNaive: true)
    }
    #expect(faults == [])
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
        addresses.append(try writer.append(payload).address.rawValue)
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
    #expect(storage.difference(from: pass) == nil)
  }

  @Test("G5: behind a version 1 topic, too, any mark tells the topic's id")
  func hiddenIDBehindVersion1() throws {
    let topic = try DamageTopic(.closed)
    let storage = topic.storage.copy()
    for base in topic.slabs.keys where base >> 40 > 0 {
      for bit in [30 * 8, 100 * 8] { storage.flip(bit: bit, ofSlab: base) }
    }
    #expect(topic.fault(reading: storage, asksNaive: true) == nil)
  }

  @Test("G5: nor does it cost more behind a version 1 topic")
  func hiddenEpochBehindVersion1() throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    storage.replace(slab: 0, with: ConsumerTopic.version1Slab(0..<6))
    for range in [6..<11, 11..<16] { try ConsumerTopic.append(range, to: topic, closing: false) }
    storage.flip(bit: 30 * 8, ofSlab: 1 << 40)
    storage.flip(bit: 100 * 8, ofSlab: 1 << 40)
    let pass = EnginePass(topic)
    #expect(
      pass.records.map { String(decoding: $0.payload, as: UTF8.self) }
        == ConsumerTopic.texts(0..<16))
    // The end of the version 1 slab is no longer known. So it is unknown whether all of it is
    // there.
    #expect(pass.losses.map(\.records) == [nil, nil])
    #expect(storage.difference(from: pass) == nil)
  }
}
