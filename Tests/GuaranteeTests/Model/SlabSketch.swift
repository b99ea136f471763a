// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport

/// The fields in the slabs' bytes, sound or not, as text. It helps to look into a failure.
func sketch(of slabs: [UInt64: [UInt8]]) -> String {
  var lines: [String] = []
  for (base, bytes) in slabs.sorted(by: { $0.key < $1.key }) {
    func integer(_ offset: Int) -> UInt64 {
      guard offset + 8 <= bytes.count else { return 0 }
      return (0..<8).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64(8 * $1) }
    }
    lines.append(
      "slab \(base) ..< \(base + UInt64(bytes.count)) ordinal \(integer(24)) synced \(integer(40))"
        + " kept \(integer(48))")
    for offset in bytes.indices
    where integer(offset) & 0xFFFF_FFFF == 0xFFFF_FFFF && integer(offset + 40) == integer(64) {
      lines.append(
        "  mark \(base + UInt64(offset)) ordinal \(integer(offset + 16))"
          + " synced \(integer(offset + 24)) kept \(integer(offset + 32))")
    }
  }
  return lines.joined(separator: "\n")
}
