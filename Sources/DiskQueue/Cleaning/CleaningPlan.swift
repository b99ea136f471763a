// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Decides whether the first slab of a topic may be removed. A pure value: other code carries out
/// the decision.
///
/// Anything unknown keeps a slab: a bound applies only if the whole slab is certainly beyond it.
/// Writing a topic only moves a slab further beyond its bounds, so a plan stays valid until it is
/// carried out. The holds of consumers may change, and are read again for each slab.
struct CleaningPlan: Sendable, Equatable {
  var retention: Retention
  /// Nanoseconds since 1970: the lower of the clock and the newest stamp. 0 if there is none.
  var present: UInt64
  /// Everything below it is on stable storage.
  var synced: UInt64
  /// How many records the log took. It may be too low.
  var endOrdinal: UInt64
  /// The slabs from this base on hold the newest `retention.bytes`. Nil if all slabs together hold
  /// fewer bytes.
  var bytesFrom: UInt64?
  /// The slabs from this base on hold `retention.minimumBytes` that are durable. Nil if all slabs
  /// together hold fewer bytes.
  var minimumFrom: UInt64?

  /// The first slab, at the time it is judged.
  struct FirstSlab: Sendable, Equatable {
    var base: UInt64
    /// The base of the next slab, if there is one.
    var next: UInt64?
    /// The highest address at which its records can end.
    var contentEnd: UInt64
    /// No record in the slab is newer than this stamp. It is the highest stamp at the beginning of
    /// this slab and of the slabs up to the next readable one. Nil if no later slab is readable. If
    /// no clock knew the time by then, it is the first known stamp after that.
    var stampAfter: UInt64?
    /// The ordinal at the beginning of the next readable slab: no record in this slab has a higher
    /// one.
    var ordinalAfter: UInt64?
  }

  enum Verdict: Sendable, Equatable {
    case remove(SlabCleaner.Removal.Cause)
    case keep(SlabCleaner.StopReason)
  }

  func judge(_ slab: FirstSlab, _ holds: ConsumerHolds) -> Verdict {
    guard retention.isBounded else { return .keep(.noBound) }
    guard let next = slab.next else { return .keep(.lastSlab) }
    guard let cause = cause(slab, next: next) else { return .keep(.withinBounds) }
    if let hold = holds.hold(below: min(slab.contentEnd, next)) {
      return .keep(SlabCleaner.StopReason(hold))
    }
    guard let minimumFrom, next <= minimumFrom else { return .keep(.minimum) }
    if SlabRemoval.obstacle(before: next, synced: synced) != nil { return .keep(.unproven) }
    return .remove(cause)
  }

  /// The bound that the slab is beyond. Nil if there is none.
  private func cause(_ slab: FirstSlab, next: UInt64) -> SlabCleaner.Removal.Cause? {
    if let age = retention.age, let newest = slab.stampAfter, Stamp.isKnown(newest),
      newest < present,
      present - newest > age.duration.clampedNanoseconds
    {
      return .age(age)
    }
    if let bytes = retention.bytes, let bytesFrom, next <= bytesFrom { return .bytes(bytes) }
    if let records = retention.records, let after = slab.ordinalAfter, after <= endOrdinal,
      endOrdinal - after >= records
    {
      return .records(records)
    }
    return nil
  }
}

extension SlabCleaner.StopReason {
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
