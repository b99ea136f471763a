// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import DiskQueue

@Suite("Marks that were found")
struct KnownMarksTests {
  private let spacing = SlabFormat.markSpacing

  @Test("a mark is known to whatever lies up to a spacing behind it, and to nothing else")
  func reach() {
    // The marks have many alignments to the stretches.
    for mark in stride(from: 3 * spacing, through: 4 * spacing, by: 1021) {
      var marks = KnownMarks()
      marks.add(mark)
      for distance in [1, 2, spacing / 2, spacing - 1, spacing] {
        #expect(marks.last(before: mark + distance, after: 0) == mark)
      }
      for address in [0, 1, mark - spacing, mark - 1, mark, mark + spacing + 1, 9 * spacing] {
        #expect(marks.last(before: address, after: 0) == nil)
      }
    }
  }

  @Test("of two that are near, the last one is taken")
  func lastOfTwo() {
    var marks = KnownMarks()
    let first = 5 * spacing + 100
    let second = first + spacing + 40
    marks.add(first)
    marks.add(second)
    #expect(marks.last(before: second, after: 0) == nil)
    #expect(marks.last(before: second - 41, after: 0) == first)
    #expect(marks.last(before: second + 1, after: 0) == second)
  }

  @Test("a mark at or before where the slab begins is none of it")
  func otherSlab() {
    var marks = KnownMarks()
    marks.add(7 * spacing + 9)
    let address = 7 * spacing + 500
    #expect(marks.last(before: address, after: 7 * spacing + 8) == 7 * spacing + 9)
    #expect(marks.last(before: address, after: 7 * spacing + 9) == nil)
  }

  @Test("where two share a place, the last one found has it, and is not taken for the other")
  func samePlace() {
    var marks = KnownMarks()
    let gibibyte: UInt64 = 1 << 30
    marks.add(spacing + 77)
    marks.add(gibibyte + spacing + 77)
    #expect(marks.last(before: spacing + 100, after: 0) == nil)
    #expect(marks.last(before: gibibyte + spacing + 100, after: 0) == gibibyte + spacing + 77)
  }

  @Test("nothing is known at the ends of all addresses, and nothing traps")
  func ends() {
    var marks = KnownMarks()
    #expect(marks.last(before: .max, after: 0) == nil)
    let mark = UInt64.max - 3
    marks.add(mark)
    #expect(marks.last(before: .max, after: 0) == mark)
    #expect(marks.last(before: 0, after: 0) == nil)
    #expect(marks.last(before: 5, after: 0) == nil)
  }
}
