// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("Reading")
struct ReaderTests {
  /// A topic in memory with several slabs, marks and two epochs, and the records in it.
  struct Sample {
    let storage = MemoryStorage(capacity: 64 << 20)
    let clock = ManualClock()
    var records: [QueueRecord] = []
    /// When each record was appended.
    var times: [UInt64] = []
    var topic: Topic { Topic(storage: storage) }

    init(count: Int = 600, slabSize: ByteCount = .kibibytes(4), isClosed: Bool = true) throws {
      var options = QueueWriter.Options()
      options.slabSize = slabSize
      for epoch in 0..<2 {
        let writer = try QueueWriter(
          topic: topic, options: options, environment: fixedEnvironment(clock))
        for number in 0..<count / 2 {
          let text = "epoch \(epoch) record \(number)"
          clock.advance(by: 100_000_000)
          times.append(clock.now)
          records.append(
            QueueRecord(
              address: try writer.append(text).address, ordinal: UInt64(records.count),
              payload: Array(text.utf8)))
          if number % 50 == 49 { try writer.flush() }
          if number % 100 == 99 { try writer.sync() }
        }
        try writer.flush()
        if epoch == 0 || !isClosed { writer.dieForTesting() } else { try writer.close() }
      }
    }
  }

  @Test("from every record's address on, exactly the rest is read")
  func everyAddress() throws {
    let sample = try Sample()
    for (index, record) in sample.records.enumerated() {
      let read = try readAll(sample.topic, from: .address(record.address))
      #expect(read.records == Array(sample.records[index...]), "record \(index)")
    }
  }

  @Test("from every ordinal on, exactly the rest is read; behind the last there is nothing")
  func everyOrdinal() throws {
    let sample = try Sample()
    for index in 0...sample.records.count {
      let read = try readAll(sample.topic, from: .ordinal(UInt64(index)))
      #expect(read.records == Array(sample.records[index...]), "ordinal \(index)")
    }
    let error = queueError { _ = try readAll(sample.topic, from: .ordinal(601)) }
    #expect(error?.code == .beyondLatest)
  }

  @Test("from a time on, everything since is read, and nothing much older")
  func everyTime() throws {
    let sample = try Sample()
    for (index, time) in sample.times.enumerated() {
      let read = try readAll(
        sample.topic, from: .time(since1970: .nanoseconds(Int64(time))))
      let first = try #require(read.records.first).ordinal
      #expect(first <= UInt64(index), "record \(index)")
      // Here is a mark at least every 100 records, because the writer syncs.
      #expect(UInt64(index) - first <= 151, "record \(index)")
      #expect(read.records == Array(sample.records[Int(first)...]))
    }
    let all = try readAll(sample.topic, from: .time(since1970: .seconds(0)))
    #expect(all.records == sample.records)
    for future in [Duration.seconds(9_000_000_000), .seconds(Int64.max) * 2, .seconds(Int64.max)] {
      #expect(try readAll(sample.topic, from: .time(since1970: future)).records.count <= 100)
      let all = try readAll(sample.topic, from: .ago(Age(future)))
      #expect(all.records == sample.records)
    }
  }

  @Test("an age counts back from now")
  func ages() throws {
    let sample = try Sample()
    var reader = try QueueReader(
      topic: sample.topic, from: .ago(.seconds(20)), options: .init(),
      environment: fixedEnvironment(sample.clock), onLoss: nil)
    let first = try #require(try reader.nextCopy()).ordinal
    #expect((248...400).contains(first))
    var older = try QueueReader(
      topic: sample.topic, from: .ago(.days(400)), options: .init(),
      environment: fixedEnvironment(sample.clock), onLoss: nil)
    #expect(try older.nextCopy() == sample.records[0])
  }

