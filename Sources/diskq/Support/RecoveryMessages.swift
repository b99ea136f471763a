// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// The messages about a topic that was not closed.
enum RecoveryMessages {
  /// Reports the recovery, or nothing if the topic is new or was closed.
  ///
  /// - Parameter position: the address of the next record.
  static func say(_ report: RecoveryReport, position: Address, path: String) {
    let epoch = Epoch.of(position.rawValue)
    switch report.state {
    case .created, .clean:
      return
    case .migrated:
      Messages.say(
        "the topic was written in version 1: new records follow in version 2, in epoch \(epoch)"
          + "\(discarded(report)) [\(path)]")
    default:
      Messages.say(
        "the topic had not been closed: it goes on in epoch \(epoch), with"
          + " \(Count.text(report.unprovenRecords, "record")) kept after the last proof of"
          + " durability\(discarded(report)) [\(path)]")
    }
    for loss in report.losses { Messages.say("\(loss) [\(path)]") }
  }

  private static func discarded(_ report: RecoveryReport) -> String {
    report.discardedBytes == 0
      ? ""
      : ", and \(Count.text(report.discardedBytes, "byte")) discarded after the last sound record"
  }
}
