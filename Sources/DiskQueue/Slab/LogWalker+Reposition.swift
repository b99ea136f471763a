// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// What it means where no valid frame stands: the next slab, the next epoch, cleaned, damaged, or
// the end. Each decision is the format's, in "Reading and damage".

extension LogWalker {
  /// A slab that is listed and gone again, this often in a row, is no cleaner's work.
  private static let mostAttempts = 1000

  /// Finds out where the log goes on from `position`. False: nowhere, for now.
  mutating func reposition() throws(QueueError) -> Bool {
    if let slab, position == limit, slab.base < position, try goOnAsListed() { return true }
    for _ in 0..<Self.mostAttempts {
      try index.refresh()
      let place = index.locate(position)
      switch place {
      case .nowhere:
        return false

      case .inside(let base, let limit):
        // A slab gone between listing and opening was cleaned.
        guard try open(base, limit) else { continue }
        if try judge() != nil { return true }
        if version1 != nil { return try endVersion1Slab() }
        if position >= provenBelow, try !index.isProven(position) { return false }
        // The proof was written after all that lies below it, but perhaps after our look: forget
        // what was read and listed, and look again.
        try index.refresh()
        guard index.locate(position) == place, try open(base, limit) else { continue }
        if try judge() != nil { return true }
        return try resynchronise()

      case .nextEpoch(let base):
        arrive(at: base, cause: .damaged, leavesOut: false)
        return true

      case .gone(let next, let cause, let needsProof):
        // That a slab is missing is believed only in a second listing.
        try index.refresh()
        guard index.locate(position) == place else { continue }
        if needsProof, try !index.isProven(position) { return false }
        arrive(at: next, cause: cause, leavesOut: true)
        return true
      }
    }
    throw .system(
      SystemError(errno: Errno.noEntry, call: "openat"), doing: "finding a slab",
      path: index.storage.path, address: position)
  }

  /// The ordinary roll, and the next epoch where it was known when this slab was opened, need no new
  /// listing. False: they do.
  private mutating func goOnAsListed() throws(QueueError) -> Bool {
    if case .nextEpoch(let base) = index.locate(position) {
      arrive(at: base, cause: .damaged, leavesOut: false)
    }
    guard case .inside(let base, let limit) = index.locate(position), base == position else {
      return false
    }
    return try open(base, limit)
  }

  /// Opens the slab that `position` lies in. False: it is gone.
  private mutating func open(_ base: UInt64, _ limit: UInt64) throws(QueueError) -> Bool {
    leaveSlab()
    guard let opened = try SlabFile.open(base, in: index.storage) else { return false }
    if index.isVersion1, Epoch.of(base) == 0 {
      version1 = try index.version1Length(of: opened)
    } else if position > base {
      switch try opened.head().header {
      case .sound(let header):
        try refuse(header, of: opened)
        maximumPayload = Int(header.largestPayload)
      case .unsupported(let version, let flags):
        throw opened.unsupported(version: version, flags: flags)
      case .unsound:
        maximumPayload = Int(clamping: try opened.size())
      }
    }
    topicID = index.topicID ?? 0
    self.limit = limit
    slab = opened
    return true
  }

  /// Where the walk is in a slab: what may be gone back to as long as the listing holds.
  struct Place {
    let slab: SlabFile
    let limit: UInt64
    let maximumPayload: Int
  }

  /// Where it is; nil between slabs, in those of version 1, and where the header is still to be read.
  var place: Place? {
    guard let slab, version1 == nil, maximumPayload >= 0 else { return nil }
    return Place(slab: slab, limit: limit, maximumPayload: maximumPayload)
  }

  /// Goes back to a slab, at an address of it that the caller says, without looking at the directory.
  mutating func goBack(to place: Place) {
    leaveSlab()
    pending = nil
    arrival = nil
    owedLoss = nil
    slab = place.slab
    limit = place.limit
    maximumPayload = place.maximumPayload
  }

  /// Forgets the slab and what was read of it.
  private mutating func leaveSlab() {
    slab = nil
    version1 = nil
    maximumPayload = -1
    limit = .max
    window.clear(at: position)
  }

  private mutating func arrive(at base: UInt64, cause: Loss.Cause, leavesOut: Bool) {
    let kept = index.bound(ofEpoch: Epoch.of(position)) ?? position
    // Over several slabs gone, the first way counts.
    if arrival == nil || arrival?.leavesOut == false && leavesOut {
      arrival = Arrival(cause: cause, from: position, kept: kept, leavesOut: leavesOut)
    }
    if cause == .cleaned { arrival?.cause = .cleaned }
    move(to: base)
  }

  /// Goes on at an address, in whatever slab it lies.
  mutating func move(to address: UInt64) {
    position = address
    leaveSlab()
  }

  // MARK: Damage

