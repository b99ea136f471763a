// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("Ordinals: reading one, and ranges")
struct OrdinalReadingTests {
  /// Numbers of records to append to a topic that may hold 32, with two in a slab.
  ///
  /// - 0, 1, 2 and 3: no record, one, a whole slab, and one more.
  /// - 31 and 32: one below the bound, and the bound.
  /// - 33, 34 and 100: one, two and many above the bound.
  private static let counts: [UInt64] = [0, 1, 2, 3, 31, 32, 33, 34, 100]

  @Test(
    "every ordinal is answered: to come, there, cleaned with the exact number, or below the first",
    arguments: Place.allCases, [0, 1, 10] as [UInt64])
  func matrix(place: Place, first: UInt64) throws {
    for count in Self.counts {
      let placed = try PlacedTopic(place, bound: 32)
      let writer = try placed.writer(from: first)
      try PlacedTopic.append(first..<first + count, to: writer)
      let range = PlacedTopic.retained(first: first, count: count, bound: 32)
      #expect(try placed.ordinals() == range)

      var asked = Array(0...range.upperBound + 3) + [1000, 1 << 40, 1 << 63, .max - 1, .max]
      var warm = try placed.reader()
      for pass in 0..<4 {
        var random = SeededGenerator(seed: UInt64(pass) &+ count)
        switch pass {
        case 0: break
        case 1: asked.reverse()
        default: asked.shuffle(using: &random)
        }
        for ordinal in asked {
          let expected = Answer.expected(ordinal, of: range)
          #expect(warm.answer(ordinal) == expected, "\(count) records, ordinal \(ordinal)")
          if pass == 3 {
            var fresh = try placed.reader()
            #expect(fresh.answer(ordinal) == expected, "\(count) records, ordinal \(ordinal)")
          }
        }
      }
      // The lookups have not moved the reader's position.
      #expect(warm.answers() == range.map { .record($0) })
      #expect(try warm.ordinals() == range)
    }
  }

