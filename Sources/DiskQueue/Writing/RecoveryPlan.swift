// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The steps of opening a topic for writing. A pure value: decided here, carried out elsewhere.
enum RecoveryPlan: Equatable {
  /// There is no slab: make the first.
  case create
  /// The topic was closed: write the opening mark after its closing mark, and go on.
  case resume(after: MarkAt)
  /// Anything else: start this epoch, and leave all old data as it is.
  case startEpoch(EpochStart)

  /// The statements of the first slab of a new epoch.
  struct EpochStart: Equatable {
    var epoch: UInt64
    /// The end of the records before it, which are durable by now.
    var kept: UInt64
    var ordinal: UInt64
    /// Nil: nothing readable is left that states one.
    var topicID: UInt64?
    var stamp: UInt64
  }

  /// The end of a topic, as it was found.
  struct Findings: Equatable {
    /// The highest epoch in any slab's name, sound or not.
    var highestEpoch: UInt64
    /// The mark that ends the last file, if it is a closing one.
    var closingMark: MarkAt?
    var end: UInt64
    var ordinal: UInt64
    var topicID: UInt64?
    var highestStamp: UInt64
  }

  /// - Parameter findings: nil for a topic without slabs.
  /// - Returns: nil if no epoch is left.
  static func decide(_ findings: Findings?) -> RecoveryPlan? {
    guard let findings else { return .create }
    if let mark = findings.closingMark {
      // The opening mark must fit into the epoch. If it does not, the epoch is as good as used up.
      let epochEnd = Epoch.end(findings.highestEpoch)
      if mark.end < epochEnd, epochEnd - mark.end > UInt64(Mark.byteCount) {
        return .resume(after: mark)
      }
    }
    guard findings.highestEpoch < Epoch.last else { return nil }
    return .startEpoch(
      EpochStart(
        epoch: findings.highestEpoch + 1, kept: findings.end, ordinal: findings.ordinal,
        topicID: findings.topicID, stamp: findings.highestStamp))
  }
}
