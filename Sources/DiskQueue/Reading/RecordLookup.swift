// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Looks up records by address, in any order. Each lookup finds the last mark before the address,
/// and walks from there. The walk counts the record's ordinal.
///
/// Nearly every lookup takes one or two reads of a slab that is still open. It reads from the mark
/// if an earlier lookup found it. Otherwise it reads the stretch before the address, which holds
/// the mark. The same reads include the record. If the bytes are not in order, `LogWalker.seek`
/// decides.
struct RecordLookup: ~Copyable {
  var walker: LogWalker
  /// The slabs of earlier lookups, the last one first.
  private var openSlabs: [LogWalker.OpenSlab] = []
  /// The value of the index's `changes` for which `openSlabs` is valid.
  private var openSlabsChanges = 0
  private var knownMarks = KnownMarks()

  /// How many slabs stay open: a gigabyte of slabs of the default size.
  private static let mostOpenSlabs = 16

  /// A mark is written before a record once the spacing is reached. So it starts at most one
  /// spacing and one record of that size before the next mark. Another spacing before it may show
  /// that it is not part of a payload.
  private static let mostBefore = Int(FrameSearch.reach + SlabFormat.markSpacing)
  /// The sizes of the first read. A quarter of all marks are within `firstBefore` bytes before a
  /// record. Most records are shorter than `mostAfter`, the bytes read after their beginning.
  private static let firstBefore = Int(SlabFormat.markSpacing) / 4
  private static let mostAfter = 1024

  init(_ index: TopicIndex, payloadLimit: UInt32, bufferSize: Int) {
    walker = LogWalker(
      index, payloadLimit: payloadLimit,
      bufferSize: max(bufferSize, Self.mostBefore + Self.mostAfter))
  }

  /// Moves the walk to the record at an address, or to the loss or record that is there instead.
  ///
  /// - Throws: `notARecord` for an address inside a record. `beyondLatest`. Otherwise as
  ///   `LogWalker.seek`.
  mutating func seek(to address: Address, now: () -> UInt64) throws(QueueError) {
    if let openSlab = try openSlab(of: address.rawValue),
      try seek(to: address.rawValue, in: openSlab)
    {
      return
    }
    try walker.seek(to: .address(address), now: now)
    forgetWhatChanged()
    guard let openSlab = walker.openSlab else { return }
    openSlabs.removeAll { $0.slab.base == openSlab.slab.base }
    openSlabs.insert(openSlab, at: 0)
    if openSlabs.count > Self.mostOpenSlabs { openSlabs.removeLast() }
  }

  /// Moves the walk to the record with an ordinal, or to the loss or record that is there instead.
  /// Returns at once if the last lookup ended there, as when records are looked up one after the
  /// other.
  ///
  /// - Throws: `beyondLatest`. Otherwise as `LogWalker.seek`.
  mutating func seek(toOrdinal ordinal: UInt64) throws(QueueError) {
    guard !walker.isAt(ordinal: ordinal) else { return }
    try walker.seek(to: .ordinal(ordinal), now: { 0 })
    forgetWhatChanged()
  }

  /// The slab of an address, if it is still open and still holds the address.
  private mutating func openSlab(of address: UInt64) throws(QueueError) -> LogWalker.OpenSlab? {
    guard
      let found = openSlabs.firstIndex(where: { $0.slab.base < address && address < $0.limit })
    else { return nil }
    if found > 0 { openSlabs.insert(openSlabs.remove(at: found), at: 0) }
    if openSlabs[0].limit == .max {
      // Only the directory shows whether a new epoch limits the newest slab.
      try walker.index.refresh()
      forgetWhatChanged()
    }
    return openSlabs.first
  }

  /// Forgets the open slabs if the listing has changed, because their limits follow from it.
  private mutating func forgetWhatChanged() {
    guard openSlabsChanges != walker.index.changes else { return }
    openSlabs = []
    openSlabsChanges = walker.index.changes
  }

