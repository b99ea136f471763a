// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension ProgramSuite {
  /// Finds a program with few steps that breaks the same promise.
  ///
  /// Leaves out halves of the steps, then quarters, down to single steps, as long as the promise
  /// still breaks. The same program always gives the same result.
  ///
  /// - Parameter most: the highest number of programs to run.
  /// - Returns: the program and its outcome. If the program breaks nothing, the program itself.
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
      // Tries single steps until none can be left out. One that was needed before may not be now.
      if size == 1, !hasShrunk { break }
      size = max(1, size / 2)
    }
    return (ProgramPlan(plan.suite, plan.seed, steps), outcome)
  }
}
