// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A cleaner's findings about a topic. It looks from the end as far as the bounds reach, and from
/// the front as far as slabs are to be removed.
///
/// Holds 8 bytes a slab, and a buffer.
struct CleaningSurvey {
  private(set) var plan: CleaningPlan
  private let index: TopicIndex
  /// The next slab after the one read last that is readable and not passed over.
  private var ahead: Ahead?
  /// The highest stamp of the slabs read.
  private var highestStamp: UInt64 = 0
  /// The first stamp of a clock that knew the time. The outer optional is nil before the search for
  /// it. The inner one is nil if there is no such stamp.
  private var firstKnownStamp: UInt64??

  private struct Ahead {
    var place: Int
    /// The slab's beginning. Nil if there is no readable slab.
    var head: SlabFile.Head?
    /// Whether an unreadable slab comes before it.
    var hidesRecords: Bool
  }

  /// The findings about one slab.
  struct SurveyedSlab {
    var slab: CleaningPlan.FirstSlab
    var bytes: UInt64
    /// How many records the log took in it. Nil if that is unknown.
    var records: UInt64?
  }

  /// The slabs, by address.
  var bases: [UInt64] { index.bases }

  /// The topic's id. Nil if no slab states one.
  var topicID: UInt64? { index.topicID }

  /// - Throws: `unsupportedFormat` if a newer version wrote the newest slab, because its statements
  ///   cannot be read.
  init(
    _ storage: any TopicStorage, _ retention: Retention, now: UInt64
  ) throws(QueueError) {
    index = TopicIndex(storage)
    try index.refresh()
    try index.refuseForeign()
    var plan = CleaningPlan(
      retention: retention, present: 0, synced: 0, endOrdinal: 0, bytesFrom: nil, minimumFrom: nil)
    if let newest = index.bases.last { _ = try CleaningSurvey.head(newest, index) }
    // If no slab can be removed, nothing more needs to be known.
    if index.bases.count > 1, retention.isBounded {
      let durable = try index.durableEnd()
      plan.present = min(now, durable.stamp)
      plan.synced = durable.synced
      try CleaningSurvey.measure(&plan, index)
      if retention.records != nil, index.topicID != nil {
        plan.endOrdinal = try CleaningSurvey.end(storage).ordinal
      }
    }
    self.plan = plan
  }

  /// The holds of the consumers now.
  func holds() throws(QueueError) -> ConsumerHolds {
    try ConsumerHolds(of: index, protecting: plan.retention.consumers)
  }

  // MARK: Proof

  /// The plan if everything were durable.
  func planIfDurable() throws(QueueError) -> CleaningPlan { try plan(synced: .max) }

  /// Makes durable everything that no header or mark states to be durable, and finds the end of the
  /// log up to which this holds. On a full disk, a writer may have had no room for a mark that
  /// states it. It would then never get any room.
  ///
  /// Order, as in recovery:
  /// 1. Sync the directory.
  /// 2. Sync the slabs from the last proof on, oldest first.
  /// 3. Drop their cached content, so that the walk judges what the disk holds.
  /// 4. Walk to the end of the log.
  ///
  /// Bytes that a crash has separated from the log stay unproven.
  ///
  /// - Throws: `syncFailed`. Nothing may be removed then.
  mutating func makeDurable() throws(QueueError) {
    try SlabRemoval.syncDirectory(of: index.storage)
    for base in index.bases[(index.lastIndex(notAbove: plan.synced) ?? 0)...] {
      guard let slab = try SlabFile.open(base, in: index.storage) else { continue }
      try slab.sync()
      slab.file.dropCache()
    }
    var end = try CleaningSurvey.end(index.storage).position
    let epoch = Epoch.firstAddress(Epoch.of(end))
    // The first slab of an epoch is finished once it holds something after its first mark. Until
    // then recovery may remove it again.
    if end <= epoch + UInt64(SlabHeader.byteCount + Mark.byteCount) { end = min(end, epoch) }
    guard end > plan.synced else { return }
    plan = try plan(synced: end)
  }

  private func plan(synced: UInt64) throws(QueueError) -> CleaningPlan {
    var plan = plan
    plan.synced = synced
    plan.bytesFrom = nil
    plan.minimumFrom = nil
    try CleaningSurvey.measure(&plan, index)
    return plan
  }

  // MARK: From the end

  /// Goes back from the newest slab until both the newest bytes and the minimum are reached.
  private static func measure(
    _ plan: inout CleaningPlan, _ index: TopicIndex
  ) throws(QueueError) {
    let bytes = plan.retention.bytes.map { UInt64(clamping: $0.bytes) }
    let minimum = UInt64(clamping: plan.retention.minimumBytes.bytes)
    if bytes == 0 { plan.bytesFrom = .max }
    if minimum == 0 { plan.minimumFrom = .max }
    var files: UInt64 = 0
    var durable: UInt64 = 0
    for place in index.bases.indices.reversed() {
      if plan.minimumFrom != nil, plan.bytesFrom != nil || bytes == nil { return }
      let base = index.bases[place]
      // It was cleaned meanwhile, and so were all slabs before it.
      guard let size = try SlabFile.open(base, in: index.storage)?.size() else { return }
      files = files.addingSaturating(size)
      // Do not count bytes that a crash may take back, or has taken back: to keep them keeps no
      // record.
      let end = min(base.addingSaturating(size), index.limit(ofSlabAt: place), plan.synced)
      durable = durable.addingSaturating(end > base ? end - base : 0)
      if let bytes, plan.bytesFrom == nil, files >= bytes { plan.bytesFrom = base }
      if plan.minimumFrom == nil, durable >= minimum { plan.minimumFrom = base }
    }
  }

