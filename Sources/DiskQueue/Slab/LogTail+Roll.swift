// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Leaving a slab, and the end of the log.

extension LogTail {
  /// Leaves the slab for a new one, whose base is the end of this one.
  ///
  /// Nothing is synced here: the slab left behind is, in the background, after the directory. A
  /// slab that could not be finished is not gone back from: its header waits in the buffer.
  mutating func roll() throws(QueueError) {
    try flush()
    let beginning = UInt64(SlabHeader.byteCount + Mark.byteCount)
    guard Epoch.end(Epoch.of(position)) - position > beginning,
      Epoch.of(position) == Epoch.of(slab.base)
    else { return try rollEpoch() }
    let next = try SlabFile.create(position, in: storage)
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

  /// Goes on in the next epoch, at its first address, as recovery does: everything before it is
  /// synced, then the slab and the directory. Once in 2^40 bytes.
  mutating func rollEpoch() throws(QueueError) {
    try flush()
    let epoch = Epoch.of(slab.base) + 1
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
      if error.isFinal { poison(error) }
      throw error
    }
    leaveSlab(for: next)
    leftSlabs = []
    kept = header.kept
    // The addresses between the epochs as well.
    tally.unframedBytes &+= header.base + UInt64(SlabHeader.byteCount) - position
    tally.writtenBytes &+= UInt64(SlabHeader.byteCount + Mark.byteCount)
    position = header.base + UInt64(SlabHeader.byteCount)
    passMark()
    synced = position
    syncedOrdinal = ordinal
    noteFlushed()
  }

  func nextHeader(base: UInt64) -> SlabHeader {
    SlabHeader(
      largestPayload: settings.maximumPayload, base: base, ordinal: ordinal, stamp: stamp,
      synced: synced, kept: kept, topicID: settings.topicID)
  }

  mutating func leaveSlab(for next: SlabFile) {
    giveBackRoom()
    leftSlabs.append(LeftSlab(slab: slab, end: position, ordinal: ordinal))
    let (bytes, overflow) = otherBytes.addingReportingOverflow(position - slab.base)
    otherBytes = overflow ? .max : bytes
    tally.slabs &+= 1
    slab = next
    slabBegan = next.base
    slabLimit = Self.limit(ofSlab: next.base, size: settings.slabSize)
    slabEndOrdinal = Self.end(ofSlabFrom: ordinal, settings)
    slabHasRecord = false
    settings.didRoll(next.base)
  }

  // MARK: Ending

  /// Writes the closing mark, and syncs it. Everything before it must be synced.
  ///
  /// It goes straight to the file: left in the buffer, it might come to stand before a record and
  /// make an unclean end look clean.
  mutating func writeClosingMark() throws(QueueError) {
    try flush()
    if !fits(UInt64(Mark.byteCount)),
      slabHasRecord || Epoch.end(Epoch.of(slab.base)) - position <= UInt64(Mark.byteCount)
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
    giveBackRoom()
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