  @Test(
    "reading begins at any ordinal: cleaned ones are told once, one that is to come is refused",
    arguments: Place.allCases, [0, 10] as [UInt64])
  func positions(place: Place, first: UInt64) throws {
    for count in Self.counts {
      let placed = try PlacedTopic(place, bound: 32)
      let writer = try placed.writer(from: first)
      try PlacedTopic.append(first..<first + count, to: writer)
      let range = PlacedTopic.retained(first: first, count: count, bound: 32)
      for ordinal in Set(0...range.lowerBound).union(range).union([range.upperBound]) {
        var reader = try placed.reader(from: .ordinal(ordinal))
        let reported: [Answer] =
          ordinal < range.lowerBound ? [.cleaned(range.lowerBound - ordinal)] : []
        let rest = range.clamped(to: max(ordinal, range.lowerBound)..<range.upperBound)
        #expect(
          reader.answers() == reported + rest.map { .record($0) },
          "\(count) records, from \(ordinal)")
        #expect(reader.nextAnswer() == .end)
      }
      for ordinal in [range.upperBound + 1, range.upperBound + 100, .max] {
        let error = queueError { _ = try placed.reader(from: .ordinal(ordinal)) }
        #expect(error?.code == .beyondLatest)
        #expect(error?.message.contains("ordinal \(ordinal) is past the end") == true)
      }
    }
  }

  @Test("the answer says what to do, or how many were missed", arguments: Place.allCases)
  func messages(place: Place) throws {
    let placed = try PlacedTopic(place, bound: 2)
    let writer = try placed.writer(from: 10)
    var reader = try placed.reader()
    func message(_ ordinal: UInt64, _ reader: inout QueueReader) -> String {
      queueError { _ = try reader.record(ordinal: ordinal) }?.message ?? "none"
    }
    #expect(
      message(10, &reader)
        .hasPrefix("ordinal 10 belongs to the next record, which was not appended yet"))
    // Nothing continues after a lookup.
    #expect(message(9, &reader).hasSuffix("1 record lost"))
    #expect(
      message(100, &reader).contains(
        "ordinal 100 is past the end of the topic, which is at ordinal 10, address"))
    try PlacedTopic.append(10..<15, to: writer)
    var other = try placed.reader()
    #expect(message(10, &other).contains("3 records lost"))
    #expect(message(0, &other).contains("13 records lost"))
    // The first reader has looked for ordinal 10 in a slab that it has open, and still finds the
    // record there.
    #expect(reader.answer(10) == .record(10))
  }

  @Test(
    "an empty topic's range is empty at its first ordinal, and one record at 0 keeps its ordinal",
    arguments: Place.allCases)
  func ranges(place: Place) throws {
    for first in [0, 60, 100] as [UInt64] {
      let placed = try PlacedTopic(place)
      let writer = try placed.writer(from: first)
      #expect(try placed.ordinals() == first..<first)
      #expect(try placed.ordinals().isEmpty)
      try PlacedTopic.append(first..<first + 1, to: writer)
      #expect(try placed.ordinals() == first..<first + 1)
      #expect(try readAll(placed.topic).records.map(\.ordinal) == [first])
      try PlacedTopic.append(first + 1..<first + 10, to: writer)
      #expect(try placed.ordinals() == first..<first + 10)
    }
    let purged = try PlacedTopic(place, bound: 20)
    let writer = try purged.writer(from: 10)
    try PlacedTopic.append(10..<40, to: writer)
    #expect(try purged.ordinals() == 20..<40)
  }

  @Test("a topic that was cleaned has the range that is left", arguments: Place.allCases)
  func cleaned(place: Place) async throws {
    let placed = try PlacedTopic(place, bound: 32)
    let writer = try placed.writer(from: 10)
    try PlacedTopic.append(10..<30, to: writer)
    try await writer.sync()
    try PlacedTopic.append(30..<31, to: writer)
    try SlabCleaner(topic: placed.topic).clean(
      keeping: Retention(records: 5, minimumBytes: .bytes(0)))
    let range = try placed.ordinals()
    #expect(range.upperBound == 31 && range.count >= 5 && range.count <= 7)
    var reader = try placed.reader()
    for ordinal in 0..<33 as Range<UInt64> {
      #expect(reader.answer(ordinal) == .expected(ordinal, of: range))
    }
  }

  @Test(
    """
    a record above the reader's limit is refused by its ordinal each time, and those beside it are \
    not
    """,
    arguments: Place.allCases)
  func tooLarge(place: Place) throws {
    let placed = try PlacedTopic(place)
    let writer = try placed.writer(from: 10)
    try PlacedTopic.append(10..<15, to: writer)
    try writer.append([UInt8](repeating: 1, count: 200_000))
    try PlacedTopic.append(16..<20, to: writer)
    var options = QueueReader.Options()
    options.maximumPayload = .bytes(1000)
    options.bufferSize = .kibibytes(4)
    var reader = try QueueReader(topic: placed.topic, options: options)
    for _ in 0..<2 {
      for ordinal in Array(10..<20) + [15, 15, 14, 15, 16, 16] as [UInt64] {
        let expected: Answer = ordinal == 15 ? .error(.payloadTooLarge) : .record(ordinal)
        #expect(reader.answer(ordinal) == expected)
      }
    }
    #expect(try reader.ordinals() == 10..<20)
    var after = try QueueReader(topic: placed.topic, from: .ordinal(15), options: options)
    #expect(after.nextAnswer() == .error(.payloadTooLarge))
    #expect(after.nextAnswer() == .record(16))
  }

  @Test(
    "a reader that was made before they came sees records come, go, and the range move",
    arguments: Place.allCases)
  func live(place: Place) throws {
    let placed = try PlacedTopic(place, bound: 16)
    let writer = try placed.writer(from: 10)
    var reader = try placed.reader()
    for ordinal in 10..<60 as Range<UInt64> {
      #expect(reader.answer(ordinal) == .error(.beyondLatest))
      try PlacedTopic.append(ordinal..<ordinal + 1, to: writer)
      #expect(reader.answer(ordinal) == .record(ordinal))
      let range = PlacedTopic.retained(first: 10, count: ordinal - 9, bound: 16)
      #expect(try reader.ordinals() == range)
      #expect(reader.answer(range.lowerBound) == .record(range.lowerBound))
      #expect(
        reader.answer(range.lowerBound - 1) == .expected(range.lowerBound - 1, of: range))
    }
    // The records that the reader had not read are reported as lost, once.
    #expect(reader.answers() == [.cleaned(34)] + (44..<60).map { .record($0) })
  }
}
