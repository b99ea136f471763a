// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("Ordinals: following")
struct OrdinalStreamTests {
  /// Reads on until the task is cancelled, and returns every answer. `onRecord` may cancel the
  /// task.
  private static func follow(
    _ topic: Topic, from start: Topic.Position,
    onRecord: @Sendable (_ count: Int) -> Void = { _ in }
  ) async throws -> [Answer] {
    let records = try QueueReader(topic: topic, from: start).records(following: true)
    var answers: [Answer] = []
    var count = 0
    while true {
      do throws(QueueError) {
        for try await record in records {
          answers.append(Answer(record))
          count += 1
          onRecord(count)
        }
        answers.append(.end)
        return answers
      } catch {
        answers.append(Answer(error))
        if error.code == .cancelled { return answers }
      }
    }
  }

  @Test(
    """
    a loop that is cancelled behind five records has seen those, and ends with the error that says \
    so
    """,
    arguments: Place.allCases, [0, 10] as [UInt64])
  func stopsAfterFive(place: Place, first: UInt64) async throws {
    let placed = try PlacedTopic(place)
    let writer = try placed.writer(from: first)
    try PlacedTopic.append(first..<first + 10, to: writer)
    let topic = placed.topic
    for start in [.earliest, .ordinal(first)] as [Topic.Position] {
      let task = Task {
        try await Self.follow(topic, from: start) { count in
          if count == 5 { withUnsafeCurrentTask { $0?.cancel() } }
        }
      }
      #expect(
        try await task.value
          == (first..<first + 5).map { .record($0) } + [.error(.cancelled)])
    }
  }

  @Test(
    "from an ordinal that was cleaned, or is below the first, it says how many, and goes on",
    arguments: Place.allCases)
  func cleanedStarts(place: Place) async throws {
    let placed = try PlacedTopic(place, bound: 32)
    let writer = try placed.writer(from: 10)
    try PlacedTopic.append(10..<110, to: writer)
    let topic = placed.topic
    for start in [0, 9, 10, 77] as [UInt64] {
      let task = Task {
        try await Self.follow(topic, from: .ordinal(start)) { count in
          if count == 32 { withUnsafeCurrentTask { $0?.cancel() } }
        }
      }
      #expect(
        try await task.value
          == [.cleaned(78 - start)] + (78..<110).map { .record($0) } + [.error(.cancelled)])
    }
  }

  @Test(
    """
    from the next ordinal it waits for its record; from a later one it is refused, empty topic or \
    not
    """,
    arguments: Place.allCases)
  func futureStarts(place: Place) async throws {
    let placed = try PlacedTopic(place, bound: 32)
    let writer = try placed.writer(from: 10)
    let topic = placed.topic
    for next in [10, 15, 80] as [UInt64] {
      try PlacedTopic.append(try placed.ordinals().upperBound..<next, to: writer)
      for ordinal in [next + 1, next + 100, .max] {
        #expect(
          queueError { _ = try placed.reader(from: .ordinal(ordinal)) }?.code == .beyondLatest)
      }
      let isLooking = Progress()
      let task = Task {
        let records = try QueueReader(topic: topic, from: .ordinal(next)).records(following: true)
        isLooking.advance()
        var iterator = records.makeAsyncIterator()
        return [try await iterator.next(), try await iterator.next()].map { Answer($0) }
      }
      try await isLooking.wait(for: 1)
      try PlacedTopic.append(next..<next + 2, to: writer)
      #expect(try await task.value == [.record(next), .record(next + 1)])
    }
  }

  @Test(
    "two at 0 and at 5 over ten records see ten and five, whatever the other does",
    arguments: Place.allCases)
  func two(place: Place) async throws {
    let placed = try PlacedTopic(place)
    let writer = try placed.writer()
    try PlacedTopic.append(0..<5, to: writer)
    let topic = placed.topic
    let seen = Progress()
    let tasks = [0, 5].map { start in
      Task { try await Self.follow(topic, from: .ordinal(start)) { _ in seen.advance() } }
    }
    try await seen.wait(for: 5)
    for ordinal in 5..<10 as Range<UInt64> {
      try PlacedTopic.append(ordinal..<ordinal + 1, to: writer)
    }
    try await seen.wait(for: 15)
    for task in tasks { task.cancel() }
    #expect(
      try await tasks[0].value == (0..<10).map { .record($0) } + [.error(.cancelled)])
    #expect(
      try await tasks[1].value == (5..<10).map { .record($0) } + [.error(.cancelled)])
  }

  @Test(
    "a slow one that is overtaken is told exactly how many it missed, and goes on",
    arguments: Place.allCases, [0, 10] as [UInt64])
  func overtaken(place: Place, first: UInt64) async throws {
    let placed = try PlacedTopic(place, bound: 32)
    let writer = try placed.writer(from: first)
    try PlacedTopic.append(first..<first + 1, to: writer)
    let records = try placed.reader().records(following: true)
    var answers: [Answer] = []
    var iterator = records.makeAsyncIterator()
    answers.append(Answer(try await iterator.next()))
    // The reader is slow. Meanwhile 100 records come, and the bound leaves at most 32.
    try PlacedTopic.append(first + 1..<first + 101, to: writer)
    let range = try placed.ordinals()
    #expect(range == PlacedTopic.retained(first: first, count: 101, bound: 32))
    do throws(QueueError) {
      while true { answers.append(Answer(try await iterator.next())) }
    } catch {
      answers.append(Answer(error))
    }
    for _ in range { answers.append(Answer(try await iterator.next())) }
    // The reader reads the slab that it had open to its end.
    let kept = answers.prefix { if case .record = $0 { true } else { false } }.count
    #expect(kept == 1 || kept == 2)
    #expect(
      answers
        == (first..<first + UInt64(kept)).map { .record($0) }
        + [.cleaned(range.lowerBound - first - UInt64(kept))] + range.map { .record($0) })
  }

  @Test(
    "one that takes losses by a closure is overtaken again and again, and counts all",
    arguments: Place.allCases)
  func overtakenOften(place: Place) async throws {
    let placed = try PlacedTopic(place, bound: 16)
    let writer = try placed.writer()
    let reported = Reported()
    var missed: UInt64 { reported.losses.reduce(0) { $0 + ($1.records ?? .max / 4) } }
    var seen: UInt64 = 0
    let reader = try QueueReader(topic: placed.topic) { reported.take($0) }
    var iterator = reader.records(following: true).makeAsyncIterator()
    var next: UInt64 = 0
    for round in 1...20 as ClosedRange<UInt64> {
      try PlacedTopic.append(next..<next + round * 3, to: writer)
      next += round * 3
      while seen + missed < next {
        let record = try #require(try await iterator.next())
        #expect(record.ordinal == seen + missed)
        #expect(Answer(record) == .record(record.ordinal))
        seen += 1
      }
    }
    #expect(seen + missed == next && missed > 0 && seen >= 16)
  }

  @Test(
    "one that is cancelled while it waits ends at once, and one that was before never begins to",
    arguments: Place.allCases)
  func cancelled(place: Place) async throws {
    let placed = try PlacedTopic(place)
    let writer = try placed.writer()
    try PlacedTopic.append(0..<1, to: writer)
    let topic = placed.topic
    for _ in 0..<20 {
      let seen = Progress()
      let task = Task { try await Self.follow(topic, from: .earliest) { _ in seen.advance() } }
      try await seen.wait(for: 1)
      task.cancel()
      #expect(try await task.value == [.record(0), .error(.cancelled)])
      let before = Task { () -> [Answer] in
        withUnsafeCurrentTask { $0?.cancel() }
        return try await Self.follow(topic, from: .earliest)
      }
      #expect(try await before.value == [.error(.cancelled)])
    }
  }

  @Test(
    "idle ones, a thousand in memory, are woken by one record each time, and end by cancellation",
    arguments: Place.allCases)
  func idle(place: Place) async throws {
    // In a directory, each reader has a thread and an open slab.
    let count: UInt64 = place == .memory ? 1000 : 40
    let placed = try PlacedTopic(place)
    let writer = try placed.writer(from: 10)
    let topic = placed.topic
    let seen = Progress()
    let tasks = (0..<count).map { _ in
      Task { try await Self.follow(topic, from: .earliest) { _ in seen.advance() } }
    }
    for round in 0..<3 as Range<UInt64> {
      try PlacedTopic.append(10 + round..<11 + round, to: writer)
      try await seen.wait(for: count * (round + 1))
    }
    for task in tasks { task.cancel() }
    for task in tasks {
      #expect(try await task.value == (10..<13).map { .record($0) } + [.error(.cancelled)])
    }
    #expect(seen.value == 3 * count)
  }

  @Test("a slow writer that drops meanwhile is followed without a loss", arguments: Place.allCases)
  func slowWriter(place: Place) async throws {
    let placed = try PlacedTopic(place, bound: 32)
    let writer = try placed.writer(from: 10)
    let topic = placed.topic
    let seen = Progress()
    let task = Task { try await Self.follow(topic, from: .earliest) { _ in seen.advance() } }
    for ordinal in 10..<110 as Range<UInt64> {
      try PlacedTopic.append(ordinal..<ordinal + 1, to: writer)
      if ordinal % 10 == 9 { try await seen.wait(for: ordinal - 9) }
    }
    task.cancel()
    #expect(try await task.value == (10..<110).map { .record($0) } + [.error(.cancelled)])
    #expect(try placed.ordinals() == 78..<110)
  }
}
