// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Testing

/// Random programs with consumers. `SeedRun` documents how to run more of them.
@Suite("Random programs with consumers keep every promise")
struct ConsumerModelTests {
  @Test("G10: delivering, acknowledging, resetting, cleaning and crashing in any order")
  func programs() async throws {
    let run = try await SeedRun(ConsumerProgram.suite, count: 25)
    print("\(run.count) programs with consumers: \(run.tally.text)")
    #expect(run.failures == [])
    #expect(run.unchecked([.g1, .g2, .g3, .g4, .g5, .g10]) == [])
    let events = ["deaths in a call", "kills", "power cuts", "resets", "slabs cleaned"]
    #expect(run.isSingle || !run.failures.isEmpty || events.allSatisfy { run.tally[$0] > 0 })
  }
}
