// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// A size, as it is written on the command line: `64MiB`, `10M`, or a number of bytes.
struct Size: ArgumentValue, Sendable {
  static let legal =
    "a size is a number of bytes, or a number and its unit: KiB, MiB, GiB or TiB (powers of 1,024),"
    + " or k, M, G or T, the same as kB, MB, GB or TB (powers of 1,000), as in 4096, 64MiB or 10M"

  private static let units: [String: Int128] = [
    "": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
    "k": 1_000, "M": 1_000_000, "G": 1_000_000_000, "T": 1_000_000_000_000,
    "kB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000, "TB": 1_000_000_000_000,
  ]

  let count: ByteCount

  init(_ count: ByteCount) { self.count = count }

  init?(argument: String) {
    guard let amounts = Amount.all(in: argument), amounts.count == 1,
      let unit = Self.units[amounts[0].unit], let bytes = amounts[0].exactly(times: unit)
    else { return nil }
    // Saturate, like the library's own arithmetic with sizes.
    count = .bytes(Int64(clamping: bytes))
  }
}

/// Sizes in a readable form.
enum HumanSize {
  /// The size in the largest binary unit that is not larger than it, with one digit after the
  /// point.
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

/// A number of things with its noun, such as "3 records".
enum Count {
  static func text(_ count: UInt64, _ noun: String) -> String {
    "\(count) \(noun)\(count == 1 ? "" : "s")"
  }
}
