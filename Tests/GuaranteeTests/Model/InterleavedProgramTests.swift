// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Testing

/// Random programs of readers between a writer's calls. `SeedRun` documents how to run more of
/// them.
@Suite("Readers between any two system calls of a writer and a cleaner")
struct InterleavedProgramTests {
  @Test("G2, G3, G11: no record twice, none invented, in order, and none skipped")
  func programs() async throws {
    let run = try await SeedRun(InterleavedProgram.suite, count: 40)
    print("\(run.count) interleaved programs: \(run.tally.text)")
    #expect(run.failures == [])
    #expect(run.unchecked([.g1, .g2, .g3, .g5, .g11]) == [])
    let events = ["interruptions", "losses by cleaning", "slabs cleaned", "records read"]
    #expect(run.isSingle || !run.failures.isEmpty || events.allSatisfy { run.tally[$0] > 0 })
  }
}