  /// The end of the log, and how many records it took by then. After damage the number may be too
  /// low.
  private static func end(
    _ storage: any TopicStorage
  ) throws(QueueError) -> (position: UInt64, ordinal: UInt64) {
    var walker = LogWalker(TopicIndex(storage), payloadLimit: 0, bufferSize: 1 << 18)
    try walker.seek(to: .latest, now: { 0 })
    return (walker.position, walker.ordinal)
  }

  // MARK: From the front

  /// The findings about the slab at this index of `bases`. Nil if it was cleaned meanwhile. Call it
  /// with ascending indices.
  ///
  /// - Throws: `unsupportedFormat` if a newer version wrote this slab or the next readable one, or
  ///   if one of them belongs to another topic.
  mutating func slab(at place: Int) throws(QueueError) -> SurveyedSlab? {
    let base = index.bases[place]
    guard let file = try SlabFile.open(base, in: index.storage) else { return nil }
    let own = try CleaningSurvey.head(file, index)
    highestStamp = max(highestStamp, own?.stamp ?? 0)
    let ahead = try lookAhead(of: place)
    if let stamp = ahead.head?.stamp { highestStamp = max(highestStamp, stamp) }
    var stampAfter = ahead.head == nil ? nil : highestStamp
    if plan.retention.age != nil, let stamp = stampAfter, !Stamp.isKnown(stamp) {
      stampAfter = try findFirstKnownStamp(from: ahead.place)
    }
    let next = place + 1 < index.bases.count ? index.bases[place + 1] : nil
    return SurveyedSlab(
      slab: CleaningPlan.FirstSlab(
        base: base, next: next, contentEnd: index.limit(ofSlabAt: place),
        stampAfter: stampAfter, ordinalAfter: ahead.head?.ordinal),
      bytes: try file.size(), records: try records(of: file, at: place, own, ahead))
  }

  /// The stamp of the first slab that was made while the clock knew the time. Stamps never go back,
  /// so this reads a logarithmic number of slabs.
  private mutating func findFirstKnownStamp(from place: Int) throws(QueueError) -> UInt64? {
    if let known = firstKnownStamp { return known }
    var found: UInt64?
    var low = place
    var high = index.bases.count
    while low < high {
      let middle = (low + high) / 2
      // A slab whose beginning is damaged states nothing: try the slabs after it.
      var asked = middle
      var stamp: UInt64?
      while stamp == nil, asked < high {
        let base = index.bases[asked]
        if !index.isPassedOver(base) { stamp = try CleaningSurvey.head(base, index)?.stamp }
        asked += 1
      }
      if let stamp, !Stamp.isKnown(stamp) {
        low = asked
      } else {
        if let stamp { found = stamp }
        high = middle
      }
    }
    firstKnownStamp = .some(found)
    return found
  }

  private func records(
    of file: SlabFile, at place: Int, _ own: SlabFile.Head?, _ ahead: Ahead
  ) throws(QueueError) -> UInt64? {
    let base = file.base
    if index.isPassedOver(base) { return 0 }
    let limit = index.limit(ofSlabAt: place)
    // If its file ends before that, later slabs are gone, and their records do not belong to this
    // slab.
    if limit != .max, try !file.reaches(limit) { return nil }
    guard !index.holdsVersion1(base), !ahead.hidesRecords,
      // The ordinal of address 0 is known without its header.
      let first = base == 0 ? 0 : own?.ordinal, let after = ahead.head?.ordinal, after >= first
    else { return nil }
    return after - first
  }

  private mutating func lookAhead(of place: Int) throws(QueueError) -> Ahead {
    if let ahead, ahead.place > place { return ahead }
    var found = Ahead(place: index.bases.count, head: nil, hidesRecords: false)
    for candidate in (place + 1)..<max(place + 1, index.bases.count)
    where !index.isPassedOver(index.bases[candidate]) {
      if let head = try CleaningSurvey.head(index.bases[candidate], index), head.topicID != nil {
        found.place = candidate
        found.head = head
        break
      }
      found.hidesRecords = true
    }
    ahead = found
    return found
  }

  /// The beginning of a slab. Nil if the slab is gone or states none.
  private static func head(
    _ base: UInt64, _ index: TopicIndex
  ) throws(QueueError) -> SlabFile.Head? {
    guard let file = try SlabFile.open(base, in: index.storage) else { return nil }
    return try head(file, index)
  }

  /// The beginning of a slab. Nil if the slab states none.
  private static func head(
    _ file: SlabFile, _ index: TopicIndex
  ) throws(QueueError) -> SlabFile.Head? {
    guard !index.holdsVersion1(file.base) else { return nil }
    let head = try file.head()
    switch head.header {
    case .sound(let header): try file.refuse(header, unlessOf: index.topicID ?? header.topicID)
    case .unsupported(let version, let flags):
      throw file.unsupported(version: version, flags: flags)
    case .unsound: break
    }
    return index.topicID.map { head.of(topicID: $0) }
  }
}
