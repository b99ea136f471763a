// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// Reports losses on standard error as a reader finds them, and adds them up.
final class Losses {
  private let path: String
  private let progress: ProgressBar
  private(set) var ranges: UInt64 = 0
  private(set) var records: UInt64 = 0
  /// Whether the number of records of some loss is unknown.
  private(set) var isUncounted = false

  init(of path: String, _ progress: ProgressBar) {
    self.path = path
    self.progress = progress
  }

  var isEmpty: Bool { ranges == 0 }

  func report(_ loss: Loss) {
    progress.say("\(loss) [\(path)]")
    ranges += 1
    let (sum, overflow) = records.addingReportingOverflow(loss.records ?? 0)
    if !overflow { records = sum }
    if overflow || loss.records == nil { isUncounted = true }
  }

  /// Reports a record that was skipped because of its length. Only this reader has lost it.
  func tellPassed(_ error: QueueError) {
    progress.say(error.sentence)
    ranges += 1
    records += 1
  }
}

extension LossCount {
  init(_ losses: Losses) {
    self.init(
      ranges: losses.ranges, records: losses.records, isUncounted: losses.isUncounted)
  }
}

/// The number of lost records, in words.
struct LossCount: CustomStringConvertible {
  var ranges: UInt64
  var records: UInt64
  /// Whether an unknown number of records was lost besides.
  var isUncounted: Bool

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
