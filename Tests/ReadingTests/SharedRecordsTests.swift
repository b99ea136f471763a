// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("A reader's sequences, shared by tasks")
struct SharedRecordsTests {
  enum Place: CaseIterable { case memory, simulated, directory, cold }

  private func topic(_ place: Place, _ directory: TemporaryDirectory) -> Topic {
    switch place {
    case .memory: Topic.memory()
    case .simulated: Topic(storage: SimulatedStorage())
    case .directory: Topic(directory.path + "/topic")
    case .cold: Topic(storage: ColdStorage())
    }
  }

  private func append(_ numbers: Range<Int>, to writer: QueueWriter) throws {
    for number in numbers { try writer.append("record \(number)") }
    try writer.flush()
  }

  @Test(
    "each record goes to one of the tasks, and each task gets them in order",
    arguments: Place.allCases, [false, true])
  func records(place: Place, following: Bool) async throws {
    let directory = try TemporaryDirectory()
    let topic = topic(place, directory)
    let writer = try QueueWriter(topic: topic)
    let count = 3_000
    if !following { try append(0..<count, to: writer) }
    let records = try QueueReader(topic: topic).records(following: following)
    let taken = Progress()
    let read = try await withThrowingTaskGroup(of: [UInt64].self) { group in
      for _ in 0..<4 {
        group.addTask {
          var mine: [UInt64] = []
          for try await record in records {
            mine.append(record.ordinal)
            taken.advance()
            if mine.count % 7 == 0 { await Task.yield() }
          }
          return mine
        }
      }
      if following {
        var next = 0
        while next < count {
          let end = min(count, next + [1, 2, 15, 600][next % 4])
          try append(next..<end, to: writer)
          next = end
        }
        try await taken.wait(for: UInt64(count))
        records.finish()
      }
      return try await group.reduce(into: [[UInt64]]()) { $0.append($1) }
    }
    #expect(read.allSatisfy { zip($0, $0.dropFirst()).allSatisfy { $0 < $1 } })
    #expect(read.flatMap { $0 }.sorted() == (0..<UInt64(count)).map { $0 })
    try await writer.close()
  }

  @Test("batches have what the records are, and follow the log", arguments: Place.allCases)
  func batches(place: Place) async throws {
    let directory = try TemporaryDirectory()
    let topic = topic(place, directory)
    let writer = try QueueWriter(topic: topic)
    try append(0..<1_000, to: writer)
    let batches = try QueueReader(topic: topic).batches(upTo: 30, following: true)
    var read: [QueueRecord] = []
    var isFull = false
    for try await batch in batches {
      #expect((1...30).contains(batch.count))
      isFull = isFull || batch.count == 30
      read += batch
      // Each record comes only if the loop waits for it.
      if read.count == 1_010 { break }
      if read.count >= 1_000 { try append(read.count..<read.count + 1, to: writer) }
    }
    #expect(isFull)
    #expect(read == (try readAll(topic).records))
    try await writer.close()
  }

  @Test("losses go to one task each, between the batches around them")
  func losses() async throws {
    let small = try SmallTopic()
    let (base, _) = try #require(small.storage.slabs.first { $0.key > 0 })
    small.storage.flip(bit: 8 * 300, ofSlab: base)
    let expected = try readAll(small.topic)
    #expect(expected.losses.count == 1)
    let reported = Reported()
    let reader = try QueueReader(topic: small.topic) { reported.take($0) }
    var read: [QueueRecord] = []
    for try await batch in reader.batches(upTo: 3) { read += batch }
    #expect(read == expected.records && reported.losses == expected.losses)
  }

  @Test("a task that is cancelled leaves the records to the others", arguments: Place.allCases)
  func cancelled(place: Place) async throws {
    let directory = try TemporaryDirectory()
    let topic = topic(place, directory)
    let writer = try QueueWriter(topic: topic)
    try append(0..<1, to: writer)
    let records = try QueueReader(topic: topic).records(following: true)
    for number in 0..<50 {
      let lost = Task { try await records.first { _ in false } }
      let next = Task {
        var iterator = records.makeAsyncIterator()
        return try await iterator.next()?.text
      }
      if number % 2 == 0 { await Task.yield() }
      lost.cancel()
      // The cancelled task may have taken the record, or not.
      if await queueError({ _ = try await lost.value }) == nil { Issue.record("not cancelled") }
      try append(number + 1..<number + 2, to: writer)
      #expect(try await next.value?.hasPrefix("record") == true)
    }
    try await writer.close()
  }

  @Test("a finished sequence ends for every task, also for those that wait")
  func finished() async throws {
    let directory = try TemporaryDirectory()
    for place in Place.allCases {
      let topic = topic(place, directory)
      let writer = try QueueWriter(topic: topic)
      try append(0..<2, to: writer)
      let batches = try QueueReader(topic: topic).batches(upTo: 1, following: true)
      let taken = Progress()
      let tasks = (0..<3).map { _ in
        Task { () throws(QueueError) -> Int in
          var count = 0
          for try await batch in batches {
            count += batch.count
            taken.advance()
          }
          return count
        }
      }
      try await taken.wait(for: 2)
      batches.finish()
      var sum = 0
      for task in tasks { sum += try await task.value }
      #expect(sum == 2)
      try await writer.close()
    }
  }
}
