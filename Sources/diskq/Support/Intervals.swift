// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// A time, as it is written on the command line: `200ms`, `90s`, `15m`, `2h`, `7d`.
struct TimeSpan: ExpressibleByArgument, Sendable {
  let duration: Duration

  init(_ duration: Duration) { self.duration = duration }

  init?(argument: String) {
    guard let duration = Self.parse(argument) else { return nil }
    self.duration = duration
  }

  /// nil: it is none, or longer than a `Duration` can be counted with.
  static func parse(_ text: String) -> Duration? {
    guard text.hasSuffix("ms") else { return AgeText.parse(text) }
    let digits = text.dropLast(2)
    guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let count = Int64(digits)
    else { return nil }
    return .milliseconds(count)
  }

  /// In the largest unit that divides it.
  static func text(_ duration: Duration) -> String {
    let (seconds, attoseconds) = duration.components
    guard attoseconds == 0 else {
      return "\(seconds * 1000 + attoseconds / 1_000_000_000_000_000)ms"
    }
    let units: [(Int64, String)] = [(86_400, "d"), (3600, "h"), (60, "m")]
    for (unit, name) in units where seconds != 0 && seconds.isMultiple(of: unit) {
      return "\(seconds / unit)\(name)"
    }
    return "\(seconds)s"
  }

  var defaultValueDescription: String { Self.text(duration) }
}

/// After how much something is done of its own accord, as it is written on the command line: a
/// number of records, a size or a time, or several of them behind commas; or `never`.
struct Every: ExpressibleByArgument, Sendable {
  private(set) var interval = QueueWriter.Options.Interval.never

  init(_ interval: QueueWriter.Options.Interval) { self.interval = interval }

  init?(argument: String) {
    guard argument != "never" else { return }
    for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
      guard take(String(part)) else { return nil }
    }
  }

  /// Takes one bound; false for one that is none, or whose kind was taken before.
  private mutating func take(_ text: String) -> Bool {
    if let records = UInt64(text), text.utf8.first != UInt8(ascii: "+") {
      guard interval.records == nil else { return false }
      interval.records = records
    } else if let time = TimeSpan.parse(text) {
      guard interval.time == nil else { return false }
      interval.time = time
    } else if let size = Size(argument: text) {
      guard interval.bytes == nil else { return false }
      interval.bytes = size.count
    } else {
      return false
    }
    return true
  }

  var defaultValueDescription: String {
    let parts = [
      interval.records.map { "\($0)" }, interval.bytes?.description,
      interval.time.map(TimeSpan.text),
    ].compactMap(\.self)
    return parts.isEmpty ? "never" : parts.joined(separator: ",")
  }
}

/// What becomes of an append that finds no room, as it is written on the command line.
enum WhenFull: String, CaseIterable, ExpressibleByArgument, Sendable {
  case fail, wait
  case dropOldest = "drop-oldest"
  case dropOldestAcknowledged = "drop-oldest-acknowledged"

  var policy: QueueWriter.Options.WhenFull {
    switch self {
    case .fail: .fail
    case .wait: .wait
    case .dropOldest: .dropOldest
    case .dropOldestAcknowledged: .dropOldestAcknowledged
    }
  }
}
