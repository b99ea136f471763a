// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Addresses at which marks were found. Near a known mark, a lookup needs one read instead of a
/// search. An address is only a hint: the bytes there are read and judged each time.
///
/// There is one entry for each stretch of log as long as the mark spacing. Marks that start in the
/// same stretch share an entry, and so do stretches a gigabyte apart. The last mark found takes the
/// entry. This takes 128 KiB, whatever the topic holds.
struct KnownMarks: ~Copyable {
  private static let count = 1 << 14
  /// Empty until a mark is found. 0 in an entry without a mark.
  private var addresses: [UInt64] = []

  mutating func add(_ mark: UInt64) {
    if addresses.isEmpty { addresses = [UInt64](repeating: 0, count: Self.count) }
    addresses[Self.place(of: mark)] = mark
  }

  /// The last known mark after `start` that is at most one spacing before an address. It may not be
  /// the last one if marks are nearer to each other than that.
  func last(before address: UInt64, after start: UInt64) -> UInt64? {
    guard !addresses.isEmpty else { return nil }
    for stretch in 0...1 as ClosedRange<UInt64> {
      let mark = addresses[Self.place(of: address &- stretch * SlabFormat.markSpacing)]
      if mark > start, mark < address, address - mark <= SlabFormat.markSpacing { return mark }
    }
    return nil
  }

  private static func place(of address: UInt64) -> Int {
    Int(truncatingIfNeeded: address / SlabFormat.markSpacing) & (count - 1)
  }
}
