// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Writing the buffer, making it durable, and stating how far the log is durable.

extension LogTail {
  mutating func putMark() throws(QueueError) {
    try makeRoom(Mark.byteCount)
    buffer.put(nextMark(synced: synced), at: position)
    passMark()
  }

  mutating func nextMark(synced: UInt64) -> Mark {
    stamp = max(stamp, settings.now())
    return Mark(
      stamp: stamp, ordinal: ordinal, synced: synced, kept: kept, topicID: settings.topicID)
  }

  mutating func passMark() {
    position += UInt64(Mark.byteCount)
    tally.unframedBytes &+= UInt64(Mark.byteCount)
    lastMarkEnd = position
    lastMarkStamp = stamp
    markIsDue = false
    statedOrdinal = syncedOrdinal
  }

  // MARK: Flushing

  /// Writes the buffer to the system. Bytes that could not be written stay in it. The next `flush`
  /// goes on at the byte at which the write stopped.
  mutating func flush() throws(QueueError) {
    defer { if buffer.isEmpty { noteFlushed() } }
    guard !buffer.isEmpty else { return }
    try write(buffer.count)
  }

  /// Like `flush`, for a sync. The sync takes less time if it only overwrites, so this also writes
  /// zeros ahead.
  mutating func flushForSync() throws(QueueError) {
    try flush()
    zeroAhead()
  }

  /// Like `flush`, if no caller can receive an error. The next call that writes receives it.
  mutating func handOver() {
    guard failure == nil, !buffer.isEmpty else { return }
    do throws(QueueError) {
      try flush()
    } catch {
      // Bytes that were not written stay in the buffer, in order.
    }
  }

  mutating func noteFlushed() {
    flushedOrdinal = ordinal
    flushedEnd = position
  }

  /// Makes space in the buffer for a frame.
  ///
  /// If possible, the bytes that leave the buffer end with a page of the file. Then the next write
  /// begins with a page, and no page is written twice. A frame may cross that border. To readers it
  /// is a frame that is not written whole yet, and it does not count as flushed.
  mutating func makeRoom(_ count: Int) throws(QueueError) {
    guard buffer.free < count else { return }
    let rest = Int((position - slab.base) % Self.page)
    guard buffer.count > rest, buffer.capacity - rest >= count else { return try flush() }
    reserve(buffer.count - rest)
    try write(buffer.count - rest)
  }

  /// The page size of the file systems that matter. It divides the larger ones.
  private static let page: UInt64 = 4096

  /// Writes the first bytes of the buffer.
  private mutating func write(_ count: Int) throws(QueueError) {
    plainEnd = 0
    var written = 0
    defer {
      tally.writtenBytes &+= UInt64(written)
      buffer.removeFirst(written)
    }
    try slab.write(
      buffer.bytes.extracting(first: count), at: bufferStart, written: &written)
    tally.flushes &+= 1
  }

  // MARK: Syncing

  /// The work that makes everything below `end` durable, and its order.
  struct SyncWork {
    var storage: any TopicStorage
    /// The lock's name. Nil if no name can change unnoticed.
    var lock: HeldName?
    var namesUpTo: Int
    var includesNames: Bool
    /// The slabs that the writer left, oldest first: nothing is synced before everything below it
    /// is.
    var left: [LeftSlab]
    /// The slab that is written. Apart from the others: nearly every sync is of this one alone, and
    /// needs no array.
    var current: SlabFile?
    var end: UInt64
    /// At most the ordinal of the first record past `end`.
    var ordinal: UInt64

    /// Does the work.
    ///
    /// Order:
    /// 1. Sync the directory, if a slab was made since it was synced last.
    /// 2. Sync the slabs, the oldest first.
    /// 3. Check the names.
    ///
    /// Only then may the caller acknowledge anything.
    func run() throws(QueueError) {
      if includesNames { try storage.syncNames() }
      for left in left { try left.slab.sync() }
      try current?.sync()
      try checkNames()
    }

