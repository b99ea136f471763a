// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("Writing")
struct WriterTests {
  func open(
    _ topic: Topic, slabSize: ByteCount = .mebibytes(64), maximumPayload: ByteCount? = nil,
    bufferSize: ByteCount = .kibibytes(256), clock: ManualClock = ManualClock()
  ) throws -> QueueWriter {
    var options = QueueWriter.Options()
    options.slabSize = slabSize
    options.bufferSize = bufferSize
    if let maximumPayload { options.maximumPayload = maximumPayload }
    return try QueueWriter(
      topic: topic, options: options, environment: fixedEnvironment(clock))
  }

  /// The marks of a topic, found by a search of its slabs.
  func marks(_ storage: MemoryStorage) throws -> [MarkAt] {
    let index = TopicIndex(storage)
    try index.refresh()
    var found: [MarkAt] = []
    for base in index.bases {
      let slab = try #require(try SlabFile.open(base, in: storage))
      var search = MarkSearch(slab, topicID: index.topicID)
      var from = base
      while let mark = try search.first(from: from, limit: .max) {
        found.append(mark)
        from = mark.end
      }
    }
    return found
  }

  @Test(
    "an option out of its bounds is refused, with the bounds, before anything is made",
    arguments: [
      (4095, 1 << 20, 1 << 18, "slabSize"), ((1 << 40) + 1, 1 << 20, 1 << 18, "slabSize"),
      (4096, -1, 1 << 18, "maximumPayload"), (4096, 0xFFFF_FFF0, 1 << 18, "maximumPayload"),
      (4096, 1 << 20, 4095, "bufferSize"), (4096, 1 << 20, (1 << 30) + 1, "bufferSize"),
    ] as [(Int64, Int64, Int64, String)])
  func options(_ slab: Int64, _ payload: Int64, _ buffer: Int64, _ name: String) throws {
    let directory = try TemporaryDirectory()
    let error = queueError {
      _ = try open(
        Topic(directory.path + "/topic"), slabSize: .bytes(slab), maximumPayload: .bytes(payload),
        bufferSize: .bytes(buffer))
    }
    #expect(error?.code == .invalidOption)
    #expect(error?.message.contains(name) == true)
    #expect(try snapshot(directory.path) == [:])
  }

  @Test("the largest payload is taken, and one byte more is refused before anything is written")
  func largestPayload() throws {
    let topic = Topic.memory()
    let writer = try open(topic, maximumPayload: .bytes(1000))
    let end = writer.position
    let error = queueError { try writer.append([UInt8](repeating: 1, count: 1001)) }
    #expect(error?.code == .payloadTooLarge)
    #expect(error?.message.contains("1001") == true)
    #expect(writer.position == end)
    try writer.append([UInt8](repeating: 2, count: 1000))
    try writer.append([])
    try writer.close()
    #expect(try readAll(topic).records.map(\.payload.count) == [1000, 0])
  }

  @Test("a payload larger than the buffer, the slab, and 64 KiB goes through, with marks around it")
  func longPayload() throws {
    let storage = MemoryStorage(capacity: 64 << 20)
    let topic = Topic(storage: storage)
    let writer = try open(topic, slabSize: .mebibytes(1), bufferSize: .kibibytes(4))
    let sizes = [10, 65_535, 65_536, 65_537, 300_000, 3_000_000, 20]
    var payloads: [[UInt8]] = []
    for size in sizes {
      payloads.append((0..<size).map { UInt8(truncatingIfNeeded: $0 &* size) })
      try writer.append(payloads[payloads.count - 1])
    }
    try writer.close()
    let read = try readAll(topic)
    #expect(read.records.map(\.payload) == payloads)
    let ends = Set(try marks(storage).map(\.end))
    let starts = Set(try marks(storage).map(\.address))
    let slabEnds = Set(try TopicIndex.slabs(in: storage))
    for record in read.records where record.payload.count > 65_536 {
      let end = record.address.rawValue + 8 + UInt64(record.payload.count)
      #expect(ends.contains(record.address.rawValue))
      #expect(starts.contains(end) || slabEnds.contains(end))
    }
  }

