// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Opens a topic for writing: finds the end of the log, makes the log up to there durable, and
/// never changes a byte of old data.
enum Recovery {
  /// The state that a writer begins with.
  struct RecoveredTopic {
    var start: LogTail.Start
    var topicID: UInt64
    var report: RecoveryReport
    /// The slabs that had to go for it, oldest first.
    var dropped: [DroppedSlab] = []

    /// Removes the slab again if recovery made it. No address in it was handed out. Another writer
    /// that was let in meanwhile may have begun the topic anew, with another id.
    ///
    /// Order: remove it. Then sync the directory, so that a power cut does not bring it back.
    func takeBack(in storage: any TopicStorage) {
      guard start.slabIsMade, let name = start.slab.heldName else { return }
      do throws(SystemError) {
        guard try name.leads(in: storage) else { return }
        try storage.remove(name.name)
        try storage.syncDirectory()
      } catch {
        // It stays. The error that led here says what happened.
      }
    }
  }

  /// If a name is taken this often while recovery makes a slab, it is no accident.
  private static let mostAttempts = 100

  /// The largest record that recovery holds in memory. Longer ones are checked in pieces.
  private static let bufferSize = 1 << 18

  /// - Parameters:
  ///   - firstOrdinal: of a new topic.
  ///   - whenFull: what to do if the disk has no room for the bytes that opening writes.
  /// - Precondition: the caller holds the topic's lock.
  /// - Throws: `unsupportedFormat` if a slab of another topic is listed first or last, or is among
  ///   the slabs that may not be durable. Nothing was written then.
  static func open(
    _ storage: any TopicStorage, firstOrdinal: UInt64 = 0, maximumPayload: UInt32,
    whenFull: QueueWriter.Options.WhenFull = .automatic, environment: Environment
  ) throws(QueueError) -> RecoveredTopic {
    var room = RoomForRecovery(storage, whenFull)
    var found = try find(storage)
    var attempts = 0
    while true {
      do throws(QueueError) {
        var opened = try goOn(found, storage, firstOrdinal, maximumPayload, environment)
        opened.dropped = room.dropped
        return opened
      } catch {
        attempts += 1
        if error.code == .noSpace, let start = found?.start, try room.make(before: start) {
          continue
        }
        // A file could neither be finished nor removed. Its name counts, so the name of the next
        // epoch is free.
        guard error.errno == Errno.exists, attempts < mostAttempts else { throw error }
        found = try find(storage)
      }
    }
  }

  /// Goes on after the end that was found.
  private static func goOn(
    _ found: FoundEnd?, _ storage: any TopicStorage, _ firstOrdinal: UInt64,
    _ maximumPayload: UInt32, _ environment: Environment
  ) throws(QueueError) -> RecoveredTopic {
    guard let plan = RecoveryPlan.decide(found?.findings) else {
      throw .addressesExhausted(path: storage.path)
    }
    switch plan {
    case .create:
      try syncParent(of: storage)
      return try startEpoch(
        // Address 0 has ordinal 0, even if it is damaged. So a topic with another first ordinal
        // begins at another address, as if there had been records before it.
        RecoveryPlan.EpochStart(
          epoch: firstOrdinal == 0 ? 0 : 1, kept: 0, ordinal: firstOrdinal, topicID: nil,
          stamp: 0), storage, maximumPayload, environment,
        report: RecoveryReport(
          state: .created, unprovenRecords: 0, losses: [], end: Address(rawValue: 0),
          discardedBytes: 0))
    case .resume(let mark):
      return try resume(
        after: mark, inSlab: found?.last ?? 0, storage, maximumPayload, environment)
    case .startEpoch(let beginning):
      return try startEpoch(
        beginning, storage, maximumPayload, environment, report: found?.report)
    }
  }

  private static func syncParent(of storage: any TopicStorage) throws(QueueError) {
    do throws(SystemError) {
      try storage.syncParent()
    } catch {
      throw .syncFailed(error, path: storage.path)
    }
  }

  // MARK: Finding the end

  private struct FoundEnd {
    var findings: RecoveryPlan.Findings
    var report: RecoveryReport
    /// The slab that the search started at. It and all slabs after it were synced.
    var start: UInt64 = 0
    /// The last slab.
    var last: UInt64 = 0
  }

  /// Looks at the slabs that may not be durable, whatever the size of the topic. Nil: there is no
  /// slab.
  ///
  /// Order:
  /// 1. Find the last slab that is certainly durable.
  /// 2. Sync the directory, and the slabs from that one on.
  /// 3. Discard the cached bytes of these slabs, so that the bytes on the disk are judged.
  /// 4. Check that the disk, too, holds the slab to start at.
  /// 5. Walk to the end by the reader's rules.
  private static func find(_ storage: any TopicStorage) throws(QueueError) -> FoundEnd? {
    while true {
      let index = TopicIndex(storage)
      try index.refresh()
      try index.refuseForeign()
      guard let last = index.bases.last,
        let start = try index.durableEnd().slab ?? index.bases.first
      else { return nil }
      // If a slab is gone meanwhile, it was cleaned: begin again.
      guard try syncSlabs(of: index, from: start) else { continue }
      if var found = try judge(storage, from: start, last: last) {
        (found.start, found.last) = (start, last)
        return found
      }
    }
  }

