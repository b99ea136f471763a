// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// What is said of a topic that was not found closed.
enum RecoveryMessages {
  /// - Parameter position: where the writer goes on.
  static func say(_ report: RecoveryReport, position: Address, path: String) {
    let epoch = Epoch.of(position.rawValue)
    switch report.state {
    case .created, .clean:
      return
    case .migrated:
      Messages.say(
        "the topic was written in version 1: it goes on in version 2 behind it, in epoch \(epoch)"
          + "\(discarded(report)) [\(path)]")
    default:
      Messages.say(
        "the topic had not been closed: \(Count.text(report.keptRecords, "record")) behind the last"
          + " proof of durability kept\(discarded(report)); it goes on in epoch \(epoch)"
          + " [\(path)]")
    }
    for loss in report.losses { Messages.say("\(loss) [\(path)]") }
  }

  private static func discarded(_ report: RecoveryReport) -> String {
    report.discardedBytes == 0
      ? "" : ", \(Count.text(report.discardedBytes, "byte")) behind the last sound one discarded"
  }
}
