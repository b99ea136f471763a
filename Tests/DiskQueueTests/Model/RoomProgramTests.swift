// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Foundation
import Testing

/// Random programs of writers with policies and caps; seeds as for the other model.
@Suite("Random programs of policies and caps keep every promise")
struct RoomProgramTests {
  private static func number(_ name: String) -> UInt64? {
    ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) }
  }

  /// Seeds that once showed a fault.
  private static let remembered: [UInt64] = [20, 1212, 1841]

  @Test("G1, G2, G4, G9: what was promised survives, and nothing exceeds the cap")
  func programs() {
    let first = Self.number("DISKQUEUE_FIRST") ?? 1
    let count = Self.number("DISKQUEUE_SEEDS") ?? 40
    var seeds = Self.remembered + Array(first..<first + count)
    if let single = Self.number("DISKQUEUE_SEED") { seeds = [single] }
    for seed in seeds {
      var program = RoomProgram(seed: seed)
      for _ in 0..<160 where program.problems.isEmpty { program.step() }
      program.writer?.dieForTesting()
      #expect(
        program.problems.isEmpty,
        "seed \(seed): \(program.problems)\n\(program.trace.suffix(14).joined(separator: "\n"))")
    }
  }
}
