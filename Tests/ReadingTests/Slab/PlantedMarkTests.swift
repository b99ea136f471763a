// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

/// A topic with one hostile payload, whose author knows the topic's id. The payload holds a mark
/// and frames that are valid at the addresses at which they are stored.
private struct PlantedTopic {
  /// The record that holds the planted frames, and its surroundings.
  struct Shape: CustomTestStringConvertible, Sendable {
    /// How many bytes of records are between the last mark and the record.
    var lead: Int
    var payload: Int
    /// The offset of the mark in the payload.
    var offset: Int
    /// The ordinal of the next record, as the planted mark states it.
    var ordinal: UInt64 = 5000

    var testDescription: String {
      "\(lead) bytes after a mark, \(offset) bytes into a payload of \(payload)"
    }
  }

  static let small: [Shape] = [
    Shape(lead: 0, payload: 300, offset: 8),
    Shape(lead: 0, payload: 300, offset: 100, ordinal: 0),
    Shape(lead: 30_000, payload: 40_000, offset: 7),
    Shape(lead: 30_000, payload: 65_536, offset: 36_000),
    Shape(lead: 30_000, payload: 65_536, offset: 65_000, ordinal: 3),
    Shape(lead: 65_300, payload: 65_536, offset: 1),
    Shape(lead: 65_300, payload: 65_536, offset: 64_000),
  ]
  static let all: [Shape] =
    small + [
      Shape(lead: 1000, payload: 300_000, offset: 10),
      Shape(lead: 65_300, payload: 300_000, offset: 299_000),
    ]

  let storage = SimulatedStorage()
  private(set) var records: [NaiveRecord] = []
  /// The index of the record that holds the planted frames.
  private(set) var planted = 0
  /// The addresses of the planted mark and records.
  private(set) var forged: [UInt64] = []
  /// Every byte below this address was synced before the record was appended.
  private(set) var synced: UInt64 = 0

  var topic: Topic { Topic(storage: storage) }

  /// - Parameter closing: if false, everything after the record is only flushed.
  init(_ shape: Shape, closing: Bool = true) throws {
    let writer = try QueueWriter(
      topic: topic, options: .init(), environment: .simulated())
    for _ in 0..<1400 { try append(to: writer, length: 100) }
    try writer.sync()
    synced = writer.position.rawValue
    // The next record has a mark before it.
    try append(to: writer, length: 10)
    var left = shape.lead
    while left > 0 {
      try append(to: writer, length: min(left, 208) - 8 > 0 ? min(left, 208) - 8 : 0)
      left -= 208
    }
    planted = records.count
    var payload: [UInt8] = []
    // The writer puts a mark before a long payload.
    var address = writer.position.rawValue + (shape.payload > 65_536 ? 48 : 0)
    (payload, forged) = Self.payload(shape, at: address, topicID: try topicID)
    address = try writer.append(payload).address.rawValue
    records.append(
      NaiveRecord(address, ordinal: UInt64(records.count), payload: payload))
    // The planted frames are at the addresses that they were made for.
    try #require(forged.first == address + 8 + UInt64(shape.offset))
    for _ in 0..<1300 { try append(to: writer, length: 100) }
    if closing {
      try writer.close()
    } else {
      try writer.flush()
      writer.dieForTesting()
    }
  }

  private mutating func append(to writer: QueueWriter, length: Int) throws {
    let ordinal = UInt64(records.count)
    let payload = SmallTopic.payload(ordinal, length: length)
    records.append(
      NaiveRecord(try writer.append(payload).address.rawValue, ordinal: ordinal, payload: payload))
  }

