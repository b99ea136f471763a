// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// What a consumer has acknowledged: everything below a cursor, and stretches above it.
///
/// A delivered record is the stretch from the end of the one delivered before it to its own end, so
/// that those of two deliveries in a row touch, whatever lies between: marks, slabs, epochs, losses.
/// Memory grows with the number of stretches that do not touch, and with nothing else.
package struct AcknowledgementLedger: Sendable {
  private struct Stretch: Sendable {
    var start: UInt64
    var end: CursorPosition
  }

  /// Everything below it was acknowledged.
  package private(set) var cursor: CursorPosition
  /// Ascending; none touches another, nor the cursor.
  private var stretches: [Stretch] = []

  package init(cursor: CursorPosition) { self.cursor = cursor }

  /// How many stretches above the cursor are held.
  package var count: Int { stretches.count }

  /// Acknowledges everything up to an end. Returns whether the cursor moved.
  package mutating func acknowledge(through end: CursorPosition) -> Bool {
    acknowledge(from: cursor.address, to: end)
  }

  /// Acknowledges one stretch, which may be known already, as a whole or in part. Returns whether
  /// the cursor moved.
  ///
  /// - Complexity: O(log n) to find its place among n stretches, and a move of those behind it.
  package mutating func acknowledge(from start: UInt64, to end: CursorPosition) -> Bool {
    guard end.address > cursor.address else { return false }
    // Those that it touches or overlaps.
    let first = firstIndex { $0.end.address >= start }
    let behind = firstIndex { $0.start > end.address }
    var joined = Stretch(start: start, end: end)
    if first < behind {
      joined.start = min(start, stretches[first].start)
      let last = stretches[behind - 1].end
      if last.address > end.address { joined.end = last }
    }
    guard joined.start <= cursor.address else {
      stretches.replaceSubrange(first..<max(first, behind), with: CollectionOfOne(joined))
      return false
    }
    cursor = joined.end
    stretches.removeFirst(max(first, behind))
    return true
  }

  /// The first stretch of which `holds` is true; it is of all behind that one.
  private func firstIndex(where holds: (Stretch) -> Bool) -> Int {
    var low = 0
    var high = stretches.count
    while low < high {
      let middle = (low + high) / 2
      if holds(stretches[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
