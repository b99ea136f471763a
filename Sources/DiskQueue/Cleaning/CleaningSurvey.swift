// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// What a cleaner finds out about a topic: from its end as far as its bounds reach, and from its
/// front as far as slabs are to go.
///
/// Holds 8 bytes a slab, and a buffer.
struct CleaningSurvey {
  private(set) var plan: CleaningPlan
  private let index: TopicIndex
  /// The next slab behind the one looked at last that is readable and not passed over.
  private var ahead: Ahead?
  /// The highest stamp of the slabs looked at.
  private var highestStamp: UInt64 = 0
  /// The first stamp of a clock that knew the time, once it was searched for; nil in it: there is none.
  private var firstKnownStamp: UInt64??

  private struct Ahead {
    var place: Int
    /// Its beginning; nil: no readable slab is there.
    var head: SlabFile.Head?
    /// Whether a slab that is not readable lies before it.
    var hidesRecords: Bool
  }

  /// What is known of one slab.
  struct Found {
    var slab: CleaningPlan.Slab
    var bytes: UInt64
    /// How many records the log took in it; nil where nothing tells.
    var records: UInt64?
  }

  /// The slabs, by address.
  var bases: [UInt64] { index.bases }

  /// The topic's id; nil if no slab states one.
  var topicID: UInt64? { index.topicID }

  /// - Throws: `unsupportedFormat` where the newest slab was written by something newer: who knows
  ///   what it says.
  init(
    _ storage: any TopicStorage, _ retention: Retention, now: UInt64
  ) throws(QueueError) {
    index = TopicIndex(storage)
    try index.refresh()
    try index.refuseForeign()
    var plan = CleaningPlan(
      retention: retention, present: 0, synced: 0, endOrdinal: 0, bytesFrom: nil, minimumFrom: nil)
    if let newest = index.bases.last { _ = try CleaningSurvey.head(newest, index) }
    // Where nothing can go, nothing more needs to be known.
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

  /// What the consumers hold now.
  func holds() throws(QueueError) -> ConsumerHolds {
    try ConsumerHolds(of: index, protecting: plan.retention.consumers)
  }

  // MARK: Proof

  /// What would be known if all were durable.
  func planIfDurable() throws(QueueError) -> CleaningPlan { try plan(synced: .max) }

  /// Makes durable what nothing states to be, and finds out up to where that is the log: on a full
  /// disk a writer may have had no room for a mark that says so, and would never get any.
  ///
  /// Order, as recovery's: the directory; the slabs from the last proof on, oldest first; forget what
  /// is cached of them, so that what is believed is what the disk holds; walk to the end of the log.
  /// What a crash has parted from it stays unproven.
  ///
  /// - Throws: `syncFailed`; nothing is to be removed then.
  mutating func makeDurable() throws(QueueError) {
    try SlabRemoval.syncDirectory(of: index.storage)
    for base in index.bases[(index.lastIndex(notAbove: plan.synced) ?? 0)...] {
      guard let slab = try SlabFile.open(base, in: index.storage) else { continue }
      try slab.sync()
      slab.file.dropCache()
    }
    var end = try CleaningSurvey.end(index.storage).position
    let epoch = Epoch.firstAddress(Epoch.of(end))
    // The first slab of an epoch is finished once it holds something; until then recovery may remove
    // it again.
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

  /// Goes from the newest slab back until both the newest bytes and the minimum are reached.
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
      // Cleaned meanwhile, as all before it were.
      guard let size = try SlabFile.open(base, in: index.storage)?.size() else { return }
      files = files.addingSaturating(size)
      // What a crash may take back, or has, is not kept by keeping it.
      let end = min(base.addingSaturating(size), index.limit(ofSlabAt: place), plan.synced)
      durable = durable.addingSaturating(end > base ? end - base : 0)
      if let bytes, plan.bytesFrom == nil, files >= bytes { plan.bytesFrom = base }
      if plan.minimumFrom == nil, durable >= minimum { plan.minimumFrom = base }
    }
  }

  /// Where the log ends, and how many records it took by then, or, behind damage, fewer.
  private static func end(
    _ storage: any TopicStorage
  ) throws(QueueError) -> (position: UInt64, ordinal: UInt64) {
    var walker = LogWalker(TopicIndex(storage), payloadLimit: 0, bufferSize: 1 << 18)
    try walker.seek(to: .latest, now: { 0 })
    return (walker.position, walker.ordinal)
  }

  // MARK: From the front

  /// What is known of the slab at this place of `bases`; nil: it was cleaned meanwhile. Places come
  /// in ascending order.
  ///
  /// - Throws: `unsupportedFormat` where it, or the next readable one, was written by something newer
  ///   or belongs to another topic.
  mutating func slab(at place: Int) throws(QueueError) -> Found? {
    let base = index.bases[place]
    guard let file = try SlabFile.open(base, in: index.storage) else { return nil }
    let own = try CleaningSurvey.head(file, index)
    highestStamp = max(highestStamp, own?.stamp ?? 0)
    let ahead = try lookAhead(of: place)
    if let stamp = ahead.head?.stamp { highestStamp = max(highestStamp, stamp) }
    var stampBehind = ahead.head == nil ? nil : highestStamp
    if plan.retention.age != nil, let stamp = stampBehind, !Stamp.isKnown(stamp) {
      stampBehind = try findFirstKnownStamp(from: ahead.place)
    }
    let next = place + 1 < index.bases.count ? index.bases[place + 1] : nil
    return Found(
      slab: CleaningPlan.Slab(
        base: base, next: next, contentEnd: index.limit(ofSlabAt: place),
        stampBehind: stampBehind, ordinalBehind: ahead.head?.ordinal),
      bytes: try file.size(), records: try records(of: file, at: place, own, ahead))
  }

  /// The stamp of the first slab that was made by a clock that knew the time. Stamps never go back, so
  /// a logarithmic number of slabs is asked.
  private mutating func findFirstKnownStamp(from place: Int) throws(QueueError) -> UInt64? {
    if let known = firstKnownStamp { return known }
    var found: UInt64?
    var low = place
    var high = index.bases.count
    while low < high {
      let middle = (low + high) / 2
      // A slab whose beginning is damaged says nothing: ask those behind it.
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
    // If its file ends before, slabs behind it are gone, and their records are none of its own.
    if limit != .max, try !file.reaches(limit) { return nil }
    guard !index.holdsVersion1(base), !ahead.hidesRecords,
      // The ordinal of address 0 is known without its header.
      let first = base == 0 ? 0 : own?.ordinal, let behind = ahead.head?.ordinal, behind >= first
    else { return nil }
    return behind - first
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

  /// nil: it is gone, or has none.
  private static func head(
    _ base: UInt64, _ index: TopicIndex
  ) throws(QueueError) -> SlabFile.Head? {
    guard let file = try SlabFile.open(base, in: index.storage) else { return nil }
    return try head(file, index)
  }

  /// nil: it has none.
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
