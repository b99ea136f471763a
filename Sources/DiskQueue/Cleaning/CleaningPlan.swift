// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Whether the first slab of a topic may go. A pure value: decided here, carried out elsewhere.
///
/// What is not known keeps a slab: a bound applies only where it is certain that all of the slab lies
/// beyond it. Bounds only grow truer while a topic is written, so a plan holds until it is carried
/// out; what consumers hold does not, and is asked about each slab anew.
struct CleaningPlan: Sendable, Equatable {
  var retention: Retention
  /// Nanoseconds since 1970: the lower of the clock and the newest stamp; 0 where there is none.
  var present: UInt64
  /// All below it is on stable storage.
  var synced: UInt64
  /// How many records the log took, or fewer.
  var endOrdinal: UInt64
  /// The slabs from this base on hold the newest `retention.bytes`; nil: all together hold fewer.
  var bytesFrom: UInt64?
  /// The slabs from this base on hold `retention.minimumBytes` that are durable; nil: all together
  /// hold fewer.
  var minimumFrom: UInt64?

  /// The first slab, at the time it is judged.
  struct Slab: Sendable, Equatable {
    var base: UInt64
    /// The base of the slab behind it, if there is one.
    var next: UInt64?
    /// Where its records end at the latest.
    var contentEnd: UInt64
    /// No record in it is newer: the highest stamp that it and the slabs up to the next readable one
    /// begin with; nil where none behind it is readable. If no clock knew the time yet then, it is the
    /// first known stamp behind.
    var stampBehind: UInt64?
    /// The ordinal that the next readable slab begins with: no record in it has a higher one.
    var ordinalBehind: UInt64?
  }

  enum Verdict: Sendable, Equatable {
    case remove(SlabCleaner.Removal.Cause)
    case keep(SlabCleaner.Kept)
  }

  func judge(_ slab: Slab, _ holds: ConsumerHolds) -> Verdict {
    guard retention.isBounded else { return .keep(.noBound) }
    guard let next = slab.next else { return .keep(.lastSlab) }
    guard let cause = cause(slab, next: next) else { return .keep(.withinBounds) }
    if let hold = holds.hold(below: min(slab.contentEnd, next)) {
      return .keep(SlabCleaner.Kept(hold))
    }
    guard let minimumFrom, next <= minimumFrom else { return .keep(.minimum) }
    if SlabRemoval.obstacle(before: next, synced: synced) != nil { return .keep(.unproven) }
    return .remove(cause)
  }

  /// The bound that the slab lies beyond; nil: none.
  private func cause(_ slab: Slab, next: UInt64) -> SlabCleaner.Removal.Cause? {
    if let age = retention.age, let newest = slab.stampBehind, Stamp.isKnown(newest),
      newest < present,
      present - newest > age.duration.clampedNanoseconds
    {
      return .age(age)
    }
    if let bytes = retention.bytes, let bytesFrom, next <= bytesFrom { return .bytes(bytes) }
    if let records = retention.records, let behind = slab.ordinalBehind, behind <= endOrdinal,
      endOrdinal - behind >= records
    {
      return .records(records)
    }
    return nil
  }
}

extension SlabCleaner.Kept {
  init(_ hold: ConsumerHolds.Hold) {
    self =
      switch hold.cause {
      case .position, .neverWritten: .consumer(hold.consumer)
      case .damaged: .unreadableConsumer(hold.consumer, reason: "it is damaged")
      case .unsupported(let version):
        .unreadableConsumer(
          hold.consumer, reason: "it has version \(version), written by a newer program")
      case .otherTopic:
        .unreadableConsumer(hold.consumer, reason: "it belongs to another topic")
      }
  }
}
