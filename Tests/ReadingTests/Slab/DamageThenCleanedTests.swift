// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("Damage whose slab is cleaned before it was counted")
struct DamageThenCleanedTests {
  @Test("it is told as one loss with the cleaned slabs, up to where the log goes on")
  func joined() throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    let addresses = try ConsumerTopic.append(0..<400, to: topic)
    let bases = storage.slabs.keys.sorted()
    let second = try #require(addresses.firstIndex { $0.rawValue > bases[1] })
    let damaged = addresses[second + 2].rawValue
    storage.flip(bit: (Int(damaged - bases[1]) + 10) * 8, ofSlab: bases[1])
    let reported = Reported()
    var reader = try QueueReader(topic: topic, options: SmallTopic.readerOptions) {
      reported.take($0)
    }
    var given = 0
    while given < second + 5, try reader.next() != nil { given += 1 }
    #expect(reported.losses.isEmpty)
    for base in bases[..<4] { storage.replace(slab: base, with: nil) }
    while try reader.next() != nil { given += 1 }
    #expect(reported.losses.map(\.cause) == [.cleaned])
    #expect(reported.losses.map(\.records) == [UInt64(400 - given)])
    let lost = Address(rawValue: damaged)..<Address(rawValue: bases[4])
    #expect(reported.losses.first?.addresses == lost)
  }
}
