// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@testable import DiskQueue

@Suite("What a writer says it did")
struct WriterStatisticsTests {
  private func open(
    _ storage: SimulatedStorage, _ options: QueueWriter.Options = SmallTopic.options
  ) throws -> QueueWriter {
    try storage.writer(options)
  }

  private func isSlab(_ name: String) -> Bool { SlabName.parse(name) != nil }

  /// How many bytes were written to slabs, and how many syncs of slabs were made.
  private func work(_ storage: SimulatedStorage) -> (bytes: UInt64, syncs: Int) {
    storage.calls.reduce(into: (0, 0)) { sum, call in
      switch call {
      case .write(let name, _, let count) where isSlab(name): sum.0 += UInt64(count)
      case .sync(let name) where isSlab(name): sum.1 += 1
      default: break
      }
    }
  }

  @Test("records, payloads and written bytes are exact, across marks, rolls and long records")
  func exact() throws {
    for seed in UInt64(1)...40 {
      var random = SeededGenerator(seed: seed)
      let storage = SimulatedStorage()
      var options = SmallTopic.options
      options.markSpacing = 500
      let writer = try open(storage, options)
      storage.logCalls()
      var (records, payloads, syncs): (UInt64, UInt64, UInt64) = (0, 0, 0)
      for number in 0..<UInt64.random(in: 1...60, using: &random) {
        let isLong = Int.random(in: 0..<8, using: &random) == 0
        let length = Int.random(in: 0..<(isLong ? 9_000 : 300), using: &random)
        try writer.append(SmallTopic.payload(number, length: length))
        records += 1
        payloads += UInt64(length)
        #expect(writer.statistics.records == records)
        #expect(writer.statistics.payloadBytes == payloads, "seed \(seed), record \(number)")
        if Int.random(in: 0..<9, using: &random) == 0 {
          let isDue = writer.statistics.unsyncedRecords > 0
          try writer.sync()
          if isDue { syncs += 1 }
          #expect(writer.statistics.unsyncedRecords == 0)
        }
      }
      #expect(writer.statistics.syncs >= syncs)
      try writer.close()
      let statistics = writer.statistics
      #expect(statistics.writtenBytes == work(storage).bytes, "seed \(seed)")
      #expect(statistics.slabs == UInt64(storage.slabs.count - 1))
      #expect(statistics.bufferedBytes == 0)
      #expect(statistics.unsyncedRecords == 0)
      #expect(statistics.payloadBytes == payloads)
    }
  }

  @Test("a record that was refused is none; what was written of it is counted")
  func refused() throws {
    let storage = SimulatedStorage()
    let writer = try open(storage)
    storage.logCalls()
    try writer.append(SmallTopic.payload(1, length: 100))
    try writer.flush()
    storage.setCapacity(storage.used + 1_000)
    let error = queueError { try writer.append(SmallTopic.payload(2, length: 6_000)) }
    #expect(error?.code == .noSpace)
    #expect(writer.statistics.records == 1)
    #expect(writer.statistics.payloadBytes == 100)
    storage.setCapacity(nil)
    try writer.append(SmallTopic.payload(3, length: 5_000))
    #expect(writer.statistics.records == 2)
    #expect(writer.statistics.payloadBytes == 5_100)
    try writer.close()
    #expect(writer.statistics.payloadBytes == 5_100)
    #expect(writer.statistics.writtenBytes <= work(storage).bytes)
  }

  @Test("a flush that fails behind a mark of a long record takes the mark's bytes back as well")
  func takenBack() throws {
    let storage = SimulatedStorage()
    var options = SmallTopic.options
    options.markSpacing = 300
    options.flushEvery = .records(1)
    let writer = try open(storage, options)
    try writer.append(SmallTopic.payload(1, length: 20))
    storage.setCapacity(storage.used)
    #expect(queueError { try writer.append(SmallTopic.payload(2, length: 700)) }?.code == .noSpace)
    #expect(writer.statistics.payloadBytes == 20)
    storage.setCapacity(nil)
    try writer.append(SmallTopic.payload(3, length: 700))
    #expect(writer.statistics.records == 2)
    #expect(writer.statistics.payloadBytes == 720)
    try writer.close()
  }

