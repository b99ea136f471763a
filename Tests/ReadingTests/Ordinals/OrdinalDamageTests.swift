// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("Ordinals after two damages: never above a record's own")
struct OrdinalDamageTests {
  /// A closed topic of a few slabs, and the ordinal of the record at each address.
  private func topic() throws -> (storage: SimulatedStorage, ordinals: [Address: UInt64]) {
    let storage = SimulatedStorage()
    let writer = try QueueWriter(
      topic: Topic(storage: storage), options: SmallTopic.options, environment: .simulated())
    for number in 0..<90 {
      try writer.append("record \(number)" + String(repeating: "x", count: number % 7 * 40))
    }
    try writer.close()
    let read = try readAll(Topic(storage: storage))
    #expect(storage.slabs.count > 3)
    return (
      storage,
      Dictionary(uniqueKeysWithValues: read.records.map { ($0.address, $0.ordinal) })
    )
  }

  /// Reads a damaged topic, and returns how many of its records have an ordinal above their own.
  private func tooHigh(
    _ storage: SimulatedStorage, _ ordinals: [Address: UInt64]
  ) throws -> Int {
    try readAll(Topic(storage: storage)).records.count {
      $0.ordinal > ordinals[$0.address] ?? .max
    }
  }

  @Test("one bit is flipped in a slab, and the slab is cut or the next one is missing")
  func flippedAndShort() throws {
    let (storage, ordinals) = try topic()
    let bases = storage.slabs.keys.sorted()
    var random = SeededGenerator(seed: 11)
    var resumed = 0
    for (base, next) in zip(bases, bases.dropFirst()) {
      let bytes = try #require(storage.slabs[base])
      for offset in stride(from: 0, to: bytes.count, by: 3) {
        var flipped = bytes
        flipped[offset] ^= 1 << UInt8(random.below(8))
        let isMissing = random.chance(50)
        let rest = bytes.count - offset
        let length = isMissing ? bytes.count : offset + random.below(rest)
        let damaged = storage.copy()
        damaged.replace(slab: base, with: Array(flipped.prefix(length)))
        if isMissing { damaged.replace(slab: next, with: nil) }
        #expect(
          try tooHigh(damaged, ordinals) == 0,
          "byte \(offset) of \(base), \(isMissing ? "\(next) missing" : "cut to \(length)")")
        let isFound = try readAll(Topic(storage: damaged)).records.contains {
          $0.address.rawValue > base + UInt64(offset) && $0.address.rawValue < next
        }
        if isFound { resumed += 1 }
      }
    }
    #expect(resumed > 50)
  }
}
