// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension ProgramSuite {
  /// A program that breaks the same promise with as few steps as are found: halves of them are left
  /// out, quarters, down to single ones, as long as it still does. The same for the same program.
  ///
  /// - Parameter most: so many programs are run at the most.
  /// - Returns: the program and how it ends; itself where it breaks nothing.
  func shrink(
    _ plan: ProgramPlan, most: Int = 2000
  ) async -> (plan: ProgramPlan, outcome: ProgramOutcome) {
    var steps = plan.steps ?? self.steps(plan.seed)
    var outcome = await run(plan.seed, steps)
    guard let promise = outcome.violation?.promise else { return (plan, outcome) }
    var runs = 0
    var size = max(1, steps.count / 2)
    while runs < most {
      var hasShrunk = false
      var start = 0
      while start < steps.count, runs < most {
        let end = min(start + size, steps.count)
        let rest = Array(steps[..<start] + steps[end...])
        runs += 1
        let tried = await run(plan.seed, rest)
        if tried.violation?.promise == promise {
          (steps, outcome, hasShrunk) = (rest, tried, true)
        } else {
          start = end
        }
      }
      // Single steps again, until none can be spared: what was needed may not be any more.
      if size == 1, !hasShrunk { break }
      size = max(1, size / 2)
    }
    return (ProgramPlan(plan.suite, plan.seed, steps), outcome)
  }
}
