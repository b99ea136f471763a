// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("Damage costs what it hits")
struct DamageTests {
  @Test("G5: any single flipped bit costs at most the record it hits, and is told once")
  func everyBit() throws {
    let small = try SmallTopic()
    let records = small.records
    let slabs = small.storage.slabs
    let closing = try #require(slabs.map { $0.key + UInt64($0.value.count) }.max()) - 48
    #expect(slabs.count >= 4)
    var failures: [String] = []
    for (base, bytes) in slabs.sorted(by: { $0.key < $1.key }) {
      for bit in 0..<bytes.count * 8 where failures.count < 10 {
        let hit = base + UInt64(bit / 8)
        small.storage.flip(bit: bit, ofSlab: base)
        defer { small.storage.flip(bit: bit, ofSlab: base) }
        let pass = EnginePass(small.topic, options: SmallTopic.readerOptions)
        let survivors = records.filter {
          !($0.address..<$0.end).contains(hit)
        }
        let lost = UInt64(records.count - survivors.count)
        if let error = pass.error {
          failures.append("bit \(bit) of \(base): \(error)")
        } else if pass.records != survivors {
          failures.append("bit \(bit) of \(base): other records than those not hit")
        } else if hit >= closing {
          if !pass.losses.isEmpty || pass.end != closing {
            failures.append("bit \(bit) of \(base): the closing mark's loss is none")
          }
        } else if pass.losses.count != 1 || pass.losses[0].records != lost
          || !(pass.losses[0].from..<pass.losses[0].to).contains(hit)
        {
          failures.append("bit \(bit) of \(base), \(lost) lost: \(pass.losses)")
        }
        // The eight bits of a byte tell the second reader the same.
        guard bit % 8 == bit / 8 % 8 else { continue }
        let naive = naiveRead(slabs: small.storage.slabs)
        if let difference = pass.difference(from: naive) {
          failures.append("bit \(bit) of \(base): \(difference)")
        }
      }
    }
    #expect(failures == [])
  }
}
