// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueInspection
import DiskQueueTestSupport
import Testing

@Suite("Ordinals: writing")
struct OrdinalWritingTests {
  @Test(
    "records get consecutive ordinals, from 0 and from 10, with slabs left on the way and without",
    arguments: Place.allCases, [0, 10] as [UInt64])
  func consecutive(place: Place, first: UInt64) throws {
    for (count, slabSize) in [(5, 64), (20, 64), (20, 4)] as [(UInt64, Int64)] {
      let placed = try PlacedTopic(place, slabSize: .kibibytes(slabSize))
      let writer = try placed.writer(from: first)
      var addresses: [Address] = []
      for ordinal in first..<first + count {
        let padding = [UInt8](repeating: UInt8(ordinal), count: slabSize == 4 ? 1000 : 0)
        addresses.append(try writer.append(PlacedTopic.payload(ordinal) + padding).address)
        #expect(try placed.ordinals() == first..<ordinal + 1)
      }
      var reader = try placed.reader()
      for (ordinal, address) in zip(first..., addresses) {
        let record = try reader.record(ordinal: ordinal).copy()
        #expect(record.ordinal == ordinal && record.address == address)
        #expect(record.payload.starts(with: PlacedTopic.payload(ordinal)))
        let found = try reader.record(at: address).copy()
        #expect(found == record)
        #expect(try reader.nextCopy() == record)
      }
      #expect(addresses == addresses.sorted() && Set(addresses).count == Int(count))
      #expect((try TopicInfo(of: placed.topic).slabs.count > 1) == (slabSize == 4))
    }
  }

  @Test(
    "at its bound a topic holds all, and behind it a sixteenth goes, not a half",
    arguments: Place.allCases, [2, 3, 15, 16, 17, 31, 32, 33, 50] as [UInt64])
  func bounds(place: Place, bound: UInt64) throws {
    for first in [0, 10] as [UInt64] {
      let placed = try PlacedTopic(place, bound: bound)
      let writer = try placed.writer(from: first)
      for count in 1...bound + 5 {
        try PlacedTopic.append(first + count - 1..<first + count, to: writer)
        guard count + 2 > bound else { continue }
        let retained = PlacedTopic.retained(first: first, count: count, bound: bound)
        #expect(try placed.ordinals() == retained)
        #expect(try readAll(placed.topic).records.map(\.ordinal) == Array(retained))
      }
    }
  }

  @Test(
    "the first record may be longer than a slab, and the next one as well",
    arguments: Place.allCases, [0, 10] as [UInt64])
  func oversize(place: Place, first: UInt64) throws {
    let placed = try PlacedTopic(place, slabSize: .kibibytes(4))
    let writer = try placed.writer(from: first)
    let payloads = [10_000, 1, 5000, 4096, 0, 100_000].enumerated().map { number, count in
      [UInt8](repeating: UInt8(number), count: count)
    }
    for payload in payloads { try writer.append(payload) }
    #expect(try placed.ordinals() == first..<first + 6)
    #expect(try readAll(placed.topic).records.map(\.payload) == payloads)
    var reader = try placed.reader()
    for (ordinal, payload) in zip(first..., payloads).reversed() {
      #expect(reader.answer(ordinal) == .record(ordinal: ordinal, payload: payload))
    }
  }

