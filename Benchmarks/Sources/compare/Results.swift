// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Harness

/// All that a run found: what is written as JSON, and what the table and the picture are made from.
struct Results: Codable {
  var machine: Machine
  var isLong: Bool
  /// How long all of it took.
  var minutes: Double
  var peers: [PeerDescription]
  var lines: [Line]

  struct PeerDescription: Codable {
    var name: String
    var version: String
    var settings: String
  }
}

/// A line of the table: one path, measured at one size, on one file system.
struct Line: Codable {
  /// The name that `--only` takes.
  var row: String
  var path: String
  var at: String
  var fileSystem: String
  var unit: Unit
  var entries: [Entry]
  /// DiskQueue's figure divided by the reference's, round by round.
  var ratio: Spread?
  /// The peer that came closest or got ahead.
  var bestPeer: String?
  /// How many times as fast as it DiskQueue is, round by round.
  var timesBestPeer: Spread?
  var goals: [Goal] = []
  /// What a reader of the table has to know.
  var notes: [String] = []

  subscript(role: Entry.Role) -> Entry? { entries.first { $0.role == role } }
}

/// What one contestant reached.
struct Entry: Codable {
  enum Role: String, Codable {
    /// What DiskQueue is held against: the floor, mostly.
    case reference
    case diskQueue
    /// DiskQueue otherwise used: shown below the table.
    case variant
    case peer
  }

  var name: String
  var role: Role
  var figure: Spread
  /// How many records a round was; nil where the figure is no time of records.
  var records: Int?
  var rounds: Int
  /// Further figures by their names, such as `syncs` and `p99`.
  var also: [String: Double]?
}

/// The median of the rounds, and how far they lie apart.
struct Spread: Codable {
  var median: Double
  var minimum: Double
  var maximum: Double

  /// - Precondition: there is a round.
  init(_ rounds: [Double]) {
    median = rounds.median.rounded(digits: 4)
    minimum = (rounds.min() ?? 0).rounded(digits: 4)
    maximum = (rounds.max() ?? 0).rounded(digits: 4)
  }
}

enum Unit: String, Codable {
  case nanosecondsARecord = "ns/record"
  case microseconds = "µs"
  case milliseconds = "ms"
  case recordsASecond = "records/s"
  case megabytesASecond = "MB/s"
  case mebibytes = "MiB"
  case bytesAByte = "bytes/byte"

  /// Whether more is better.
  var isRate: Bool { self == .recordsASecond || self == .megabytesASecond }
}

/// What was set out to be reached.
struct Goal: Codable {
  /// "≤ 1.3 × the floor"
  var text: String
  var value: Double
  var limit: Double
  var isMet: Bool

  static func atMost(_ limit: Double, _ value: Double, _ text: String) -> Goal {
    Goal(text: text, value: value.rounded(digits: 4), limit: limit, isMet: value <= limit)
  }

  static func atLeast(_ limit: Double, _ value: Double, _ text: String) -> Goal {
    Goal(text: text, value: value.rounded(digits: 4), limit: limit, isMet: value >= limit)
  }
}

extension Double {
  /// So many digits that count: further ones are noise, and make every run differ in every line.
  func rounded(digits: Int) -> Double { Double(String(format: "%.\(digits)g", self)) ?? self }
}
