// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

/// Random programs against a plain array.
///
/// `DISKQUEUE_SEEDS=20000` runs more of them, and `DISKQUEUE_FIRST=1001` others; with
/// `DISKQUEUE_SEED=4711` that one runs alone and prints what it did.
@Suite("Random programs keep every promise")
struct ModelTests {
  static func number(_ name: String) -> UInt64? {
    ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) }
  }

  /// Seeds that once showed a fault.
  static let remembered: [UInt64] = [3, 67, 103, 327, 681, 1314, 1662, 4390, 216_104]

  @Test("G1-G7: appending, crashing, damaging, cleaning and reading in any order")
  func programs() {
    let first = Self.number("DISKQUEUE_FIRST") ?? 1
    let count = Self.number("DISKQUEUE_SEEDS") ?? 200
    var seeds = Self.remembered + Array(first..<first + count)
    let single = Self.number("DISKQUEUE_SEED")
    if let single { seeds = [single] }
    var tally = Tally()
    var failures: [String] = []
    var complete = 0
    for seed in seeds where failures.count < 10 {
      let program = Program(seed: seed)
      do {
        try program.run()
      } catch {
        failures.append("seed \(seed): \(error)")
        print("seed \(seed): \(error)\n  \(program.trace.suffix(30).joined(separator: "\n  "))")
      }
      if single != nil {
        print(program.trace.joined(separator: "\n"), sketch(of: program.storage.slabs))
      }
      tally.add(program.tally)
      let events = ["kills", "power cuts", "rolls", "flips"]
      if events.allSatisfy({ program.tally[$0] > 0 }) { complete += 1 }
    }
    print("\(seeds.count) programs, \(complete) of them with all accidents: \(tally.text)")
    #expect(failures == [])
    #expect(single != nil || complete * 10 >= seeds.count * 9 || !failures.isEmpty)
  }
}
