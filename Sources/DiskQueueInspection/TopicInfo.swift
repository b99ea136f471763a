// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue

/// A summary of a topic, made without reading its records. It takes a few reads a slab, and a walk
/// over about the last slab. Version 1 slabs state no numbers, and are walked.
public struct TopicInfo: Sendable {
  /// A slab, and how many records it took.
  public struct Slab: Sendable {
    /// The file, by its name, size and beginning.
    public var file: SlabDescription
    /// How many records the log took in it, including damaged ones. Nil if nothing states that, and
    /// for slabs that are passed over.
    public var records: UInt64?
  }

  /// The slabs, in the order of their addresses.
  public private(set) var slabs: [Slab] = []
  /// How many records the log took that no cleaner removed, including damaged ones. Nil if that
  /// cannot be known: if the first slab's beginning is damaged, or if a version 1 slab is damaged.
  public private(set) var records: UInt64?
  /// The size of all slabs' files, in bytes.
  public private(set) var bytes: UInt64 = 0
  /// The address of the first sound record. Nil if there is none.
  public private(set) var first: Address?
  /// The end of the log. The next record will be at this address or after it.
  public private(set) var next: Address
  /// How many records the log took before `next`. Nil if that is unknown.
  public private(set) var nextOrdinal: UInt64?
  /// The oldest time that a header or mark states, in nanoseconds since 1970. Nil if none is sound.
  public private(set) var oldestStamp: UInt64?
  /// The newest time that a header or mark states, in nanoseconds since 1970. Nil if none is sound.
  public private(set) var newestStamp: UInt64?
  /// How the log ends.
  public private(set) var ending: LogEnding
  /// The topic's writer: whether there is one now, and which process it is.
  public private(set) var writer: LockHolder
  /// The bytes past the end of the log, without zeros at the end of files: a torn tail, or a write
  /// that is under way.
  public private(set) var tailBytes: UInt64 = 0

  /// Summarizes a topic. Other programs may write to it meanwhile.
  ///
  /// - Throws: `noSuchTopic` or `notATopic` if there is no topic. `unsupportedFormat` if a newer
  ///   version wrote it, or a slab belongs to another topic. `system` if a file cannot be read.
  public init(of topic: Topic) throws(QueueError) {
    let storage = try topic.openForReading()
    // Order: before the end of the log is read. If a writer closes the topic in between, the topic
    // is closed and has a writer. The other way round, it would be open without a writer, as after
    // a crash.
    let writerBefore = LockHolder(storage.lockState())
    let index = TopicIndex(storage)
    try index.refresh()
    let files = try SlabDescription.all(in: index)
    let version1 = try Version1Count(index)

    var walker = LogWalker(index, payloadLimit: 0, bufferSize: 1 << 18)
    if let end = version1.end {
      // The topic holds only version 1 slabs. The walk for them came to the end, and a second one
      // would find the same.
      walker.start(at: end)
    } else {
      try walker.seek(to: .latest, now: { 0 })
    }
    next = Address(rawValue: walker.position)
    ending = try LogEnding(walker)
    writer = LockHolder.writer(in: storage, before: writerBefore, ending)
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

  /// - Parameter files: the slabs that are not passed over.
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

  /// A slab's records are those between its ordinal and the ordinal of the next readable slab
  /// beside it. If slabs between the two are gone, nothing states how many of these records were
  /// theirs.
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

/// How many records version 1 slabs hold. Only a walk can count them.
private struct Version1Count {
  /// By the slab's base. Damaged slabs are left out.
  var bySlab: [UInt64: UInt64] = [:]
  /// Nil if a slab is damaged.
  var total: UInt64? = 0
  /// The end of the log, if it holds only version 1 slabs.
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

extension TopicInfo: CustomStringConvertible {
  /// The numbers of slabs, records and bytes, and the end of the log, on one line.
  public var description: String {
    "\(Words.count(UInt64(slabs.count), "slab")), \(Words.records(records)),"
      + " \(Words.count(bytes, "byte")), \(ending), next address \(next)"
  }
}

extension TopicInfo.Slab: CustomStringConvertible {
  /// The file and its number of records, on one line.
  public var description: String { "\(Words.records(records)) in \(file)" }
}
