// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// One of the readers beside the cleaners. Every record must be the right one, and each gap must be
/// reported with its exact count.
struct CleaningReader: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cleaner-reader", shouldDisplay: false)

  enum Manner: String, CaseIterable, ExpressibleByArgument {
    /// Follows the topic, and keeps up.
    case following
    /// Follows the topic, and is overtaken all the time.
    case slowly
    /// Opens the topic again for each pass.
    case fromTheEarliest
    /// Opens the topic at a record that may be gone.
    case fromAnywhere
  }

  @Argument var topic: String
  @Option var manner: Manner

  private struct Tally {
    var records: UInt64 = 0
    var missed: UInt64 = 0
    var gaps = 0
    var passes = 0
    var isAtEnd = false
    /// The number that must come next. Nil: any number may come.
    var expected: UInt64?

    mutating func take(_ record: QueueRecord) throws(Broken) {
      let number = try Payload.number(of: record.payload)
      try check(
        number == expected ?? number && number == record.ordinal,
        "\(number) came, as record \(record.ordinal), where \(expected ?? number) was to come")
      expected = number + 1
      records += 1
      isAtEnd = Payload.isEnd(record.payload)
    }

    mutating func take(_ error: QueueError) throws {
      guard let loss = error.loss, loss.cause == .cleaned else { throw error }
      gaps += 1
      guard let count = loss.records else {
        // A reader without a record so far cannot know the beginning of the gap.
        guard expected == nil else { throw error }
        return
      }
      missed += count
      expected = expected.map { $0 + count }
    }
  }

  func run() async throws {
    var tally = Tally()
    switch manner {
    case .following: try await follow(&tally)
    case .slowly: try await followSlowly(&tally)
    case .fromTheEarliest, .fromAnywhere: try await pass(&tally)
    }
    if tally.passes == 0, let expected = tally.expected {
      try check(
        tally.records + tally.missed == expected,
        "\(tally.records) read and \(tally.missed) missed of \(expected)")
    }
    Posix.say(
      "reader \(manner): \(tally.records) read, \(tally.missed) missed in \(tally.gaps) gaps"
        + (tally.passes > 0 ? ", \(tally.passes) passes" : ""))
  }

  private func follow(_ tally: inout Tally) async throws {
    tally.expected = 0
    let records = try QueueReader(topic: Topic(topic), from: .address(Address(rawValue: 0)))
      .records(following: true)
    var iterator = records.makeAsyncIterator()
    while !tally.isAtEnd {
      do throws(QueueError) {
        guard let record = try await iterator.next() else { continue }
        try take(record, &tally)
      } catch {
        try tally.take(error)
      }
    }
  }

  /// This is a function of its own, because a wrong record is not a `QueueError`.
  private func take(_ record: QueueRecord, _ tally: inout Tally) throws(QueueError) {
    do throws(Broken) {
      try tally.take(record)
    } catch {
      Posix.complain("reader \(manner): \(error)")
      Posix.leave(1)
    }
  }

  private func followSlowly(_ tally: inout Tally) async throws {
    tally.expected = 0
    var reader = try QueueReader(topic: Topic(topic))
    while !tally.isAtEnd {
      do throws(QueueError) {
        guard let record = try reader.nextCopy() else {
          try await reader.waitForMore()
          continue
        }
        try take(record, &tally)
      } catch {
        try tally.take(error)
      }
      if tally.records % 4_096 == 0, !tally.isAtEnd { Posix.sleep(microseconds: 1_000_000) }
    }
  }

  private func pass(_ tally: inout Tally) async throws {
    var random = SystemRandomNumberGenerator()
    var seen: UInt64 = 0
    while !tally.isAtEnd {
      let wanted =
        seen > 0 && manner == .fromAnywhere ? UInt64.random(in: 0..<seen, using: &random) : 0
      tally.expected = nil
      var isFirst = true
      var reader = try open(wanted)
      while true {
        do throws(QueueError) {
          guard let record = try reader.nextCopy() else { break }
          try take(record, &tally)
        } catch {
          try tally.take(error)
        }
        if isFirst, let expected = tally.expected {
          try check(expected > wanted, "\(expected - 1) came first, from \(wanted) on")
          isFirst = false
        }
      }
      tally.passes += 1
      seen = tally.expected ?? seen
    }
  }

  private func open(_ wanted: UInt64) throws(QueueError) -> QueueReader {
    try QueueReader(
      topic: Topic(topic), from: manner == .fromAnywhere ? .ordinal(wanted) : .earliest)
  }
}
