// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// A size, as it is written on the command line: `64MiB`, `4KiB`, or plain bytes.
struct Size: ExpressibleByArgument {
  let count: ByteCount

  init(_ count: ByteCount) { self.count = count }

  init?(argument: String) {
    let digits = argument.prefix { $0.isASCII && $0.isNumber }
    guard let number = Int64(digits) else { return nil }
    switch argument.dropFirst(digits.count) {
    case "", "B": count = .bytes(number)
    case "KiB": count = .kibibytes(number)
    case "MiB": count = .mebibytes(number)
    case "GiB": count = .gibibytes(number)
    case "TiB": count = .tebibytes(number)
    default: return nil
    }
  }

  var defaultValueDescription: String { count.description }
}

/// Sizes as people like to read them.
enum HumanSize {
  /// In the largest binary unit that it holds once, with one digit behind the point.
  static func text(_ bytes: UInt64) -> String {
    let units: [(UInt64, String)] = [
      (1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"),
    ]
    for (unit, name) in units where bytes >= unit {
      return "\(bytes / unit).\(bytes % unit * 10 / unit) \(name)"
    }
    return "\(bytes) B"
  }
}

/// Numbers of things, with their noun.
enum Count {
  static func text(_ count: UInt64, _ noun: String) -> String {
    "\(count) \(noun)\(count == 1 ? "" : "s")"
  }
}
