// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Times and ages, as arguments and as text. The calendar is the Gregorian one, in UTC and without
// leap seconds, like the stamps of the format.

enum Timestamp {
  private static let secondsInDay: Int64 = 86_400

  /// A time in ISO 8601, to the nanosecond: `2010-01-01T00:00:00.000000000Z`.
  static func text(_ nanoseconds: UInt64) -> String {
    let seconds = Int64(nanoseconds / 1_000_000_000)
    let date = civil(fromDay: seconds / secondsInDay)
    let time = seconds % secondsInDay
    return "\(padded(date.year, 4))-\(padded(date.month, 2))-\(padded(date.day, 2))"
      + "T\(padded(time / 3600, 2)):\(padded(time / 60 % 60, 2)):\(padded(time % 60, 2))"
      + ".\(padded(Int64(nanoseconds % 1_000_000_000), 9))Z"
  }

  /// A time in ISO 8601, rounded down to the second.
  static func toTheSecond(_ nanoseconds: UInt64) -> String { text(nanoseconds).prefix(19) + "Z" }

  private static func padded(_ number: Int64, _ width: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
  }

  /// Reads ISO 8601 in its extended form: a date alone, or a date and a time to at least the
  /// minute. Without a zone it is UTC. `T` and `Z` may be small, as in RFC 3339. Returns nil for
  /// anything else.
  static func parse(_ text: String) -> Duration? {
    var scanner = DigitScanner(text)
    guard let year = scanner.number(digits: 4), scanner.take("-"),
      let month = scanner.number(digits: 2), scanner.take("-"),
      let day = scanner.number(digits: 2), (1...12).contains(month), day >= 1
    else { return nil }
    let days = Self.day(fromYear: year, month: month, day: day)
    // Refuse a day that the month does not have. It would be read as a day of the next month.
    guard civil(fromDay: days) == (year, month, day) else { return nil }
    var seconds = days * secondsInDay
    if scanner.isAtEnd { return .seconds(seconds) }

    guard scanner.take("T") || scanner.take("t") || scanner.take(" "),
      let hour = scanner.number(digits: 2),
      scanner.take(":"), let minute = scanner.number(digits: 2), hour <= 23, minute <= 59
    else { return nil }
    seconds += hour * 3600 + minute * 60
    var nanoseconds: Int64 = 0
    if scanner.take(":") {
      guard let second = scanner.number(digits: 2), second <= 59 else { return nil }
      seconds += second
      if scanner.take(".") || scanner.take(",") {
        guard let fraction = scanner.fraction() else { return nil }
        nanoseconds = fraction
      }
    }
    guard let offset = scanner.zone(), scanner.isAtEnd else { return nil }
    return .seconds(seconds - offset) + .nanoseconds(nanoseconds)
  }

  // The two conversions count years from March, so that a leap day is the last day of its year.
  // They count days from 0000-03-01, which is 719,468 days before 1970-01-01.

  private static func day(fromYear year: Int64, month: Int64, day: Int64) -> Int64 {
    let marchYear = month <= 2 ? year - 1 : year
    let era = (marchYear >= 0 ? marchYear : marchYear - 399) / 400
    let yearOfEra = marchYear - era * 400
    let dayOfYear = (153 * ((month + 9) % 12) + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    return era * 146_097 + dayOfEra - 719_468
  }

  private static func civil(fromDay day: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let days = day + 719_468
    let era = (days >= 0 ? days : days - 146_096) / 146_097
    let dayOfEra = days - era * 146_097
    let yearOfEra =
      (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let marchMonth = (5 * dayOfYear + 2) / 153
    let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
    return (
      yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month,
      dayOfYear - (153 * marchMonth + 2) / 5 + 1
    )
  }
}

/// Reads fixed numbers of digits.
private struct DigitScanner {
  private var left: Substring.UTF8View

  init(_ text: String) { left = text[...].utf8 }

  var isAtEnd: Bool { left.isEmpty }

  mutating func take(_ character: Unicode.Scalar) -> Bool {
    guard left.first == UInt8(ascii: character) else { return false }
    left.removeFirst()
    return true
  }

  mutating func number(digits: Int) -> Int64? {
    var value: Int64 = 0
    for _ in 0..<digits {
      guard let digit = digit() else { return nil }
      value = value * 10 + digit
    }
    return value
  }

  /// One digit or more, in nanoseconds. Digits after the ninth are ignored.
  mutating func fraction() -> Int64? {
    guard var value = digit() else { return nil }
    var digits = 1
    while let next = digit() {
      guard digits < 9 else { continue }
      value = value * 10 + next
      digits += 1
    }
    while digits < 9 {
      value *= 10
      digits += 1
    }
    return value
  }

  /// `Z`, `+01:00`, `+0100`, `+01` or nothing, in seconds east of UTC.
  mutating func zone() -> Int64? {
    if isAtEnd || take("Z") || take("z") { return 0 }
    let isWest = take("-")
    guard isWest || take("+"), let hours = number(digits: 2), hours <= 23 else { return nil }
    var seconds = hours * 3600
    if !isAtEnd {
      _ = take(":")
      guard let minutes = number(digits: 2), minutes <= 59 else { return nil }
      seconds += minutes * 60
    }
    return isWest ? -seconds : seconds
  }

  private mutating func digit() -> Int64? {
    guard let byte = left.first, (0x30...0x39).contains(byte) else { return nil }
    left.removeFirst()
    return Int64(byte - 0x30)
  }
}

/// Durations in a readable form.
enum HumanTime {
  /// A duration in its two largest units, or below ten seconds in tenths of a second.
  static func text(_ seconds: Double) -> String {
    guard seconds >= 9.95 else { return "\(Figures.fixed(seconds, 1))s" }
    // A more exact time is of no use here.
    guard seconds < 3650 * 86_400 else { return "10 years or more" }
    let whole = UInt64(seconds.rounded())
    let units: [(UInt64, UInt64, String, String)] = [
      (86_400, 3600, "d", "h"), (3600, 60, "h", "m"), (60, 1, "m", "s"),
    ]
    for (unit, smaller, name, smallerName) in units where whole >= unit {
      let rest = whole % unit / smaller
      return rest == 0 ? "\(whole / unit)\(name)" : "\(whole / unit)\(name) \(rest)\(smallerName)"
    }
    return "\(whole)s"
  }
}