  private var topicID: UInt64 {
    get throws {
      let header = try #require(storage.slabs[0])
      return header[64..<72].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
  }

  /// Makes filler bytes, a mark, and records up to the payload's end, so that a walk from the mark
  /// continues after the payload. Returns the payload, and the addresses of the mark and the
  /// records.
  private static func payload(
    _ shape: Shape, at address: UInt64, topicID: UInt64
  ) -> ([UInt8], [UInt64]) {
    var bytes = [UInt8](repeating: 0x20, count: shape.offset)
    var forged = [address + 8 + UInt64(bytes.count)]
    var buffer = WriteBuffer(capacity: shape.payload)
    buffer.put(
      Mark(
        stamp: 1_900_000_000_000_000_000, ordinal: shape.ordinal,
        synced: forged[0] + UInt64(Mark.byteCount), kept: 0, topicID: topicID), at: forged[0])
    var left = shape.payload - shape.offset - Mark.byteCount
    while left >= 8 {
      let length = left < 60_000 + 8 ? left - 8 : min(60_000, left - 16)
      let start = address + 8 + UInt64(shape.payload - left)
      let record = [UInt8](repeating: 0x46, count: length)
      buffer.putRecord(
        record.span.bytes, checksum: Checksum.frame(record.span.bytes, seed: topicID ^ start))
      forged.append(start)
      left -= 8 + length
    }
    bytes += (0..<buffer.count).map { buffer.bytes.byte($0) }
    return (bytes, forged)
  }
}

@Suite("G2, G5: frames that an author of payloads planted are believed by no search")
struct PlantedMarkTests {
  @Test("a pass gives all records and no loss", arguments: PlantedTopic.all)
  fileprivate func pass(_ shape: PlantedTopic.Shape) throws {
    let planted = try PlantedTopic(shape)
    let pass = EnginePass(planted.topic)
    #expect(pass.records == planted.records)
    #expect(pass.losses == [])
  }

  @Test(
    "a reader that starts at any record gives the rest, with the right ordinals",
    arguments: PlantedTopic.all)
  fileprivate func addresses(_ shape: PlantedTopic.Shape) throws {
    let planted = try PlantedTopic(shape)
    for number in Self.near(planted) {
      let rest = planted.records[number...]
      let start = Address(rawValue: planted.records[number].address)
      let pass = EnginePass(planted.topic, from: .address(start))
      #expect(pass.records == Array(rest), "record \(number)")
      #expect(pass.losses == [], "record \(number)")
      var reader = try QueueReader(topic: planted.topic)
      for _ in 0..<2 {
        let record = try reader.record(at: start).copy()
        #expect(record.ordinal == UInt64(number), "record \(number)")
      }
    }
  }

  @Test(
    "one reader looks all records up, in any order, with the right ordinals",
    arguments: PlantedTopic.all)
  fileprivate func lookups(_ shape: PlantedTopic.Shape) throws {
    let planted = try PlantedTopic(shape)
    var reader = try QueueReader(topic: planted.topic)
    var random = SeededGenerator(seed: 7)
    for record in planted.records.shuffled(using: &random) {
      let found = try reader.record(at: Address(rawValue: record.address)).copy()
      #expect(found.ordinal == record.ordinal, "at \(record.address)")
      guard found.ordinal == record.ordinal else { return }
    }
  }

  @Test(
    "an address of a planted frame is no record's, for readers and for lookups",
    arguments: PlantedTopic.small)
  fileprivate func inside(_ shape: PlantedTopic.Shape) throws {
    let planted = try PlantedTopic(shape)
    for address in planted.forged {
      let pass = EnginePass(planted.topic, from: .address(Address(rawValue: address)))
      #expect(pass.error?.code == .notARecord)
      #expect(pass.records == [])
    }
  }

  @Test("a reader that starts at any ordinal gives it, and the rest", arguments: PlantedTopic.small)
  fileprivate func ordinals(_ shape: PlantedTopic.Shape) throws {
    let planted = try PlantedTopic(shape)
    for number in Self.near(planted) {
      let pass = EnginePass(planted.topic, from: .ordinal(UInt64(number)))
      #expect(pass.records == Array(planted.records[number...]), "ordinal \(number)")
      #expect(pass.losses == [], "ordinal \(number)")
    }
  }

