// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

/// A topic that was synced up to a border in its first slab. The records and marks after the border
/// were only flushed. A crash has left a hole after the border, and a bit before it is damaged.
private struct BrokenBorder {
  enum Hole: CaseIterable {
    /// Zeros, followed by sound frames.
    case within
    /// The slab ends at the border, and the next one is sound.
    case toTheNextSlab
  }

  let storage = SimulatedStorage()
  var addresses: [UInt64] = []
  /// Every byte below this address was synced.
  let border: UInt64

  init(_ hole: Hole) throws {
    var options = QueueWriter.Options()
    options.markSpacing = 256
    options.slabSize = .kibibytes(4)
    let writer = try storage.writer(options)
    for number in UInt64(0)..<10 {
      addresses.append(try writer.append(SmallTopic.payload(number, length: 60)).address.rawValue)
    }
    try writer.sync()
    border = writer.position.rawValue
    for number in UInt64(10)..<100 {
      addresses.append(try writer.append(SmallTopic.payload(number, length: 60)).address.rawValue)
    }
    try writer.flush()
    writer.dieForTesting()
    storage.kill()

    var bytes = try #require(storage.slabs[0])
    switch hole {
    case .within:
      let hole = Int(border)..<Int(border) + 200
      bytes.replaceSubrange(hole, with: repeatElement(0, count: hole.count))
    case .toTheNextSlab:
      bytes.removeSubrange(Int(border)...)
      try #require(storage.slabs.count > 1)
    }
    bytes[Int(addresses[9]) + 20] ^= 4
    storage.replace(slab: 0, with: bytes)
  }
}

@Suite("Damage before the border of what is proven, and a hole behind it")
struct ProvenBorderTests {
  @Test(
    "G3: no record behind the hole is given: the log ends at the border",
    arguments: BrokenBorder.Hole.allCases)
  fileprivate func reading(hole: BrokenBorder.Hole) throws {
    let broken = try BrokenBorder(hole)
    let pass = EnginePass(Topic(storage: broken.storage))
    #expect(pass.records.map(\.address) == Array(broken.addresses.prefix(9)))
    #expect(pass.end == broken.border)
    #expect(pass.losses.map(\.cause) == [.damaged])
    #expect(pass.losses.map(\.from) == [broken.addresses[9]])
    #expect(pass.losses.map(\.to) == [broken.border])
    #expect(pass.losses.map(\.records) == [nil])
    #expect(pass.difference(from: naiveRead(slabs: broken.storage.slabs)) == nil)
  }

  @Test(
    "G3, G6: a writer discards what is behind it, and counts on",
    arguments: BrokenBorder.Hole.allCases)
  fileprivate func recovering(hole: BrokenBorder.Hole) throws {
    let broken = try BrokenBorder(hole)
    let topic = Topic(storage: broken.storage)
    let old = broken.storage.slabs
    let writer = try QueueWriter(topic: topic, options: .init(), environment: .simulated())
    #expect(writer.recovery.end.rawValue == broken.border)
    let payload = SmallTopic.payload(99, length: 60)
    let address = try writer.append(payload).address.rawValue
    try writer.close()
    for (base, bytes) in old { #expect(broken.storage.slabs[base] == bytes) }
    let pass = EnginePass(topic)
    #expect(pass.records.map(\.address) == broken.addresses.prefix(9) + [address])
    #expect(pass.records.last?.ordinal == 10)
    #expect(pass.losses.map(\.records) == [1])
    #expect(pass.difference(from: naiveRead(slabs: broken.storage.slabs)) == nil)
  }
}
