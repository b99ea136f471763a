// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("What was acknowledged, in any order")
struct LedgerTests {
  /// The naive model: which records are acknowledged, one by one.
  private struct Model {
    let ends: [UInt64]
    var acknowledged: Set<Int> = []

    var first: Int { ends.indices.first { !acknowledged.contains($0) } ?? ends.count }
    var stretches: Int {
      ends.indices.count {
        $0 > first && acknowledged.contains($0) && !acknowledged.contains($0 - 1)
      }
    }
  }

  private func position(_ ends: [UInt64], _ records: Int) -> CursorPosition {
    CursorPosition(address: records == 0 ? 100 : ends[records - 1], ordinal: 40 + UInt64(records))
  }

  private func apply(
    _ operation: Int, _ ledger: inout AcknowledgementLedger, _ model: inout Model
  ) {
    let count = model.ends.count
    let index = operation % count
    let end = position(model.ends, index + 1)
    let before = model.first
    let moved: Bool
    if operation < count {
      moved = ledger.acknowledge(from: position(model.ends, index).address, to: end)
      model.acknowledged.insert(index)
    } else {
      moved = ledger.acknowledge(through: end)
      model.acknowledged.formUnion(0...index)
    }
    #expect(moved == (model.first > before))
    #expect(ledger.cursor == position(model.ends, model.first))
    #expect(ledger.count == model.stretches)
  }

  @Test("every order of five acknowledgements of five records, single and cumulative, and twice")
  func exhaustive() {
    let ends: [UInt64] = [108, 120, 150, 1 << 40, 1 << 41]
    for sequence in 0..<100_000 {
      var ledger = AcknowledgementLedger(cursor: position(ends, 0))
      var model = Model(ends: ends)
      var rest = sequence
      for _ in 0..<5 {
        apply(rest % 10, &ledger, &model)
        rest /= 10
      }
    }
  }

  @Test("a thousand records in random order end in one cursor, and nothing held")
  func random() {
    for seed in UInt64(1)...20 {
      var random = SeededGenerator(seed: seed)
      let ends = (1...1000).map { UInt64(100 + $0 * 9) }
      var ledger = AcknowledgementLedger(cursor: position(ends, 0))
      for index in ends.indices.shuffled(using: &random) {
        _ = ledger.acknowledge(
          from: position(ends, index).address, to: position(ends, index + 1))
      }
      #expect(ledger.cursor == position(ends, 1000))
      #expect(ledger.count == 0)
    }
  }

  @Test("overlapping stretches join, whatever their ends")
  func overlaps() {
    for seed in UInt64(1)...2000 {
      var random = SeededGenerator(seed: seed)
      var ledger = AcknowledgementLedger(cursor: CursorPosition(address: 0, ordinal: 0))
      var bytes = [Bool](repeating: false, count: 40)
      for _ in 0..<8 {
        let start = random.below(39)
        let end = start + 1 + random.below(39 - start)
        _ = ledger.acknowledge(
          from: UInt64(start), to: CursorPosition(address: UInt64(end), ordinal: UInt64(end)))
        for byte in start..<end { bytes[byte] = true }
        let first = bytes.firstIndex(of: false) ?? 40
        let held = (first..<40).count { bytes[$0] && !bytes[$0 - 1] }
        #expect(ledger.cursor.address == UInt64(first), "seed \(seed)")
        #expect(ledger.cursor.ordinal == ledger.cursor.address)
        #expect(ledger.count == held, "seed \(seed)")
      }
    }
  }
}