  @Test(
    "a reader that starts at the end is there, and counts rightly", arguments: PlantedTopic.small)
  fileprivate func latest(_ shape: PlantedTopic.Shape) throws {
    for closing in [true, false] {
      let planted = try PlantedTopic(shape, closing: closing)
      var walker = LogWalker(
        TopicIndex(planted.storage), payloadLimit: 1 << 24, bufferSize: 1 << 18)
      try walker.seek(to: .latest, now: { 0 })
      #expect(walker.ordinal == UInt64(planted.records.count))
      #expect(walker.position >= planted.records.last?.end ?? 0)
    }
  }

  @Test(
    "a reader that starts at a time starts at the last mark below it", arguments: PlantedTopic.small
  )
  fileprivate func times(_ shape: PlantedTopic.Shape) throws {
    let planted = try PlantedTopic(shape)
    let index = TopicIndex(planted.storage)
    try index.refresh()
    // Every mark that a pass reads, with its fields.
    var walker = LogWalker(index, payloadLimit: 1 << 24, bufferSize: 1 << 18)
    walker.startAtEarliest()
    var marks: [MarkAt] = []
    while true {
      if case .end = try walker.step() { break }
      if let mark = walker.lastMark, mark != marks.last { marks.append(mark) }
    }
    for mark in marks {
      for time in [mark.mark.stamp, mark.mark.stamp + 1] {
        try walker.seek(to: .time(since1970: .nanoseconds(Int64(time))), now: { 0 })
        let expected = marks.last { $0.mark.stamp < time }?.address ?? 0
        #expect(walker.position == expected, "time \(time)")
      }
    }
  }

  @Test("a consumer's cursor is found, and nothing is missing", arguments: PlantedTopic.all)
  fileprivate func cursors(_ shape: PlantedTopic.Shape) throws {
    let planted = try PlantedTopic(shape)
    for number in Self.near(planted) {
      let cursor = CursorPosition(
        address: planted.records[number].address, ordinal: UInt64(number))
      var walker = LogWalker(
        TopicIndex(planted.storage), payloadLimit: 1 << 24, bufferSize: 1 << 18)
      let losses = try walker.seek(toCursor: cursor).losses
      #expect(losses == [], "record \(number)")
      guard case .record(let address, let ordinal, _) = try walker.step() else {
        Issue.record("no record at \(number)")
        continue
      }
      #expect(address == cursor.address)
      #expect(ordinal == cursor.ordinal)
    }
  }

  @Test("what it states proves nothing to be durable", arguments: PlantedTopic.small)
  fileprivate func proof(_ shape: PlantedTopic.Shape) throws {
    let planted = try PlantedTopic(shape, closing: false)
    let index = TopicIndex(planted.storage)
    try index.refresh()
    #expect(try !index.isProven(planted.synced))
    #expect(try index.durableEnd().synced == planted.synced)
    #expect(try index.durableEnd().stamp < 1_800_000_000_000_000_000)
  }

  @Test(
    "where a record before it is damaged, that one is lost and no other",
    arguments: PlantedTopic.all)
  fileprivate func damage(_ shape: PlantedTopic.Shape) throws {
    let planted = try PlantedTopic(shape)
    for back in [1, 2, 9] where planted.planted - back > 1400 || back == 1 {
      let number = planted.planted - back
      let hit = planted.records[number]
      // One bit of the checksum, and two of the length word.
      for bit in [8 * 5, 3, 18] {
        planted.storage.flip(bit: Int(hit.address) * 8 + bit, ofSlab: 0)
        defer { planted.storage.flip(bit: Int(hit.address) * 8 + bit, ofSlab: 0) }
        let pass = EnginePass(planted.topic)
        var expected = planted.records
        expected.remove(at: number)
        #expect(pass.records == expected, "record \(number), bit \(bit)")
        #expect(pass.losses.map(\.records) == [1], "record \(number), bit \(bit)")
      }
    }
  }

  /// The indexes of the records around the planted one, and of some further away.
  private static func near(_ planted: PlantedTopic) -> [Int] {
    let record = planted.planted
    let count = planted.records.count
    return [
      3, record - 1, record, record + 1, record + 2, record + 300, record + 700, count - 1,
    ].filter { $0 >= 0 && $0 < count }
  }
}
