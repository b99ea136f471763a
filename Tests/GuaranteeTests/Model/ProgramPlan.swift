// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport

/// One step of a random program, as data: its kind, and the seed of its random choices.
struct PlannedStep: Hashable, Sendable, CustomStringConvertible {
  var name: String
  var seed: UInt32

  /// The random numbers of the step. No step before it changes them.
  func random(of program: UInt64) -> SeededGenerator {
    var first = SeededGenerator(seed: program)
    return SeededGenerator(seed: first.next() ^ UInt64(seed))
  }

  /// "append.3fa2c1"
  var description: String { name + "." + String(seed, radix: 16) }

  init(_ name: String, seed: UInt32) {
    self.name = name
    self.seed = seed
  }

  /// Nil if the text is not a step.
  init?(text: Substring) {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 2, !parts[0].isEmpty, let seed = UInt32(parts[1], radix: 16) else {
      return nil
    }
    self.init(String(parts[0]), seed: seed)
  }

  /// A list of steps, each with a seed of its own.
  static func plan(_ names: [String], _ random: inout SeededGenerator) -> [PlannedStep] {
    names.map { PlannedStep($0, seed: UInt32(random.below(1 << 24))) }
  }
}

/// A random program, as data: the seed, which decides the setup, and the steps.
struct ProgramPlan: Hashable, Sendable, CustomStringConvertible {
  var suite: String
  var seed: UInt64
  /// Nil: all steps that the seed gives.
  var steps: [PlannedStep]?

  init(_ suite: String, _ seed: UInt64, _ steps: [PlannedStep]? = nil) {
    self.suite = suite
    self.seed = seed
    self.steps = steps
  }

  /// "topic 4711 append.3fa2c1 sync.11", "topic 4711 none", or "topic 4711 all".
  var description: String {
    let steps = steps.map { $0.isEmpty ? ["none"] : $0.map(\.description) } ?? ["all"]
    return "\(suite) \(seed) \(steps.joined(separator: " "))"
  }

  /// Reads a line, up to a comment in it.
  ///
  /// - Returns: nil if the line is empty, or has only a comment.
  static func parse(_ line: Substring) throws -> ProgramPlan? {
    let words = line.prefix { $0 != "#" }.split(separator: " ")
    guard !words.isEmpty else { return nil }
    guard words.count > 2, let seed = UInt64(words[1]) else { throw NotAPlan(line: String(line)) }
    if words.count == 3, words[2] == "all" { return ProgramPlan(String(words[0]), seed) }
    if words.count == 3, words[2] == "none" { return ProgramPlan(String(words[0]), seed, []) }
    let steps = try words.dropFirst(2).map { word in
      guard let step = PlannedStep(text: word) else { throw NotAPlan(line: String(line)) }
      return step
    }
    return ProgramPlan(String(words[0]), seed, steps)
  }

  struct NotAPlan: Error { var line: String }
}

/// The result of one program.
struct ProgramOutcome: Sendable {
  /// Nil: every promise was kept.
  var violation: Violation?
  var tally = Tally()
  var trace: [String] = []
}

/// A kind of random programs.
struct ProgramSuite: Sendable {
  var name: String
  /// The steps that a seed gives.
  var steps: @Sendable (UInt64) -> [PlannedStep]
  /// Runs some steps of a program.
  var run: @Sendable (_ seed: UInt64, [PlannedStep]) async -> ProgramOutcome

  func run(_ plan: ProgramPlan) async -> ProgramOutcome {
    await run(plan.seed, plan.steps ?? steps(plan.seed))
  }
}
