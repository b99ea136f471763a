// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Synchronization
import Testing

@testable import DiskQueue

@Suite("Leaving a slab for its age")
struct SlabAgeTests {
  private static let second: UInt64 = 1_000_000_000
  private let storage = SimulatedStorage()
  private let clock = ManualClock()
  private var topic: Topic { Topic(storage: storage) }

  private func open(
    age: Duration? = .seconds(60), _ change: (inout QueueWriter.Options) -> Void = { _ in }
  ) throws -> QueueWriter {
    var options = QueueWriter.Options()
    options.flushEvery = .never
    options.slabAge = age.map { Age($0) }
    change(&options)
    return try QueueWriter(
      topic: topic, options: options, environment: fixedEnvironment(clock))
  }

  @Test("by timer, once it is old enough and holds a record; the new slab is there for cleaners")
  func timer() throws {
    let writer = try open()
    clock.advance(by: 600 * Self.second)
    writer.runDueWork()
    // The slab holds no record yet.
    #expect(storage.slabs.count == 1)
    try writer.append("first")
    clock.advance(by: 60 * Self.second - 1)
    writer.runDueWork()
    #expect(storage.slabs.count == 1)
    clock.advance(by: 1)
    writer.runDueWork()
    #expect(storage.slabs.count == 2)
    #expect(writer.statistics.slabs == 1)
    #expect(storage.slabs.values.allSatisfy { $0.count >= 128 })
    // An empty slab is not left, however old it is.
    clock.advance(by: 6000 * Self.second)
    writer.runDueWork()
    #expect(storage.slabs.count == 2)
    try writer.append("second")
    clock.advance(by: 60 * Self.second)
    writer.runDueWork()
    #expect(storage.slabs.count == 3)
    #expect(writer.core.times.withLock { $0.count } == 0)
    try writer.close()
    #expect(try readAll(topic).texts == ["first", "second"])
  }

  @Test("at the next append, if no timer came")
  func append() throws {
    let writer = try open()
    try writer.append("first")
    try writer.flush()
    clock.advance(by: 60 * Self.second)
    try writer.append("second")
    try writer.flush()
    #expect(storage.slabs.count == 2)
    let base = try #require(storage.slabs.keys.max())
    #expect(try readAll(topic).records.map { $0.address.rawValue > base } == [false, true])
    try writer.close()
  }

  @Test("one time is set, whatever the number of slabs, and counts for the slab that is written")
  func fullSlabs() throws {
    let writer = try open { $0.slabSize = .kibibytes(4) }
    for number in 0..<100 as Range<UInt64> {
      clock.advance(by: Self.second)
      try writer.append(SmallTopic.payload(number, length: 700))
      writer.runDueWork()
      #expect(writer.core.times.withLock { $0.count } == 1)
    }
    // No slab became a minute old.
    #expect(storage.slabs.count == 20)
    clock.advance(by: 60 * Self.second)
    writer.runDueWork()
    #expect(storage.slabs.count == 21)
    try writer.close()
    #expect(try readAll(topic).records.count == 100)
  }

  @Test("a slab found at opening counts from its making, if both clocks knew the time")
  func reopened() throws {
    let cases: [(made: UInt64, opened: UInt64, isOldAfter: UInt64)] = [
      (1_700_000_000, 1_700_000_050, 10), (1_700_000_000, 1_700_000_500, 0),
      // If the clock was set back, or did not know the time, the age counts from the opening.
      (1_700_000_000, 1_600_000_000, 60), (5, 1_700_000_000, 60), (5, 90, 60),
    ]
    for (made, opened, isOldAfter) in cases {
      let storage = SimulatedStorage()
      let clock = ManualClock(made * Self.second)
      func open() throws -> QueueWriter {
        var options = QueueWriter.Options()
        options.slabAge = .seconds(60)
        return try QueueWriter(
          topic: Topic(storage: storage), options: options, environment: fixedEnvironment(clock))
      }
      let first = try open()
      try first.append("first")
      try first.close()
      clock.set(opened * Self.second)
      let second = try open()
      if isOldAfter > 0 {
        clock.advance(by: isOldAfter * Self.second - 1)
        second.runDueWork()
        #expect(storage.slabs.count == 1, "\(made)")
        clock.advance(by: 1)
      }
      second.runDueWork()
      #expect(storage.slabs.count == 2, "\(made)")
      try second.close()
      // The slab was closed without a record, so there is no reason to leave it.
      clock.advance(by: 600 * Self.second)
      let third = try open()
      third.runDueWork()
      #expect(storage.slabs.count == 2)
      try third.close()
    }
  }

  @Test("a cleaner by age reaches a topic that never fills a slab")
  func cleaning() throws {
    let writer = try open(age: .seconds(3600))
    for hour in 0..<10 {
      try writer.append("hour \(hour)")
      try writer.sync()
      clock.advance(by: 3600 * Self.second)
      writer.runDueWork()
    }
    try writer.append("now")
    try writer.sync()
    let cleaner = try SlabCleaner(topic: topic, environment: fixedEnvironment(clock))
    let removed = try cleaner.clean(keeping: Retention(age: .hours(3), minimumBytes: .bytes(0)))
      .removals
    #expect(removed.count == 6)
    #expect(try readAll(topic).texts == (6..<10).map { "hour \($0)" } + ["now"])
    try writer.close()
  }

  @Test("without room the slab is written on, and left with the next append that has room")
  func noRoom() throws {
    let writer = try open()
    try writer.append("first")
    try writer.sync()
    storage.setFault(
      SimulatedStorage.Fault(.fail(Errno.noSpace), at: 1) {
        if case .create = $0 { true } else { false }
      })
    clock.advance(by: 60 * Self.second)
    writer.runDueWork()
    #expect(storage.hits == 1 && storage.slabs.count == 1)
    #expect(writer.core.times.withLock { $0.count } == 0)
    try writer.append("second")
    try writer.close()
    #expect(storage.slabs.count == 2)
    #expect(try readAll(topic).texts == ["first", "second"])
  }

  @Test("is above 0, and nil by default")
  func validation() throws {
    #expect(QueueWriter.Options().slabAge == nil)
    for age in [.zero, .seconds(-1)] as [Duration] {
      #expect(queueError { _ = try open(age: age) }?.code == .invalidOption)
    }
    // The longest age that a `Duration` can express.
    let writer = try open(age: .seconds(Int64.max))
    try writer.append("first")
    clock.advance(by: .max / 4)
    writer.runDueWork()
    #expect(storage.slabs.count == 1)
    try writer.close()
  }
}