  @Test(
    "a payload of exactly the limit is taken; a byte more is refused, and takes no ordinal",
    arguments: Place.allCases)
  func limit(place: Place) throws {
    let placed = try PlacedTopic(place)
    let writer = try placed.writer(from: 10) { $0.maximumPayload = .bytes(100) }
    let largest = [UInt8](repeating: 1, count: 100)
    let tooLarge = [UInt8](repeating: 2, count: 101)
    for ordinal in [10, 11] as [UInt64] {
      let error = queueError { try writer.append(tooLarge) }
      #expect(error?.code == .payloadTooLarge)
      #expect(error?.message.contains("101 bytes is above the limit of 100") == true)
      #expect(try placed.ordinals() == 10..<ordinal)
      try writer.append(largest)
      #expect(try placed.ordinals() == 10..<ordinal + 1)
    }
    var reader = try placed.reader()
    #expect(
      reader.answers() == [10, 11].map { .record(ordinal: $0, payload: largest) })
  }

  @Test("an empty record is taken, and is told apart from none", arguments: Place.allCases)
  func empty(place: Place) throws {
    let placed = try PlacedTopic(place)
    let writer = try placed.writer()
    #expect(try placed.ordinals() == 0..<0)
    try writer.append([])
    try writer.append("")
    try PlacedTopic.append(2..<3, to: writer)
    #expect(try placed.ordinals() == 0..<3)
    var reader = try placed.reader()
    let expected: [Answer] = [
      .record(ordinal: 0, payload: []), .record(ordinal: 1, payload: []), .record(2),
    ]
    #expect((0..<3).map { reader.answer($0) } == expected)
    #expect(reader.answers() == expected)
  }

  @Test(
    "changing the array that was appended, or a record that was returned, changes nothing stored",
    arguments: Place.allCases)
  func immutable(place: Place) throws {
    let placed = try PlacedTopic(place)
    let writer = try placed.writer()
    var source = PlacedTopic.payload(0)
    try writer.append(source)
    for index in source.indices { source[index] = 0xff }
    var slice = PlacedTopic.payload(1)[...]
    try writer.append(slice)
    slice[slice.startIndex] = 0
    var batch = [PlacedTopic.payload(2), PlacedTopic.payload(3)]
    try writer.append(contentsOf: batch)
    batch[0][0] = 0
    batch[1] = []
    for _ in 0..<2 {
      var reader = try placed.reader()
      for ordinal in 0..<4 as Range<UInt64> {
        var record = try reader.record(ordinal: ordinal).copy()
        #expect(record.payload == PlacedTopic.payload(ordinal))
        record.payload[0] = 0
        record.ordinal = 99
        #expect(reader.answer(ordinal) == .record(ordinal))
        record = try #require(try reader.nextCopy())
        record.payload.removeAll()
        #expect(reader.answer(ordinal) == .record(ordinal))
      }
      reader = try placed.reader()
      var records = Array(repeating: QueueRecord(), count: 4)
      #expect(try reader.fill(&records) == 4)
      for index in records.indices { records[index].payload[0] = 0 }
      reader = try placed.reader()
      #expect(reader.answers() == (0..<4).map { .record($0) })
    }
  }

  @Test("a record that stands for none can be copied, compared and put into an array")
  func zeroRecord() {
    let zero = QueueRecord()
    var copy = zero
    #expect(copy == zero && copy.payload.isEmpty && copy.ordinal == 0 && copy.text == "")
    copy.payload = [1]
    #expect(copy != zero && zero.payload.isEmpty)
  }

  @Test("a closed writer refuses, and what was written stays", arguments: Place.allCases)
  func closed(place: Place) throws {
    let placed = try PlacedTopic(place, bound: 16)
    let writer = try placed.writer(from: 10)
    try PlacedTopic.append(10..<26, to: writer)
    try writer.close()
    for _ in 0..<2 {
      let error = queueError { try PlacedTopic.append(26..<27, to: writer) }
      #expect(error?.code == .closed)
      #expect(try placed.ordinals() == 10..<26)
    }
  }

  // MARK: Cancelled writers

  @Test(
    """
    an append that was cancelled while it waited for room is not in the log, and its ordinal is \
    the next one's
    """,
    arguments: Place.allCases)
  func cancelledInTheWait(place: Place) async throws {
    let placed = try PlacedTopic(place, bound: 3)
    let writer = try placed.writer(from: 10) { $0.whenFull = .wait }
    try PlacedTopic.append(10..<13, to: writer)
    for _ in 0..<20 {
      let tasks = (0..<3).map { number in
        Task { try await writer.append("lost \(number)", ensuring: .flushed) }
      }
      for task in tasks { task.cancel() }
      for task in tasks {
        let error = await #expect(throws: QueueError.self) { try await task.value }
        #expect(error?.code == .cancelled)
        #expect(error?.appended == 0)
      }
      #expect(try placed.ordinals() == 10..<13)
    }
    try SlabCleaner(topic: placed.topic).clean(
      keeping: Retention(records: 2, minimumBytes: .bytes(0)))
    #expect(try placed.ordinals() == 11..<13)
    try PlacedTopic.append(13..<14, to: writer)
    #expect(try readAll(placed.topic).texts == ["record 11", "record 12", "record 13"])
  }

  @Test(
    "an append of a cancelled task says whether it is in the log, also where a slab is left for it",
    arguments: Place.allCases)
  func cancelledAtARoll(place: Place) async throws {
    // A slab holds one record, so every append leaves a slab.
    let placed = try PlacedTopic(place, bound: 8)
    let writer = try placed.writer()
    var next: UInt64 = 0
    for _ in 0..<30 {
      let ordinal = next
      let task = Task { () -> Int in
        withUnsafeCurrentTask { $0?.cancel() }
        do throws(QueueError) {
          try await writer.append(PlacedTopic.payload(ordinal), ensuring: .synced)
          return 1
        } catch {
          #expect(error.code == .cancelled)
          return error.appended
        }
      }
      next += UInt64(await task.value)
      try await writer.flush()
      if next > 0 {
        #expect(
          try placed.ordinals() == PlacedTopic.retained(first: 0, count: next, bound: 8))
      } else {
        #expect(try placed.ordinals() == 0..<0)
      }
    }
    try PlacedTopic.append(next..<next + 1, to: writer)
    let records = try readAll(placed.topic).records
    #expect(records.map(\.payload) == records.map { PlacedTopic.payload($0.ordinal) })
    #expect(records.last?.ordinal == next)
  }
}
