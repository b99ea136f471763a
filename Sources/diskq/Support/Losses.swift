// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Synchronization

/// Reports losses on standard error as a reader finds them, and adds them up. Threads may share it.
final class Losses: Sendable {
  private let path: String
  private let progress: ProgressBar
  private let counted = Mutex(LossCount(ranges: 0, records: 0, isUncounted: false))

  init(of path: String, _ progress: ProgressBar = ProgressBar(total: 0)) {
    self.path = path
    self.progress = progress
  }

  var count: LossCount { counted.withLock { $0 } }

  var isEmpty: Bool { count.ranges == 0 }

  /// Reports a loss.
  ///
  /// - Parameter shard: the path of the shard that has lost records, if the topic is sharded.
  func report(_ loss: Loss, in shard: String? = nil) {
    progress.say("\(loss) [\(shard ?? path)]")
    counted.withLock { $0.add(loss.records) }
  }

  /// Reports a record that was skipped because of its length. Only this reader has lost it.
  func tellPassed(_ error: QueueError) {
    progress.say(error.sentence)
    counted.withLock { $0.add(1) }
  }
}

/// The number of lost records, in words.
struct LossCount: CustomStringConvertible {
  var ranges: UInt64
  var records: UInt64
  /// Whether an unknown number of records was lost besides.
  var isUncounted: Bool

  /// Adds a damaged range with so many records, or nil if that is unknown.
  mutating func add(_ records: UInt64?) {
    ranges += 1
    let (sum, overflow) = self.records.addingReportingOverflow(records ?? 0)
    if !overflow { self.records = sum }
    if overflow || records == nil { isUncounted = true }
  }

  var description: String {
    let count =
      if !isUncounted {
        Count.text(records, "record")
      } else if records == 0 {
        "an unknown number of records"
      } else {
        "\(Count.text(records, "record")) and an unknown number more"
      }
    return "\(count) lost in \(Count.text(ranges, "damaged range"))"
  }
}