  /// Returns false if a slab is gone.
  private static func syncSlabs(
    of index: TopicIndex, from start: UInt64
  ) throws(QueueError) -> Bool {
    try index.storage.syncNames()
    for base in index.bases where base >= start {
      guard let slab = try SlabFile.open(base, in: index.storage) else { return false }
      try slab.refuse(unlessOf: index.topicID)
      try slab.sync()
      slab.file.dropCache()
    }
    return true
  }

  private static func judge(
    _ storage: any TopicStorage, from start: UInt64, last: UInt64
  ) throws(QueueError) -> FoundEnd? {
    let index = TopicIndex(storage)
    try index.refresh()
    // Bytes that a failed sync left in the cache are gone by now. If the slab to start at is among
    // them, it was not certainly durable. Each time around it is an earlier one.
    try index.refuseForeign()
    guard index.contains(start), index.bases.last == last,
      try index.durableEnd().slab ?? index.bases.first == start,
      let lastSlab = try SlabFile.open(last, in: storage)
    else { return nil }
    let fileEnd = try lastSlab.end()
    if let mark = try closingMark(of: lastSlab, endingAt: fileEnd, index) {
      // It states that everything before it is durable, so there is nothing to look at.
      return FoundEnd(
        findings: RecoveryPlan.Findings(
          highestEpoch: Epoch.of(last), closingMark: mark, end: mark.end,
          ordinal: mark.mark.ordinal, topicID: mark.mark.topicID, highestStamp: mark.mark.stamp),
        report: RecoveryReport(
          state: .clean, unprovenRecords: 0, losses: [], end: Address(rawValue: mark.end),
          discardedBytes: 0))
    }
    guard index.topicID != nil || index.isVersion1 else { return nothingReadable(index, storage) }
    return try walk(index, from: start, last: last)
  }

  private static func closingMark(
    of slab: SlabFile, endingAt end: UInt64, _ index: TopicIndex
  ) throws(QueueError) -> MarkAt? {
    let size = UInt64(Mark.byteCount)
    guard let topicID = index.topicID, end - slab.base >= size, !index.isPassedOver(slab.base)
    else { return nil }
    var window = ByteWindow(capacity: Mark.byteCount)
    try window.fill(from: slab, at: end - size, limit: end)
    guard let mark = Mark.read(window.bytes, address: end - size, topicID: topicID),
      mark.closes(at: end - size)
    else { return nil }
    // Never go on in a slab that states another topic, or an unknown version.
    switch try slab.head().header {
    case .sound(let header): try slab.refuse(header, unlessOf: topicID)
    case .unsupported(let version, let flags):
      throw slab.unsupported(version: version, flags: flags)
    case .unsound: break
    }
    return MarkAt(address: end - size, mark: mark)
  }

  /// No slab has a sound header or mark. They are passed over, and the topic begins anew in the
  /// epoch after their names.
  private static func nothingReadable(_ index: TopicIndex, _ storage: any TopicStorage) -> FoundEnd
  {
    let end = index.bases.first ?? 0
    return FoundEnd(
      findings: RecoveryPlan.Findings(
        highestEpoch: index.bases.last.map(Epoch.of) ?? 0, closingMark: nil, end: end, ordinal: 0,
        topicID: nil, highestStamp: 0),
      report: RecoveryReport(
        state: .recovered, unprovenRecords: 0, losses: [], end: Address(rawValue: end),
        discardedBytes: 0))
  }

  /// Walks to the end of the log by the reader's rules.
  private static func walk(
    _ index: TopicIndex, from start: UInt64, last: UInt64
  ) throws(QueueError) -> FoundEnd {
    let durable = try index.durableEnd()
    var walker = LogWalker(index, payloadLimit: UInt32(bufferSize), bufferSize: bufferSize)
    walker.start(at: start)
    // The first mark states the ordinal as well. If a header is damaged and nothing proves that it
    // was durable, the log ends here. The next epoch still counts on from this ordinal.
    if let topicID = index.topicID, let slab = try SlabFile.open(start, in: index.storage),
      let ordinal = try slab.head().of(topicID: topicID).ordinal
    {
      walker.ordinal = ordinal
      walker.ordinalIsCounted = true
    }
    var kept: UInt64 = 0
    var losses: [Loss] = []
    walking: while true {
      switch try walker.step() {
      case .record(let address, _, _), .tooLarge(let address, _):
        if address >= durable.synced { kept += 1 }
      case .loss(let loss):
        losses.append(loss)
      case .end:
        break walking
      }
    }
    let end = walker.position
    // One too many does no harm. With one too few, a reader would take the sound record after a
    // damaged one for the damaged one, and not look for it.
    let ordinal = walker.ordinal &+ walker.placesInTail
    return FoundEnd(
      findings: RecoveryPlan.Findings(
        highestEpoch: Epoch.of(last), closingMark: nil, end: end, ordinal: ordinal,
        topicID: index.topicID,
        // Includes slabs that the walk did not reach: a stamp never goes back.
        highestStamp: max(walker.highestStamp, durable.stamp)),
      report: RecoveryReport(
        state: index.topicID == nil ? .migrated : .recovered, unprovenRecords: kept, losses: losses,
        end: Address(rawValue: end), discardedBytes: try bytes(after: end, in: index)))
  }