  @Test("marks stand at most 64 KiB and a record apart, with the ordinals of what follows")
  func markSpacing() throws {
    let storage = MemoryStorage(capacity: 64 << 20)
    let topic = Topic(storage: storage)
    let writer = try open(topic)
    for number in 0..<20_000 { try writer.append("record \(number)") }
    try writer.close()
    let marks = try marks(storage)
    #expect(marks.count > 5)
    for (mark, next) in zip(marks, marks.dropFirst()) {
      #expect(next.address - mark.end < 65_536 + 8 + 20)
      #expect(next.mark.ordinal >= mark.mark.ordinal)
    }
    let ordinals = Dictionary(
      uniqueKeysWithValues: try readAll(topic).records.map { ($0.address.rawValue, $0.ordinal) })
    for mark in marks {
      if let ordinal = ordinals[mark.end] { #expect(mark.mark.ordinal == ordinal) }
    }
  }

  @Test("the first record after a sync has the proof before it, and a second sync adds none")
  func markAfterSync() throws {
    let storage = MemoryStorage(capacity: 1 << 20)
    let writer = try open(Topic(storage: storage))
    try writer.append("one")
    try writer.sync()
    try writer.sync()
    let synced = writer.position
    try writer.append("two")
    try writer.append("three")
    try writer.flush()
    let marks = try marks(storage)
    #expect(marks.map(\.address) == [80, synced.rawValue])
    #expect(marks[1].mark.synced == synced.rawValue)
    #expect(marks[1].mark.ordinal == 1)
  }

  @Test("a second after the last mark, a record that finds the buffer empty gets one")
  func markAfterSecond() throws {
    let storage = MemoryStorage(capacity: 1 << 20)
    let clock = ManualClock()
    let writer = try open(Topic(storage: storage), clock: clock)
    try writer.append("one")
    clock.advance(by: 5_000_000_000)
    try writer.append("two: the buffer is not empty")
    try writer.flush()
    clock.set(clock.now - 5_000_000_000 + 999_999_999)
    try writer.append("three: not a second yet")
    try writer.flush()
    clock.advance(by: 1)
    let expected = writer.position
    try writer.append("four")
    try writer.flush()
    let marks = try marks(storage)
    #expect(marks.map(\.address) == [80, expected.rawValue])
    #expect(marks[1].mark.stamp == clock.now)
  }

  @Test("stamps never go back, whatever the clock does")
  func stamps() throws {
    let storage = MemoryStorage(capacity: 1 << 20)
    let clock = ManualClock()
    let topic = Topic(storage: storage)
    for jump in [0, 3_600_000_000_000, -7_200_000_000_000, 10] as [Int64] {
      clock.set(UInt64(Int64(clock.now) + jump))
      let writer = try open(topic, slabSize: .kibibytes(4), clock: clock)
      for number in 0..<300 { try writer.append("jump \(jump) record \(number)") }
      try writer.close()
    }
    let stamps = try marks(storage).map(\.mark.stamp)
    #expect(stamps.count > 8)
    #expect(stamps == stamps.sorted())
  }

  @Test("a slab is left before a record that would end behind its size, not before one that fits")
  func rollBoundary() throws {
    // The header takes 80 bytes and the mark 48, so 3,968 bytes are left for frames.
    for (size, slabs) in [(3960, 1), (3961, 2), (3959, 1)] {
      let storage = MemoryStorage(capacity: 1 << 20)
      let writer = try open(Topic(storage: storage), slabSize: .kibibytes(4))
      try writer.append([UInt8](repeating: 1, count: size - 8 - 8))
      try writer.append([UInt8](repeating: 2, count: 8))
      try writer.flush()
      #expect(try TopicIndex.slabs(in: storage).count == slabs, "\(size)")
      #expect(try readAll(Topic(storage: storage)).records.map(\.payload.count) == [size - 16, 8])
    }
  }

  @Test("a clean topic is gone on with in its last slab, or in a new one for larger payloads")
  func reopenedSlab() throws {
    let storage = MemoryStorage(capacity: 1 << 20)
    let topic = Topic(storage: storage)
    for (run, maximum) in [1000, 500, 2000].enumerated() {
      let writer = try open(topic, maximumPayload: .bytes(Int64(maximum)))
      #expect(writer.recovery.wasClean)
      try writer.append("run \(run)")
      try writer.close()
      #expect(try TopicIndex.slabs(in: storage).count == (maximum == 2000 ? 2 : 1))
    }
    #expect(try readAll(topic).texts == ["run 0", "run 1", "run 2"])
  }

  @Test("opening and closing without a record stays clean and loses nothing")
  func openAndClose() throws {
    let storage = MemoryStorage(capacity: 1 << 20)
    let topic = Topic(storage: storage)
    for run in 0..<100 {
      let writer = try open(topic, slabSize: .kibibytes(4))
      #expect(writer.recovery.wasClean)
      if run.isMultiple(of: 10) { try writer.append("run \(run)") }
      try writer.close()
    }
    let read = try readAll(topic)
    #expect(read.texts == stride(from: 0, to: 100, by: 10).map { "run \($0)" })
    #expect(read.losses == [])
    #expect(try TopicIndex.slabs(in: storage).allSatisfy { $0 < 1 << 40 })
  }

  @Test("a batch gives its range of addresses; on an error it says how many landed")
  func batches() throws {
    let topic = Topic.memory()
    let writer = try open(topic, maximumPayload: .bytes(10))
    let none = try writer.append(contentsOf: [] as [[UInt8]]).addresses
    #expect(none.isEmpty)
    let range = try writer.append(contentsOf: ["a", "bb", "ccc"]).addresses
    #expect(range.upperBound == writer.position)
    let error = queueError {
      try writer.append(contentsOf: [[1], [2, 2], [UInt8](repeating: 3, count: 11), [4]])
    }
    #expect(error?.code == .payloadTooLarge)
    #expect(error?.appended == 2)
    try writer.close()
    let read = try readAll(topic)
    #expect(read.records.map(\.payload) == [[97], [98, 98], [99, 99, 99], [1], [2, 2]])
    #expect(read.records[0].address == range.lowerBound)
  }

  @Test("bytes from an array, a slice, a lazy collection, a span and a text are the same bytes")
  func payloadKinds() throws {
    let topic = Topic.memory()
    let writer = try open(topic)
    let bytes = Array("payload".utf8)
    try writer.append(bytes)
    try writer.append(([0] + bytes)[1...])
    try writer.append(bytes.lazy.map { $0 })
    try writer.append(bytes.span)
    try writer.append("payload")
    try writer.append("a payload".dropFirst(2))
    try writer.close()
    #expect(try readAll(topic).texts == [String](repeating: "payload", count: 6))
  }

  @Test("a caller may reuse its bytes as soon as append returns")
  func reuse() throws {
    let topic = Topic.memory()
    let writer = try open(topic)
    var bytes: [UInt8] = [1, 2, 3]
    try writer.append(bytes)
    bytes[0] = 9
    try writer.append(bytes)
    try writer.close()
    #expect(try readAll(topic).records.map(\.payload) == [[1, 2, 3], [9, 2, 3]])
  }

  @Test("a closed writer refuses everything; closing again does nothing")
  func closed() throws {
    let writer = try open(.memory())
    try writer.append("one")
    try writer.close()
    try writer.close()
    for refused: () throws -> Void in [
      { try writer.append("two") }, { try writer.flush() }, { try writer.sync() },
    ] {
      #expect(queueError(refused)?.code == .closed)
    }
  }

  @Test("flush, sync and close can be awaited")
  func awaited() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    try writer.append("flushed")
    try await writer.flush()
    #expect(try readAll(topic).texts == ["flushed"])
    try writer.append("synced")
    try await writer.sync()
    try writer.append("closed")
    try await writer.close()
    #expect(try readAll(topic).texts == ["flushed", "synced", "closed"])
    for _ in 0..<3 {
      await #expect(throws: QueueError.self) { try await writer.sync() }
    }
  }