  @Test("the addresses between two epochs are no payload")
  func epochs() throws {
    let base: UInt64 = (3 << 40) + ((1 << 40) - 700)
    var slab = SlabForge(base: base, ordinal: 500, synced: base, kept: base - 1)
    slab.putRecord([UInt8](repeating: 7, count: 92))
    slab.putClosingMark()
    let storage = SimulatedStorage()
    storage.replace(slab: base, with: slab.bytes)
    let writer = try open(storage)
    storage.logCalls()
    for number in UInt64(0)..<12 { try writer.append(SmallTopic.payload(number, length: 60)) }
    try writer.close()
    #expect(storage.slabs.keys.max() == 4 << 40)
    #expect(writer.statistics.records == 12)
    #expect(writer.statistics.payloadBytes == 720)
    #expect(writer.statistics.slabs == 1)
    #expect(writer.statistics.writtenBytes == work(storage).bytes)
  }

  @Test("a topic that goes on counts from its opening; what waits in the buffer is told")
  func reopened() throws {
    let storage = SimulatedStorage()
    let first = try open(storage)
    try first.append(SmallTopic.payload(1, length: 50))
    try first.close()
    let second = try open(storage)
    #expect(second.statistics.records == 0 && second.statistics.payloadBytes == 0)
    #expect(second.statistics.writtenBytes == 0 && second.statistics.syncs == 0)
    #expect(second.statistics.writer > first.statistics.writer)
    try second.append(SmallTopic.payload(2, length: 70))
    #expect(second.statistics.records == 1)
    #expect(second.statistics.unsyncedRecords == 1)
    #expect(second.statistics.bufferedBytes >= 78)
    try second.flush()
    #expect(second.statistics.bufferedBytes == 0)
    #expect(second.statistics.flushes == 1)
    #expect(second.statistics.unsyncedRecords == 1)
    try second.sync()
    #expect(second.statistics.unsyncedRecords == 0)
    #expect(second.statistics.syncs == 1)
    try second.close()
  }

  @Test("shards are counted together, those that were closed for others as well")
  func shards() throws {
    let place = SimulatedShards()
    let writer = try ShardedWriter(
      topic: place.topic(shards: 7),
      options: .init(writer: SmallTopic.options, maximumOpenShards: 2), environment: .simulated())
    var payloads: UInt64 = 0
    for number in UInt64(0)..<60 {
      let payload = SmallTopic.payload(number, length: Int(number) + 1)
      try writer.append(payload, key: "key \(number)")
      payloads += UInt64(payload.count)
      #expect(writer.statistics.records == number + 1)
    }
    #expect(writer.openShardCount <= 2)
    #expect(writer.statistics.payloadBytes == payloads)
    try writer.close()
    #expect(writer.statistics.records == 60)
    #expect(writer.statistics.payloadBytes == payloads)
    #expect(writer.statistics.unsyncedRecords == 0)
  }

  @Test("an encoder gets all counts, and not the number of the writer")
  func coded() throws {
    let storage = SimulatedStorage()
    let writer = try open(storage)
    for number in UInt64(0)..<50 { try writer.append(SmallTopic.payload(number, length: 200)) }
    let statistics = writer.statistics
    try writer.close()
    let text = try JSONEncoder().encode(statistics)
    let keys = try #require(try JSONSerialization.jsonObject(with: text) as? [String: Any]).keys
    #expect(
      keys.sorted() == [
        "bufferedBytes", "droppedBytes", "droppedSlabs", "flushes", "payloadBytes", "records",
        "slabs", "syncs", "unsyncedRecords", "writtenBytes",
      ])
    var decoded = try JSONDecoder().decode(QueueWriter.Statistics.self, from: text)
    #expect(decoded.writer == 0)
    decoded.writer = statistics.writer
    #expect(decoded == statistics)
    #expect(statistics.records == 50 && statistics.bufferedBytes > 0)
  }
}
