// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Testing

@Suite("Each call through the seam fails, in every operation")
struct EveryCallFailsTests {
  private static let all =
    FaultScenario.writing + FaultScenario.readers + FaultScenario.inspections
    + FaultScenario.consumption + FaultScenario.cleaners + FaultScenario.channels

  @Test("every public operation is among them")
  func everyOperation() {
    let covered = Set(Self.all.flatMap(\.covers))
    #expect(PublicOperation.allCases.filter { !covered.contains($0) } == [])
    #expect(Set(Self.all.map(\.name)).count == Self.all.count)
  }

  @Test(
    """
    G1-G7, G10: what fails says so, with a code and a path, is no damage, and is final where it \
    was a sync; what says it succeeded did; all that was acknowledged is there, and nothing else
    """,
    // In case a scenario hangs.
    .timeLimit(.minutes(10)), arguments: all)
  func everyCall(_ scenario: FaultScenario) async throws {
    let expected = try await scenario.undisturbed()
    var failures: [String] = []
    var cases = 0
    let stride = Exhaustive.stride(sampled: 11)
    for (index, kind) in FaultKind.allCases.enumerated() {
      // If not all calls are tried, each kind strikes at other calls.
      var number = index % stride + 1 - stride
      var hasStruck = true
      while hasStruck, failures.count < 5, number < 2000 {
        number += stride
        do {
          hasStruck = try await scenario.run(kind, at: number, expecting: expected)
        } catch {
          failures.append("\(kind) at call \(number): \(error)")
        }
        cases += 1
      }
      #expect(number < 2000)
    }
    print("\(scenario.name): \(cases) faults")
    #expect(failures == [])
  }
}
