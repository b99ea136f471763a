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

  /// A slab a day for so many days, closed.
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
    #expect(try made.cleaner().clean(keeping: retention) == [])
    made.clock.set(right)
    #expect(try made.cleaner().clean(keeping: retention) == [])
    // Nor does one that is far behind.
    made.clock.set(0)
    #expect(try made.cleaner().clean(keeping: retention) == [])
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
    let report = try made.cleaner().report(keeping: retention, isDryRun: false)
    #expect(report == .init(removals: [], kept: .withinBounds))
    // What was written before the jump goes when its own time has come, and no sooner.
    made.clock.advance(by: 7 * Self.day)
    let removed = try made.cleaner().clean(keeping: retention)
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
    let report = try made.cleaner().report(
      keeping: Retention(age: .days(30), minimumBytes: .bytes(12_000)), isDryRun: false)
    #expect(report.kept == .minimum)
    #expect(made.sizes.reduce(0, +) >= 12_000)
    #expect(report.removals.count > 1)
  }

  @Test("G12: an idle topic does not age")
  func idle() throws {
    let writer = try made.writer()
    try fillDays(3, writer)
    try writer.close()
    let retention = Retention(age: .days(4), minimumBytes: .bytes(0))
    made.clock.advance(by: 1000 * Self.day)
    #expect(try made.cleaner().clean(keeping: retention) == [])
    // The next record's stamp says that the time has passed.
    let second = try made.writer()
    try second.append("again")
    try second.close()
    #expect(try made.cleaner().clean(keeping: retention).count == 3)
  }
}
