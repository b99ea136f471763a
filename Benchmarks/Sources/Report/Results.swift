// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Foundation
package import Harness

/// The results of a run. They are written as JSON. The table and the picture are made from them.
package struct Results: Codable {
  package var machine: Machine
  package var isLong: Bool
  /// The time of the whole run.
  package var minutes: Double
  package var peers: [PeerDescription]
  package var lines: [Line]

  package init(
    machine: Machine, isLong: Bool, minutes: Double, peers: [PeerDescription], lines: [Line]
  ) {
    self.machine = machine
    self.isLong = isLong
    self.minutes = minutes
    self.peers = peers
    self.lines = lines
  }

  package struct PeerDescription: Codable {
    package var name: String
    package var version: String
    package var settings: String

    package init(name: String, version: String, settings: String) {
      self.name = name
      self.version = version
      self.settings = settings
    }
  }
}

/// A line of the table: one path, measured at one size, on one file system.
package struct Line: Codable {
  /// The name that `--only` takes.
  package var row: String
  package var path: String
  package var at: String
  package var fileSystem: String
  package var unit: Unit
  package var entries: [Entry]
  /// DiskQueue's figure divided by the reference's, round by round.
  package var ratio: Spread?
  /// The fastest peer, compared with DiskQueue.
  package var bestPeer: String?
  /// How many times as fast as the best peer DiskQueue is, round by round.
  package var timesBestPeer: Spread?
  package var goals: [Goal] = []
  /// Notes that a reader of the table needs.
  package var notes: [String] = []

  package init(
    row: String, path: String, at: String, fileSystem: String, unit: Unit, entries: [Entry]
  ) {
    self.row = row
    self.path = path
    self.at = at
    self.fileSystem = fileSystem
    self.unit = unit
    self.entries = entries
  }

  package subscript(role: Entry.Role) -> Entry? { entries.first { $0.role == role } }
}

/// The figure of one contestant.
package struct Entry: Codable {
  package enum Role: String, Codable {
    /// The contestant with which DiskQueue is compared, mostly the floor.
    case reference
    case diskQueue
    /// DiskQueue or a peer, used in another way. Shown below the table.
    case variant
    case peer
  }

  package var name: String
  package var role: Role
  package var figure: Spread
  /// How many records a round had, or nil if the figure is no time of records.
  package var records: Int?
  package var rounds: Int
  /// Further figures by their names, such as `syncs` and `p99`.
  package var also: [String: Double]?

  package init(
    name: String, role: Role, figure: Spread, records: Int? = nil, rounds: Int,
    also: [String: Double]? = nil
  ) {
    self.name = name
    self.role = role
    self.figure = figure
    self.records = records
    self.rounds = rounds
    self.also = also
  }
}

/// The median of the rounds, and their lowest and highest figure.
package struct Spread: Codable {
  package var median: Double
  package var minimum: Double
  package var maximum: Double

  /// - Precondition: there is at least one round.
  package init(_ rounds: [Double]) {
    self.init(
      median: rounds.median, minimum: rounds.min() ?? 0, maximum: rounds.max() ?? 0)
  }

  package init(median: Double, minimum: Double, maximum: Double) {
    self.median = median.rounded(digits: 4)
    self.minimum = minimum.rounded(digits: 4)
    self.maximum = maximum.rounded(digits: 4)
  }
}

package enum Unit: String, Codable {
  case nanosecondsARecord = "ns/record"
  case microseconds = "µs"
  case milliseconds = "ms"
  case recordsASecond = "records/s"
  case megabytesASecond = "MB/s"
  case mebibytes = "MiB"
  case bytesAByte = "bytes/byte"

  /// Whether more is better.
  package var isRate: Bool { self == .recordsASecond || self == .megabytesASecond }
}

/// A goal, with the measured value.
package struct Goal: Codable {
  /// The goal in words, such as "≤ 1.3 × the floor".
  package var text: String
  package var value: Double
  package var limit: Double
  package var isMet: Bool

  package static func atMost(_ limit: Double, _ value: Double, _ text: String) -> Goal {
    Goal(text: text, value: value.rounded(digits: 4), limit: limit, isMet: value <= limit)
  }

  package static func atLeast(_ limit: Double, _ value: Double, _ text: String) -> Goal {
    Goal(text: text, value: value.rounded(digits: 4), limit: limit, isMet: value >= limit)
  }
}

extension Double {
  /// The number with so many significant digits. Further ones are noise, and would make every line
  /// differ in every run.
  package func rounded(digits: Int) -> Double {
    Double(String(format: "%.\(digits)g", self)) ?? self
  }
}
