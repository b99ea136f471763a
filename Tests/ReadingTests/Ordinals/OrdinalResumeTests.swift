// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue
@testable import DiskQueueInspection

@Suite("Ordinals: opened again, and gone on elsewhere")
struct OrdinalResumeTests {
  @Test(
    "the first ordinal of a topic that is there is not used again, whatever the next writers say",
    arguments: Place.allCases)
  func firstOrdinalOnce(place: Place) throws {
    let placed = try PlacedTopic(place)
    var next: UInt64 = 10
    for other in [10, 500, 0, 10] as [UInt64] {
      let writer = try placed.writer(from: other)
      #expect(try placed.ordinals() == 10..<next)
      try PlacedTopic.append(next..<next + 5, to: writer)
      next += 5
      try writer.close()
    }
    #expect(try readAll(placed.topic).records.map { Answer($0) } == (10..<30).map { .record($0) })
    // The same holds if nothing was appended yet.
    let empty = try PlacedTopic(place)
    try empty.writer(from: 10).close()
    let writer = try empty.writer(from: 50)
    #expect(try empty.ordinals() == 10..<10)
    try PlacedTopic.append(10..<11, to: writer)
    #expect(try empty.ordinals() == 10..<11)
  }

  @Test(
    "ordinals go on across closes, deaths of the process, and the epochs that follow them",
    arguments: Place.allCases, [0, 10] as [UInt64])
  func acrossEndings(place: Place, first: UInt64) throws {
    let placed = try PlacedTopic(place)
    var next = first
    var epochs: Set<UInt64> = []
    for ending in 0..<9 {
      let writer = try placed.writer(from: first)
      for _ in 0..<4 {
        let address = try writer.append(PlacedTopic.payload(next)).address
        epochs.insert(Epoch.of(address.rawValue))
        next += 1
      }
      #expect(try placed.ordinals() == first..<next)
      if ending % 3 == 0 { try writer.close() } else { writer.dieForTesting() }
      #expect(try placed.ordinals() == first..<next)
    }
    // Six writers died, and the last of them had no successor. So there are the first epoch and
    // five more.
    #expect(epochs.count == 6)
    var reader = try placed.reader()
    #expect(reader.answers() == (first..<next).map { .record($0) })
    for ordinal in (first..<next).reversed() { #expect(reader.answer(ordinal) == .record(ordinal)) }
    #expect(reader.answer(next) == .error(.beyondLatest))
  }

  @Test(
    """
    a bound holds across closes and deaths of the process, also where each writer takes one record
    """,
    arguments: Place.allCases, [2, 5, 16, 33] as [UInt64])
  func boundAcrossEndings(place: Place, bound: UInt64) throws {
    for dies in [false, true] {
      let placed = try PlacedTopic(place, bound: bound)
      for ordinal in 0..<2 * bound + 9 {
        let writer = try placed.writer()
        try PlacedTopic.append(ordinal..<ordinal + 1, to: writer)
        try writer.flush()
        if dies { writer.dieForTesting() } else { try writer.close() }
        let range = try placed.ordinals()
        #expect(range.upperBound == ordinal + 1)
        #expect(range.count <= Int(bound))
        // At most a sixteenth of the bound is missing.
        #expect(range.count >= Int(min(ordinal + 1, bound - max(1, bound / 16) + 1)))
        #expect(try readAll(placed.topic).records.map { Answer($0) } == range.map { .record($0) })
      }
    }
  }

  @Test(
    "a topic whose one slab holds more than a bound that is new is brought below it by dropping",
    arguments: Place.allCases)
  func newBound(place: Place) throws {
    let placed = try PlacedTopic(place)
    let first = try placed.writer(from: 10)
    try PlacedTopic.append(10..<110, to: first)
    try first.close()
    let second = try placed.writer {
      $0.maximumRecords = 20
      $0.whenFull = .dropOldest
    }
    #expect(try placed.ordinals() == 10..<110)
    var reader = try placed.reader()
    try PlacedTopic.append(110..<111, to: second)
    #expect(try placed.ordinals() == 110..<111)
    #expect(reader.answer(10) == .cleaned(100))
    try PlacedTopic.append(111..<150, to: second)
    #expect(try placed.ordinals() == 130..<150)
    #expect(try readAll(placed.topic).records.map { Answer($0) } == (130..<150).map { .record($0) })
  }

  @Test(
    """
    a topic whose one slab holds more bytes than a bound that is new is brought below it by \
    dropping
    """,
    arguments: Place.allCases)
  func newBoundOfBytes(place: Place) throws {
    let placed = try PlacedTopic(place, slabSize: .mebibytes(1))
    let first = try placed.writer(from: 10)
    for _ in 0..<20 { try first.append([UInt8](repeating: 1, count: 10_000)) }
    try first.close()
    let second = try placed.writer {
      $0.maximumBytes = .kibibytes(64)
      $0.slabSize = .kibibytes(16)
      $0.whenFull = .dropOldest
    }
    try PlacedTopic.append(30..<40, to: second)
    #expect(try readAll(placed.topic).records.map { Answer($0) } == (30..<40).map { .record($0) })
    #expect(try TopicInfo(of: placed.topic).bytes <= 64 << 10)
  }

  @Test(
    "a topic whose one slab holds more than a bound that is new has room once it was cleaned",
    arguments: Place.allCases)
  func newBoundThatFails(place: Place) throws {
    let placed = try PlacedTopic(place)
    let first = try placed.writer()
    try PlacedTopic.append(0..<100, to: first)
    try first.close()
    let second = try placed.writer {
      $0.maximumRecords = 20
      $0.whenFull = .fail
    }
    let error = queueError { try PlacedTopic.append(100..<101, to: second) }
    #expect(error?.code == .noSpace)
    #expect(error?.message.contains("maximumRecords") == true)
    #expect(try placed.ordinals() == 0..<100)
    try SlabCleaner(topic: placed.topic).clean(
      keeping: Retention(records: 0, minimumBytes: .bytes(0)))
    try PlacedTopic.append(100..<120, to: second)
    #expect(try placed.ordinals() == 100..<120)
  }

  @Test("what is loaded into memory is held to its bound by the first append")
  func loadedBound() throws {
    let placed = try PlacedTopic(.directory)
    let first = try placed.writer(from: 10)
    try PlacedTopic.append(10..<110, to: first)
    try first.close()
    let loaded = try Topic.memory(loading: placed.topic, records: 20)
    #expect(try readAll(loaded).records.count == 100)
    let second = try QueueWriter(topic: loaded)
    try PlacedTopic.append(110..<111, to: second)
    #expect(try readAll(loaded).records.map { Answer($0) } == [.record(110)])
    try PlacedTopic.append(111..<140, to: second)
    #expect(
      try readAll(loaded).records.map { Answer($0) } == (120..<140).map { .record($0) })
    #expect(try placed.ordinals() == 10..<110)
  }

