// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("Reading in batches")
struct RecordBatchTests {
  /// A record or a loss, in the order in which a reader gave them.
  enum Event: Equatable {
    case record(QueueRecord)
    case loss(Loss)
  }

  /// All records and losses that a reader without a closure gives.
  private func events(
    _ topic: Topic, options: QueueReader.Options = .init(),
    _ next: (inout QueueReader) throws(QueueError) -> [QueueRecord]?
  ) throws -> [Event] {
    var reader = try QueueReader(topic: topic, options: options)
    var events: [Event] = []
    while true {
      do throws(QueueError) {
        guard let records = try next(&reader) else { return events }
        events += records.map { .record($0) }
      } catch {
        guard let loss = error.loss else { throw error }
        events.append(.loss(loss))
      }
    }
  }

  private func one(_ reader: inout QueueReader) throws(QueueError) -> [QueueRecord]? {
    try reader.nextCopy().map { [$0] }
  }

  @Test("batches of any size give what the records one by one do", arguments: [1, 2, 7, .max])
  func anySize(count: Int) throws {
    let sample = try ReaderTests.Sample()
    var sizes: [Int] = []
    let batched = try events(sample.topic) { (reader) throws(QueueError) in
      guard let batch = try reader.nextBatch(upTo: count) else { return nil }
      sizes.append(batch.count)
      return Array(batch)
    }
    #expect(batched == sample.records.map { .record($0) })
    #expect(sizes.allSatisfy { (1...count).contains($0) })
    #expect(count == 1 || sizes.contains { $0 > 1 })
  }

  @Test("a batch stays as it was when the reader goes on and is gone")
  func owned() throws {
    let sample = try ReaderTests.Sample()
    func batches() throws -> [RecordBatch] {
      var options = QueueReader.Options()
      options.bufferSize = .kibibytes(4)
      var reader = try QueueReader(topic: sample.topic, options: options)
      var batches: [RecordBatch] = []
      while let batch = try reader.nextBatch() { batches.append(batch) }
      return batches
    }
    #expect(try batches().flatMap(Array.init) == sample.records)
  }

  @Test("with any byte flipped, losses come between the same records as one by one")
  func damaged() throws {
    let topic = try SmallTopic()
    let sound = topic.records.count
    for (base, bytes) in topic.storage.slabs {
      for bit in stride(from: 3, to: bytes.count * 8, by: 8 * 53 + 1) {
        topic.storage.flip(bit: bit, ofSlab: base)
        let single = try events(topic.topic, one)
        for count in [3, .max] {
          let batched = try events(topic.topic) { (reader) throws(QueueError) in
            try reader.nextBatch(upTo: count).map(Array.init)
          }
          #expect(batched == single, "slab \(base), bit \(bit), batches of \(count)")
        }
        // A flipped bit costs one record, which is reported as a loss, or one mark, which costs no
        // record.
        #expect((sound...sound + 1).contains(single.count), "slab \(base), bit \(bit)")
        topic.storage.flip(bit: bit, ofSlab: base)
      }
    }
  }

  @Test("a batch is a collection of copies, lends its records, and gives parts of itself")
  func collection() throws {
    let sample = try ReaderTests.Sample()
    var reader = try QueueReader(topic: sample.topic)
    let batch = try #require(try reader.nextBatch(upTo: 100))
    let records = Array(sample.records.prefix(100))
    #expect(batch.count == 100 && batch.first == records.first && batch.last == records.last)
    #expect(batch.map(\.payload) == records.map(\.payload))
    for index in batch.indices { #expect(batch.borrowed(at: index).copy() == records[index]) }
    #expect(batch.reversed() == records.reversed())
    let part = batch[10..<20]
    #expect(part.indices == 10..<20 && Array(part) == Array(records[10..<20]))
    #expect(part.borrowed(at: 12).ordinal == records[12].ordinal && part[12] == records[12])
    #expect(Array(part.dropFirst(3).prefix(4)) == Array(records[13..<17]))
    #expect(part[20..<20].isEmpty && part[15...].count == 5)
  }

  @Test("marks in the buffer do not end a batch")
  func acrossMarks() throws {
    let topic = Topic(storage: SimulatedStorage())
    let writer = try QueueWriter(topic: topic)
    // Each sync writes a mark.
    for number in 0..<100 {
      try writer.append("record \(number)")
      try writer.sync()
    }
    let all = try readAll(topic).records
    #expect(all.last?.address.rawValue ?? 0 > UInt64(100 * (8 + 8 + 48)))
    var reader = try QueueReader(topic: topic)
    let batch = try #require(try reader.nextBatch())
    #expect(Array(batch) == all)
    let end = try reader.nextBatch() == nil
    #expect(end)
    var parts = try QueueReader(topic: topic)
    var read: [QueueRecord] = []
    while let batch = try parts.nextBatch(upTo: 7) {
      #expect(batch.count == min(7, 100 - read.count))
      read += batch
    }
    #expect(read == all)
  }

  @Test("a record longer than the buffer is a batch, and so is an empty one")
  func longAndEmpty() throws {
    let topic = Topic(storage: MemoryStorage(capacity: 8 << 20))
    let writer = try QueueWriter(topic: topic)
    let payloads: [[UInt8]] = [
      [1, 2], Array(repeating: 3, count: 300_000), [], [4], Array(repeating: 5, count: 5000),
    ]
    try writer.append(contentsOf: payloads)
    try writer.close()
    var options = QueueReader.Options()
    options.bufferSize = .kibibytes(4)
    let read = try events(topic, options: options) { (reader) throws(QueueError) in
      try reader.nextBatch().map(Array.init)
    }
    let bytes = read.map { event in
      guard case .record(let record) = event else { return [9] as [UInt8] }
      return record.payload
    }
    #expect(bytes == payloads)
  }

  @Test("a record above the reader's limit is told between the batches around it")
  func tooLarge() throws {
    let topic = Topic(storage: MemoryStorage(capacity: 8 << 20))
    let writer = try QueueWriter(topic: topic)
    try writer.append(contentsOf: ["before", "long enough to be refused", "after", "last"])
    try writer.close()
    var options = QueueReader.Options()
    options.maximumPayload = .bytes(10)
    var reader = try QueueReader(topic: topic, options: options)
    let first = try reader.nextBatch().map(Array.init)
    #expect(first?.map(\.text) == ["before"])
    let error = queueError { _ = try reader.nextBatch() }
    #expect(error?.code == .payloadTooLarge)
    let second = try reader.nextBatch().map(Array.init)
    #expect(second?.map(\.text) == ["after", "last"])
    let end = try reader.nextBatch() == nil
    #expect(end)
  }
}
