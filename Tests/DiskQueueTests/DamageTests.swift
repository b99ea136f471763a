// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

/// A topic of several slabs and two epochs, closed, and what is in it.
struct SmallTopic {
  let storage = SimulatedStorage()
  private(set) var records: [NaiveRecord] = []

  static let options = {
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(4)
    options.bufferSize = .kibibytes(4)
    return options
  }()

  static let readerOptions = {
    var options = QueueReader.Options()
    options.bufferSize = .kibibytes(4)
    return options
  }()

  var topic: Topic { Topic(storage: storage) }

  /// Two slabs and a kill; a slab and a half, closed; opened again, up to the next slab; closed.
  init() throws {
    let environment = Environment.simulated()
    let first = try QueueWriter(topic: topic, options: Self.options, environment: environment)
    try append(30, to: first, syncingEvery: 9)
    try first.flush()
    first.dieForTesting()
    let second = try QueueWriter(topic: topic, options: Self.options, environment: environment)
    try append(20, to: second, syncingEvery: 7)
    try second.close()
    let third = try QueueWriter(topic: topic, options: Self.options, environment: environment)
    try append(14, to: third, syncingEvery: 5)
    try third.close()
  }

  private mutating func append(
    _ count: Int, to writer: QueueWriter, syncingEvery interval: Int
  ) throws {
    for number in 0..<count {
      let ordinal = UInt64(records.count)
      let length = number % 11 == 5 ? 0 : 30 + (records.count * 37) % 250
      let payload = Self.payload(ordinal, length: length)
      let address = try writer.append(payload)
      records.append(NaiveRecord(address.rawValue, ordinal: ordinal, payload: payload))
      if number % interval == interval - 1 { try writer.sync() }
    }
  }

  /// Bytes that no other record has, unless they are none.
  static func payload(_ number: UInt64, length: Int) -> [UInt8] {
    var random = SeededGenerator(seed: number)
    return (0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) }
  }
}

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
