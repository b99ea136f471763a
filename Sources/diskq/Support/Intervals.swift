// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// A duration, as it is written on the command line: `200ms`, `90s`, `1.5h`, `1d12h`, `2w`.
struct TimeSpan: ArgumentValue, Sendable {
  static let legal =
    "a time is a number and its unit, ms, s, m, h, d or w, or several of these with the largest"
    + " unit first, as in 90s, 1.5h or 1d12h"

  /// Nanoseconds of each unit, the largest first.
  private static let units: [(name: String, size: Int128)] = [
    ("w", 604_800_000_000_000), ("d", 86_400_000_000_000), ("h", 3_600_000_000_000),
    ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000),
  ]

  let duration: Duration

  init(_ duration: Duration) { self.duration = duration }

  init?(argument: String) {
    guard let amounts = Amount.all(in: argument) else { return nil }
    var units = Self.units[...]
    var sum: Int128 = 0
    for amount in amounts {
      guard let index = units.firstIndex(where: { $0.name == amount.unit }),
        let nanoseconds = amount.exactly(times: units[index].size)
      else { return nil }
      sum += nanoseconds
      // Allow each unit once, and only smaller ones after it.
      units = units[(index + 1)...]
    }
    let (seconds, rest) = sum.quotientAndRemainder(dividingBy: 1_000_000_000)
    guard let seconds = Int64(exactly: seconds) else { return nil }
    duration = .seconds(seconds) + .nanoseconds(Int64(rest))
  }

  /// The duration in the largest unit, up to days, that divides it. If it is no whole number of
  /// seconds, the unit is seconds or milliseconds. `init(argument:)` reads it back exactly, to the
  /// nanosecond.
  static func text(_ duration: Duration) -> String {
    let (seconds, attoseconds) = duration.components
    let nanoseconds = attoseconds / 1_000_000_000
    guard nanoseconds == 0 else {
      return seconds == 0
        ? "\(decimal(nanoseconds / 1_000_000, nanoseconds % 1_000_000, 6))ms"
        : "\(decimal(seconds, nanoseconds, 9))s"
    }
    let units: [(Int64, String)] = [(86_400, "d"), (3600, "h"), (60, "m")]
    for (unit, name) in units where seconds != 0 && seconds.isMultiple(of: unit) {
      return "\(seconds / unit)\(name)"
    }
    return "\(seconds)s"
  }

  private static func decimal(_ whole: Int64, _ fraction: Int64, _ digits: Int) -> String {
    guard fraction > 0 else { return "\(whole)" }
    var text = String(fraction)
    text = String(repeating: "0", count: digits - text.utf8.count) + text
    while text.last == "0" { text.removeLast() }
    return "\(whole).\(text)"
  }
}

/// How much may wait before the writer flushes or syncs by itself, as it is written on the command
/// line: a number of records, a size or a time, or several of them with commas between, or `never`.
extension Threshold: ArgumentValue {
  static let legal =
    "it takes never, or a number of records (1000), a size (64KiB, 1M) or a time (200ms, 5m), or"
    + " several of these, one of each kind, with commas between"

  init?(argument: String) {
    self = .never
    guard argument != "never" else { return }
    for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
      guard take(String(part)) else { return nil }
    }
  }

  /// Takes one bound. Returns false if the text is no bound, or its kind was taken before.
  private mutating func take(_ text: String) -> Bool {
    if let records = UInt64(text), text.utf8.first != UInt8(ascii: "+") {
      guard self.records == nil else { return false }
      self.records = records
    } else if let time = TimeSpan(argument: text) {
      guard self.time == nil else { return false }
      self.time = time.duration
    } else if let size = Size(argument: text) {
      guard bytes == nil else { return false }
      bytes = size.count
    } else {
      return false
    }
    return true
  }

  /// The text that `init(argument:)` reads back.
  var text: String {
    let parts = [records.map { "\($0)" }, bytes?.description, time.map(TimeSpan.text)]
      .compactMap(\.self)
    return parts.isEmpty ? "never" : parts.joined(separator: ",")
  }
}

/// The policy for an append that finds no room, as it is written on the command line.
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
