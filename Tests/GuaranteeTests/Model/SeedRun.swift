// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation

/// Runs the programs of a suite: first those of the book, then the requested ones.
///
/// - `DISKQUEUE_SEEDS=20000` runs that many programs of `ModelTests`, which runs 200 by default.
///   The other suites run more in the same proportion.
/// - `DISKQUEUE_FIRST=1001` begins at another seed.
/// - `DISKQUEUE_SEED=4711` runs that seed alone, and prints its steps.
/// - `DISKQUEUE_PLAN` runs one line of `Fixtures/seeds.txt`.
///
/// A program that breaks a promise is shrunk, printed and written into the book.
struct SeedRun {
  var suite: ProgramSuite
  var tally = Tally()
  var failures: [String] = []
  /// How many programs were run.
  var count = 0
  /// Whether only one program was requested.
  var isSingle = false
  /// How many programs met each of the given events.
  private(set) var complete = 0
  private let events: [String]

  /// How many failures a core looks for, and how many of all failures are shrunk.
  private static let most = (failures: 10, shrunk: 3)

  static func number(_ name: String) -> UInt64? {
    ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) }
  }

  /// Whether a program's disk preallocates, so that zeros are written ahead there. Every second
  /// disk does. The seed itself decides it: another draw would change the programs of older seeds.
  static func laysOutRoom(_ seed: UInt64) -> Bool { seed % 4 == 0 || seed % 4 == 3 }

  /// - Parameters:
  ///   - count: how many seeds run by default.
  ///   - events: a program that met all of them is complete.
  init(_ suite: ProgramSuite, count: UInt64, events: [String] = []) async throws {
    self.suite = suite
    self.events = events
    let first = Self.number("DISKQUEUE_FIRST") ?? 1
    var plans = try SeedBook.kept.plans(of: suite.name)
    let count = Self.number("DISKQUEUE_SEEDS").map { max(1, $0 * count / 200) } ?? count
    plans += (first..<first + count).map { ProgramPlan(suite.name, $0) }
    if let line = ProcessInfo.processInfo.environment["DISKQUEUE_PLAN"] {
      plans = [try ProgramPlan.parse(line[...])].compactMap { $0 }.filter { $0.suite == suite.name }
      isSingle = true
    } else if let seed = Self.number("DISKQUEUE_SEED") {
      plans = [ProgramPlan(suite.name, seed)]
      isSingle = true
    }
    await run(plans)
  }

  private mutating func run(_ plans: [ProgramPlan]) async {
    let failed = await runAll(plans).sorted { $0.index < $1.index }
    for (place, failure) in failed.enumerated() {
      let plan = plans[failure.index]
      failures.append("\(plan.suite) \(plan.seed): \(failure.violation)")
      print("\(plan.suite) \(plan.seed): \(failure.violation)")
      guard place < Self.most.shrunk else { continue }
      let (shrunk, outcome) = await suite.shrink(plan)
      guard let violation = outcome.violation else {
        print("It does not fail a second time: something in it is not decided by its seed.")
        print("  " + failure.trace.joined(separator: "\n  "))
        continue
      }
      print("  " + outcome.trace.suffix(40).joined(separator: "\n  "))
      print("shrunk to: \(violation)\n\(shrunk)\n\(SeedBook.kept.add(shrunk, "\(violation)"))")
    }
  }

  private struct Failure: Sendable {
    var index: Int
    var violation: Violation
    var trace: [String]
  }

  /// The results of one core.
  private struct Part: Sendable {
    var tally = Tally()
    var count = 0
    var complete = 0
    var failed: [Failure] = []
  }

  /// Runs the programs on all cores. Each core runs every n-th program, whatever the others find.
  private mutating func runAll(_ plans: [ProgramPlan]) async -> [Failure] {
    let (suite, events, isSingle) = (suite, events, isSingle)
    let cores = ProcessInfo.processInfo.activeProcessorCount
    let parts = await withTaskGroup(of: Part.self) { group in
      for core in 0..<min(plans.count, cores) {
        group.addTask {
          var part = Part()
          for index in stride(from: core, to: plans.count, by: cores) {
            guard part.failed.count < Self.most.failures else { break }
            let outcome = await suite.run(plans[index])
            if isSingle { print(outcome.trace.joined(separator: "\n")) }
            part.tally.add(outcome.tally)
            part.count += 1
            if events.allSatisfy({ outcome.tally[$0] > 0 }) { part.complete += 1 }
            if let violation = outcome.violation {
              part.failed.append(Failure(index: index, violation: violation, trace: outcome.trace))
            }
          }
          return part
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    for part in parts {
      tally.add(part.tally)
      count += part.count
      complete += part.complete
    }
    return parts.flatMap(\.failed)
  }

  /// The given promises that no program ever checked.
  func unchecked(_ promises: [Promise]) -> [Promise] {
    isSingle || !failures.isEmpty ? [] : promises.filter { tally[$0] == 0 }
  }
}
