// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("Ordinals: filling an array")
struct OrdinalFillTests {
  /// An element that no reader wrote.
  private static let untouched = QueueRecord(
    address: Address(rawValue: 77), ordinal: 7777, payload: [7])

  private func array(_ count: Int) -> [QueueRecord] {
    Array(repeating: Self.untouched, count: count)
  }

  /// Fills an array of `size` again and again up to the end of the log, and returns the answers.
  private func answers(
    _ reader: inout QueueReader, size: Int, sourceLocation: SourceLocation = #_sourceLocation
  ) -> [Answer] {
    var answers: [Answer] = []
    var records = array(size)
    while true {
      do throws(QueueError) {
        let count = try reader.fill(&records)
        answers += records[..<count].map { Answer($0) }
        if count == 0 { return answers }
      } catch {
        answers.append(Answer(error))
      }
      guard answers.count < 100_000 else {
        Issue.record("it does not end", sourceLocation: sourceLocation)
        return answers
      }
    }
  }

  @Test("an empty topic fills nothing, at any first ordinal", arguments: Place.allCases)
  func emptyTopic(place: Place) throws {
    for first in [0, 10] as [UInt64] {
      let placed = try PlacedTopic(place)
      let writer = try placed.writer(from: first)
      var reader = try placed.reader()
      for size in [0, 1, 10] {
        var records = array(size)
        #expect(try reader.fill(&records) == 0)
        #expect(records == array(size))
      }
      try PlacedTopic.append(first..<first + 1, to: writer)
      var records = array(2)
      #expect(try reader.fill(&records) == 1)
      #expect(Answer(records[0]) == .record(first))
      #expect(records[1] == Self.untouched)
    }
  }

  @Test(
    """
    an empty array is filled at once, at the beginning, in the middle, at the end and before a \
    loss
    """,
    arguments: Place.allCases)
  func emptyArray(place: Place) throws {
    let placed = try PlacedTopic(place, bound: 16)
    let writer = try placed.writer()
    var reader = try placed.reader()
    var none: [QueueRecord] = []
    #expect(try reader.fill(&none) == 0)
    try PlacedTopic.append(0..<5, to: writer)
    for ordinal in 0..<5 as Range<UInt64> {
      #expect(try reader.fill(&none) == 0)
      #expect(reader.nextAnswer() == .record(ordinal))
    }
    #expect(try reader.fill(&none) == 0)
    try PlacedTopic.append(5..<40, to: writer)
    #expect(try reader.fill(&none) == 0)
    #expect(reader.answers() == [.cleaned(19)] + (24..<40).map { .record($0) })
    #expect(try reader.fill(&none) == 0)
  }

