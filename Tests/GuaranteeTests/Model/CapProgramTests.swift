// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Testing

/// Random programs of writers with policies and caps. `SeedRun` documents how to run more of them.
@Suite("Random programs of policies and caps keep every promise")
struct CapProgramTests {
  @Test("G1, G2, G4, G9: what was promised survives, and nothing exceeds the cap")
  func programs() async throws {
    let run = try await SeedRun(CapProgram.suite, count: 40)
    print("\(run.count) programs of policies and caps: \(run.tally.text)")
    #expect(run.failures == [])
    #expect(run.unchecked([.g1, .g2, .g3, .g4, .g5, .g9]) == [])
  }
}
