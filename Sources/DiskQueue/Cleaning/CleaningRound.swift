// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Cleans a topic once, or only reports the slabs that it would remove.
struct CleaningRound {
  var storage: any TopicStorage
  var retention: Retention
  /// The wall clock, in nanoseconds since 1970.
  var now: @Sendable () -> UInt64
  var isDryRun: Bool
  /// Called before each removal.
  var isCancelled: @Sendable () -> Bool = { false }

  /// If slabs appear before the first one this many times, a program puts them there again and
  /// again.
  private static let mostAttempts = 100

  /// - Parameter onRemoval: called with each removal after it was done, or with each that would be
  ///   done.
  /// - Returns: why no more was removed.
  func run(
    _ onRemoval: (SlabCleaner.Removal) -> Void
  ) throws(QueueError) -> SlabCleaner.StopReason {
    try retention.validate()
    for _ in 0..<Self.mostAttempts {
      var survey = try CleaningSurvey(storage, retention, now: now())
      if let reason = try clean(&survey, onRemoval) { return reason }
    }
    throw .slabsChange(path: storage.path)
  }

  /// Order: the holds of consumers are read before each removal. Each removal first syncs the
  /// directory. The last removal is made durable after the loop.
  ///
  /// - Returns: nil if the slabs differ from the listing: look again.
  private func clean(
    _ survey: inout CleaningSurvey, _ onRemoval: (SlabCleaner.Removal) -> Void
  ) throws(QueueError) -> SlabCleaner.StopReason? {
    var lastRemoved: UInt64?
    var reason: SlabCleaner.StopReason? = survey.bases.isEmpty ? .empty : .lastSlab
    walking: for place in survey.bases.indices {
      guard !isCancelled() else {
        reason = .interrupted
        break
      }
      guard let found = try survey.slab(at: place) else { continue }
      let cause: SlabCleaner.Removal.Cause
      switch try judge(found.slab, &survey) {
      case .remove(let because): cause = because
      case .keep(let because):
        reason = because
        break walking
      }
      var removal = SlabCleaner.Removal(
        slab: Address(rawValue: found.slab.base), records: found.records,
        bytes: .bytes(Int64(clamping: found.bytes)), cause: cause)
      if !isDryRun {
        let pair = SlabRemoval.Pair(
          first: found.slab.base, next: found.slab.next, topicID: survey.topicID)
        switch try SlabRemoval.removeFirst(pair, of: storage, synced: survey.plan.synced) {
        case .removed(let bytes):
          lastRemoved = found.slab.base
          removal.bytes = .bytes(Int64(clamping: bytes))
        case .gone: continue
        case .kept:
          reason = nil
          break walking
        }
      }
      onRemoval(removal)
    }
    guard let lastRemoved else { return reason }
    try SlabRemoval.syncDirectory(of: storage)
    // One listing served all removals. It did not show a slab that others put before the first one
    // meanwhile.
    guard let first = try TopicIndex.slabs(in: storage).first, first <= lastRemoved else {
      return reason
    }
    return nil
  }

  /// Judges a slab. If nothing but a proof is missing, makes the log durable first.
  private func judge(
    _ slab: CleaningPlan.FirstSlab, _ survey: inout CleaningSurvey
  ) throws(QueueError) -> CleaningPlan.Verdict {
    let holds = try survey.holds()
    let verdict = survey.plan.judge(slab, holds)
    guard verdict == .keep(.unproven) || verdict == .keep(.minimum),
      case .remove = try survey.planIfDurable().judge(slab, holds)
    else { return verdict }
    try survey.makeDurable()
    return survey.plan.judge(slab, try survey.holds())
  }
}

extension QueueError {
  static func slabsChange(path: String) -> QueueError {
    QueueError(
      .system(errno: Errno.again),
      "slabs come and go at the front of the topic again and again: stop the program that puts them"
        + " there",
      path: path)
  }
}
