// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("Looking records up")
struct RecordLookupTests {
  /// The outcome of a lookup: the record, or the error's code.
  private enum Answer: Equatable {
    case record(QueueRecord)
    case error(QueueError.Code)
  }

  private func lookUp(_ address: UInt64, _ reader: inout QueueReader) -> Answer {
    do throws(QueueError) {
      return .record(try reader.record(at: Address(rawValue: address)).copy())
    } catch {
      return .error(error.code)
    }
  }

  @Test("every record is found in any order, over more slabs than are kept open, ordinal and all")
  func anyOrder() throws {
    let sample = try ReaderTests.Sample(count: 3000)
    let index = TopicIndex(sample.storage)
    try index.refresh()
    #expect(index.bases.count > 20)
    var reader = try QueueReader(topic: sample.topic)
    var random = SeededGenerator(seed: 5)
    for record in sample.records.shuffled(using: &random) {
      let answer = lookUp(record.address.rawValue, &reader)
      #expect(answer == .record(record))
    }
  }

  @Test("with any byte flipped, a reader that looked others up before answers as a new one does")
  func damaged() throws {
    let topic = try SmallTopic()
    let addresses = topic.records.map(\.address)
    for (base, bytes) in topic.storage.slabs {
      let near = addresses.filter { $0 > base && $0 < base + UInt64(bytes.count) }
      for bit in stride(from: 5, to: bytes.count * 8, by: 8 * 61 + 3) {
        var warm = try QueueReader(topic: topic.topic)
        for address in addresses { _ = lookUp(address, &warm) }
        topic.storage.flip(bit: bit, ofSlab: base)
        for address in near.flatMap({ [$0 - 1, $0, $0 + 1] }) {
          var fresh = try QueueReader(topic: topic.topic)
          let expected = lookUp(address, &fresh)
          let answer = lookUp(address, &warm)
          #expect(answer == expected, "bit \(bit) of slab \(base), address \(address)")
        }
        topic.storage.flip(bit: bit, ofSlab: base)
      }
    }
  }

  @Test("a record that a crash took back is not found any more in the slab that was kept open")
  func takenBack() throws {
    let storage = SimulatedStorage()
    let environment = Environment.simulated()
    let topic = Topic(storage: storage)
    let first = try QueueWriter(topic: topic, options: .init(), environment: environment)
    let kept = try first.append("kept").address
    try first.sync()
    let lost = try first.append("taken back").address
    try first.flush()
    var reader = try QueueReader(topic: topic)
    let text = try reader.record(at: lost).text
    #expect(text == "taken back")
    first.dieForTesting()
    let base = try #require(storage.slabs.keys.first)
    let bytes = try #require(storage.slabs[base])
    // The bytes that a power cut leaves. The record was never on the disk.
    storage.replace(slab: base, with: Array(bytes[..<(bytes.count - 18)]))
    let second = try QueueWriter(topic: topic, options: .init(), environment: environment)
    try second.append("goes on")
    try second.flush()
    // The bytes may come back, as after a failed sync. The new epoch states that they are no
    // record.
    storage.replace(slab: base, with: bytes)
    let answer = lookUp(lost.rawValue, &reader)
    #expect(answer == .error(.beyondLatest) || answer == .error(.notARecord), "\(answer)")
    let still = try reader.record(at: kept).text
    #expect(still == "kept")
    try second.close()
  }

  @Test("what is appended to the newest slab and behind it is found by a reader that kept it open")
  func growing() throws {
    let topic = Topic.memory()
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(4)
    let writer = try QueueWriter(topic: topic, options: options)
    try writer.append("first")
    try writer.flush()
    var reader = try QueueReader(topic: topic)
    for number in 0..<500 {
      let address = try writer.append("number \(number)").address
      try writer.flush()
      let text = try reader.record(at: address).text
      #expect(text == "number \(number)")
    }
    try writer.close()
  }