  /// How many bytes the files hold at the end of the log or past it, except the zeros they end
  /// with.
  private static func bytes(after end: UInt64, in index: TopicIndex) throws(QueueError) -> UInt64 {
    var count: UInt64 = 0
    for base in index.bases.reversed() where !index.isPassedOver(base) {
      guard let slab = try SlabFile.open(base, in: index.storage) else { continue }
      let from = max(base, end)
      let fileEnd = try slab.end()
      if fileEnd > from { count &+= try slab.writtenEnd(of: from..<fileEnd) - from }
      if base <= end { break }
    }
    return count
  }

  // MARK: Going on

  /// Order: the opening mark is on stable storage before anything else is written. So the ending is
  /// no longer a clean one before there is anything to lose after it.
  ///
  /// - Parameter base: the slab that the closing mark was found in, whatever was listed since.
  private static func resume(
    after closing: MarkAt, inSlab base: UInt64, _ storage: any TopicStorage,
    _ maximumPayload: UInt32, _ environment: Environment
  ) throws(QueueError) -> RecoveredTopic {
    guard let slab = try SlabFile.open(base, in: storage, writable: true) else {
      throw .system(
        SystemError(errno: Errno.noEntry, call: "openat"), doing: "opening the last slab",
        path: storage.path, address: closing.address)
    }
    try slab.refuse(unlessOf: closing.mark.topicID)
    let header = try slab.head().soundHeader
    // A slab that may not hold this writer's largest payload gets no further record, not even its
    // first.
    let isFull = header.map { $0.largestPayload < maximumPayload } ?? true
    let mark = Mark(
      stamp: max(closing.mark.stamp, environment.now()), ordinal: closing.mark.ordinal,
      synced: closing.address, kept: closing.mark.kept, topicID: closing.mark.topicID)
    var bytes = WriteBuffer(capacity: Mark.byteCount)
    bytes.put(mark, at: closing.end)
    var written = 0
    try slab.write(bytes.bytes, at: closing.end, written: &written)
    try slab.sync()
    return RecoveredTopic(
      start: LogTail.Start(
        slab: slab, slabHasRecord: isFull || header.map { $0.ordinal < mark.ordinal } ?? true,
        slabIsFull: isFull, slabOrdinal: header?.ordinal ?? mark.ordinal,
        slabStamp: header?.stamp,
        position: closing.end + UInt64(Mark.byteCount), ordinal: mark.ordinal, stamp: mark.stamp,
        kept: mark.kept),
      topicID: mark.topicID,
      report: RecoveryReport(
        state: .clean, unprovenRecords: 0, losses: [], end: Address(rawValue: closing.end),
        discardedBytes: 0))
  }

  private static func startEpoch(
    _ beginning: RecoveryPlan.EpochStart, _ storage: any TopicStorage, _ maximumPayload: UInt32,
    _ environment: Environment, report: RecoveryReport?
  ) throws(QueueError) -> RecoveredTopic {
    let header = SlabHeader(
      largestPayload: maximumPayload, base: Epoch.firstAddress(beginning.epoch),
      ordinal: beginning.ordinal, stamp: max(beginning.stamp, environment.now()),
      synced: beginning.kept, kept: beginning.kept,
      topicID: beginning.topicID ?? environment.randomID())
    let slab = try SlabFile.createFirst(header, in: storage)
    let position = header.base + UInt64(SlabHeader.byteCount + Mark.byteCount)
    return RecoveredTopic(
      start: LogTail.Start(
        slab: slab, slabIsMade: true, slabHasRecord: false, slabIsFull: false,
        slabOrdinal: header.ordinal, position: position, ordinal: header.ordinal,
        stamp: header.stamp, kept: header.kept),
      topicID: header.topicID,
      report: report
        ?? RecoveryReport(
          state: .created, unprovenRecords: 0, losses: [], end: Address(rawValue: header.kept),
          discardedBytes: 0))
  }
}