  @Test(
    "one array, of several sizes and from several starts, gets exactly what is there, and no more",
    arguments: Place.allCases, [0, 10] as [UInt64])
  func once(place: Place, first: UInt64) throws {
    for (count, bound) in [(15, 64), (64, 64), (100, 64)] as [(UInt64, UInt64)] {
      let placed = try PlacedTopic(place, bound: bound)
      let writer = try placed.writer(from: first)
      try PlacedTopic.append(first..<first + count, to: writer)
      let range = PlacedTopic.retained(first: first, count: count, bound: bound)
      let starts = [
        range.lowerBound, range.lowerBound + 1, range.lowerBound + 7, range.upperBound - 1,
        range.upperBound,
      ]
      for start in starts {
        for size in [0, 1, 5, 10, 15, 64, 200] {
          var reader = try placed.reader(from: .ordinal(start))
          var records = array(size)
          let expected = min(size, Int(range.upperBound - start))
          #expect(try reader.fill(&records) == expected)
          #expect(
            records[..<expected].map { Answer($0) }
              == (start..<start + UInt64(expected)).map {
                .record($0)
              })
          #expect(records[expected...].allSatisfy { $0 == Self.untouched })
          // The reader's position is after these records.
          let next = start + UInt64(expected)
          #expect(reader.nextAnswer() == (next == range.upperBound ? .end : .record(next)))
        }
      }
    }
  }

  @Test(
    "repeated to the end it gives exactly the total, with records cleaned before and without",
    arguments: Place.allCases, [1, 2, 7, 10, 30, 31, 100])
  func repeated(place: Place, size: Int) throws {
    for (first, count, bound) in [(0, 30, 64), (10, 30, 64), (0, 90, 32), (10, 91, 32)]
      as [(UInt64, UInt64, UInt64)]
    {
      let placed = try PlacedTopic(place, bound: bound)
      let writer = try placed.writer(from: first)
      try PlacedTopic.append(first..<first + count, to: writer)
      let range = PlacedTopic.retained(first: first, count: count, bound: bound)
      var reader = try placed.reader()
      #expect(answers(&reader, size: size) == range.map { .record($0) })
      if range.lowerBound > first {
        var after = try placed.reader(from: .ordinal(first))
        #expect(
          answers(&after, size: size)
            == [.cleaned(range.lowerBound - first)] + range.map { .record($0) })
      }
    }
  }

  @Test(
    "what is cleaned between two arrays is told, with the exact number, and then it goes on",
    arguments: Place.allCases)
  func cleanedBetween(place: Place) throws {
    let placed = try PlacedTopic(place, bound: 16)
    let writer = try placed.writer(from: 10)
    try PlacedTopic.append(10..<26, to: writer)
    var reader = try placed.reader()
    var records = array(5)
    #expect(try reader.fill(&records) == 5)
    #expect(records.map { Answer($0) } == (10..<15).map { .record($0) })
    try PlacedTopic.append(26..<66, to: writer)
    #expect(
      answers(&reader, size: 5) == [.cleaned(35)] + (50..<66).map { .record($0) })
  }

  @Test(
    "an array ends before what was cleaned in its middle, which is told next",
    arguments: Place.allCases)
  func cleanedInTheMiddle(place: Place) throws {
    // A slab holds four records. The reader has the second slab open when that slab is removed.
    let placed = try PlacedTopic(place, bound: 64)
    let writer = try placed.writer(from: 10)
    try PlacedTopic.append(10..<74, to: writer)
    var reader = try placed.reader()
    var records = array(5)
    #expect(try reader.fill(&records) == 5)
    try PlacedTopic.append(74..<154, to: writer)
    let range = try placed.ordinals()
    #expect(range == 90..<154)
    records = array(200)
    #expect(try reader.fill(&records) == 3)
    #expect(records[..<3].map { Answer($0) } == (15..<18).map { .record($0) })
    #expect(records[3...].allSatisfy { $0 == Self.untouched })
    let error = queueError { _ = try reader.fill(&records) }
    #expect(error?.loss?.records == 72)
    #expect(try reader.fill(&records) == 64)
    #expect(records[..<64].map { Answer($0) } == range.map { .record($0) })
    #expect(try reader.fill(&records) == 0)
  }

  @Test("starting where nothing is yet is refused, and goes on where the next one comes")
  func future() throws {
    for place in Place.allCases {
      let placed = try PlacedTopic(place)
      let writer = try placed.writer(from: 10)
      try PlacedTopic.append(10..<12, to: writer)
      #expect(queueError { _ = try placed.reader(from: .ordinal(13)) }?.code == .beyondLatest)
      var reader = try placed.reader(from: .ordinal(12))
      var records = array(3)
      #expect(try reader.fill(&records) == 0)
      try PlacedTopic.append(12..<14, to: writer)
      #expect(try reader.fill(&records) == 2)
      #expect(records[..<2].map { Answer($0) } == [.record(12), .record(13)])
      #expect(records[2] == Self.untouched)
    }
  }

  @Test(
    """
    a record above the reader's limit in the middle is told between the arrays that it lies \
    between
    """,
    arguments: Place.allCases, [1, 2, 3, 5, 10, 20])
  func tooLarge(place: Place, size: Int) throws {
    let placed = try PlacedTopic(place)
    let writer = try placed.writer(from: 10)
    var expected: [Answer] = []
    for ordinal in 10..<30 as Range<UInt64> {
      if [13, 17, 18, 29].contains(ordinal) {
        try writer.append([UInt8](repeating: 1, count: 1001 + Int(ordinal - 13) * 20_000))
        expected.append(.error(.payloadTooLarge))
      } else {
        try PlacedTopic.append(ordinal..<ordinal + 1, to: writer)
        expected.append(.record(ordinal))
      }
    }
    var options = QueueReader.Options()
    options.maximumPayload = .bytes(1000)
    options.bufferSize = .kibibytes(4)
    var reader = try QueueReader(topic: placed.topic, options: options)
    #expect(answers(&reader, size: size) == expected)
    // The array that ended before the large record holds the records before it.
    reader = try QueueReader(topic: placed.topic, options: options)
    var records = array(10)
    #expect(try reader.fill(&records) == 3)
    #expect(records[3...].allSatisfy { $0 == Self.untouched })
    #expect(queueError { _ = try reader.fill(&records) }?.code == .payloadTooLarge)
    #expect(try reader.fill(&records) == 3)
    #expect(records[..<3].map(\.ordinal) == [14, 15, 16])
  }

  @Test(
    "a damaged record in the middle is told, once, and nothing is lost or doubled around it",
    arguments: Place.allCases, [1, 2, 3, 7, 50])
  func damaged(place: Place, size: Int) throws {
    let placed = try PlacedTopic(place)
    let writer = try placed.writer(from: 10)
    var addresses: [Address] = []
    for ordinal in 10..<40 as Range<UInt64> {
      addresses.append(try writer.append(PlacedTopic.payload(ordinal)).address)
    }
    try writer.close()
    let copy = try placed.damaged { try $0.flipRecord(at: addresses[12]) }
    // The loss is reported at the next mark, which is the closing mark.
    let records: [Answer] = (Array(10..<22) + Array(23..<40)).map { .record($0) }
    let expected = records + [.damaged(1)]
    var reader = try copy.reader()
    #expect(answers(&reader, size: size) == expected)
    // A reader with a closure for losses gets the same records, and fills on across the loss.
    let report = Reported()
    var reporting = try QueueReader(topic: copy.topic) { report.take($0) }
    #expect(answers(&reporting, size: size) == records)
    #expect(report.losses.map(\.records) == [1] && report.losses.map(\.cause) == [.damaged])
  }

  @Test("the arrays that the elements have are used again", arguments: Place.allCases)
  func reused(place: Place) throws {
    let placed = try PlacedTopic(place)
    let writer = try placed.writer()
    let lengths = [100, 0, 3, 99, 100, 1]
    for (number, length) in lengths.enumerated() {
      try writer.append([UInt8](repeating: UInt8(number), count: length))
    }
    var reader = try placed.reader()
    var records = array(1)
    for (number, length) in lengths.enumerated() {
      let kept = records[0]
      #expect(try reader.fill(&records) == 1)
      #expect(records[0].payload == [UInt8](repeating: UInt8(number), count: length))
      // A payload that the caller still holds is not overwritten.
      #expect(number == 0 || kept.payload.allSatisfy { $0 == UInt8(number - 1) })
    }
    #expect(try reader.fill(&records) == 0)
    #expect(records[0].ordinal == 5)
  }
}
