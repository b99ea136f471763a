// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// Measures how many records of a thousand each kind of damage costs. Prints a Markdown table with
/// three formats:
///
/// - DiskQueue's
/// - queuefka's, as DiskQueue reads it
/// - LevelDB's log, whose figures come on standard input
///
/// See .ci/damage-costs.
struct DamageCosts: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "damage-costs")

  private static let payloadBytes = 100

  func run() throws {
    let version2 = try DamagedCopies(.version2(records: 1000, payloadBytes: Self.payloadBytes))
    let version1 = try DamagedCopies(.version1(records: 1000, payloadBytes: Self.payloadBytes))
    let levelDB = try Self.readOthers()
    Posix.say("| damage | cases | DiskQueue | queuefka's format | LevelDB's log |")
    Posix.say("|---|---|---|---|---|")
    for kind in DamageKind.allCases {
      let cost = try version2.cost(of: kind)
      let other = try kind.isOfMarks ? nil : version1.cost(of: kind)
      let third = levelDB[kind.rawValue]
      let columns = [kind.title, "\(cost.cases)"] + [cost, other, third].map(Cost.text)
      Posix.say("| " + columns.joined(separator: " | ") + " |")
    }
  }

  /// Reads lines of four fields: a kind, the number of cases, the most records lost in a case, and
  /// the records lost in all cases.
  private static func readOthers() throws -> [String: Cost] {
    var costs: [String: Cost] = [:]
    while let line = readLine() {
      let fields = line.split(separator: " ")
      let numbers = fields.dropFirst().compactMap { Int($0) }
      try check(fields.count == 4 && numbers.count == 3, "what is this: \(line)")
      costs[String(fields[0])] = Cost(cases: numbers[0], worst: numbers[1], total: numbers[2])
    }
    return costs
  }
}

/// How many records a kind of damage cost.
struct Cost {
  var cases = 0
  var worst = 0
  var total = 0

  mutating func add(_ lost: Int) {
    cases += 1
    worst = max(worst, lost)
    total += lost
  }

  static func text(_ cost: Cost?) -> String {
    guard let cost, cost.cases > 0 else { return "–" }
    let tenths = (cost.total * 10 + cost.cases / 2) / cost.cases
    return "at most \(cost.worst), mean \(tenths / 10).\(tenths % 10)"
  }
}

enum DamageKind: String, CaseIterable {
  case payload, length, checksum, mark, header, closing, sector, two, cut, gone

  /// Whether it hits a part that only DiskQueue's format has.
  var isOfMarks: Bool { self == .mark || self == .header || self == .closing }

  var title: String {
    switch self {
    case .payload: "one bit of a payload"
    case .length: "one bit of a length word"
    case .checksum: "one bit of a checksum"
    case .mark: "one bit of a mark"
    case .header: "one bit of a slab's header"
    case .closing: "one bit of the closing mark"
    case .sector: "a sector of 512 bytes zeroed"
    case .two: "a bit in each of two records"
    case .cut: "a slab cut in its middle"
    case .gone: "a slab gone"
    }
  }
}