    /// Throws if the lock's name, or that of a slab, does not lead to the file that is held.
    ///
    /// Without its name a slab is lost, however durable its bytes are. If the lock's name leads to
    /// another lock, another writer may have recovered the topic without the records that were
    /// synced here.
    ///
    /// - Complexity: one fstat(2), and one fstatat(2) for each name if the directory was changed
    ///   lately.
    func checkNames() throws(QueueError) {
      guard let lock else { return }
      let stamp: NamesStamp?
      do throws(SystemError) {
        stamp = try storage.namesStamp()
      } catch {
        throw .syncFailed(error, path: storage.path)
      }
      try lock.check(in: storage, at: stamp)
      for left in left { try left.slab.checkName(in: storage, at: stamp) }
      try current?.checkName(in: storage, at: stamp)
    }
  }

  /// The work for everything that is written, or only for the slabs that the writer left.
  func syncWork(includingCurrent: Bool) -> SyncWork {
    let last = leftSlabs.last
    return SyncWork(
      storage: storage, lock: lock, namesUpTo: slabsMade, includesNames: slabsMade > slabsNamed,
      left: leftSlabs, current: includingCurrent ? slab : nil,
      end: includingCurrent ? flushedEnd : last?.end ?? synced,
      ordinal: includingCurrent ? flushedOrdinal : last?.ordinal ?? syncedOrdinal)
  }

  /// Takes note that `work` was done. A slab that was made meanwhile still needs its name synced.
  mutating func didSync(_ work: SyncWork) {
    tally.syncs &+= 1
    slabsNamed = max(slabsNamed, work.namesUpTo)
    if !leftSlabs.isEmpty { leftSlabs.removeAll { $0.end <= work.end } }
    guard work.end > synced else { return }
    synced = work.end
    syncedOrdinal = work.ordinal
    // The next record gets a mark before it, as the proof. A mark that is there already does not
    // know of this sync.
    markIsDue = true
    plainEnd = 0
  }

  /// Syncs under the lock. Call it only if no other thread may go on before the sync is done.
  mutating func syncNow() throws(QueueError) {
    let work = syncWork(includingCurrent: true)
    try work.run()
    didSync(work)
  }

  // MARK: The cap

  /// The bytes that opening, closing and stating durability may still write at the cap: a slab's
  /// header and mark, an opening and a closing mark, and another of each.
  static let reserve: UInt64 = 320

  /// The bytes that may come with a record: before it a header and a mark, or a mark, and after it
  /// a mark.
  static let mostOverhead = UInt64(
    FrameHeader.byteCount + SlabHeader.byteCount + 2 * Mark.byteCount)

  /// By how many bytes the cap is too low for a record, or 1 if there is one record too many. 0:
  /// there is room.
  func shortage(forPayload payload: Int) -> UInt64 {
    max(byteShortage(forPayload: payload), isAtMaximumRecords ? 1 : 0)
  }

  var isAtMaximumRecords: Bool {
    settings.maximumRecords < .max
      && ordinal - min(ordinal, firstOrdinal) >= settings.maximumRecords
  }

  private func byteShortage(forPayload payload: Int) -> UInt64 {
    guard settings.maximumBytes < .max else { return 0 }
    let used = otherBytes.addingReportingOverflow(position - slab.base)
    let needed = UInt64(payload) + Self.mostOverhead + Self.reserve
    let (sum, overflow) = used.partialValue.addingReportingOverflow(needed)
    if used.overflow || overflow { return .max }
    return sum > settings.maximumBytes ? sum - settings.maximumBytes : 0
  }

  /// States how far the log is durable, if no record is coming that brings the mark with it. A
  /// cleaner relies on that mark, and the writer may be waiting for the cleaner.
  mutating func stateProof() throws(QueueError) {
    try checkOpen()
    if syncedOrdinal != statedOrdinal {
      if fits(UInt64(Mark.byteCount)) {
        try putMark()
      } else if slabHasRecord {
        try roll()
      }
    }
    try flush()
  }
}
