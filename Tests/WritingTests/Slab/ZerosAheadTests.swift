// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@testable import DiskQueue
@testable import DiskQueueInspection

@Suite("Zeros written ahead of many small syncs")
struct ZerosAheadTests {
  private func payload(_ number: Int) -> [UInt8] {
    SmallTopic.payload(UInt64(number), length: 100)
  }

  /// A writer that has appended `records` records, and synced after each of them.
  private func writer(
    _ storage: SimulatedStorage, records: Int, _ options: QueueWriter.Options = .init()
  ) throws -> QueueWriter {
    let writer = try storage.writer(options)
    for number in 0..<records {
      try writer.append(payload(number))
      try writer.sync()
    }
    return writer
  }

  @Test("most syncs overwrite: the file grows by doubling, and is never more than half zeros")
  func doubling() throws {
    let storage = SimulatedStorage(laysOutRoom: true)
    let writer = try writer(storage, records: 1)
    var sizes: Set<Int> = []
    for number in 1..<400 {
      try writer.append(payload(number))
      try writer.sync()
      let size = try #require(storage.slabs[0]?.count)
      sizes.insert(size)
      #expect(size <= 2 * Int(writer.position.rawValue))
    }
    #expect(sizes.count < 12)
    #expect(try readAll(Topic(storage: storage)).records.count == 400)
    try writer.close()
  }

  @Test("a reader at the end of the log, before zeros, is given what is written over them")
  func following() throws {
    let storage = SimulatedStorage(laysOutRoom: true)
    let writer = try writer(storage, records: 20)
    var reader = try QueueReader(topic: Topic(storage: storage))
    for number in 0..<20 { #expect(try reader.nextCopy()?.payload == payload(number)) }
    #expect(try reader.nextCopy() == nil)
    for number in 20..<60 {
      try writer.append(payload(number))
      try writer.sync()
      #expect(try reader.nextCopy()?.payload == payload(number))
      #expect(try reader.nextCopy() == nil)
    }
    try writer.close()
  }

  @Test(
    "a closed topic ends with its closing mark, and so does a slab that is left with its last frame"
  )
  func closed() throws {
    let storage = SimulatedStorage(laysOutRoom: true)
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(4)
    let writer = try writer(storage, records: 100, options)
    let end = writer.position.rawValue
    try writer.close()
    let slabs = storage.slabs
    let bases = slabs.keys.sorted()
    #expect(bases.count > 2)
    for (base, next) in zip(bases, bases.dropFirst()) {
      #expect(slabs[base]?.count == Int(next - base))
    }
    let last = try #require(bases.last)
    #expect(slabs[last]?.count == Int(end - last) + Mark.byteCount)
    let again = try storage.writer(options)
    #expect(again.recovery.state == .clean)
    try again.close()
  }

  @Test("zeros are no bytes that recovery discards, and no tail; what was written before them is")
  func recovery() throws {
    for torn in [0, 5] {
      let storage = SimulatedStorage(laysOutRoom: true)
      let writer = try writer(storage, records: 50)
      let end = writer.position.rawValue
      writer.dieForTesting()
      var bytes = try #require(storage.slabs[0])
      #expect(bytes.count > Int(end))
      for index in 0..<torn { bytes[Int(end) + index] = 7 }
      storage.replace(slab: 0, with: bytes)
      let tails = try tails(of: storage, end: end)
      #expect(tails.map(\.bytes) == (torn == 0 ? [] : [UInt64(torn)]))
      let next = try storage.writer()
      #expect(next.recovery.discardedBytes == UInt64(torn))
      #expect(next.recovery.losses == [])
      try next.append("goes on")
      try next.close()
      let read = try readAll(Topic(storage: storage))
      #expect(read.records.dropLast().map(\.payload) == (0..<50).map(payload))
      #expect(read.losses == [])
      // The bytes from before are unchanged, with their zeros.
      #expect(storage.slabs[0] == bytes)
    }
  }

  private func tails(of storage: SimulatedStorage, end: UInt64) throws -> [Tail] {
    let index = TopicIndex(storage)
    try index.refresh()
    var found: [Tail] = []
    try Tail.find(
      in: index, extent: try TopicExtent(index.bases, in: storage), end: end
    ) { found.append($0) }
    return found
  }

  @Test("a cap holds for the zeros, too")
  func cap() throws {
    let storage = SimulatedStorage(laysOutRoom: true)
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(16)
    options.maximumBytes = .kibibytes(64)
    options.whenFull = .fail
    let writer = try storage.writer(options)
    var appended = 0
    while (try? writer.append(payload(appended))) != nil {
      try writer.sync()
      appended += 1
      #expect(storage.slabs.values.reduce(0) { $0 + $1.count } <= 64 << 10)
    }
    #expect(appended > 400)
    try writer.close()
    #expect(try readAll(Topic(storage: storage)).records.count == appended)
  }

  @Test("zeros that cannot be written cost nothing but time")
  func refused() throws {
    let storage = SimulatedStorage(laysOutRoom: true)
    let writer = try writer(storage, records: 1)
    storage.logCalls()
    // A sync writes the record first, and then the zeros. Only the zeros fail.
    for number in 1..<200 {
      try writer.append(payload(number))
      let end = writer.position.rawValue
      storage.setFault(
        .init(.fail(Errno.noSpace), at: 1, isLasting: true) {
          if case .write(_, let offset, _) = $0 { offset >= end } else { false }
        })
      try writer.sync()
    }
    storage.setFault(nil)
    try writer.close()
    #expect(try readAll(Topic(storage: storage)).records.map(\.payload) == (0..<200).map(payload))
  }

  @Test("who has much to sync each time writes none")
  func large() throws {
    let storage = SimulatedStorage(laysOutRoom: true)
    let writer = try storage.writer()
    for number in 0..<20 {
      try writer.append(SmallTopic.payload(UInt64(number), length: 70_000))
      try writer.sync()
      #expect(storage.slabs[0]?.count == Int(writer.position.rawValue))
    }
    try writer.close()
  }
}
