// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@testable import DiskQueue
@testable import DiskQueueInspection

@Suite("A topic in memory")
struct MemoryTopicTests {
  private func payload(_ number: Int) -> [UInt8] { Array("record \(number)".utf8) }

  @Test("a record can be read once it was appended, without a flush, and by its address")
  func readableAtOnce() throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    var reader = try QueueReader(topic: topic)
    var other = try QueueReader(topic: topic)
    for number in 0..<300 {
      let address = try writer.append(payload(number)).address
      #expect(try reader.nextCopy()?.payload == payload(number))
      #expect(try reader.nextCopy() == nil)
      let found = try other.record(at: address).copy()
      #expect(found.payload == payload(number))
      #expect(try reader.ordinals() == 0..<UInt64(number + 1))
    }
    #expect(try readAll(topic).records.count == 300)
  }

  @Test("a batch that several buffers do not hold can be read to its end")
  func batch() throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    var reader = try QueueReader(topic: topic)
    let payloads = (0..<20_000).map { payload($0) }
    try writer.append(contentsOf: payloads)
    for payload in payloads { try #require(try reader.nextCopy()?.payload == payload) }
    #expect(try reader.nextCopy() == nil)
  }

  @Test(
    "at its capacity the oldest slab goes, a sixteenth at a time, and the reader is told how many")
  func dropsTheOldest() throws {
    let topic = Topic.memory(capacity: .kibibytes(64))
    let writer = try QueueWriter(topic: topic)
    let reported = Reported()
    var slow = try QueueReader(topic: topic) { reported.take($0) }
    for number in 0..<10_000 {
      try writer.append(payload(number))
      if number == 10 { #expect(try slow.nextCopy()?.payload == payload(0)) }
    }
    var numbers: [Int] = []
    while let record = try slow.nextCopy() {
      let number = Int(record.ordinal)
      #expect(record.payload == payload(number))
      numbers.append(number)
    }
    // The reader still reads the slab that it has open. Then come the records that are left.
    let hole = try #require(zip(numbers, numbers.dropFirst()).first { $1 != $0 + 1 })
    #expect(numbers == Array(1...hole.0) + Array(hole.1..<10_000))
    #expect(reported.losses.map(\.cause) == [.cleaned])
    #expect(reported.losses.first?.records == UInt64(hole.1 - hole.0 - 1))
    // More than seven eighths of the capacity are in use.
    let held = try TopicInfo(of: topic).bytes
    #expect(held <= 64 << 10)
    #expect(held > 56 << 10)
  }

  @Test(
    "it never holds more records than it may, nor less than fifteen sixteenths of that",
    arguments: [2, 3, 16, 100, 1024])
  func boundedByRecords(most: UInt64) throws {
    let topic = Topic.memory(records: most)
    let writer = try QueueWriter(topic: topic)
    var reader = try QueueReader(topic: topic) { _ in }
    let slab = max(1, most / 16)
    for number in 0..<3 * most {
      try writer.append(payload(Int(number)))
      let held = try reader.ordinals()
      try #require(held.upperBound == number + 1)
      try #require(held.count <= Int(most))
      try #require(held.count >= Int(min(number + 1, most - slab + 1)))
    }
  }

  @Test("bounds hold behind a close and another writer, and on a disk")
  func boundsOfTheNextWriter() throws {
    let directory = try TemporaryDirectory()
    var options = QueueWriter.Options()
    options.maximumRecords = 100
    options.whenFull = .dropOldest
    for topic in [Topic.memory(records: 100), Topic(directory.path + "/topic")] {
      for round in 0..<4 {
        let writer = try QueueWriter(topic: topic, options: options)
        for number in 0..<70 { try writer.append(payload(round * 70 + number)) }
        try writer.close()
        let records = try readAll(topic).records
        #expect(records.count <= 100)
        #expect(records.count >= (round == 0 ? 70 : 90))
        #expect(records.last?.payload == payload(round * 70 + 69))
      }
    }
  }

  @Test("where it is told to fail at its bound, it does, and goes on when there is room")
  func failsWhereTold() throws {
    var options = QueueWriter.Options()
    options.whenFull = .fail
    let topic = Topic.memory(records: 10)
    let writer = try QueueWriter(topic: topic, options: options)
    for number in 0..<10 { try writer.append(payload(number)) }
    let error = queueError { try writer.append(payload(10)) }
    #expect(error?.code == .noSpace)
    #expect(error?.message.contains("maximumRecords") == true)
    try SlabCleaner(topic: topic).clean(keeping: Retention(records: 5, minimumBytes: .bytes(0)))
    try writer.append(payload(11))
    #expect(try readAll(topic).records.last?.payload == payload(11))
  }

  @Test("a waiting task is woken by an append, and by each that comes while it waits again")
  func wakes() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    let asked = Progress()
    let seen = Task {
      var seen: [[UInt8]] = []
      for try await record in try QueueReader(topic: topic).records(following: true) {
        seen.append(record.payload)
        asked.advance()
        if seen.count == 200 { break }
      }
      return seen
    }
    for number in 0..<200 {
      try writer.append(payload(number))
      if number % 3 == 0 { try await asked.wait(for: UInt64(number + 1)) }
    }
    #expect(try await seen.value == (0..<200).map { payload($0) })
  }

  @Test("who waits before there is a writer is woken by its first record, and by the next writer's")
  func waitsForTheFirstWriter() async throws {
    for round in 0..<50 {
      let topic = Topic.memory()
      let reached = Progress()
      let seen = Task {
        var seen: [String?] = []
        for try await record in try QueueReader(topic: topic).records(following: true) {
          seen.append(record.text)
          reached.advance()
          if seen.count == 2 { break }
        }
        return seen
      }
      if round % 2 == 0 { await Task.yield() }
      for number in 0..<2 {
        let writer = try QueueWriter(topic: topic)
        try writer.append("record \(number)")
        try await reached.wait(for: UInt64(number + 1))
        try await writer.close()
      }
      #expect(try await seen.value == ["record 0", "record 1"])
    }
  }

  @Test("a thread that waits is woken by an append, whoever else was woken by it")
  func wakesThreads() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    let woken = Progress()
    for _ in 0..<3 {
      try Syscalls.startThread {
        do {
          var reader = try QueueReader(topic: topic)
          while true {
            if try reader.nextCopy() != nil { break }
            try reader.waitForMoreBlocking()
          }
          woken.advance()
        } catch {
          Issue.record(error)
        }
      }.detach()
    }
    try writer.append("one")
    try await woken.wait(for: 3)
    #expect(woken.value == 3)
  }

  @Test(
    "readers at the end beside eight threads that append see every record, each thread's in order")
  func sideBySide() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    let counts = try await withThrowingTaskGroup(of: [Int].self) { group in
      for _ in 0..<2 {
        group.addTask {
          var next = [Int](repeating: 0, count: 8)
          var seen = 0
          for try await record in try QueueReader(topic: topic).records(following: true) {
            let parts = record.text?.split(separator: " ").compactMap { Int($0) } ?? []
            if parts.count == 2, next[parts[0]] == parts[1] { next[parts[0]] += 1 }
            seen += 1
            if seen == 8 * 500 { break }
          }
          return next
        }
      }
      for thread in 0..<8 {
        group.addTask {
          for number in 0..<500 { try writer.append("\(thread) \(number)") }
          return []
        }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    #expect(
      counts.filter { !$0.isEmpty } == Array(repeating: Array(repeating: 500, count: 8), count: 2))
  }

  @Test("a writer makes no thread, whatever it is asked for")
  func noThread() async throws {
    let writer = try QueueWriter(topic: .memory())
    var options = QueueWriter.Options()
    options.syncEvery = .milliseconds(1)
    let other = try QueueWriter(topic: .memory(), options: options)
    for writer in [writer, other] {
      try await writer.append("one", ensuring: .synced)
      try await writer.append("two", ensuring: .flushed)
      try await writer.sync()
      #expect(!writer.core.thread.isRunning)
      try await writer.close()
      #expect(!writer.core.thread.isRunning)
    }
  }

  @Test("what was synced is, behind a close by another task as well")
  func syncedAfterClose() async throws {
    let writer = try QueueWriter(topic: .memory())
    let address = try writer.append("one").address
    try await writer.close()
    try await writer.core.reach(.synced, at: address.rawValue + 11)
    #expect(queueError { try writer.append("two") }?.code == .closed)
  }

  @Test("a writer that is gone lets its topic go, and the next one goes on")
  func nextWriter() throws {
    let topic = Topic.memory()
    weak var core: WriterCore?
    do {
      let writer = try QueueWriter(topic: topic)
      core = writer.core
      try writer.append("one")
    }
    #expect(core == nil)
    let next = try QueueWriter(topic: topic)
    #expect(next.recovery.state == .recovered)
    try next.append("two")
    #expect(try readAll(topic).records.compactMap(\.text) == ["one", "two"])
  }

  @Test("a writer whose late end comes behind the next one's beginning leaves that attached")
  func lateEnd() throws {
    let topic = Topic.memory()
    var first: QueueWriter? = try QueueWriter(topic: topic)
    try first?.close()
    let second = try QueueWriter(topic: topic)
    first = nil
    try second.append("one")
    #expect(try readAll(topic).records.compactMap(\.text) == ["one"])
  }

  @Test("less than 64 KiB, or one record, is refused when it is opened")
  func tooSmall() {
    for topic in [Topic.memory(capacity: .kibibytes(63)), .memory(records: 1), .memory(records: 0)]
    {
      #expect(queueError { _ = try QueueWriter(topic: topic) }?.code == .invalidOption)
    }
  }

  // MARK: Snapshots

  /// A topic of two epochs and several slabs, with a consumer in its middle.
  private func sample() async throws -> (topic: Topic, records: [QueueRecord]) {
    let topic = Topic.memory(capacity: .kibibytes(256))
    for epoch in 0..<2 {
      let writer = try QueueWriter(topic: topic)
      for number in 0..<3000 { try writer.append(payload(epoch * 3000 + number)) }
      if epoch == 0 { writer.dieForTesting() } else { try await writer.sync() }
    }
    let consumer = try QueueConsumer(topic: topic, name: "reader")
    try await consumer.nextBatch(upTo: 10, following: false)?.acknowledge()
    try await consumer.close()
    return (topic, try readAll(topic).records)
  }

  @Test("a snapshot is an ordinary topic, and loads as it was: addresses, ordinals, consumers")
  func snapshot() async throws {
    let directory = try TemporaryDirectory()
    let (topic, records) = try await sample()
    let path = directory.path + "/a/snapshot"
    try topic.snapshot(to: path + "/")
    #expect(try readAll(Topic(path)).records == records)
    #expect(try readAll(Topic(path)).losses.isEmpty)
    let loaded = try Topic.memory(loading: Topic(path), capacity: .kibibytes(256))
    #expect(try readAll(loaded).records == records)
    for copy in [Topic(path), loaded] {
      let consumer = try QueueConsumer(topic: copy, name: "reader")
      let batch = try await consumer.nextBatch(upTo: 1, following: false)
      #expect(batch?.first == records[10])
      try await consumer.close()
      let writer = try QueueWriter(topic: copy)
      try writer.append("new")
      try await writer.close()
      let all = try readAll(copy).records
      #expect(Array(all.dropLast()) == records)
      #expect(all.last?.ordinal == records.last.map { $0.ordinal + 1 })
    }
    #expect(try readAll(topic).records == records)
  }

  @Test("a snapshot holds what was appended before, and leaves nothing beside it")
  func snapshotOfWhatIsInTheBuffer() throws {
    let directory = try TemporaryDirectory()
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    for number in 0..<5 {
      try writer.append(payload(number))
      try topic.snapshot(to: directory.path + "/\(number)")
      #expect(
        try readAll(Topic(directory.path + "/\(number)")).records.map(\.payload)
          == (0...number).map { payload($0) })
    }
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
        == (0..<5).map { "\($0)" })
  }

  @Test("what does not fit is not loaded; what fits closely is, and the next append makes room")
  func loadingTooMuch() async throws {
    let directory = try TemporaryDirectory()
    let (topic, records) = try await sample()
    try topic.snapshot(to: directory.path + "/s")
    let disk = Topic(directory.path + "/s")
    let error = queueError { _ = try Topic.memory(loading: disk, capacity: .kibibytes(16)) }
    #expect(error?.code == .noSpace)
    let bytes = try TopicInfo(of: disk).bytes
    let loaded = try Topic.memory(
      loading: disk, capacity: max(.bytes(Int64(bytes)), .kibibytes(64)))
    let writer = try QueueWriter(topic: loaded)
    for number in 0..<100 { try writer.append(payload(7000 + number)) }
    let all = try readAll(loaded).records
    #expect(all.suffix(100).map(\.payload) == (0..<100).map { payload(7000 + $0) })
    #expect(all.count < records.count + 100)
  }
}