  @Test("from the latest on, only what is appended from then on")
  func latest() throws {
    let sample = try Sample()
    var reader = try QueueReader(topic: sample.topic, from: .latest)
    #expect(try reader.nextCopy() == nil)
    let writer = try QueueWriter(topic: sample.topic)
    try writer.append("new")
    #expect(try reader.nextCopy() == nil)
    try writer.flush()
    let new = try #require(try reader.nextCopy())
    #expect(new.text == "new")
    #expect(new.ordinal == 600)
    #expect(try reader.nextCopy() == nil)
    try writer.close()
    #expect(try reader.nextCopy() == nil)
  }

  @Test("a slab's base, a header, a mark, and the gap between epochs land on the next record")
  func landings() throws {
    let sample = try Sample()
    let index = TopicIndex(sample.storage)
    try index.refresh()
    for base in index.bases {
      let next = try #require(sample.records.first { $0.address.rawValue >= base + 128 })
      for offset in [0, 1, 79, 80, 100, 127] as [UInt64] where base + offset > 0 {
        let read = try readAll(sample.topic, from: .address(Address(rawValue: base + offset)))
        #expect(read.records.first == next, "\(base) + \(offset)")
      }
    }
    let gap = Address(rawValue: (1 << 40) - 12345)
    #expect(try readAll(sample.topic, from: .address(gap)).records == Array(sample.records[300...]))
  }

  @Test("an address inside a record is refused, and the error names the record")
  func insideRecord() throws {
    let sample = try Sample()
    for record in [sample.records[0], sample.records[299], sample.records[599]] {
      for offset in [1, 7, 8, UInt64(record.payload.count) + 7] {
        let address = Address(rawValue: record.address.rawValue + offset)
        let error = queueError { _ = try readAll(sample.topic, from: .address(address)) }
        #expect(error?.code == .notARecord)
        #expect(error?.address == record.address)
        #expect(error?.message.contains("\(address)") == true)
      }
    }
  }

  @Test("an address behind the end is refused; the end itself is the latest")
  func afterEnd() throws {
    let sample = try Sample()
    let end = try readAll(sample.topic).end
    #expect(try readAll(sample.topic, from: .address(end)).records == [])
    for beyond in [end.rawValue + 1, end.rawValue + 1_000_000, 5 << 40, .max] {
      let error = queueError {
        _ = try readAll(sample.topic, from: .address(Address(rawValue: beyond)))
      }
      #expect(error?.code == .beyondLatest, "\(beyond)")
    }
  }

  @Test("an address below the first slab: what was there is reported as cleaned, once")
  func positionBeforeTheFirstSlab() throws {
    let sample = try Sample()
    let bases = try TopicIndex.slabs(in: sample.storage)
    try sample.storage.remove(SlabName.string(bases[0]))
    try sample.storage.remove(SlabName.string(bases[1]))
    let rest = sample.records.filter { $0.address.rawValue >= bases[2] }
    let read = try readAll(sample.topic, from: .address(sample.records[3].address))
    #expect(read.records == rest)
    #expect(
      read.losses == [
        Loss(
          cause: .cleaned,
          addresses: sample.records[3].address..<Address(rawValue: bases[2]), records: nil)
      ])
    let byOrdinal = try readAll(sample.topic, from: .ordinal(3))
    #expect(byOrdinal.records == rest)
    #expect(byOrdinal.losses.map(\.records) == [rest[0].ordinal - 3])
    #expect(try readAll(sample.topic).losses == [])

