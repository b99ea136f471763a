// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Harness

/// The results of a run. They are written as JSON, and the table and the picture are made from them.
struct Results: Codable {
  var machine: Machine
  var isLong: Bool
  /// The time of the whole run.
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
  /// The fastest peer, compared with DiskQueue.
  var bestPeer: String?
  /// How many times as fast as the best peer DiskQueue is, round by round.
  var timesBestPeer: Spread?
  var goals: [Goal] = []
  /// Notes that a reader of the table needs.
  var notes: [String] = []

  subscript(role: Entry.Role) -> Entry? { entries.first { $0.role == role } }
}

/// The figure of one contestant.
struct Entry: Codable {
  enum Role: String, Codable {
    /// The contestant with which DiskQueue is compared, mostly the floor.
    case reference
    case diskQueue
    /// DiskQueue or a peer, used in another way. Shown below the table.
    case variant
    case peer
  }

  var name: String
  var role: Role
  var figure: Spread
  /// How many records a round had, or nil if the figure is no time of records.
  var records: Int?
  var rounds: Int
  /// Further figures by their names, such as `syncs` and `p99`.
  var also: [String: Double]?
}

/// The median of the rounds, and their lowest and highest figure.
struct Spread: Codable {
  var median: Double
  var minimum: Double
  var maximum: Double

  /// - Precondition: there is at least one round.
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

/// A goal, with the measured value.
struct Goal: Codable {
  /// The goal in words, such as "≤ 1.3 × the floor".
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
  /// The number with so many significant digits. Further ones are noise, and would make every line
  /// differ in every run.
  func rounded(digits: Int) -> Double { Double(String(format: "%.\(digits)g", self)) ?? self }
}
