// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// A consumer holds records, but neither marks nor headers. A slab in which it has acknowledged
// every record is not held, although its cursor is before the mark at the slab's end.

extension ConsumerHolds {
  /// The holds of a topic's protected consumers.
  ///
  /// - Throws: as the other initializer. `system` if a slab cannot be read.
  init(of front: SlabFront, in storage: any TopicStorage) throws(QueueError) {
    try self.init(
      of: storage, protecting: .protected, topicID: front.topicID,
      beginsWithVersion1: front.beginsWithVersion1)
    guard let topicID = front.topicID, let lowest else { return }
    let slabs = front.slabs
    for place in slabs.place(of: lowest.address)..<slabs.endIndex {
      let next = place + 1 < slabs.endIndex ? slabs[place + 1].base : .max
      let content = slabs[place].base..<max(slabs[place].base, min(slabs[place].contentEnd, next))
      guard try passMarks(of: content, topicID: topicID, in: storage) else { return }
    }
  }

  /// The holds of a topic's protected consumers.
  ///
  /// - Throws: as the other initializer. `system` if a slab cannot be read.
  init(
    of index: TopicIndex, protecting protected: Retention.Consumers
  ) throws(QueueError) {
    try self.init(
      of: index.storage, protecting: protected, topicID: index.topicID,
      beginsWithVersion1: index.beginsWithVersion1)
    guard let topicID = index.topicID, let lowest else { return }
    let start = index.lastIndex(notAbove: lowest.address) ?? 0
    for place in start..<max(start, index.bases.count) {
      let base = index.bases[place]
      let next = place + 1 < index.bases.count ? index.bases[place + 1] : .max
      let content = base..<max(base, min(index.limit(ofSlabAt: place), next))
      guard try passMarks(of: content, topicID: topicID, in: index.storage) else { return }
    }
  }

  /// Moves the lowest hold past a slab in which no record is left for it. Returns false if a record
  /// is left: then no later slab needs to be read.
  ///
  /// If the lowest hold does not hold a part of a slab, no other consumer holds that part.
  ///
  /// - Parameter content: from the slab's base to the end of its records.
  private mutating func passMarks(
    of content: Range<UInt64>, topicID: UInt64, in storage: any TopicStorage
  ) throws(QueueError) -> Bool {
    guard let hold = lowest, hold.cause == .position else { return false }
    guard hold.address < content.upperBound else { return true }
    guard let slab = try SlabFile.open(content.lowerBound, in: storage),
      try slab.holdsOnlyMarks(from: hold.address, in: content, topicID: topicID)
    else { return false }
    lowest?.address = content.upperBound
    return true
  }
}

extension ArraySlice<SlabFront.SizedSlab> {
  /// The index of the last slab whose base is not above an address. The first index if every base
  /// is above it.
  fileprivate func place(of address: UInt64) -> Int {
    var low = startIndex
    var high = endIndex
    while low < high {
      let middle = low + (high - low) / 2
      if self[middle].base > address { high = middle } else { low = middle + 1 }
    }
    return Swift.max(low - 1, startIndex)
  }
}

extension SlabFile {
  /// Whether there are only sound marks, and the header, between an address and the end of the
  /// slab's records. Damaged bytes may have been a record, so they count as one.
  ///
  /// - Complexity: a read of at most 4 KiB at a time, and one for each 85 marks in a row.
  fileprivate func holdsOnlyMarks(
    from address: UInt64, in content: Range<UInt64>, topicID: UInt64
  ) throws(QueueError) -> Bool {
    var window = ByteWindow(capacity: 4096)
    var position = max(address, content.lowerBound)
    while position < content.upperBound {
      let isHeader = position == content.lowerBound
      let count = isHeader ? SlabHeader.byteCount : Mark.byteCount
      if window.count == 0 || position < window.start
        || window.end < position.addingSaturating(UInt64(count))
      {
        window.clear(at: position)
        try window.fill(from: self, at: position, limit: content.upperBound)
      }
      let offset = Int(position - window.start)
      guard window.count - offset >= count else { return false }
      let bytes = window.bytes.extracting(droppingFirst: offset)
      if isHeader {
        guard case .sound(let header) = SlabHeader.read(bytes, base: base),
          header.topicID == topicID
        else { return false }
      } else {
        guard bytes.u32(FrameHeader.length) == FrameHeader.markWord,
          Mark.read(bytes, address: position, topicID: topicID) != nil
        else { return false }
      }
      position += UInt64(count)
    }
    return true
  }
}
