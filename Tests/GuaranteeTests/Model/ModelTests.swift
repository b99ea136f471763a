// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Testing

/// Random programs against a plain array. `SeedRun` documents how to run more of them.
@Suite("Random programs keep every promise")
struct ModelTests {
  @Test("G1-G7, G10, G12: appending, consuming, crashing, damaging and cleaning in any order")
  func programs() async throws {
    let events = ["kills", "power cuts", "rolls", "flips"]
    let run = try await SeedRun(Program.suite, count: 200, events: events)
    print("\(run.count) programs, \(run.complete) of them with all accidents: \(run.tally.text)")
    #expect(run.failures == [])
    #expect(run.unchecked([.g1, .g2, .g3, .g4, .g5, .g6, .g7, .g10, .g12]) == [])
    #expect(run.isSingle || run.complete * 10 >= run.count * 9 || !run.failures.isEmpty)
  }
}
