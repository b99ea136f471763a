// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Harness

/// One of those that do the same work in turn.
struct Contestant {
  var name: String
  var role: Entry.Role
  /// How many records a round is.
  var records: Int
  /// Seconds that a round takes. What it wrote is removed before it returns.
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

/// How often contestants run.
struct Rounds {
  /// Of the reference and of DiskQueue, at least.
  var least = 7
  /// Of those at most.
  var most = 60
  /// So long each of those runs altogether, at least.
  var seconds = 1.0
  /// Of the peers, at least: they go on, for as long as the others do, until they ran half as long,
  /// or to the end where they take less than twice as long as DiskQueue.
  var peers = 3
}

/// The seconds that each contestant took, round by round.
struct Contest {
  private(set) var times: [[Double]]
  let contestants: [Contestant]

  /// Runs all in turn, round after round, so that what the machine does meanwhile happens to all of
  /// them. The first round warms caches and allocators, and is not counted.
  init(_ contestants: [Contestant], rounds: Rounds) async throws {
    self.contestants = contestants
    times = contestants.map { _ in [] }
    for contestant in contestants { _ = try await contestant.round() }
    var round = 0
    while !isEnough(round, rounds) {
      // To and fro: what one leaves behind, in caches and in free memory, is not always the same
      // one's to find.
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

  /// Whether a peer takes less than twice as long as DiskQueue, so far: which of both is ahead is not
  /// said by a few rounds.
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

  /// What `body` makes of some of the contestants.
  func only<R>(_ indices: [Int], _ body: (Contest) -> R) -> R {
    body(Contest(contestants: indices.map { contestants[$0] }, times: indices.map { times[$0] }))
  }

  private init(contestants: [Contestant], times: [[Double]]) {
    self.contestants = contestants
    self.times = times
  }

  /// The line of the table.
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

  /// Round by round: both ran at nearly the same moment.
  func ratio(of one: Int, to other: Int, _ unit: Unit) -> Spread {
    Spread(zip(figures(one, unit), figures(other, unit)).map { $0 / $1 })
  }
}

extension Contestant {
  /// Whether it is run until there is enough of it; a peer is run a few times.
  fileprivate var isMain: Bool { role != .peer }
}

extension Spread {
  /// Of the ratio the other way round.
  var inverted: Spread { Spread(median: 1 / median, minimum: 1 / maximum, maximum: 1 / minimum) }

  private init(median: Double, minimum: Double, maximum: Double) {
    self.median = median.rounded(digits: 4)
    self.minimum = minimum.rounded(digits: 4)
    self.maximum = maximum.rounded(digits: 4)
  }
}
