// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Looks records up by their addresses, in any order: for each, the last mark before it is found and
/// the walk goes from there, which counts its ordinal.
///
/// Nearly every lookup is one or two reads of a slab that is kept open: from the mark, where it is
/// known from an earlier lookup, or else the stretch before the address, which holds it; and the
/// record with it. Whatever that does not show to be in order is judged by `LogWalker.seek`.
struct RecordLookup: ~Copyable {
  var walker: LogWalker
  /// Slabs that were looked into, the last one first.
  private var places: [LogWalker.Place] = []
  /// The index's `changes` that they are good for.
  private var placesChanges = 0
  private var knownMarks = KnownMarks()

  /// How many slabs are kept open. A gigabyte of slabs of the ordinary size.
  private static let mostPlaces = 16

  /// A mark comes before a record where the spacing is reached by then, so it starts at most one
  /// spacing and one record of that size before the next one. Another spacing before it may show that
  /// it is no payload's.
  private static let mostBefore = Int(FrameSearch.reach + SlabFormat.markSpacing)
  /// Read first: a quarter of all marks are this near, and most records are shorter than what is read
  /// behind their beginning.
  private static let firstBefore = Int(SlabFormat.markSpacing) / 4
  private static let behind = 1024

  init(_ index: TopicIndex, payloadLimit: UInt32, bufferSize: Int) {
    walker = LogWalker(
      index, payloadLimit: payloadLimit,
      bufferSize: max(bufferSize, Self.mostBefore + Self.behind))
  }

  /// Stands before the record at an address, or before what is there in its place.
  ///
  /// - Throws: `notARecord` for an address inside a record; `beyondLatest`; as `LogWalker.seek`.
  mutating func seek(to address: Address, now: () -> UInt64) throws(QueueError) {
    if let place = try place(of: address.rawValue), try seek(to: address.rawValue, in: place) {
      return
    }
    try walker.seek(to: .address(address), now: now)
    forgetWhatChanged()
    guard let place = walker.place else { return }
    places.removeAll { $0.slab.base == place.slab.base }
    places.insert(place, at: 0)
    if places.count > Self.mostPlaces { places.removeLast() }
  }

  /// Stands before the record of an ordinal, or before what is there in its place: at once where the
  /// last lookup left it there, as when records are looked up one after the other.
  ///
  /// - Throws: `beyondLatest`; as `LogWalker.seek`.
  mutating func seek(toOrdinal ordinal: UInt64) throws(QueueError) {
    guard !walker.stands(at: ordinal) else { return }
    try walker.seek(to: .ordinal(ordinal), now: { 0 })
    forgetWhatChanged()
  }

  /// The slab of an address, if it is kept open and holds it still.
  private mutating func place(of address: UInt64) throws(QueueError) -> LogWalker.Place? {
    guard
      let found = places.firstIndex(where: { $0.slab.base < address && address < $0.limit })
    else { return nil }
    if found > 0 { places.insert(places.remove(at: found), at: 0) }
    if places[0].limit == .max {
      // What a new epoch makes of the newest slab, only the directory tells.
      try walker.index.refresh()
      forgetWhatChanged()
    }
    return places.first
  }

  /// The limits of slabs follow from the listing.
  private mutating func forgetWhatChanged() {
    guard placesChanges != walker.index.changes else { return }
    places = []
    placesChanges = walker.index.changes
  }

  /// False: there is no sound way to a record at this address from a mark in the last stretch.
  private mutating func seek(
    to address: UInt64, in place: LogWalker.Place
  ) throws(QueueError) -> Bool {
    walker.goBack(to: place)
    guard let found = try mark(before: address, in: place) else { return false }
    if found.counts { knownMarks.add(found.mark.address) }
    walker.start(behind: found.mark)
    var last: UInt64?
    while walker.position < address {
      guard walker.nextBuffered() == nil else { continue }
      // Marks may stand nearer than their spacing: one a second, and around long payloads.
      let here = walker.position
      guard let mark = walker.window.mark(at: here, topicID: walker.topicID) else { return false }
      last = here
      walker.start(behind: mark)
    }
    guard walker.position == address else { return false }
    // The walk came over it, and no other one stands between.
    if let last { knownMarks.add(last) }
    return true
  }

  /// What passes for a mark before an address; the window shows all from there to the address, and
  /// some of what is behind it.
  private struct Beginning {
    let mark: MarkAt
    /// Whether it is certainly no payload's. Else the walk to the address comes over one that counts.
    let counts: Bool
  }

  /// A known mark before an address, or the last one there that counts by itself, or the first one
  /// from which a walk comes over another.
  private mutating func mark(
    before address: UInt64, in place: LogWalker.Place
  ) throws(QueueError) -> Beginning? {
    let end =
      place.limit - address > UInt64(Self.behind) ? address + UInt64(Self.behind) : place.limit
    if let known = knownMarks.last(before: address, behind: place.slab.base) {
      try walker.window.fill(from: place.slab, at: known, limit: end)
      if let mark = walker.window.mark(at: known, topicID: walker.topicID) {
        return Beginning(mark: mark, counts: true)
      }
    }
    let most = Int(clamping: min(UInt64(Self.mostBefore), address - place.slab.base))
    var before = min(Self.firstBefore, most)
    try walker.window.fill(
      from: place.slab, at: address - UInt64(before), limit: end,
      leaving: Self.mostBefore - before)
    // Marks that start before `border` are still to be looked for.
    var border = before + 1
    var last: MarkAt?
    while true {
      if let mark = walker.window.lastMark(topicID: walker.topicID, before: border) {
        // One that stands nearer to the last one than their spacing: one of both may be a payload's.
        guard last == nil else { return try firstMark(most: most, in: place) }
        last = mark
        border = Int(mark.address - walker.window.start)
        continue
      }
      if let last, last.address - walker.window.start >= SlabFormat.markSpacing {
        return Beginning(mark: last, counts: true)
      }
      guard before < most else {
        let first = place.slab.base &+ UInt64(SlabHeader.byteCount)
        return last.map { Beginning(mark: $0, counts: $0.address == first) }
      }
      let wanted = last.map {
        Int(SlabFormat.markSpacing) - Int($0.address - walker.window.start)
      }
      let more = min(wanted ?? before, most - before)
      // A mark that reaches into what was seen starts before it.
      border = more
      before += more
      guard try walker.window.extend(from: place.slab, by: more) else { return nil }
    }
  }

  /// The first mark so far before the address that the walk comes over one that counts.
  private mutating func firstMark(
    most: Int, in place: LogWalker.Place
  ) throws(QueueError) -> Beginning? {
    let more = min(most, Self.mostBefore) - (Self.mostBefore - walker.window.room)
    if more > 0, try !walker.window.extend(from: place.slab, by: more) { return nil }
    return walker.window.firstMark(topicID: walker.topicID).map {
      Beginning(mark: $0, counts: false)
    }
  }
}

extension LogWalker {
  /// Whether the next step is known to be the record of an ordinal.
  fileprivate func stands(at ordinal: UInt64) -> Bool {
    ordinal == self.ordinal && ordinalIsCounted && slab != nil && pending == nil && arrival == nil
      && owedLoss == nil
  }

  /// Goes on behind a mark that the window shows.
  fileprivate mutating func start(behind mark: MarkAt) {
    position = mark.end
    ordinal = mark.mark.ordinal
    ordinalIsCounted = true
  }
}