  @Test(
    "a consumer that has acknowledged nothing keeps the only slab under a bound that is new",
    arguments: Place.allCases)
  func newBoundAndConsumer(place: Place) async throws {
    let placed = try PlacedTopic(place)
    let first = try placed.writer()
    try PlacedTopic.append(0..<50, to: first)
    try await first.close()
    let second = try placed.writer {
      $0.maximumRecords = 20
      $0.whenFull = .dropOldestAcknowledged
    }
    let consumer = try QueueConsumer(topic: placed.topic, name: "reader")
    for _ in 0..<3 {
      #expect(
        queueError { try PlacedTopic.append(50..<51, to: second) }?.code == .noSpace)
      #expect(try placed.ordinals() == 0..<50)
    }
    let batch = try await consumer.nextBatch(upTo: 100, following: false)
    #expect(batch?.count == 50)
    try await consumer.close()
    try await second.close()
    // `dropOldest` ignores the consumer, so there is room.
    let third = try placed.writer {
      $0.maximumRecords = 20
      $0.whenFull = .dropOldest
    }
    try PlacedTopic.append(50..<60, to: third)
    #expect(try placed.ordinals() == 50..<60)
  }

  // MARK: Checkpoints

  /// An item of the source, which gives 50 items, each with an id.
  private func item(_ id: Int) -> [UInt8] { Array("item \(id)".utf8) }

  private func id(_ record: QueueRecord) throws -> Int {
    try #require(record.text?.split(separator: " ").last.flatMap { Int($0) })
  }

  @Test(
    "from a checkpoint, a log that was lost is gone on with in another: every item is seen",
    arguments: Place.allCases)
  func checkpoint(place: Place) throws {
    var seen: [Int] = []
    var checkpoint: UInt64 = 0
    do {
      let placed = try PlacedTopic(place, bound: 40)
      let writer = try placed.writer()
      for number in 0..<20 { try writer.append(item(number)) }
      var reader = try placed.reader()
      while let record = try reader.nextCopy() {
        seen.append(try id(record))
        // The checkpoint covers only half of the items.
        if record.ordinal < 10 { checkpoint = record.ordinal + 1 }
      }
      #expect(seen == Array(0..<20) && checkpoint == 10)
    }
    // The log is gone. Another one continues at the checkpoint, with the source's item of that
    // number.
    let placed = try PlacedTopic(place, bound: 40)
    let writer = try placed.writer(from: checkpoint)
    for number in 10..<30 { try writer.append(item(number)) }
    var reader = try placed.reader(from: .ordinal(checkpoint))
    while let record = try reader.nextCopy() {
      #expect(record.ordinal == UInt64(try id(record)))
      seen.append(try id(record))
      checkpoint = record.ordinal + 1
    }
    #expect(checkpoint == 30)
    // More items come than the log holds, again from the source's beginning. So the record at the
    // checkpoint is cleaned.
    for number in 30..<50 { try writer.append(item(number)) }
    for number in 0..<50 { try writer.append(item(number)) }
    let range = try placed.ordinals()
    #expect(range == 60..<100)
    #expect(reader.answer(checkpoint) == .cleaned(30))
    // A reader may begin at the start of the range. Or it begins at the checkpoint, gets the loss,
    // and reads on.
    for start in [range.lowerBound, checkpoint] {
      var after = try placed.reader(from: .ordinal(start))
      if start < range.lowerBound { #expect(after.nextAnswer() == .cleaned(30)) }
      var records = Array(repeating: QueueRecord(), count: 7)
      while case let count = try after.fill(&records), count > 0 {
        for record in records[..<count] { seen.append(try id(record)) }
      }
    }
    #expect(Set(seen) == Set(0..<50))
    #expect(seen.count == 20 + 20 + 40 + 40)
  }

  @Test("a snapshot goes on with the ordinals, at every first ordinal", arguments: Place.allCases)
  func snapshot(place: Place) throws {
    for first in [0, 10] as [UInt64] {
      let placed = try PlacedTopic(place, bound: 16)
      let writer = try placed.writer(from: first)
      try PlacedTopic.append(first..<first + 40, to: writer)
      let copy = try placed.damaged { _ in }
      #expect(try copy.ordinals() == first + 24..<first + 40)
      let next = try copy.writer {
        $0.maximumRecords = 16
        $0.whenFull = .dropOldest
      }
      try PlacedTopic.append(first + 40..<first + 41, to: writer)
      try next.append("another 40")
      var reader = try copy.reader()
      #expect(
        reader.answer(first + 40)
          == .record(ordinal: first + 40, payload: Array("another 40".utf8)))
      #expect(reader.answer(first + 39) == .record(first + 39))
    }
  }
}
