// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("Damage to whole stretches and slabs costs what it hits")
struct StretchDamageTests {
  private struct Change: Sendable {
    var name: String
    /// The slabs that differ. Nil: the slab is gone.
    var slabs: [UInt64: [UInt8]?]
  }

  private func faults(
    _ name: String, _ topic: DamageTopic, _ changes: [Change], sampled: Int, recovers: Bool = true
  ) -> [String] {
    Exhaustive.faults(
      name, count: changes.count, sampled: sampled, on: topic.storage
    ) { storage, number in
      let change = changes[number]
      for (base, bytes) in change.slabs { storage.replace(slab: base, with: bytes) }
      defer {
        for base in change.slabs.keys { storage.replace(slab: base, with: topic.slabs[base]) }
      }
      if let fault = topic.fault(reading: storage, asksNaive: true) {
        return "\(change.name): \(fault)"
      }
      guard recovers, let fault = try topic.fault(recovering: storage) else { return nil }
      return "\(change.name), recovered: \(fault)"
    }
  }

  private func sectors(_ topic: DamageTopic) -> [(base: UInt64, range: Range<Int>)] {
    topic.slabs.sorted { $0.key < $1.key }.flatMap { base, bytes in
      stride(from: 0, to: bytes.count, by: 512).map { (base, $0..<min($0 + 512, bytes.count)) }
    }
  }

  @Test(
    "G5, G6: any slab cut at any length loses what lies behind the cut, and no more",
    arguments: DamageTopic.Kind.allCases)
  func everyCut(_ kind: DamageTopic.Kind) throws {
    let topic = try DamageTopic(kind)
    let changes = topic.slabs.sorted { $0.key < $1.key }.flatMap { base, bytes in
      (0..<bytes.count).map {
        Change(name: "\(base) cut to \($0)", slabs: [base: Array(bytes[..<$0])])
      }
    }
    #expect(faults("cut slabs, \(kind)", topic, changes, sampled: 293) == [])
  }

  @Test(
    "G5: a zeroed sector, or one of ones, costs what is in it and what hangs over its borders",
    arguments: DamageTopic.Kind.allCases)
  func wipedSectors(_ kind: DamageTopic.Kind) throws {
    let topic = try DamageTopic(kind)
    var changes: [Change] = []
    for (base, range) in sectors(topic) {
      for value in [UInt8(0), 0xFF] {
        var bytes = topic.slabs[base] ?? []
        bytes.replaceSubrange(range, with: repeatElement(value, count: range.count))
        changes.append(Change(name: "\(base) \(range) all \(value)", slabs: [base: bytes]))
      }
    }
    #expect(faults("wiped sectors, \(kind)", topic, changes, sampled: 7) == [])
  }

  @Test(
    "G2, G5: sectors that changed places, or stand in two, invent no record",
    arguments: DamageTopic.Kind.allCases)
  func movedSectors(_ kind: DamageTopic.Kind) throws {
    let topic = try DamageTopic(kind)
    let sectors = sectors(topic)
    var changes: [Change] = []
    for (index, one) in sectors.enumerated() {
      for (other, two) in sectors.enumerated() where other != index {
        guard one.range.count == two.range.count else { continue }
        let oneBytes = Array((topic.slabs[one.base] ?? [])[one.range])
        let twoBytes = Array((topic.slabs[two.base] ?? [])[two.range])
        // Both sectors may be in one slab.
        var slabs = topic.slabs.filter { $0.key == one.base || $0.key == two.base }
        slabs[two.base]?.replaceSubrange(two.range, with: oneBytes)
        let name = "\(one.base) \(one.range) to \(two.base) \(two.range)"
        changes.append(Change(name: "\(name), copied", slabs: slabs))
        guard index < other else { continue }
        slabs[one.base]?.replaceSubrange(one.range, with: twoBytes)
        changes.append(Change(name: "\(name), swapped", slabs: slabs))
      }
    }
    #expect(faults("moved sectors, \(kind)", topic, changes, sampled: 307) == [])
  }

  @Test(
    "G2, G5: slabs that are gone, empty, wiped, changed places, or stand in two",
    arguments: DamageTopic.Kind.allCases)
  func wholeSlabs(_ kind: DamageTopic.Kind) throws {
    let topic = try DamageTopic(kind)
    var changes: [Change] = []
    for (base, bytes) in topic.slabs {
      changes += [
        Change(name: "\(base) gone", slabs: [base: nil]),
        Change(name: "\(base) empty", slabs: [base: []]),
        Change(
          name: "\(base) all 0", slabs: [base: [UInt8](repeating: 0, count: bytes.count)]),
        Change(
          name: "\(base) all ones", slabs: [base: [UInt8](repeating: 0xFF, count: bytes.count)]),
      ]
      // A frame of version 1 does not state its address. If it moves within version 1 slabs, it
      // passes.
      let isVersion1 = kind != .small && base >> 40 == 0
      for (other, otherBytes) in topic.slabs where other != base {
        guard !isVersion1 || other >> 40 > 0 else { continue }
        changes.append(Change(name: "\(base) over \(other)", slabs: [other: bytes]))
        guard other > base else { continue }
        changes.append(
          Change(name: "\(base) and \(other) swapped", slabs: [other: bytes, base: otherBytes]))
        changes.append(Change(name: "\(base) and \(other) gone", slabs: [other: nil, base: nil]))
      }
    }
    #expect(faults("whole slabs, \(kind)", topic, changes, sampled: 3) == [])
  }
}