  /// Walks to an address from a mark in the last stretch before it. False if that does not lead to
  /// a record over sound frames.
  private mutating func seek(
    to address: UInt64, in openSlab: LogWalker.OpenSlab
  ) throws(QueueError) -> Bool {
    walker.goBack(to: openSlab)
    guard let found = try mark(before: address, in: openSlab) else { return false }
    if found.counts { knownMarks.add(found.mark.address) }
    walker.start(after: found.mark)
    var last: UInt64?
    while walker.position < address {
      guard walker.nextBuffered() == nil else { continue }
      // Marks may be nearer than their spacing: one a second, and around long payloads.
      let here = walker.position
      guard let mark = walker.window.mark(at: here, topicID: walker.topicID) else { return false }
      last = here
      walker.start(after: mark)
    }
    guard walker.position == address else { return false }
    // The walk came over this mark, and there is no other mark in between.
    if let last { knownMarks.add(last) }
    return true
  }

  /// Bytes before an address that pass for a mark. The window shows everything from there to the
  /// address, and some bytes after it.
  private struct WalkStart {
    let mark: MarkAt
    /// Whether it is certainly not part of a payload. If false, the walk to the address comes over
    /// a mark that counts.
    let counts: Bool
  }

  /// The mark to walk from to an address. It is a known mark, or the last mark that counts by
  /// itself, or the first mark from which a walk comes over another.
  private mutating func mark(
    before address: UInt64, in openSlab: LogWalker.OpenSlab
  ) throws(QueueError) -> WalkStart? {
    let end =
      openSlab.limit - address > UInt64(Self.mostAfter)
      ? address + UInt64(Self.mostAfter) : openSlab.limit
    if let known = knownMarks.last(before: address, after: openSlab.slab.base) {
      try walker.window.fill(from: openSlab.slab, at: known, limit: end)
      if let mark = walker.window.mark(at: known, topicID: walker.topicID) {
        return WalkStart(mark: mark, counts: true)
      }
    }
    let most = Int(clamping: min(UInt64(Self.mostBefore), address - openSlab.slab.base))
    var before = min(Self.firstBefore, most)
    try walker.window.fill(
      from: openSlab.slab, at: address - UInt64(before), limit: end,
      leaving: Self.mostBefore - before)
    // Marks that start before `border` still have to be searched for.
    var border = before + 1
    var last: MarkAt?
    while true {
      if let mark = walker.window.lastMark(topicID: walker.topicID, before: border) {
        // This mark is nearer to the last one than the spacing: one of the two may be part of a
        // payload.
        guard last == nil else { return try firstMark(most: most, in: openSlab) }
        last = mark
        border = Int(mark.address - walker.window.start)
        continue
      }
      if let last, last.address - walker.window.start >= SlabFormat.markSpacing {
        return WalkStart(mark: last, counts: true)
      }
      guard before < most else {
        let first = openSlab.slab.base &+ UInt64(SlabHeader.byteCount)
        return last.map { WalkStart(mark: $0, counts: $0.address == first) }
      }
      let wanted = last.map {
        Int(SlabFormat.markSpacing) - Int($0.address - walker.window.start)
      }
      let more = min(wanted ?? before, most - before)
      // A mark that reaches into the bytes searched so far starts before them.
      border = more
      before += more
      guard try walker.window.extend(from: openSlab.slab, by: more) else { return nil }
    }
  }

  /// The first mark so far before the address that a walk from it comes over a mark that counts.
  private mutating func firstMark(
    most: Int, in openSlab: LogWalker.OpenSlab
  ) throws(QueueError) -> WalkStart? {
    let more = min(most, Self.mostBefore) - (Self.mostBefore - walker.window.headroom)
    if more > 0, try !walker.window.extend(from: openSlab.slab, by: more) { return nil }
    return walker.window.firstMark(topicID: walker.topicID).map {
      WalkStart(mark: $0, counts: false)
    }
  }
}

extension LogWalker {
  /// Whether the next step is known to return the record with an ordinal.
  fileprivate func isAt(ordinal: UInt64) -> Bool {
    ordinal == self.ordinal && ordinalIsCounted && slab != nil && pending == nil && arrival == nil
      && owedLoss == nil
  }

  /// Continues after a mark that the window shows.
  fileprivate mutating func start(after mark: MarkAt) {
    position = mark.end
    ordinal = mark.mark.ordinal
    ordinalIsCounted = true
  }
}
