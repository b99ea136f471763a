// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// Prints the points at which `crash-points` kills.
struct CrashTable: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "crash-table")

  func run() {
    for (index, point) in CrashPoint.all.enumerated() {
      Posix.say("\(index) \(point.moment) \(point.call): \(point.name)")
    }
  }
}

/// Kills a process at every point of the table, several times and in any order. Checks the topic
/// after each kill.
struct CrashPoints: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "crash-points")

  @Argument(help: "Where topics are made, on a disk.") var directory: String
  @Option(help: "Random where it is not given; printed.") var seed: UInt64?
  @Option(help: "How often each point is hit.") var times = 3

  func run() throws {
    try CrashRun.run(directory, seed) { run throws in
      var hits = [Int](repeating: 0, count: CrashPoint.all.count)
      var misses = [Int](repeating: 0, count: CrashPoint.all.count)
      for round in 0..<times {
        for index in CrashPoint.all.indices.shuffled(using: &run.random) {
          let most = round == 0 ? 1 : 1 << min(4, run.random.below(6))
          var occurrence = 1 + run.random.below(most)
          while hits[index] <= round {
            if try run.kill(at: index, occurrence) {
              hits[index] += 1
            } else {
              misses[index] += 1
              occurrence = max(1, occurrence / 2)
              try check(
                misses[index] < 40,
                "point \(index) (\(CrashPoint.all[index].name)) is not reached")
            }
          }
        }
      }
      return "points: \(hits.count), each hit \(hits.min() ?? 0) times"
    }
  }
}

/// Kills a process at random moments, and checks the topic after each kill.
struct CrashRandom: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "crash-random")

  @Argument(help: "Where topics are made, on a disk.") var directory: String
  @Option(help: "Random where it is not given; printed.") var seed: UInt64?
  @Option var kills = 200

  func run() throws {
    try CrashRun.run(directory, seed) { run throws in
      for _ in 0..<kills { try run.killAnywhere() }
      return "random moments"
    }
  }
}
