// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("Topics written by queuefka")
struct Version1Tests {
  let original = fixture("queuefka-seattle")

  /// The readings of the CSV file, in the form in which the original program got them.
  func readings() throws -> [String] {
    let text = String(decoding: try readFile(fixture("seattle-temps.csv")), as: UTF8.self)
    return text.split(separator: "\n").dropFirst().map(String.init)
  }

  /// A copy of the topic to write to, without the README, which is no part of it.
  func copy(_ directory: TemporaryDirectory) throws -> String {
    let path = directory.path + "/topic"
    for (base, bytes) in try slabs(original) {
      try writeFile(path + "/" + SlabName.string(base), bytes)
    }
    return path
  }

  /// A version 1 frame. The length that it states is the payload's length plus `extra`.
  func frame(_ payload: String, extra: UInt32 = 0) -> [UInt8] {
    let bytes = Array(payload.utf8)
    let words = [UInt32(bytes.count) + extra, xxh32(bytes)]
    return words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
      + bytes
  }

  @Test("all 8,759 readings are read, in order, and nothing is changed")
  func readsAll() throws {
    let before = try snapshot(original)
    let read = try readAll(Topic(original))
    #expect(read.texts == (try readings()))
    #expect(read.records.map(\.ordinal) == (0..<8759).map { UInt64($0) })
    #expect(read.losses == [])
    #expect(try snapshot(original) == before)
  }

  @Test("from an address, an ordinal, the latest, and a time")
  func positions() throws {
    let all = try readAll(Topic(original)).records
    for index in [0, 1, 2259, 2260, 5000, 8758] {
      let address = all[index].address
      #expect(try readAll(Topic(original), from: .address(address)).records == Array(all[index...]))
      #expect(
        try readAll(Topic(original), from: .ordinal(UInt64(index))).records == Array(all[index...]))
    }
    let inside = Address(rawValue: all[5].address.rawValue + 3)
    let error = queueError { _ = try readAll(Topic(original), from: .address(inside)) }
    #expect(error?.code == .notARecord)
    #expect(error?.address == all[5].address)
    #expect(try readAll(Topic(original), from: .latest).records == [])
    #expect(
      try readAll(Topic(original), from: .time(since1970: .zero)).records == [],
      "version 1 slabs are below every time")
  }

  @Test("a writer goes on behind it in version 2, and all is read in order")
  func appending() throws {
    let directory = try TemporaryDirectory()
    let path = try copy(directory)
    let before = try slabs(path)
    let writer = try QueueWriter(topic: Topic(path))
    #expect(writer.recovery.state == .migrated)
    #expect(writer.recovery.unprovenRecords == 8759)
    #expect(writer.recovery.losses == [])
    let address = try writer.append("2011/01/01 00:00,40.1").address
    #expect(address.rawValue > 1 << 40)
    try writer.close()
    for (base, bytes) in before { #expect(try slabs(path)[base] == bytes) }

    let expected = try readings() + ["2011/01/01 00:00,40.1"]
    let read = try readAll(Topic(path))
    #expect(read.texts == expected)
    #expect(read.records.map(\.ordinal) == (0..<8760).map { UInt64($0) })
    #expect(read.losses == [])
    #expect(try readAll(Topic(path), from: .ordinal(8759)).texts == [expected[8759]])
    #expect(try readAll(Topic(path), from: .ordinal(8000)).texts == Array(expected[8000...]))
    #expect(try readAll(Topic(path), from: .time(since1970: .zero)).texts == [expected[8759]])

    let again = try QueueWriter(topic: Topic(path))
    #expect(again.recovery.state == .clean)
    try again.append("2011/01/01 01:00,40.2")
    try again.close()
    #expect(try readAll(Topic(path)).texts == expected + ["2011/01/01 01:00,40.2"])
    #expect(naiveRead(slabs: try slabs(path)).events.count == 8761)
  }

  @Test("a length that counts the checksum, as the original documents it, is read as well")
  func documentedLength() throws {
    let directory = try TemporaryDirectory()
    let bytes = ["one", "two", "", "four"].flatMap { frame($0, extra: 4) }
    try writeFile(directory.path + "/" + SlabName.string(0), bytes)
    #expect(try readAll(Topic(directory.path)).texts == ["one", "two", "", "four"])
  }

  @Test("a bad frame ends its slab: the rest of it is one loss of unknown count")
  func damagedSlab() throws {
    let directory = try TemporaryDirectory()
    let path = try copy(directory)
    let all = try readAll(Topic(original)).records
    let hit = all[1000].address.rawValue
    try flipBit(path + "/" + SlabName.string(0), byte: Int(hit) + 10)
    let read = try readAll(Topic(path))
    #expect(
      read.records.map(\.payload)
        == (all[..<1000] + all.filter { $0.address.rawValue >= 65540 }).map(\.payload))
    #expect(
      read.losses == [
        Loss(
          cause: .damaged, addresses: Address(rawValue: hit)..<Address(rawValue: 65540),
          records: nil)
      ])
  }

  @Test("a bad first frame: the slab beside it decides on the length, and it is lost alone")
  func damagedFirstFrame() throws {
    let directory = try TemporaryDirectory()
    let path = try copy(directory)
    try flipBit(path + "/" + SlabName.string(65540), byte: 9)
    let read = try readAll(Topic(path))
    #expect(read.losses.count == 1)
    #expect(
      read.losses.first?.addresses == Address(rawValue: 65540)..<Address(rawValue: 131080))
    #expect(read.records.last?.text == "2010/12/31 23:00,39.6")
  }

  @Test("the torn tail of the last slab is the end of the log, and no loss")
  func tornTail() throws {
    let directory = try TemporaryDirectory()
    let path = try copy(directory)
    let last = path + "/" + SlabName.string(196620)
    try truncateFile(last, to: 57391 - 5)
    let read = try readAll(Topic(path))
    #expect(read.texts == Array(try readings().dropLast()))
    #expect(read.losses == [])

    let writer = try QueueWriter(topic: Topic(path))
    #expect(writer.recovery.end == read.end)
    #expect(writer.recovery.discardedBytes == 24)
    try writer.append("behind the tail")
    try writer.close()
    let after = try readAll(Topic(path))
    #expect(after.texts == read.texts + ["behind the tail"])
    #expect(after.losses == [])
  }

  @Test("an empty slab at the end, as the original leaves it behind a roll, changes nothing")
  func emptySlab() throws {
    let directory = try TemporaryDirectory()
    let path = try copy(directory)
    try writeFile(path + "/" + SlabName.string(196620 + 57391), [])
    #expect(try readAll(Topic(path)).texts == readings())
    let writer = try QueueWriter(topic: Topic(path))
    try writer.append("next")
    try writer.close()
    #expect(try readAll(Topic(path)).texts == readings() + ["next"])
  }

  @Test("every length a hostile first frame may state is bounded by the file")
  func hostileLength() throws {
    for word in [0xFFFF_FFFF, 0x7FFF_FFFF, 3, 0] as [UInt32] {
      let directory = try TemporaryDirectory()
      let bytes = (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } + [1, 2, 3, 4, 5]
      try writeFile(directory.path + "/" + SlabName.string(0), bytes)
      let read = try readAll(Topic(directory.path))
      #expect(read.records == [])
      #expect(read.losses == [])
    }
  }
}
