// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Where marks were found: who looks for one near an address may find it by one read instead of a
/// search. It is a hint and no more: what stands there is read and judged each time.
///
/// One place for each stretch of log as long as the spacing of marks. Where more than one of them
/// starts in it, and for stretches a gigabyte apart, the last one found has the place: 128 KiB, whatever
/// the topic holds.
struct KnownMarks: ~Copyable {
  private static let count = 1 << 14
  /// Empty while nothing was found; 0 where nothing was found.
  private var addresses: [UInt64] = []

  mutating func add(_ mark: UInt64) {
    if addresses.isEmpty { addresses = [UInt64](repeating: 0, count: Self.count) }
    addresses[Self.place(of: mark)] = mark
  }

  /// A known mark behind `start` that is no further before an address than the spacing: the last one
  /// there is, unless marks stand nearer than that.
  func last(before address: UInt64, behind start: UInt64) -> UInt64? {
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