    var thrown: [QueueError] = []
    var found: [QueueRecord] = []
    var reader = try QueueReader(topic: sample.topic, from: .address(sample.records[3].address))
    for _ in 0..<2 {
      do throws(QueueError) {
        while let record = try reader.nextCopy() { found.append(record) }
      } catch {
        thrown.append(error)
      }
    }
    #expect(thrown.count == 1)
    #expect(thrown.first?.loss == read.losses[0])
    #expect(found == rest)
  }

  @Test("a reader overtaken by cleaning is told how many records it missed, and goes on")
  func overtaken() throws {
    let sample = try Sample()
    let bases = try TopicIndex.slabs(in: sample.storage)
    let reported = Reported()
    var reader = try QueueReader(topic: sample.topic) { reported.take($0) }
    var read: [QueueRecord] = []
    for _ in 0..<10 { read.append(try #require(try reader.nextCopy())) }
    for base in bases[..<2] { try sample.storage.remove(SlabName.string(base)) }
    while let record = try reader.nextCopy() { read.append(record) }
    // The slab that was open stays readable. The records of the second slab are lost.
    let missed = sample.records.filter { (bases[1]..<bases[2]).contains($0.address.rawValue) }
    #expect(reported.losses.map(\.records) == [UInt64(missed.count)])
    #expect(reported.losses.map(\.cause) == [.cleaned])
    #expect(read == sample.records.filter { !missed.contains($0) })
  }

  @Test("a record is looked up by its exact address, and the position stays")
  func lookUp() throws {
    let sample = try Sample()
    var reader = try QueueReader(topic: sample.topic, from: .ordinal(7))
    for record in [sample.records[599], sample.records[0], sample.records[300]] {
      let found = try reader.record(at: record.address).copy()
      #expect(found == record)
    }
    for (address, code) in [
      (sample.records[5].address.rawValue + 1, QueueError.Code.notARecord),
      (0, .notARecord), (80, .notARecord), (5 << 40, .beyondLatest),
    ] {
      var code2: QueueError.Code?
      do throws(QueueError) {
        _ = try reader.record(at: Address(rawValue: address))
      } catch {
        code2 = error.code
      }
      #expect(code2 == code, "\(address)")
    }
    #expect(try reader.nextCopy() == sample.records[7])
  }

  @Test("read to the end, twice nothing, append one, read exactly that one")
  func endTwice() throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    var reader = try QueueReader(topic: topic)
    for number in 0..<50 {
      #expect(try reader.nextCopy() == nil)
      #expect(try reader.nextCopy() == nil)
      try writer.append("record \(number)")
      try writer.flush()
      #expect(try reader.nextCopy()?.text == "record \(number)")
    }
  }

  @Test("a reader that starts at a lost record is told so before it gets the next one")
  func startsAtLostRecord() throws {
    let sample = try Sample()
    // The last record before a sync is directly followed by a mark.
    let lost = sample.records[99]
    let base = try #require(
      try TopicIndex.slabs(in: sample.storage).last { $0 <= lost.address.rawValue })
    let slab = try #require(try SlabFile.open(base, in: sample.storage))
    var written = 0
    try slab.write([0xAA].span.bytes, at: lost.address.rawValue + 8, written: &written)
    for start in [Topic.Position.ordinal(99), .address(lost.address)] {
      var reader = try QueueReader(topic: sample.topic, from: start)
      var loss: Loss?
      do throws(QueueError) {
        _ = try reader.nextCopy()
      } catch {
        loss = error.loss
      }
      #expect(loss?.records == 1)
      #expect(loss?.addresses.lowerBound == lost.address)
      #expect(try reader.nextCopy() == sample.records[100])
    }
  }

  @Test("a reader follows a writer over slabs, crashes and epochs")
  func following() throws {
    let topic = Topic.memory()
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(4)
    var reader: QueueReader? = nil
    var expected: [String] = []
    var read: [String?] = []
    for run in 0..<5 {
      let writer = try QueueWriter(topic: topic, options: options)
      if reader == nil { reader = try QueueReader(topic: topic) }
      for number in 0..<300 {
        expected.append("run \(run) record \(number)")
        try writer.append("run \(run) record \(number)")
        if number % 7 == 0 {
          try writer.flush()
          while let record = try reader!.nextCopy() { read.append(record.text) }
        }
      }
      try writer.flush()
      if run % 2 == 0 { writer.dieForTesting() } else { try writer.close() }
    }
    while let record = try reader!.nextCopy() { read.append(record.text) }
    #expect(read == expected)
  }

  @Test("a reader may be opened before the first record, and before the topic has a slab")
  func emptyTopic() throws {
    let topic = Topic.memory()
    var reader = try QueueReader(topic: topic)
    #expect(try reader.nextCopy() == nil)
    var latest = try QueueReader(topic: topic, from: .latest)
    let writer = try QueueWriter(topic: topic)
    #expect(try reader.nextCopy() == nil)
    try writer.append("first")
    try writer.flush()
    #expect(try reader.nextCopy()?.text == "first")
    #expect(try latest.nextCopy()?.text == "first")
  }

  @Test("records that a crash took back are reported to the reader that had seen them")
  func discarded() throws {
    let storage = MemoryStorage(capacity: 1 << 20)
    let topic = Topic(storage: storage)
    let writer = try QueueWriter(topic: topic)
    try writer.append("kept")
    let lost = try writer.append("lost").address
    try writer.append("lost as well")
    try writer.flush()
    let reported = Reported()
    var reader = try QueueReader(topic: topic) { reported.take($0) }
    for text in ["kept", "lost", "lost as well"] {
      #expect(try reader.nextCopy()?.text == text)
    }
    writer.dieForTesting()
    // The power cut takes the bytes of the last two records.
    let slab = try #require(try SlabFile.open(0, in: storage))
    let zeros = [UInt8](repeating: 0, count: 32)
    var written = 0
    try slab.write(zeros.span.bytes, at: lost.rawValue, written: &written)
    let next = try QueueWriter(topic: topic)
    #expect(next.recovery.end == lost)
    try next.append("next")
    try next.close()
    #expect(try reader.nextCopy()?.text == "next")
    #expect(reported.losses.map(\.cause) == [.discarded])
    #expect(reported.losses.map(\.records) == [2])
    #expect(reported.losses.first?.addresses.lowerBound == lost)
    #expect(try readAll(topic).texts == ["kept", "next"])
  }

  @Test("a record above the reader's limit is reported once, and passed, also in pieces")
  func tooLarge() throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    let sizes = [10, 100_000, 20, 2000, 30]
    for size in sizes { try writer.append([UInt8](repeating: UInt8(size % 251), count: size)) }
    try writer.close()
    var options = QueueReader.Options()
    options.maximumPayload = .bytes(1000)
    options.bufferSize = .kibibytes(4)
    var reader = try QueueReader(topic: topic, options: options)
    var found: [Int] = []
    var ordinals: [UInt64] = []
    var passed = 0
    while true {
      do throws(QueueError) {
        guard let record = try reader.nextCopy() else { break }
        found.append(record.payload.count)
        ordinals.append(record.ordinal)
      } catch {
        #expect(error.code == .payloadTooLarge)
        #expect(error.loss == nil)
        passed += 1
      }
    }
    #expect(found == [10, 20, 30])
    #expect(ordinals == [0, 2, 4])
    #expect(passed == 2)
  }

  @Test("many readers beside a writer that rolls: each sees a prefix, in order, and then all")
  func manyReaders() async throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(16)
    options.bufferSize = .kibibytes(4)
    let writer = try QueueWriter(topic: topic, options: options)
    let count = 20_000
    try await withThrowingTaskGroup(of: Int.self) { group in
      for _ in 0..<3 {
        group.addTask {
          var reader = try QueueReader(topic: topic)
          var next = 0
          while next < count {
            guard let record = try reader.nextCopy() else {
              await Task.yield()
              continue
            }
            guard record.text == "record \(next)", record.ordinal == UInt64(next) else { return -1 }
            next += 1
          }
          return next
        }
      }
      group.addTask {
        for number in 0..<count { try writer.append("record \(number)") }
        try writer.flush()
        return count
      }
      for try await seen in group { #expect(seen == count) }
    }
    try await writer.close()
  }
}
