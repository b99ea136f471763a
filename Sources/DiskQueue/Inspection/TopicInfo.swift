// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// What a topic holds, without reading its records: a few reads a slab, and a walk of about the last
/// one. Version 1 slabs, which count nothing, are walked.
package struct TopicInfo: Sendable {
  package struct Slab: Sendable {
    package var file: SlabDescription
    /// How many records the log took in it, damaged ones included; nil where nothing tells, and in
    /// slabs that are passed over.
    package var records: UInt64?
  }

  package private(set) var slabs: [Slab] = []
  /// How many records the log took and no cleaner removed, damaged ones included; nil where that
  /// cannot be known: where the first slab's beginning is damaged, and in damaged version 1 slabs.
  package private(set) var records: UInt64?
  /// The size of all files.
  package private(set) var bytes: UInt64 = 0
  /// Of the first sound record; nil where there is none.
  package private(set) var first: Address?
  /// Where the log ends: the next record will stand there or behind it.
  package private(set) var next: Address
  /// How many records the log took before that; nil where it is not known.
  package private(set) var nextOrdinal: UInt64?
  /// Nanoseconds since 1970, by headers and marks; nil where none is sound.
  package private(set) var oldestStamp: UInt64?
  package private(set) var newestStamp: UInt64?
  package private(set) var ending: LogEnding
  /// Bytes behind the end of the log, but for zeros at the end of files: a torn tail, or a write under
  /// way.
  package private(set) var tailBytes: UInt64 = 0

  package init(of topic: Topic) throws(QueueError) {
    let index = TopicIndex(try topic.openForReading())
    try index.refresh()
    let files = try SlabDescription.all(in: index)
    let version1 = try Version1Count(index)

    var walker = LogWalker(index, payloadLimit: 0, bufferSize: 1 << 18)
    if let end = version1.end {
      // Nothing but version 1: that walk came to the end, and a second one would find the same.
      walker.start(at: end)
    } else {
      try walker.seek(to: .latest, now: { 0 })
    }
    next = Address(rawValue: walker.position)
    ending = try LogEnding(walker)
    first = try TopicInfo.firstRecord(index)

    let counted = files.filter { !$0.isPassedOver }
    nextOrdinal = walker.ordinalIsCounted ? walker.ordinal : nil
    bytes = files.reduce(0) { $0 &+ $1.bytes }
    oldestStamp = counted.lazy.compactMap(\.stamp).first
    newestStamp = walker.highestStamp > 0 ? walker.highestStamp : nil
    records = TopicInfo.records(counted, version1, end: nextOrdinal)
    slabs = TopicInfo.slabs(files, index, version1, end: nextOrdinal)
    for file in counted {
      let fileEnd = file.base.rawValue.addingReportingOverflow(file.bytes)
      let end = fileEnd.overflow ? .max : fileEnd.partialValue
      let from = max(file.base.rawValue, next.rawValue)
      guard end > from, let slab = try SlabFile.open(file.base.rawValue, in: index.storage)
      else { continue }
      tailBytes &+= try slab.writtenEnd(of: from..<end) - from
    }
  }

  private static func firstRecord(_ index: TopicIndex) throws(QueueError) -> Address? {
    var walker = LogWalker(index, payloadLimit: 0, bufferSize: 1 << 12)
    walker.startAtEarliest()
    while true {
      switch try walker.step() {
      case .record(let address, _, _), .tooLarge(let address, _): return Address(rawValue: address)
      case .loss: continue
      case .end: return nil
      }
    }
  }

  /// - Parameter files: those that are not passed over.
  private static func records(
    _ files: [SlabDescription], _ version1: Version1Count, end: UInt64?
  ) -> UInt64? {
    guard let before = version1.total else { return nil }
    guard let first = files.first(where: { $0.version != 1 }) else { return before }
    // The ordinal of address 0 is known without its header.
    let ordinal = first.base.rawValue == 0 ? 0 : first.ordinal
    guard let ordinal, let end, end >= ordinal else { return nil }
    let (sum, overflow) = before.addingReportingOverflow(end - ordinal)
    return overflow ? nil : sum
  }

  /// A slab's records are those between its ordinal and that of the next readable slab beside it. If
  /// slabs between the two are gone, nothing tells how many of those records were theirs.
  private static func slabs(
    _ files: [SlabDescription], _ index: TopicIndex, _ version1: Version1Count, end: UInt64?
  ) -> [Slab] {
    var slabs: [Slab] = []
    slabs.reserveCapacity(files.count)
    var next = end
    for file in files.reversed() {
      guard !file.isPassedOver else {
        slabs.append(Slab(file: file, records: nil))
        continue
      }
      if file.version == 1 {
        slabs.append(Slab(file: file, records: version1.bySlab[file.base.rawValue]))
        continue
      }
      let ordinal = file.base.rawValue == 0 ? 0 : file.ordinal
      let end = file.base.rawValue.addingSaturating(file.bytes)
      let limit = index.lastIndex(notAbove: file.base.rawValue).map(index.limit(ofSlabAt:)) ?? .max
      let isFollowed = limit == .max || end >= limit
      let records =
        !isFollowed
        ? nil
        : ordinal.flatMap { ordinal in
          next.flatMap { $0 >= ordinal ? $0 - ordinal : nil }
        }
      slabs.append(Slab(file: file, records: records))
      next = ordinal
    }
    return slabs.reversed()
  }
}

/// How many records version 1 slabs hold. Nothing but a walk tells.
private struct Version1Count {
  /// By the slab's base; not for slabs that are damaged.
  var bySlab: [UInt64: UInt64] = [:]
  /// nil where one is damaged.
  var total: UInt64? = 0
  /// Where the log ends, if it holds nothing but version 1 slabs.
  var end: UInt64?

  init(_ index: TopicIndex) throws(QueueError) {
    guard let first = index.first, index.holdsVersion1(first) else { return }
    var walker = LogWalker(index, payloadLimit: 0, bufferSize: 1 << 18)
    walker.startAtEarliest()
    while true {
      switch try walker.step() {
      case .record(let address, _, _), .tooLarge(let address, _):
        guard let base = walker.slab?.base, Epoch.of(address) == 0 else { return }
        bySlab[base, default: 0] += 1
        total = total.map { $0 + 1 }
      case .loss(let loss):
        let start = loss.addresses.lowerBound.rawValue
        guard Epoch.of(start) == 0 else { return }
        total = nil
        if let place = index.lastIndex(notAbove: start) { bySlab[index.bases[place]] = nil }
      case .end:
        if let last = index.bases.last, index.holdsVersion1(last) { end = walker.position }
        return
      }
    }
  }
}
