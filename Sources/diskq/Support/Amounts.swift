// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// A value of the command line. If a text is no such value, the error states the legal texts.
protocol ArgumentValue {
  init?(argument: String)

  /// A sentence that states the legal texts.
  static var legal: String { get }
}

extension ArgumentValue {
  /// For an option's `transform`.
  static func parsed(_ argument: String) throws -> Self {
    guard let value = Self(argument: argument) else { throw ValidationError(legal) }
    return value
  }
}

/// A number with its unit, as sizes and times are written: `64MiB`, `1.5h`.
struct Amount {
  private var whole: Int64
  /// The digits after the point, in billionths.
  private var billionths: Int64
  /// The letters after the number, if any.
  private(set) var unit: String

  /// Reads amounts to the end of the text.
  ///
  /// Returns nil if some part is no amount, has a whole part of 2^63 or more, or has more than nine
  /// digits after the point.
  static func all(in text: String) -> [Amount]? {
    var left = Array(text.utf8)[...]
    var amounts: [Amount] = []
    func take(_ isTaken: (UInt8) -> Bool) -> ArraySlice<UInt8> {
      let taken = left.prefix(while: isTaken)
      left = left.dropFirst(taken.count)
      return taken
    }
    func number(_ digits: ArraySlice<UInt8>) -> Int128 {
      digits.reduce(0) { $0 * 10 + Int128($1 - UInt8(ascii: "0")) }
    }
    repeat {
      let whole = take(isDigit)
      guard (1...19).contains(whole.count), let whole = Int64(exactly: number(whole)) else {
        return nil
      }
      var billionths: Int128 = 0
      if left.first == UInt8(ascii: ".") {
        left.removeFirst()
        let fraction = take(isDigit)
        guard (1...9).contains(fraction.count) else { return nil }
        billionths = number(fraction + repeatElement(UInt8(ascii: "0"), count: 9 - fraction.count))
      }
      let unit = take { !isDigit($0) && $0 != UInt8(ascii: ".") }
      amounts.append(
        Amount(
          whole: whole, billionths: Int64(billionths), unit: String(decoding: unit, as: UTF8.self)))
    } while !left.isEmpty
    return amounts
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

  /// This amount times `size`, or nil if that is no whole number. `size` is less than 2^62.
  func exactly(times size: Int128) -> Int128? {
    let (part, rest) = (Int128(billionths) * size).quotientAndRemainder(dividingBy: 1_000_000_000)
    return rest == 0 ? Int128(whole) * size + part : nil
  }
}
