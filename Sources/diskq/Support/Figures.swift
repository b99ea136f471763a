// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Measured numbers in a readable form, with no digit that was not measured.
enum Figures {
  /// A time with three digits, in the unit that leaves one to three of them before the point.
  static func time(nanoseconds: Double) -> String {
    var number = nanoseconds
    for unit in ["ns", "us", "ms"] {
      if number < 999.5 { return "\(threeDigits(number)) \(unit)" }
      number /= 1_000
    }
    return "\(threeDigits(number)) s"
  }

  /// A number with three digits. From 100 on it is a whole number.
  static func threeDigits(_ number: Double) -> String {
    if number >= 99.95 { return grouped(rounded(number, digits: 3)) }
    return fixed(number, number >= 9.995 ? 1 : 2)
  }

  /// A ratio with three digits if it is 0.095 or more. A smaller one has two to four digits after
  /// the point, as many as show two digits that are not leading zeros.
  static func ratio(_ number: Double) -> String {
    if number >= 0.095 { return threeDigits(number) }
    var (scaled, digits) = (number, 2)
    while scaled < 0.095, digits < 4 {
      scaled *= 10
      digits += 1
    }
    return fixed(number, digits)
  }

  /// A number rounded down to two digits, so that it can be promised.
  static func atLeast(_ number: Double) -> String {
    if number < 10 { return fixed((clamped(number) * 10).rounded(.down) / 10, 1) }
    return grouped(rounded(number, digits: 2, .down))
  }

  /// The number limited to 0 to 10^18, or 0 for NaN.
  private static func clamped(_ number: Double) -> Double {
    number > 0 ? min(number, 1e18) : 0
  }

  /// A whole number in which only the first `digits` digits may differ from 0.
  private static func rounded(
    _ number: Double, digits: Int, _ rule: FloatingPointRoundingRule = .toNearestOrAwayFromZero
  ) -> UInt64 {
    var (scaled, unit) = (clamped(number), 1.0)
    var most = 1.0
    for _ in 0..<digits { most *= 10 }
    while scaled >= most {
      scaled /= 10
      unit *= 10
    }
    return UInt64(scaled.rounded(rule) * unit)
  }

  /// A whole number with commas between thousands.
  static func grouped(_ number: UInt64) -> String {
    let digits = String(number)
    var text = ""
    for (index, digit) in digits.enumerated() {
      if index > 0, (digits.count - index).isMultiple(of: 3) { text += "," }
      text.append(digit)
    }
    return text
  }

  /// A number up to 10^9 with so many digits after the point.
  static func fixed(_ number: Double, _ digits: Int) -> String {
    var scale: UInt64 = 1
    for _ in 0..<digits { scale *= 10 }
    let whole = UInt64((min(clamped(number), 1e9) * Double(scale)).rounded())
    guard digits > 0 else { return "\(whole)" }
    let fraction = String(whole % scale)
    return "\(whole / scale)."
      + String(repeating: "0", count: digits - fraction.utf8.count) + fraction
  }
}

/// Text in columns and lines.
enum Layout {
  static func left(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.utf8.count))
  }

  static func right(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.utf8.count)) + text
  }

  /// The text with spaces at which `wrapped` does not break.
  static func unbroken(_ text: String) -> String {
    String(text.map { $0 == " " ? noBreakSpace : $0 })
  }

  private static let noBreakSpace: Character = "\u{A0}"

  /// Breaks a text between words, so that no line is longer than `width` unless a word is. The
  /// lines after the first are indented.
  static func wrapped(_ text: String, width: Int, indent: Int = 0) -> String {
    var lines: [String] = []
    var line = ""
    for word in text.split(separator: " ") {
      if line.isEmpty {
        line = String(word)
      } else if line.count + 1 + word.count <= width {
        line += " " + word
      } else {
        lines.append(line)
        line = String(repeating: " ", count: indent) + word
      }
    }
    return String(
      (lines + [line]).joined(separator: "\n").map { $0 == noBreakSpace ? " " : $0 })
  }
}
