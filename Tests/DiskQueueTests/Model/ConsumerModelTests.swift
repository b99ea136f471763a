// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Testing

/// Random programs with consumers; `DISKQUEUE_SEEDS`, `DISKQUEUE_FIRST` and `DISKQUEUE_SEED` as in
/// `ModelTests`.
@Suite("Random programs with consumers keep every promise")
struct ConsumerModelTests {
  @Test("G10: delivering, acknowledging, resetting, cleaning and crashing in any order")
  func programs() async {
    let first = ModelTests.number("DISKQUEUE_FIRST") ?? 1
    let count = ModelTests.number("DISKQUEUE_SEEDS") ?? 25
    let single = ModelTests.number("DISKQUEUE_SEED")
    let seeds = single.map { [$0] } ?? Array(first..<first + count)
    var tally = Tally()
    var failures: [String] = []
    for seed in seeds where failures.count < 10 {
      let program = ConsumerProgram(seed: seed)
      do {
        try await program.run()
      } catch {
        failures.append("seed \(seed): \(error)")
        print("seed \(seed): \(error)\n  \(program.trace.suffix(30).joined(separator: "\n  "))")
      }
      if single != nil { print(program.trace.joined(separator: "\n")) }
      tally.add(program.tally)
    }
    print("\(seeds.count) programs with consumers: \(tally.text)")
    #expect(failures == [])
    let events = ["deaths in a call", "kills", "power cuts", "resets", "slabs cleaned"]
    #expect(single != nil || !failures.isEmpty || events.allSatisfy { tally[$0] > 0 })
  }
}
