// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("Ordinals: many at a time")
struct OrdinalConcurrencyTests {
  @Test("100 writing tasks get the ordinals 0 to 99, each its own", arguments: Place.allCases)
  func hundredWriters(place: Place) async throws {
    let placed = try PlacedTopic(place)
    let writer = try placed.writer()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<100 { group.addTask { try writer.append("task \(number)") } }
      try await group.waitForAll()
    }
    #expect(try placed.ordinals() == 0..<100)
    let records = try readAll(placed.topic).records
    #expect(records.map(\.ordinal) == Array(0..<100))
    #expect(Set(records.map(\.text)) == Set((0..<100).map { "task \($0)" }))
  }

  @Test(
    "50 writing tasks from 100 on, with room for 20, leave 130 to 149", arguments: Place.allCases)
  func fiftyWriters(place: Place) async throws {
    let placed = try PlacedTopic(place, bound: 20)
    let writer = try placed.writer(from: 100)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<50 {
        group.addTask {
          try writer.append("task \(number)")
          #expect(try placed.ordinals().isEmpty == false)
        }
      }
      try await group.waitForAll()
    }
    #expect(try placed.ordinals() == 130..<150)
    let texts = try readAll(placed.topic).records.map(\.text)
    #expect(texts.count == 20 && Set(texts).count == 20)
  }

  @Test(
    """
    beside a writer that drops, the range is never empty nor above the bound, nor goes back, and \
    what it names was there
    """,
    arguments: Place.allCases)
  func rangesBeside(place: Place) async throws {
    let placed = try PlacedTopic(place, bound: 20)
    let writer = try placed.writer(from: 100)
    try PlacedTopic.append(100..<101, to: writer)
    let count: UInt64 = place == .memory ? 20_000 : 500
    let done = Progress()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        defer { done.advance() }
        try PlacedTopic.append(101..<100 + count, to: writer)
      }
      for _ in 0..<2 {
        group.addTask {
          var reader = try placed.reader()
          var last: Range<UInt64> = 100..<101
          while done.value == 0 {
            let range = try reader.ordinals()
            try #require(!range.isEmpty)
            try #require(range.count <= 20)
            try #require(range.lowerBound >= last.lowerBound)
            try #require(range.upperBound >= last.upperBound)
            last = range
            switch reader.answer(range.lowerBound) {
            case .cleaned(let missed):
              // The record may have been cleaned meanwhile.
              try #require(missed.map { $0 > 0 } == true)
            case let answer:
              try #require(answer == .record(range.lowerBound))
            }
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(try placed.ordinals() == 80 + count..<100 + count)
  }

  @Test(
    "tasks that come together to an only slab above a bound that is new all get their records in",
    arguments: Place.allCases)
  func newBound(place: Place) async throws {
    for _ in 0..<10 {
      let placed = try PlacedTopic(place)
      let first = try placed.writer()
      try PlacedTopic.append(0..<100, to: first)
      try await first.close()
      let second = try placed.writer {
        $0.maximumRecords = 20
        $0.whenFull = .dropOldest
      }
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<10 { group.addTask { try second.append("task \(number)") } }
        try await group.waitForAll()
      }
      #expect(try placed.ordinals() == 100..<110)
    }
  }

  @Test("a range is not empty where all that was looked at is dropped meanwhile")
  func overtakenRange() throws {
    for listing in 1...8 {
      let storage = SimulatedStorage()
      var options = SmallTopic.options
      options.maximumRecords = 20
      options.whenFull = .dropOldest
      options.flushEvery = .records(1)
      let writer = try QueueWriter(
        topic: Topic(storage: storage), options: options, environment: fixedEnvironment())
      try PlacedTopic.append(0..<30, to: writer)
      let hooked = HookedStorage(storage)
      var reader = try QueueReader(topic: Topic(storage: hooked))
      hooked.atListing(listing) {
        do { try PlacedTopic.append(30..<90, to: writer) } catch { Issue.record(error) }
      }
      for _ in 0..<4 {
        let range = try reader.ordinals()
        #expect(range == 10..<30 || range == 70..<90, "listing \(listing)")
      }
    }
  }

  @Test(
    """
    readers by ordinal, by position and by array beside a writer that drops see each record as it \
    was
    """,
    arguments: Place.allCases)
  func readersBeside(place: Place) async throws {
    let placed = try PlacedTopic(place, bound: 64)
    let writer = try placed.writer()
    let count: UInt64 = place == .memory ? 5000 : 500
    try await withThrowingTaskGroup(of: UInt64.self) { group in
      for kind in 0..<3 {
        group.addTask {
          // The number of records that this reader got, or that were reported to it as lost.
          var total: UInt64 = 0
          var reader = try placed.reader()
          var records = Array(repeating: QueueRecord(), count: 5)
          while total < count {
            do throws(QueueError) {
              switch kind {
              case 0:
                guard let record = try reader.nextCopy() else {
                  try await reader.waitForMore()
                  continue
                }
                records[0] = record
                total += 1
              case 1:
                let found = try reader.fill(&records)
                if found == 0 { try await reader.waitForMore() }
                total += UInt64(found)
              default:
                records[0] = try reader.record(ordinal: total).copy()
                total += 1
              }
              #expect(records[0].payload == PlacedTopic.payload(records[0].ordinal) || total == 0)
            } catch {
              if let loss = error.loss {
                #expect(loss.cause == .cleaned)
                total += loss.records ?? 0
              } else if error.code == .beyondLatest {
                await Task.yield()
              } else {
                throw error
              }
            }
          }
          return total
        }
      }
      group.addTask {
        try PlacedTopic.append(0..<count, to: writer)
        return count
      }
      for try await total in group { #expect(total == count) }
    }
  }
}
