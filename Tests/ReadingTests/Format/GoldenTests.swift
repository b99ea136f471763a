// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Foundation
import Testing

/// Topics of version 2 that are committed. The writer must write them again, byte for byte, and the
/// reader must read them.
@Suite("Golden topics")
struct GoldenTests {
  enum Golden: String, CaseIterable, Sendable {
    case closed
    case recovered
    case long
  }

  /// Writes the topic with a fixed clock and a fixed id. Returns the payloads that a reader gives.
  func write(_ golden: Golden, to path: String) throws -> [[UInt8]] {
    let clock = ManualClock()
    var expected: [[UInt8]] = []
    func open(_ slabSize: ByteCount) throws -> QueueWriter {
      var options = QueueWriter.Options()
      options.slabSize = slabSize
      clock.advance(by: 250_000_000)
      return try QueueWriter(
        topic: Topic(path), options: options, environment: fixedEnvironment(clock))
    }
    func append(_ payload: [UInt8], to writer: QueueWriter, isKept: Bool = true) throws {
      try writer.append(payload)
      if isKept { expected.append(payload) }
    }

    switch golden {
    case .closed:
      let first = try open(.kibibytes(4))
      try append([], to: first)
      for number in 0..<100 { try append(Array("first \(number)".utf8), to: first) }
      try first.sync()
      clock.advance(by: 2_000_000_000)
      for number in 0..<200 { try append(Array("second \(number)".utf8), to: first) }
      try first.close()
      let second = try open(.kibibytes(4))
      try append((0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 7) }, to: second)
      for number in 0..<50 { try append(Array("third \(number)".utf8), to: second) }
      try second.close()
    case .recovered:
      let first = try open(.kibibytes(4))
      for number in 0..<20 { try append(Array("synced \(number)".utf8), to: first) }
      try first.sync()
      for number in 0..<5 { try append(Array("flushed \(number)".utf8), to: first) }
      try first.flush()
      try append(Array("in the buffer".utf8), to: first, isKept: false)
      first.dieForTesting()
      let second = try open(.kibibytes(4))
      try append(Array("after the crash".utf8), to: second)
      try second.flush()
      second.dieForTesting()
      let third = try open(.kibibytes(4))
      try append(Array("after the second crash".utf8), to: third)
      try third.close()
    case .long:
      let writer = try open(.mebibytes(1))
      try append(Array("before".utf8), to: writer)
      try append((0..<70_000).map { UInt8(truncatingIfNeeded: $0 ^ ($0 >> 8)) }, to: writer)
      try append(Array("behind".utf8), to: writer)
      try writer.close()
    }
    return expected
  }

  @Test("the writer writes them again, byte for byte", arguments: Golden.allCases)
  func writes(_ golden: Golden) throws {
    let directory = try TemporaryDirectory()
    _ = try write(golden, to: directory.path + "/topic")
    let committed = fixture("golden/\(golden.rawValue)")
    if ProcessInfo.processInfo.environment["DISKQUEUE_WRITE_GOLDEN"] != nil {
      for (base, bytes) in try slabs(directory.path + "/topic") {
        try writeFile(committed + "/" + SlabName.string(base), withoutZerosAtEnd(bytes))
      }
    }
    // If the disk preallocates, a writer that dies leaves zeros at a slab's end. On other disks it
    // leaves none.
    let written = try slabs(directory.path + "/topic").mapValues(withoutZerosAtEnd)
    #expect(try written == slabs(committed).mapValues(withoutZerosAtEnd))
  }

  private func withoutZerosAtEnd(_ bytes: [UInt8]) -> [UInt8] {
    Array(bytes.prefix((bytes.lastIndex { $0 != 0 } ?? -1) + 1))
  }

  @Test("the reader reads them, in place", arguments: Golden.allCases)
  func reads(_ golden: Golden) throws {
    let directory = try TemporaryDirectory()
    let expected = try write(golden, to: directory.path + "/topic")
    let committed = fixture("golden/\(golden.rawValue)")
    let before = try snapshot(committed)
    let read = try readAll(Topic(committed))
    #expect(read.records.map(\.payload) == expected)
    #expect(read.records.map(\.ordinal) == (0..<UInt64(expected.count)).map { $0 })
    #expect(read.losses == [])
    #expect(try snapshot(committed) == before)
  }

  @Test("the naive reader agrees", arguments: Golden.allCases)
  func agrees(_ golden: Golden) throws {
    let committed = fixture("golden/\(golden.rawValue)")
    let read = try readAll(Topic(committed))
    let naive = naiveRead(slabs: try slabs(committed))
    let records = naive.events.compactMap { event -> QueueRecord? in
      guard case .record(let record) = event, let ordinal = record.ordinal else { return nil }
      return QueueRecord(
        address: Address(rawValue: record.address), ordinal: ordinal, payload: record.payload)
    }
    #expect(records == read.records)
    #expect(naive.events.count == read.records.count)
    #expect(naive.end == read.end.rawValue)
    #expect(naive.isClean)
  }
}