  @Test("records from empty to far longer than what is read at once are found")
  func anyLength() throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    var addresses: [(Address, Int)] = []
    for (number, length) in [0, 1, 4090, 70_000, 3, 65_536, 65_537, 300_000, 0, 9].enumerated() {
      let payload = [UInt8](repeating: UInt8(number), count: length)
      addresses.append((try writer.append(payload).address, length))
    }
    try writer.close()
    var reader = try QueueReader(topic: topic)
    for _ in 0..<2 {
      for (number, (address, length)) in addresses.enumerated().reversed() {
        let record = try reader.record(at: address).copy()
        #expect(record.payload == [UInt8](repeating: UInt8(number), count: length))
        #expect(record.ordinal == UInt64(number))
      }
    }
  }

  /// A closed topic with 200 KB of records of 100 bytes in one slab, with four stretches between
  /// marks.
  private func spaciousTopic() throws -> (SimulatedStorage, addresses: [Address]) {
    let storage = SimulatedStorage()
    let writer = try storage.writer()
    let addresses = try (0..<2000).map { number in
      try writer.append(SmallTopic.payload(UInt64(number), length: 100)).address
    }
    try writer.close()
    return (storage, addresses)
  }

  @Test("where a mark was found once, every record up to the next one takes one read of the slab")
  func oneRead() throws {
    let (storage, addresses) = try spaciousTopic()
    var reader = try QueueReader(topic: Topic(storage: storage))
    // There are marks slightly after one spacing and slightly after two. The first lookup opens the
    // slab.
    for _ in 0..<2 { _ = lookUp(addresses[1190].rawValue, &reader) }
    for number in [1189, 620, 1000, 1205] {
      storage.logCalls()
      let payload = try reader.record(at: addresses[number]).copy().payload
      #expect(payload == SmallTopic.payload(UInt64(number), length: 100))
      let reads = storage.calls.count { if case .read = $0 { true } else { false } }
      #expect(reads == 1, "record \(number)")
    }
  }

  @Test("a mark that was found once and is damaged since is not believed: the records are found")
  func damagedSince() throws {
    let (storage, addresses) = try spaciousTopic()
    var reader = try QueueReader(topic: Topic(storage: storage))
    for _ in 0..<2 { _ = lookUp(addresses[1190].rawValue, &reader) }
    let (base, bytes) = try #require(storage.slabs.first)
    let slab = try #require(try SlabFile.open(base, in: storage))
    let topicID = try #require(try slab.head().topicID)
    var search = MarkSearch(slab, topicID: topicID)
    let mark = try #require(
      try search.last(from: base, limit: addresses[1190].rawValue)?.address)
    for byte in 0..<Mark.byteCount {
      storage.flip(bit: 8 * (Int(mark - base) + byte) + byte % 8, ofSlab: base)
      for number in [1190, 700, 610] {
        var fresh = try QueueReader(topic: Topic(storage: storage))
        let expected = lookUp(addresses[number].rawValue, &fresh)
        let answer = lookUp(addresses[number].rawValue, &reader)
        #expect(answer == expected, "byte \(byte) of the mark, record \(number)")
        guard case .record(let record) = answer else {
          Issue.record("record \(number) is not found")
          continue
        }
        #expect(record.payload == SmallTopic.payload(UInt64(number), length: 100))
      }
      storage.replace(slab: base, with: bytes)
    }
  }

  @Test("where marks stand nearer than their spacing, as once a second, a known one is walked past")
  func denseMarks() throws {
    let storage = SimulatedStorage()
    var options = QueueWriter.Options()
    options.markSpacing = 256
    let writer = try storage.writer(options)
    let addresses = try (0..<600).map { number in
      try writer.append(SmallTopic.payload(UInt64(number), length: 60)).address
    }
    try writer.close()
    var reader = try QueueReader(topic: Topic(storage: storage))
    for _ in 0..<2 { _ = lookUp(addresses[3].rawValue, &reader) }
    for number in [9, 500, 40, 599, 3, 41] {
      storage.logCalls()
      let record = try reader.record(at: addresses[number]).copy()
      #expect(record.payload == SmallTopic.payload(UInt64(number), length: 60))
      #expect(record.ordinal == UInt64(number))
      let reads = storage.calls.count { if case .read = $0 { true } else { false } }
      #expect(reads == 1, "record \(number)")
    }
  }
}
