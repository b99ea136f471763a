// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@Suite("A program that breaks a promise is shrunk, and kept")
struct ShrinkingTests {
  /// A promise that the queue does not make: after two kills, there is no roll.
  private static let broken = ProgramSuite(
    name: "broken", steps: Program.suite.steps
  ) { seed, steps in
    let names = steps.map(\.name)
    let kills = names.indices.filter { names[$0] == ProgramStep.kill.rawValue }
    guard kills.count >= 2, names[kills[1]...].contains(ProgramStep.roll.rawValue) else {
      return ProgramOutcome()
    }
    var outcome = await Program.suite.run(seed, steps)
    if outcome.violation == nil { outcome.violation = Violation(.g9, "two kills and a roll") }
    return outcome
  }

  /// The first seeds whose programs break this promise.
  private static func seeds(_ count: Int) async -> [UInt64] {
    var seeds: [UInt64] = []
    var seed: UInt64 = 0
    while seeds.count < count {
      seed += 1
      if await broken.run(ProgramPlan("broken", seed)).violation != nil { seeds.append(seed) }
    }
    return seeds
  }

  @Test("to the steps that it takes, the same ones each time, in a line that can be run again")
  func shrinks() async throws {
    for seed in await Self.seeds(2) {
      let (plan, outcome) = await Self.broken.shrink(ProgramPlan("broken", seed))
      #expect(outcome.violation?.description == "G9: two kills and a roll")
      #expect(plan.steps?.map(\.name) == ["kill", "kill", "roll"])
      #expect(await Self.broken.shrink(ProgramPlan("broken", seed)).plan == plan)
      let line = "\(plan) # \(outcome.violation?.description ?? "")"
      let read = try #require(try ProgramPlan.parse(line[...]))
      #expect(read == plan)
      let again = await Self.broken.run(read)
      #expect(again.violation?.description == outcome.violation?.description)
      #expect(again.trace == outcome.trace)
    }
  }

  @Test("within a bounded number of programs")
  func bounded() async throws {
    let seed = try #require(await Self.seeds(1).first)
    let all = Self.broken.steps(seed)
    let (plan, outcome) = await Self.broken.shrink(ProgramPlan("broken", seed), most: 3)
    #expect(outcome.violation != nil)
    #expect((4...all.count).contains(plan.steps?.count ?? 0))
  }

  @Test("another promise broken on the way is not taken for it, and what breaks none stays whole")
  func otherPromise() async {
    let picky = ProgramSuite(
      name: "picky", steps: { _ in [] },
      run: { _, steps in
        let names = Set(steps.map(\.name))
        if names.isSuperset(of: ["a", "b"]) {
          return ProgramOutcome(violation: Violation(.g1, "a and b"))
        }
        return ProgramOutcome(violation: names.contains("a") ? Violation(.g2, "a alone") : nil)
      })
    func plan(_ names: [String]) -> ProgramPlan {
      ProgramPlan("picky", 1, names.map { PlannedStep($0, seed: 7) })
    }
    #expect(await picky.shrink(plan(["c", "a", "d", "b", "c"])).plan == plan(["a", "b"]))
    #expect(await picky.shrink(plan(["c", "b"])).plan == plan(["c", "b"]))
  }

  @Test("leaving a step out does not change what the others draw")
  func stepsAreIndependent() throws {
    let steps = Program.plan(3)
    let plan = ProgramPlan("topic", 3, steps)
    #expect(try ProgramPlan.parse("\(plan)"[...]) == plan)
    #expect(steps == Program.plan(3))
    var first = steps[4].random(of: 3)
    var second = steps[4].random(of: 3)
    #expect(first.next() == second.next())
    var other = steps[4].random(of: 4)
    #expect(first.next() != other.next())
  }

  @Test("the same program does the same", arguments: [Program.suite, ConsumerProgram.suite])
  func deterministic(_ suite: ProgramSuite) async {
    let runs = [await suite.run(ProgramPlan(suite.name, 11)), await suite.run(.init("", 11))]
    #expect(runs[0].trace == runs[1].trace && runs[0].trace.count > 10)
    #expect(runs[0].tally.counts == runs[1].tally.counts)
  }

  @Test("the book takes a line once, and says so where it cannot be written")
  func book() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/seeds.txt"
    let book = SeedBook(path: path)
    let plan = ProgramPlan("topic", 4711, [PlannedStep("kill", seed: 0x1F)])
    #expect(book.add(plan, "G1: why").contains("by hand"))
    #expect(throws: (any Error).self) { try book.plans(of: "topic") }
    try "# what it is\n\nroom 7 all\n".write(toFile: path, atomically: true, encoding: .utf8)
    #expect(book.add(plan, "G1: why\nand more").contains("was added"))
    #expect(book.add(plan, "G1: again").contains("already"))
    #expect(try book.plans(of: "topic") == [plan])
    #expect(try book.plans(of: "room") == [ProgramPlan("room", 7)])
    let text = try String(contentsOfFile: path, encoding: .utf8)
    #expect(text.hasSuffix("room 7 all\ntopic 4711 kill.1f # G1: why\n"))
  }

  @Test("a line that is none is refused", arguments: ["topic", "topic x all", "topic 1 kill"])
  func notAPlan(_ line: String) {
    #expect(throws: ProgramPlan.NotAPlan.self) { try ProgramPlan.parse(line[...]) }
  }

  @Test("every line of the kept book is a program of a suite that there is")
  func keptBook() throws {
    let lines = try String(contentsOfFile: SeedBook.kept.path, encoding: .utf8)
      .split(separator: "\n").compactMap { try ProgramPlan.parse($0) }
    let suites = [
      Program.suite, ConsumerProgram.suite, CapProgram.suite, InterleavedProgram.suite,
    ].map(\.name)
    #expect(lines.count >= 12)
    #expect(lines.allSatisfy { suites.contains($0.suite) })
    let names =
      ProgramStep.allCases.map(\.rawValue) + ConsumerStep.allCases.map(\.rawValue)
      + CapStep.allCases.map(\.rawValue) + InterleavedStep.allCases.map(\.rawValue)
    #expect(lines.allSatisfy { $0.steps?.allSatisfy { names.contains($0.name) } ?? true })
  }
}
