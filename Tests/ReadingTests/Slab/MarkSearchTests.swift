// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("Searching for marks")
struct MarkSearchTests {
  private static let topicID: UInt64 = 0x1122_3344_5566_7788

  /// A slab file with these bytes, and with marks written over them at `offsets`.
  private func slab(_ bytes: [UInt8], marksAt offsets: [Int]) throws -> SlabFile {
    var bytes = bytes
    for (number, offset) in offsets.enumerated() {
      let mark = Mark(
        stamp: 1, ordinal: UInt64(number), synced: 0, kept: 0, topicID: Self.topicID)
      var buffer = WriteBuffer(capacity: Mark.byteCount)
      buffer.put(mark, at: UInt64(offset))
      for index in 0..<Mark.byteCount { bytes[offset + index] = buffer.bytes.byte(index) }
    }
    let storage = SimulatedStorage()
    storage.replace(slab: 0, with: bytes)
    return try #require(try SlabFile.open(0, in: storage))
  }

  /// Random bytes, most of which are FF.
  private func rough(_ count: Int, seed: UInt64) -> [UInt8] {
    var random = SeededGenerator(seed: seed)
    return (0..<count).map { _ in
      random.next() % 3 == 0 ? UInt8(truncatingIfNeeded: random.next()) : 0xFF
    }
  }

  @Test("a mark is found at every offset, among bytes that are mostly FF", arguments: 0..<17)
  func everyOffset(shift: Int) throws {
    let offsets = [100 + shift, 148 + shift, 400 + shift, 1000 + shift]
    let slab = try slab(rough(1100, seed: UInt64(shift)), marksAt: offsets)
    let from = UInt64(shift)
    var search = MarkSearch(slab, topicID: Self.topicID)
    var found: [UInt64] = []
    var next = from
    while let mark = try search.first(from: next, limit: .max) {
      found.append(mark.address)
      next = mark.end
    }
    #expect(found == offsets.map(UInt64.init))
    for limit in 0...1100 {
      let last = try search.last(from: from, limit: UInt64(limit))?.address
      #expect(last == offsets.last { $0 + 48 <= limit }.map(UInt64.init), "up to \(limit)")
      let first = try search.first(from: UInt64(limit), limit: .max)?.address
      #expect(first == offsets.first { $0 >= limit }.map(UInt64.init), "from \(limit)")
    }
  }

  @Test("a mark that lies across the border of two stretches is found from both sides")
  func acrossBorders() throws {
    // A stretch is 69,632 bytes long. The mark is tried at every offset across the stretch's end.
    for offset in stride(from: 69_632 - 50, through: 69_632 + 2, by: 1) {
      let slab = try slab([UInt8](repeating: 0x20, count: 139_264), marksAt: [offset])
      var search = MarkSearch(slab, topicID: nil)
      let first = try search.first(from: 0, limit: .max)?.address
      let last = try search.last(from: 0, limit: .max)?.address
      #expect(first == UInt64(offset))
      #expect(last == UInt64(offset))
    }
  }
}