  /// A bad frame ends a version 1 slab; what remains of it is lost, unless it is the torn tail of
  /// the last one. False: it is.
  private mutating func endVersion1Slab() throws(QueueError) -> Bool {
    guard let slab, limit != .max else { return false }
    // Where the epoch behind it does not say any more where this one ended, the bound is a later
    // epoch's, and slabs lie before it.
    let to = index.slab(behind: slab.base, limit: limit).map { min($0, limit) } ?? limit
    owedLoss = Loss(.damaged, from: position, to: to, records: nil)
    // How many it held is not written anywhere.
    ordinalIsCounted = false
    move(to: to)
    return true
  }

  /// `position` is damaged: goes to the next frame that can be believed. False: there is nothing
  /// behind it, and nowhere to go on.
  private mutating func resynchronise() throws(QueueError) -> Bool {
    guard let slab else { return false }
    let fileEnd = try slab.end()
    var marks = MarkSearch(slab, topicID: topicID)
    let content = min(limit, fileEnd)
    // Behind `position`: what looks like a mark at a slab's base is none, and would hold us there.
    let (behind, overflow) = position.addingReportingOverflow(1)
    let mark = overflow ? nil : try marks.first(from: behind, limit: content)

    // The end of the content counts as a mark with the next readable slab's ordinal: exactly that,
    // where the very next one is readable, and else the most it can be.
    var end = mark?.address ?? content
    var atEnd: UInt64? = mark?.mark.ordinal
    var known = atEnd
    var next = mark == nil ? index.slab(behind: slab.base, limit: limit) : nil
    if let next {
      atEnd = try index.ordinal(ofSlabAt: next)
      known = atEnd
      if known == nil { known = try index.ordinal(ofSlabFrom: next) }
    }
    // Behind the last frame of a file that is too short, the next slab's base or epoch is next.
    var goal = mark?.address ?? next.map { min($0, limit) } ?? content
    // But behind what is proven a crash may have left holes: there the log goes on, or ends.
    if goal > position, goal > provenBelow, try !index.isProven(goal - 1) {
      goal = max(provenBelow, index.highestSynced)
      end = min(end, goal)
      atEnd = nil
      next = nil
    }

    // The header is the frame at the base, and where it is damaged nothing but the file's size
    // bounds a payload.
    let largest = maximumPayload >= 0 ? UInt64(maximumPayload) : fileEnd - slab.base
    var frames = FrameSearch(slab, topicID: topicID, maximumPayload: largest)
    let from = position
    let found = try resumption(&frames, end: end, known: known)
    let to = found ?? goal

    guard to > from else { return false }
    note(damageFrom: from, to: to)
    if let atEnd {
      if let found, found < end {
        try countBack(&frames, from: found, to: end, known: atEnd)
      } else if next != nil {
        // The log may end here: then the next epoch counts on from what is known.
        advance(to: atEnd)
      }
    }
    if found == nil, next != nil {
      move(to: to)
    } else {
      if maximumPayload < 0 { maximumPayload = Int(clamping: largest) }
      position = to
      window.clear(at: to)
    }
    return true
  }

  /// The first sound record between `position` and the mark, or the content's end, at `end`.
  private func resumption(
    _ frames: inout FrameSearch, end: UInt64, known: UInt64?
  ) throws(QueueError) -> UInt64? {
    if let known, ordinalIsCounted, known >= ordinal, known - ordinal <= 1 {
      // At most one record stood in between: either it was hit, or one or two marks before it were,
      // or the header and the first mark.
      let skipped =
        position == frames.slab.base
        ? [SlabHeader.byteCount + Mark.byteCount] : [Mark.byteCount, 2 * Mark.byteCount]
      for count in skipped {
        let (behind, overflow) = position.addingReportingOverflow(UInt64(count))
        if !overflow, try frames.isRecord(at: behind, to: end) { return behind }
      }
      return nil
    }
    let (next, overflow) = position.addingReportingOverflow(1)
    return overflow ? nil : try frames.firstRecord(from: next, to: end)
  }

  private mutating func note(damageFrom from: UInt64, to: UInt64) {
    if pending == nil {
      pending = PendingLoss(from: from, to: to, ordinal: ordinal, isCounted: ordinalIsCounted)
    } else {
      pending?.to = to
      pending?.uncountedPlaces += 1
    }
  }

  /// Makes the ordinals behind a damaged place exact, where nothing else is damaged up to the next
  /// known one.
  private mutating func countBack(
    _ frames: inout FrameSearch, from: UInt64, to end: UInt64, known: UInt64
  ) throws(QueueError) {
    guard let count = try frames.countRecords(from: from, to: end), count <= known else { return }
    advance(to: known - count)
  }

  /// Sets the ordinal over a damaged place to what it is known to be behind it.
  private mutating func advance(to known: UInt64) {
    pending?.advanced &+= known &- ordinal
    pending?.uncountedPlaces = 0
    ordinal = known
  }
}
