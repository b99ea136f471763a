// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Leaving a slab, and the end of the log.

extension LogTail {
  /// Leaves the slab for a new one, whose base is the end of this one.
  ///
  /// Nothing is synced here. The slab that was left is synced in the background, after the
  /// directory. If the new slab could not be finished, the writer does not go back: the header
  /// waits in the buffer.
  mutating func roll() throws(QueueError) {
    try flush()
    let beginning = UInt64(SlabHeader.byteCount + Mark.byteCount)
    guard Epoch.end(Epoch.of(position)) - position > beginning,
      Epoch.of(position) == Epoch.of(slab.base), unfinishedEpoch == nil
    else { return try rollEpoch() }
    let next = try SlabFile.create(position, in: storage, topicID: settings.topicID)
    leaveSlab(for: next)
    slabsMade += 1
    stamp = max(stamp, settings.now())
    let header = nextHeader(base: position)
    buffer.put(header)
    position += UInt64(SlabHeader.byteCount)
    tally.unframedBytes &+= UInt64(SlabHeader.byteCount)
    buffer.put(header.copy, at: position)
    passMark()
  }

  /// Continues in the next epoch, at its first address, as recovery does. Everything before it is
  /// synced first, then the slab and the directory. This happens once in 2^40 bytes.
  ///
  /// A slab that cannot be finished is removed again. If that fails as well, its name stays, and
  /// the epoch counts as used: the next attempt takes the epoch after it. The file may state an end
  /// for the records before it, so nothing more is written before that epoch.
  mutating func rollEpoch() throws(QueueError) {
    try flush()
    let epoch = max(Epoch.of(slab.base), unfinishedEpoch ?? 0) + 1
    guard epoch <= Epoch.last else { throw .addressesExhausted(path: storage.path) }
    stamp = max(stamp, settings.now())
    var header = nextHeader(base: Epoch.firstAddress(epoch))
    header.kept = position
    let next: SlabFile
    do throws(QueueError) {
      try syncNow()
      header.synced = position
      next = try SlabFile.createFirst(header, in: storage)
    } catch {
      if error.isFinal { poison(error) } else { try noteUnfinished(epoch) }
      // The name existed. The next attempt takes an epoch above the highest in any slab's name.
      guard error.errno == Errno.exists else { throw error }
      return try rollEpoch()
    }
    unfinishedEpoch = nil
    leaveSlab(for: next)
    leftSlabs = []
    kept = header.kept
    // Includes the addresses between the epochs.
    tally.unframedBytes &+= header.base + UInt64(SlabHeader.byteCount) - position
    tally.writtenBytes &+= UInt64(SlabHeader.byteCount + Mark.byteCount)
    position = header.base + UInt64(SlabHeader.byteCount)
    passMark()
    synced = position
    syncedOrdinal = ordinal
    noteFlushed()
  }

  /// Takes note of the file that a failed attempt to begin an epoch left.
  private mutating func noteUnfinished(_ epoch: UInt64) throws(QueueError) {
    // The next sync has to make the removal durable, before records that the file would hide are.
    slabsMade += 1
    do throws(SystemError) {
      guard try storage.identity(of: SlabName.string(Epoch.firstAddress(epoch))) != nil else {
        return
      }
    } catch {
      // It may exist.
    }
    plainEnd = 0
    unfinishedEpoch = epoch
    if let last = try TopicIndex.slabs(in: storage).last {
      unfinishedEpoch = max(epoch, Epoch.of(last))
    }
  }

  func nextHeader(base: UInt64) -> SlabHeader {
    SlabHeader(
      largestPayload: settings.maximumPayload, base: base, ordinal: ordinal, stamp: stamp,
      synced: synced, kept: kept, topicID: settings.topicID)
  }

  mutating func leaveSlab(for next: SlabFile) {
    releasePreallocated()
    leftSlabs.append(LeftSlab(slab: slab, end: position, ordinal: ordinal))
    if settings.notesRolls {
      // If the list has a gap, the topic is listed anew.
      if rolls.count == Self.mostRolls { rolls = [] }
      rolls.append(Roll(left: slab.base, end: position, next: next.base))
    }
    let (bytes, overflow) = otherBytes.addingReportingOverflow(position - slab.base)
    otherBytes = overflow ? .max : bytes
    tally.slabs &+= 1
    slab = next
    slabBegan = next.base
    slabLimit = Self.limit(ofSlab: next.base, size: settings.slabSize)
    slabEndOrdinal = Self.end(ofSlabFrom: ordinal, settings)
    slabHasRecord = false
    slabIsOldAt = .max
    settings.didRoll(next.base)
  }

  // MARK: Ending

  /// Writes the closing mark, and syncs it. Everything before it must be synced.
  ///
  /// The mark goes straight to the file. If it stayed in the buffer, it might get a record after
  /// it, and make an unclean end look clean.
  mutating func writeClosingMark() throws(QueueError) {
    try flush()
    if !fits(UInt64(Mark.byteCount)),
      slabHasRecord || unfinishedEpoch != nil
        || Epoch.end(Epoch.of(slab.base)) - position <= UInt64(Mark.byteCount)
    {
      try roll()
      try flush()
    }
    var mark = WriteBuffer(capacity: Mark.byteCount)
    mark.put(nextMark(synced: position + UInt64(Mark.byteCount)), at: position)
    var written = 0
    defer { tally.writtenBytes &+= UInt64(written) }
    try slab.write(mark.bytes, at: position, written: &written)
    passMark()
    noteFlushed()
    releasePreallocated()
    do throws(QueueError) {
      try syncNow()
    } catch {
      poison(error)
      throw error
    }
  }
}

extension QueueError {
  static func addressesExhausted(path: String) -> QueueError {
    QueueError(
      .addressesExhausted,
      "all 2^24 epochs of this topic were used: start a new topic, and keep this one for readers",
      path: path)
  }
}
