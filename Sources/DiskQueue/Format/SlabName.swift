// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// File names of slabs: the base address in 20 decimal digits, and `.slab` (L1 of the format).
package enum SlabName {
  package static func string(_ base: UInt64) -> String {
    let digits = String(base)
    return String(repeating: "0", count: 20 - digits.utf8.count) + digits + ".slab"
  }

  /// The base that a name states: exactly 20 ASCII digits, at most 2^64 - 1, and the suffix. Nil if
  /// it is not the name of a slab.
  package static func parse(_ name: String) -> UInt64? {
    let bytes = name.utf8
    guard bytes.count == 25, name.hasSuffix(".slab") else { return nil }
    var base: UInt64 = 0
    for digit in bytes.prefix(20) {
      guard (0x30...0x39).contains(digit) else { return nil }
      let (product, overflow) = base.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(UInt64(digit - 0x30))
      guard !overflow, !carry else { return nil }
      base = sum
    }
    return base
  }
}
