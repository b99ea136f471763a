// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

/// A death in a call that changes nothing equals a death before the next call that changes
/// something.
@Suite("A crash at each single call that changes something")
struct CrashPointTests {
  /// Creates, rolls, syncs, closes, continues, is killed, recovers and closes.
  private static let steps: [ProgramStep] = [
    .append, .appendMany, .sync, .append, .roll, .append, .flush, .background, .append,
    .closeAndOpen, .append, .sync, .appendMany, .roll, .flush, .append, .kill, .append, .roll,
    .sync, .append, .drop, .append, .closeAndOpen, .append,
  ]

  /// Runs the steps with a death at one call. Then the power fails `cuts` times, or never.
  ///
  /// - Returns: whether the program reached the call.
  private func run(seed: UInt64, dyingAt number: Int, cuts: Int) async throws -> Bool {
    let program = Program(seed: seed)
    program.writerOptions.slabSize = .kibibytes(4)
    program.storage.logCalls()
    program.storage.setFault(SimulatedStorage.Fault(.die, at: number))
    var deaths = 0
    let fate = {
      if cuts == 0 { try program.kill() }
      for _ in 0..<cuts { try program.powerCut() }
      deaths += 1
      // In most cases, the recovery dies as well.
      if deaths == 1 {
        program.storage.setFault(SimulatedStorage.Fault(.die, at: 1 + number % 13))
      }
    }
    try program.meet(fate)
    for step in Self.steps { try await program.take(step, fate: fate) }
    try await program.finish()
    return program.tally["deaths"] > 0
  }

  @Test("G1-G4 hold after a death at any such call and a power cut, or none", arguments: [0, 1, 2])
  func everyCall(cuts: Int) async {
    var failures: [String] = []
    var calls: [Int] = []
    for seed in UInt64(1)...(cuts == 0 ? 1 : 4) {
      var number = 0
      var hasDied = true
      while hasDied, number < 2000, failures.count < 5 {
        number += 1
        do {
          hasDied = try await run(seed: seed, dyingAt: number, cuts: cuts)
        } catch {
          failures.append("seed \(seed), call \(number): \(error)")
        }
      }
      calls.append(number)
    }
    print("crashed at each of \(calls) calls, with \(cuts) power cuts")
    #expect(failures == [])
    #expect(calls.allSatisfy { (25..<2000).contains($0) })
  }
}
