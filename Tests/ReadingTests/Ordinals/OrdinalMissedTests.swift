// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("Ordinals: how many were missed")
struct OrdinalMissedTests {
  @Test("the number of missed records is exact, too, where slabs go while a reader looks for one")
  func cleanedWhileLooking() throws {
    for listing in 1...8 {
      for removed in 1...3 {
        let storage = SimulatedStorage()
        let writer = try QueueWriter(
          topic: Topic(storage: storage), options: SmallTopic.options,
          environment: fixedEnvironment())
        for number in 0..<100 { try writer.append(SmallTopic.payload(UInt64(number), length: 200)) }
        try writer.close()
        let bases = storage.slabs.keys.sorted()
        var ends: [UInt64] = []
        for base in bases {
          ends.append(
            try readAll(writer.topic, from: .address(Address(rawValue: base))).records[0].ordinal)
        }
        let hooked = HookedStorage(storage)
        var reader = try QueueReader(topic: Topic(storage: hooked))
        hooked.atListing(listing) {
          for base in bases[..<removed] { storage.replace(slab: base, with: nil) }
        }
        for ordinal in [0, 3, ends[1] + 1, ends[2] + 1] {
          let answer = reader.answer(ordinal)
          guard storage.slabs[bases[0]] == nil, ordinal < ends[removed] else { continue }
          // A slab that was opened before its removal can still be read.
          if case .record(let found, _) = answer {
            #expect(found == ordinal)
          } else {
            #expect(
              answer == .cleaned(ends[removed] - ordinal),
              "listing \(listing), \(removed) slabs, ordinal \(ordinal)")
          }
        }
        #expect(try reader.ordinals().upperBound == 100)
      }
    }
  }

  @Test(
    "a reader that was made before all it could have read was cleaned is told how many that were",
    arguments: Place.allCases, [0, 10] as [UInt64])
  func beforeTheFirstLook(place: Place, first: UInt64) throws {
    let placed = try PlacedTopic(place, bound: 16)
    let writer = try placed.writer(from: first)
    var empty = try placed.reader()
    try PlacedTopic.append(first..<first + 40, to: writer)
    var late = try placed.reader()
    try PlacedTopic.append(first + 40..<first + 90, to: writer)
    let left: [Answer] = (first + 74..<first + 90).map { .record($0) }
    #expect(empty.answers() == [.cleaned(74)] + left)
    #expect(late.answers() == [.cleaned(50)] + left)
  }

  @Test(
    "who begins behind a damaged record is not told of it, and who begins with it is",
    arguments: Place.allCases)
  func afterDamage(place: Place) throws {
    let placed = try PlacedTopic(place)
    let writer = try placed.writer(from: 10)
    var addresses: [Address] = []
    for ordinal in 10..<20 as Range<UInt64> {
      addresses.append(try writer.append(PlacedTopic.payload(ordinal)).address)
    }
    try writer.close()
    let copy = try placed.damaged { try $0.flipRecord(at: addresses[4]) }
    let after: [Answer] = (15..<20).map { .record($0) }
    for (start, expected) in [
      (13, [.record(13)] + after + [.damaged(1)]),
      (14, after + [.damaged(1)]), (15, after), (16, Array(after.dropFirst())),
    ]
      as [(UInt64, [Answer])]
    {
      var reader = try copy.reader(from: .ordinal(start))
      #expect(reader.answers() == expected, "from \(start)")
    }
  }
}

extension String {
  /// Flips a bit in the payload of the record at an address, in a topic's directory.
  func flipRecord(at address: Address) throws {
    let bases = try slabs(self).keys.filter { $0 < address.rawValue }
    let base = try #require(bases.max())
    try flipBit(
      self + "/" + SlabName.string(base),
      byte: Int(address.rawValue - base) + FrameHeader.byteCount + 2)
  }
}

extension HookedStorage {
  /// Calls `body` after the n-th listing from now on.
  func atListing(_ number: Int, _ body: @escaping @Sendable () -> Void) {
    atNext(.listed) { [weak self] in
      if number > 1 { self?.atListing(number - 1, body) } else { body() }
    }
  }
}