  @Test("a writer that is dropped has flushed, and gives up the lock")
  func dropped() throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    do {
      let writer = try QueueWriter(topic: topic)
      try writer.append("dropped")
    }
    let next = try QueueWriter(topic: topic)
    #expect(!next.recovery.wasClean)
    #expect(next.recovery.unprovenRecords == 1)
    try next.close()
    #expect(try readAll(topic).texts == ["dropped"])
  }

  @Test("eight threads on one writer: every record once, each thread's in its order")
  func threads() async throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(64)
    options.bufferSize = .kibibytes(4)
    let writer = try QueueWriter(topic: topic, options: options)
    let addresses = try await withThrowingTaskGroup(of: [Address].self) { group in
      for thread in 0..<8 {
        group.addTask {
          try (0..<2000).map { number in
            if number.isMultiple(of: 500) { try writer.sync() }
            return try writer.append("\(thread) \(number)").address
          }
        }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    try await writer.close()
    let read = try readAll(topic)
    #expect(read.losses == [])
    #expect(read.records.count == 16_000)
    #expect(Set(addresses.joined()) == Set(read.records.map(\.address)))
    for thread in 0..<8 {
      let own = read.texts.filter { $0.hasPrefix("\(thread) ") }
      #expect(own == (0..<2000).map { "\(thread) \($0)" })
    }
  }

  @Test("a slab never reaches into the next epoch: the writer goes on in that epoch's first slab")
  func epochEnd() throws {
    let storage = MemoryStorage(capacity: 1 << 20)
    let topic = Topic(storage: storage)
    // A clean topic that ends 600 bytes before the end of epoch 0.
    let base = (1 << 40) - 600 - 176 as UInt64
    try plant(closedSlabAt: base, in: storage)
    let writer = try open(topic, slabSize: .kibibytes(4))
    #expect(writer.recovery.wasClean)
    var addresses: [UInt64] = []
    for number in 0..<10 { addresses.append(try writer.append(text(number)).address.rawValue) }
    try writer.close()
    #expect(addresses.contains { $0 < 1 << 40 })
    #expect(addresses.last.map { $0 > 1 << 40 } == true)
    #expect(try TopicIndex.slabs(in: storage) == [base, 1 << 40])
    let read = try readAll(topic)
    #expect(read.records.map(\.address.rawValue) == addresses)
    #expect(read.records.map(\.text) == (0..<10).map(text))
    #expect(read.losses == [])
    let next = try open(topic)
    #expect(next.recovery.wasClean)
    try next.close()
  }

  @Test("behind the last epoch there is none: opening says so, and reading goes on")
  func epochsExhausted() throws {
    let storage = MemoryStorage(capacity: 1 << 20)
    let topic = Topic(storage: storage)
    let base = UInt64((1 << 24) - 1) << 40
    try plant(closedSlabAt: base, in: storage)
    let writer = try open(topic)
    try writer.append("the last epoch")
    try writer.flush()
    writer.dieForTesting()
    let error = queueError { _ = try open(topic) }
    #expect(error?.code == .addressesExhausted)
    #expect(try readAll(topic).texts == ["the last epoch"])
    #expect(queueError { _ = try open(topic) }?.code == .addressesExhausted)
  }

  private func text(_ number: Int) -> String {
    "record \(number) " + String(repeating: "x", count: 90)
  }

  /// Stores a slab with a header, its mark and a closing mark. That makes an empty topic that was
  /// closed.
  private func plant(closedSlabAt base: UInt64, in storage: MemoryStorage) throws {
    let id: UInt64 = 0x1122_3344_5566_7788
    var buffer = WriteBuffer(capacity: 4096)
    let header = SlabHeader(
      largestPayload: 16 << 20, base: base, ordinal: 0, stamp: 5, synced: base, kept: 0,
      topicID: id)
    buffer.put(header)
    buffer.put(header.copy, at: base + 80)
    buffer.put(
      Mark(stamp: 6, ordinal: 0, synced: base + 176, kept: 0, topicID: id), at: base + 128)
    let slab = try SlabFile.create(base, in: storage)
    var written = 0
    try slab.write(buffer.bytes, at: base, written: &written)
    #expect(written == 176)
  }
}
