// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("Ordinals: options")
struct OrdinalOptionTests {
  @Test(
    "a bad option is refused by its name and bounds, and nothing is made", arguments: Place.allCases
  )
  func refused(place: Place) throws {
    let cases: [(change: (inout QueueWriter.Options) -> Void, text: String)] = [
      (
        { $0.firstOrdinal = 1 << 63 }, "firstOrdinal is 9223372036854775808, and must be below 2^63"
      ),
      ({ $0.firstOrdinal = .max }, "firstOrdinal is 18446744073709551615, and must be below 2^63"),
      ({ $0.maximumRecords = 0 }, "maximumRecords is 0, and must be 2 or more"),
      ({ $0.maximumRecords = 1 }, "maximumRecords is 1, and must be 2 or more"),
      ({ $0.slabSize = .bytes(0) }, "slabSize is "),
      ({ $0.slabSize = .bytes(-1) }, "slabSize is "),
      ({ $0.slabSize = .bytes(4095) }, "slabSize is "),
      ({ $0.bufferSize = .bytes(0) }, "bufferSize is "),
      ({ $0.maximumPayload = .bytes(-1) }, "maximumPayload is "),
      ({ $0.maximumPayload = .gibibytes(4) }, "maximumPayload is "),
      ({ $0.maximumBytes = .bytes(65_535) }, "maximumBytes is "),
    ]
    for (change, text) in cases {
      let placed = try PlacedTopic(place)
      let error = queueError { _ = try placed.writer(change) }
      #expect(error?.code == .invalidOption)
      #expect(error?.message.contains(text) == true, "\(error?.message ?? "no error")")
      if place == .directory {
        #expect(queueError { _ = try placed.reader() }?.code == .noSuchTopic)
      }
      // The topic then takes good options, as if the bad ones had never been tried.
      let writer = try placed.writer(from: 3)
      try PlacedTopic.append(3..<4, to: writer)
      #expect(try placed.ordinals() == 3..<4)
    }
  }

  @Test("the bounds of every option are taken", arguments: Place.allCases)
  func taken(place: Place) throws {
    let cases: [(inout QueueWriter.Options) -> Void] = [
      { $0.firstOrdinal = 1 << 63 - 1 }, { $0.maximumRecords = 2 }, { $0.maximumRecords = .max },
      { $0.slabSize = .bytes(4096) }, { $0.maximumPayload = .bytes(7) },
      {
        $0.maximumBytes = .kibibytes(64)
        $0.slabSize = .kibibytes(16)
      },
    ]
    for change in cases {
      let placed = try PlacedTopic(place)
      let writer = try placed.writer(change)
      try writer.append("longest")
      var reader = try placed.reader()
      #expect(try reader.nextCopy()?.text == "longest")
    }
  }

  @Test("without options there is no bound of records, and the first ordinal is 0")
  func defaults() {
    let options = QueueWriter.Options()
    #expect(options.maximumRecords == nil)
    #expect(options.firstOrdinal == 0)
    #expect(options.whenFull == .automatic)
    #expect(options.maximumPayload == .mebibytes(16))
    #expect(QueueReader.Options().maximumPayload == .mebibytes(16))
  }

  @Test("what is said last counts", arguments: Place.allCases)
  func lastCounts(place: Place) throws {
    let placed = try PlacedTopic(place)
    let writer = try placed.writer {
      $0.firstOrdinal = 7
      $0.firstOrdinal = 12
      $0.maximumPayload = .bytes(1)
      $0.maximumPayload = .bytes(100)
    }
    try PlacedTopic.append(12..<13, to: writer)
    #expect(try placed.ordinals() == 12..<13)
  }

  @Test("the highest first ordinal is counted on from", arguments: Place.allCases)
  func highest(place: Place) throws {
    let first: UInt64 = 1 << 63 - 1
    let placed = try PlacedTopic(place, bound: 4)
    var writer = try placed.writer(from: first)
    try PlacedTopic.append(first..<first + 3, to: writer)
    #expect(try placed.ordinals() == first..<first + 3)
    try writer.close()
    writer = try placed.writer()
    try PlacedTopic.append(first + 3..<first + 6, to: writer)
    #expect(try placed.ordinals() == first + 2..<first + 6)
    var reader = try placed.reader()
    #expect(reader.answer(first + 5) == .record(first + 5))
    #expect(reader.answer(first + 6) == .error(.beyondLatest))
    #expect(reader.answer(first) == .cleaned(2))
    #expect(reader.answer(.max) == .error(.beyondLatest))
  }

  @Test(
    """
    at the bound a topic in memory drops of its own accord, and one on a disk fails, unless told \
    otherwise
    """,
    arguments: Place.allCases)
  func whenFull(place: Place) throws {
    let placed = try PlacedTopic(place, bound: 2)
    let writer = try placed.writer { $0.whenFull = .automatic }
    try PlacedTopic.append(0..<2, to: writer)
    let error = queueError { try PlacedTopic.append(2..<3, to: writer) }
    #expect(error?.code == (place == .memory ? nil : .noSpace))
    #expect(try placed.ordinals() == (place == .memory ? 1..<3 : 0..<2))
  }
}
