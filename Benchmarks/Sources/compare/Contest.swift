// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Harness
import Report

/// A contestant in a contest. All contestants do the same work in turn.
struct Contestant {
  var name: String
  var role: Entry.Role
  /// How many records a round has.
  var records: Int
  /// Runs a round, and returns its seconds. It removes its files before it returns.
  var round: () async throws -> Double

  init(
    _ name: String, _ role: Entry.Role, records: Int,
    round: @escaping () async throws -> Double
  ) {
    self.name = name
    self.role = role
    self.records = records
    self.round = round
  }
}

/// How many rounds contestants run.
struct Rounds {
  /// The least rounds of the reference and of DiskQueue.
  var least = 7
  /// The most rounds of the reference and of DiskQueue.
  var most = 60
  /// The least time that each of these two runs in all its rounds together.
  var seconds = 1.0
  /// The least rounds of the peers. While the others run, a peer also goes on until it ran half as
  /// long. If it takes less than twice as long as DiskQueue, it goes on to the end.
  var peers = 3
}

/// The seconds of each contestant, round by round.
struct Contest {
  private(set) var times: [[Double]]
  let contestants: [Contestant]

  /// Runs all contestants in turn, round after round, so that other work of the machine affects all
  /// of them. The first round warms caches and allocators, and is not counted.
  init(_ contestants: [Contestant], rounds: Rounds) async throws {
    self.contestants = contestants
    times = contestants.map { _ in [] }
    for contestant in contestants { _ = try await contestant.round() }
    var round = 0
    while !isEnough(round, rounds) {
      // Alternate the order. Each contestant changes caches and free memory, and this change must
      // not always affect the same next one.
      let order = Array(contestants.indices)
      for index in round.isMultiple(of: 2) ? order : order.reversed() {
        let contestant = contestants[index]
        guard
          contestant.isMain || round < rounds.peers
            || times[index].reduce(0, +) < rounds.seconds / 2 || isNear(index)
        else { continue }
        times[index].append(try await contestant.round())
      }
      round += 1
    }
  }

  /// Whether a peer has taken less than twice as long as DiskQueue so far. Then a few rounds cannot
  /// show which of the two is faster.
  private func isNear(_ index: Int) -> Bool {
    guard let main = contestants.firstIndex(where: { $0.role == .diskQueue }) else { return false }
    func perRecord(_ index: Int) -> Double {
      times[index].median / Double(contestants[index].records)
    }
    return !times[main].isEmpty && perRecord(index) < 2 * perRecord(main)
  }

  private func isEnough(_ round: Int, _ rounds: Rounds) -> Bool {
    guard round >= rounds.least else { return false }
    guard round < rounds.most else { return true }
    return zip(contestants, times).allSatisfy { contestant, times in
      !contestant.isMain || times.reduce(0, +) >= rounds.seconds
    }
  }

  /// Calls `body` with only some of the contestants.
  func only<R>(_ indices: [Int], _ body: (Contest) -> R) -> R {
    body(Contest(contestants: indices.map { contestants[$0] }, times: indices.map { times[$0] }))
  }

  private init(contestants: [Contestant], times: [[Double]]) {
    self.contestants = contestants
    self.times = times
  }

  /// The contest as a line of the table.
  func line(
    row: String, path: String, at: String, fileSystem: String, unit: Unit
  ) -> Line {
    var line = Line(
      row: row, path: path, at: at, fileSystem: fileSystem, unit: unit,
      entries: contestants.indices.map { entry($0, unit) })
    guard let main = contestants.firstIndex(where: { $0.role == .diskQueue }) else { return line }
    if let reference = contestants.firstIndex(where: { $0.role == .reference }) {
      line.ratio = ratio(of: main, to: reference, unit)
    }
    let peers = contestants.indices.filter { contestants[$0].role == .peer }
    let advantages = peers.map { peer in
      let ratio = ratio(of: main, to: peer, unit)
      return unit.isRate ? ratio : ratio.inverted
    }
    if let closest = advantages.indices.min(by: { advantages[$0].median < advantages[$1].median }) {
      line.bestPeer = contestants[peers[closest]].name
      line.timesBestPeer = advantages[closest]
    }
    return line
  }

  private func entry(_ index: Int, _ unit: Unit) -> Entry {
    let contestant = contestants[index]
    return Entry(
      name: contestant.name, role: contestant.role, figure: Spread(figures(index, unit)),
      records: contestant.records, rounds: times[index].count)
  }

  func figures(_ index: Int, _ unit: Unit) -> [Double] {
    let records = Double(contestants[index].records)
    return times[index].map { seconds in
      switch unit {
      case .nanosecondsARecord: seconds * 1e9 / records
      case .microseconds: seconds * 1e6 / records
      case .milliseconds: seconds * 1e3 / records
      case .megabytesASecond: records / seconds / 1e6
      default: records / seconds
      }
    }
  }

  /// The ratio of each round, because both ran at nearly the same moment.
  func ratio(of one: Int, to other: Int, _ unit: Unit) -> Spread {
    Spread(zip(figures(one, unit), figures(other, unit)).map { $0 / $1 })
  }
}

extension Contestant {
  /// Whether it runs until it has enough rounds. A peer runs only a few times.
  fileprivate var isMain: Bool { role != .peer }
}

extension Spread {
  /// The spread of the inverse ratio.
  var inverted: Spread { Spread(median: 1 / median, minimum: 1 / maximum, maximum: 1 / minimum) }
}
