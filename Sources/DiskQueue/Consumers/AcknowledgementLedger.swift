// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The acknowledgements of a consumer: everything below a cursor, and stretches above it.
///
/// A delivered record is the stretch from the end of the record delivered before it to its own end.
/// So the stretches of two deliveries in a row touch, whatever is in between: marks, slabs, epochs,
/// losses. Memory grows with the number of stretches that do not touch, and with nothing else.
package struct AcknowledgementLedger: Sendable {
  private struct AcknowledgedStretch: Sendable {
    var start: UInt64
    var end: CursorPosition
  }

  /// Everything below it was acknowledged.
  package private(set) var cursor: CursorPosition
  /// Ascending. None touches another one or the cursor.
  private var stretches: [AcknowledgedStretch] = []

  package init(cursor: CursorPosition) { self.cursor = cursor }

  /// How many stretches there are above the cursor.
  package var count: Int { stretches.count }

  /// Acknowledges everything up to an end. Returns whether the cursor moved.
  package mutating func acknowledge(through end: CursorPosition) -> Bool {
    acknowledge(from: cursor.address, to: end)
  }

  /// Acknowledges one stretch. All or part of it may have been acknowledged before. Returns whether
  /// the cursor moved.
  ///
  /// - Complexity: O(log n) to find its index among n stretches, and a move of those after it.
  package mutating func acknowledge(from start: UInt64, to end: CursorPosition) -> Bool {
    guard end.address > cursor.address else { return false }
    // The stretches that it touches or overlaps.
    let first = firstIndex { $0.end.address >= start }
    let after = firstIndex { $0.start > end.address }
    var joined = AcknowledgedStretch(start: start, end: end)
    if first < after {
      joined.start = min(start, stretches[first].start)
      let last = stretches[after - 1].end
      if last.address > end.address { joined.end = last }
    }
    guard joined.start <= cursor.address else {
      stretches.replaceSubrange(first..<max(first, after), with: CollectionOfOne(joined))
      return false
    }
    cursor = joined.end
    stretches.removeFirst(max(first, after))
    return true
  }

  /// The first stretch for which `holds` is true. It must be true for all stretches after that one.
  private func firstIndex(where holds: (AcknowledgedStretch) -> Bool) -> Int {
    var low = 0
    var high = stretches.count
    while low < high {
      let middle = (low + high) / 2
      if holds(stretches[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
