// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("Cleaning by a clock that jumps")
struct CleaningClockTests {
  private let made = CleaningTopic()
  private var storage: SimulatedStorage { made.storage }

  private static let day: UInt64 = 86_400_000_000_000

  /// Leaves one slab a day, for `days` days.
  private func fillDays(_ days: Int, _ writer: QueueWriter) throws {
    for _ in 0..<days {
      try made.roll(writer, times: 1)
      made.clock.advance(by: Self.day)
    }
  }

  @Test("G12: a clock ten years ahead deletes nothing while nothing bears its time")
  func jumpWithoutRecords() throws {
    try fillDays(5, try made.writer())
    let writer = try made.writer()
    try writer.append("today")
    try writer.close()
    let right = made.clock.now
    let retention = Retention(age: .days(7), minimumBytes: .bytes(0))
    made.clock.advance(by: 3650 * Self.day)
    #expect(try made.cleaner().clean(keeping: retention).removals == [])
    made.clock.set(right)
    #expect(try made.cleaner().clean(keeping: retention).removals == [])
    // A clock that is set far back deletes nothing either.
    made.clock.set(0)
    #expect(try made.cleaner().clean(keeping: retention).removals == [])
  }

  @Test("G12: a clock that ran ahead and was set right again deletes nothing by the jump")
  func jumpSetRight() throws {
    let writer = try made.writer()
    try fillDays(3, writer)
    let right = made.clock.now
    made.clock.advance(by: 3650 * Self.day)
    try made.roll(writer, times: 3)
    made.clock.set(right)
    try made.roll(writer, times: 3)
    try writer.close()
    let bases = made.bases
    let retention = Retention(age: .days(7), minimumBytes: .bytes(0))
    let report = try made.cleaner().clean(keeping: retention)
    #expect(report == .init(removals: [], stopReason: .withinBounds))
    // A slab from before the jump is removed when its own time has come, and no sooner.
    made.clock.advance(by: 7 * Self.day)
    let removed = try made.cleaner().clean(keeping: retention).removals
    #expect(removed.map(\.slab.rawValue) == Array(bases.prefix(removed.count)))
    #expect(removed.count > 0 && removed.count <= 3)
    #expect(made.bases.count >= 6)
  }

  @Test("G12: while the clock is wrong and records bear its time, the minimum stays")
  func jumpWithRecords() throws {
    let writer = try made.writer()
    try fillDays(6, writer)
    made.clock.advance(by: 3650 * Self.day)
    try made.roll(writer, times: 1)
    try writer.close()
    let report = try made.cleaner().clean(
      keeping: Retention(age: .days(30), minimumBytes: .bytes(12_000)))
    #expect(report.stopReason == .minimum)
    #expect(made.sizes.reduce(0, +) >= 12_000)
    #expect(report.removals.count > 1)
  }

  @Test("G12: records of a clock that did not know the time are as old as the first known stamp")
  func unknownTime() throws {
    let right = made.clock.now
    made.clock.set(5_000_000_000)
    let early = try made.writer()
    try made.roll(early, times: 9)
    try early.close()
    let unknown = made.bases.count
    let retention = Retention(age: .hours(1), minimumBytes: .bytes(0))

    // The clock is set right. So far, only the last slab bears its time.
    made.clock.set(right)
    let writer = try made.writer()
    try writer.append("the time is known")
    try writer.sync()
    #expect(try made.cleaner().clean(keeping: retention).removals == [])
    // A slab before the last one bears the right time, but is not old.
    try made.roll(writer, times: 3)
    try writer.sync()
    made.clock.advance(by: Self.day / 24)
    try made.roll(writer, times: 1)
    try writer.sync()
    #expect(try made.cleaner().clean(keeping: retention).removals == [])
    // That slab is old now, so those before it are at least as old.
    made.clock.advance(by: 1_000_000_000)
    try made.roll(writer, times: 1)
    try writer.close()
    let removed = try made.cleaner().clean(keeping: retention).removals
    #expect(removed.count >= unknown - 1 && removed.count < unknown + 4)
    #expect(removed.allSatisfy { $0.cause == .age(.hours(1)) })
    // When the clock is back in 1970, nothing is old.
    made.clock.set(5_000_000_000)
    #expect(try made.cleaner().clean(keeping: Retention(age: .seconds(0))).removals == [])
  }

  @Test("a damaged beginning between unknown and known stamps removes nothing too early")
  func unknownTimeAndDamage() throws {
    for damaged in 0..<8 {
      let storage = SimulatedStorage()
      var base: UInt64 = 0
      let known = Stamp.firstKnown + Self.day
      for place in 0..<8 as Range<Int> {
        // The first five slabs have stamps of 1970. The others are a day apart.
        let stamp = place < 5 ? UInt64(place) : known + UInt64(place) * Self.day
        var forge = SlabForge(
          base: base, ordinal: UInt64(place), synced: base, stamp: stamp)
        forge.putRecord([UInt8(place)])
        if place == 7 { forge.putClosingMark() }
        var bytes = forge.bytes
        if place == damaged {
          bytes[20] ^= 1
          bytes[100] ^= 1
        }
        storage.replace(slab: base, with: bytes)
        base += UInt64(128 + 9)
      }
      let clock = ManualClock(known + 7 * Self.day)
      for days in 0...3 as ClosedRange<Int64> {
        let planned = try SlabCleaner(
          topic: Topic(storage: storage), environment: fixedEnvironment(clock)
        ).plan(keeping: Retention(age: .days(days), minimumBytes: .bytes(0))).removals
        // A slab is as old as the next slab after it that has a known time.
        let expected = (0..<7).prefix { place in
          let next = ((place + 1)..<8).first { $0 >= 5 && $0 != damaged }
          return next.map { 7 - $0 > Int(days) } ?? false
        }
        // If the last slab's beginning is damaged, its closing mark states the present.
        #expect(planned.count == expected.count, "\(damaged) damaged, \(days) days")
      }
    }
  }

  @Test("a clock before 1970 reads as 1970, and one that 64 bits cannot hold as their end")
  func extremes() {
    #expect(Syscalls.nanoseconds(seconds: -1, and: 5) == 5)
    #expect(Syscalls.nanoseconds(seconds: 0, and: -5) == 0)
    #expect(Syscalls.nanoseconds(seconds: 18_446_744_073, and: 709_551_615) == .max)
    #expect(Syscalls.nanoseconds(seconds: 18_446_744_073, and: 709_551_616) == .max)
    #expect(Syscalls.nanoseconds(seconds: 18_446_744_074, and: 0) == .max)
    #expect(Syscalls.nanoseconds(seconds: .max, and: .max) == .max)
    #expect(Syscalls.nanoseconds(seconds: 2, and: 3) == 2_000_000_003)
  }

  @Test("G12: an idle topic does not age")
  func idle() throws {
    let writer = try made.writer()
    try fillDays(3, writer)
    try writer.close()
    let retention = Retention(age: .days(4), minimumBytes: .bytes(0))
    made.clock.advance(by: 1000 * Self.day)
    #expect(try made.cleaner().clean(keeping: retention).removals == [])
    // The next record's stamp shows that the time has passed.
    let second = try made.writer()
    try second.append("again")
    try second.close()
    #expect(try made.cleaner().clean(keeping: retention).removals.count == 3)
  }
}
