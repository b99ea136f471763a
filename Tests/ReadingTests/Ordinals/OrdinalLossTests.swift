// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("Ordinals: what was damaged, cleaned or taken back")
struct OrdinalLossTests {
  /// A closed topic of 60 records from ordinal 10 on, in several slabs. The records with these
  /// ordinals are damaged.
  private func damagedTopic(_ place: Place, _ ordinals: [UInt64]) throws -> PlacedTopic {
    let placed = try PlacedTopic(place, slabSize: .kibibytes(4))
    let writer = try placed.writer(from: 10)
    var addresses: [UInt64: Address] = [:]
    for ordinal in 10..<70 as Range<UInt64> {
      let padding = [UInt8](repeating: UInt8(ordinal), count: 200)
      addresses[ordinal] = try writer.append(PlacedTopic.payload(ordinal) + padding).address
      if ordinal % 7 == 0 { try writer.sync() }
    }
    try writer.close()
    return try placed.damaged { directory in
      for ordinal in ordinals {
        try directory.flipRecord(at: try #require(addresses[ordinal]))
      }
    }
  }

  private func expected(_ ordinal: UInt64, damaged: [UInt64]) -> Answer {
    if ordinal < 10 { return .cleaned(10 - ordinal) }
    if ordinal >= 70 { return .error(.beyondLatest) }
    if damaged.contains(ordinal) { return .damaged(1) }
    return .record(
      ordinal: ordinal,
      payload: PlacedTopic.payload(ordinal) + [UInt8](repeating: UInt8(ordinal), count: 200))
  }

  @Test(
    """
    a damaged record is told each time that it is asked for, those around it are found, in any \
    order
    """,
    arguments: Place.allCases,
    [[10], [11], [40], [69], [12, 30, 61], [20, 35, 50, 65]] as [[UInt64]])
  func damaged(place: Place, damaged: [UInt64]) throws {
    let placed = try damagedTopic(place, damaged)
    var reader = try placed.reader()
    var asked = Array(5..<73) as [UInt64]
    for pass in 0..<4 {
      var random = SeededGenerator(seed: UInt64(pass))
      if pass == 1 { asked.reverse() } else if pass > 1 { asked.shuffle(using: &random) }
      for ordinal in asked {
        for _ in 0..<2 {
          #expect(
            reader.answer(ordinal) == expected(ordinal, damaged: damaged),
            "ordinal \(ordinal) in pass \(pass)")
        }
      }
    }
    // A reader that reads on reports a loss at the next mark.
    for ordinal in 10..<70 as Range<UInt64> {
      var reader = try placed.reader(from: .ordinal(ordinal))
      let answers = reader.answers()
      let all = (ordinal..<70).map { expected($0, damaged: damaged) }
      #expect(answers.filter { $0 != .damaged(1) } == all.filter { $0 != .damaged(1) })
      #expect(answers.count == all.count, "from \(ordinal)")
    }
  }

  @Test(
    "no record is given for another one between two damaged places that nothing counts",
    arguments: Place.allCases)
  func uncounted(place: Place) throws {
    // There are marks before 15 and before 22.
    let placed = try damagedTopic(place, [16, 19])
    var reader = try placed.reader()
    var asked = Array(10..<70) as [UInt64]
    for pass in 0..<4 {
      var random = SeededGenerator(seed: UInt64(pass))
      if pass == 1 { asked.reverse() } else if pass > 1 { asked.shuffle(using: &random) }
      for ordinal in asked {
        let expected: Answer =
          switch ordinal {
          case 16, 17, 18: .error(.notARecord)
          case 19: .damaged(2)
          default: expected(ordinal, damaged: [])
          }
        #expect(reader.answer(ordinal) == expected, "ordinal \(ordinal) in pass \(pass)")
      }
    }
  }

  @Test(
    "the range begins with the first record that can be read, and ends behind the last one",
    arguments: Place.allCases)
  func range(place: Place) throws {
    #expect(try damagedTopic(place, [40]).ordinals() == 10..<70)
    #expect(try damagedTopic(place, [10]).ordinals() == 11..<70)
    #expect(try damagedTopic(place, [69]).ordinals() == 10..<70)
    // The same for a topic that begins with ordinal 0.
    let placed = try PlacedTopic(place)
    let writer = try placed.writer()
    let first = try writer.append("first").address
    try PlacedTopic.append(1..<5, to: writer)
    try writer.close()
    let copy = try placed.damaged { try $0.flipRecord(at: first) }
    #expect(try copy.ordinals() == 1..<5)
    var reader = try copy.reader()
    #expect(reader.answer(0) == .damaged(1))
    #expect(reader.answer(1) == .record(1))
    #expect(reader.answers() == (1..<5).map { .record($0) } + [.damaged(1)])
  }

  @Test("an ordinal that a crash took back is that of the next record that comes")
  func takenBack() throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    let environment = Environment.simulated()
    var options = QueueWriter.Options()
    options.firstOrdinal = 10
    let first = try QueueWriter(topic: topic, options: options, environment: environment)
    try PlacedTopic.append(10..<15, to: first)
    try first.sync()
    let (base, bytes) = try #require(storage.slabs.first)
    try PlacedTopic.append(15..<18, to: first)
    try first.flush()
    var reader = try QueueReader(topic: topic)
    #expect(reader.answers() == (10..<18).map { .record($0) })
    #expect(reader.answer(17) == .record(17))
    #expect(try reader.ordinals() == 10..<18)
    first.dieForTesting()
    // The bytes that a power cut leaves.
    storage.replace(slab: base, with: bytes)
    let second = try QueueWriter(topic: topic, options: options, environment: environment)
    try second.flush()
    #expect(try reader.ordinals() == 10..<15)
    #expect(reader.answer(15) == .error(.beyondLatest))
    try second.append("other 15")
    try second.flush()
    #expect(try reader.ordinals() == 10..<16)
    #expect(reader.answer(15) == .record(ordinal: 15, payload: Array("other 15".utf8)))
    #expect(reader.answer(16) == .error(.beyondLatest))
    #expect(reader.answer(14) == .record(14))
    // A reader that had read the discarded records gets the loss, and then the records that replace
    // them.
    #expect(
      reader.answers()
        == [.discarded(3), .record(ordinal: 15, payload: Array("other 15".utf8))])
  }
}
