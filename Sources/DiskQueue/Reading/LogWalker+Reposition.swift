// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Decides how the walk continues without a valid frame: in the next slab or epoch, after cleaned
// records, after damage, or not at all. Each decision is a rule of the format, in
// "Reading and damage".

extension LogWalker {
  /// If slabs are listed and then gone this many times in a row, a cleaner is not the cause.
  private static let mostAttempts = 1000

  /// Finds the address at which the log continues from `position`. False if it does not, for now.
  mutating func reposition() throws(QueueError) -> Bool {
    if let slab, position == limit, slab.base < position, try goOnAsListed() { return true }
    if let slab, let damage, damage.base == slab.base, position < min(limit, damage.certainBelow) {
      // Everything read of this slab was read after the proof.
      switch try resynchronise(damage) {
      case .goneOn: return true
      case .nowhere: return false
      case .unproven: break
      }
    }
    for _ in 0..<Self.mostAttempts {
      try index.refresh()
      let location = index.locate(position)
      switch location {
      case .nowhere:
        return false

      case .inside(let base, let limit):
        // A slab that is gone between listing and opening was cleaned.
        guard try open(base, limit) else { continue }
        if try judge() != nil { return true }
        if version1 != nil { return try endVersion1Slab() }
        if position >= provenBelow, try !index.isProven(position) { return false }
        // The proof was written after everything below it, but perhaps after our look. So forget
        // all that was read and listed, and look again. The second look is valid for everything
        // below the proof. Another look is needed only after another slab or another proof.
        let certainBelow = max(provenBelow, index.highestSynced)
        try index.refresh()
        guard index.locate(position) == location, try open(base, limit), let slab else { continue }
        let damage = try damage(of: slab, certainBelow: certainBelow)
        if try judge() != nil { return true }
        switch try resynchronise(damage) {
        case .goneOn: return true
        case .nowhere: return false
        case .unproven: continue
        }

      case .nextEpoch(let base):
        arrive(at: base, cause: .damaged, leavesOut: false)
        return true

      case .gone(let next, let cause, let needsProof):
        // Believe that a slab is missing only after a second listing.
        try index.refresh()
        guard index.locate(position) == location else { continue }
        if needsProof, try !index.isProven(position) { return false }
        arrive(at: next, cause: cause, leavesOut: true)
        return true
      }
    }
    throw .system(
      SystemError(errno: Errno.noEntry, call: "openat"), doing: "finding a slab",
      path: index.storage.path, address: position)
  }

  /// Moves on without a new listing. That is enough for an ordinary roll, and for the next epoch if
  /// it was known when this slab was opened. False if a new listing is needed.
  private mutating func goOnAsListed() throws(QueueError) -> Bool {
    if case .nextEpoch(let base) = index.locate(position) {
      arrive(at: base, cause: .damaged, leavesOut: false)
    }
    guard case .inside(let base, let limit) = index.locate(position), base == position else {
      return false
    }
    return try open(base, limit)
  }

  /// Opens the slab that holds `position`. False if it is gone.
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
    if damage?.base != base { damage = nil }
    return true
  }

  /// An open slab of the walk. The walk may return to it as long as the listing is unchanged.
  struct OpenSlab {
    let slab: SlabFile
    let limit: UInt64
    let maximumPayload: Int
  }

  /// The open slab. Nil between slabs, in version 1 slabs, and before the header was read.
  var openSlab: OpenSlab? {
    guard let slab, version1 == nil, maximumPayload >= 0 else { return nil }
    return OpenSlab(slab: slab, limit: limit, maximumPayload: maximumPayload)
  }

  /// Returns to a slab without looking at the directory. The caller then chooses an address in it.
  mutating func goBack(to openSlab: OpenSlab) {
    leaveSlab()
    pending = nil
    arrival = nil
    owedLoss = nil
    damage = nil
    slab = openSlab.slab
    limit = openSlab.limit
    maximumPayload = openSlab.maximumPayload
  }

  /// Forgets the slab and the bytes read from it.
  private mutating func leaveSlab() {
    slab = nil
    version1 = nil
    maximumPayload = -1
    limit = .max
    window.clear(at: position)
  }

  private mutating func arrive(at base: UInt64, cause: Loss.Cause, leavesOut: Bool) {
    let kept = index.bound(ofEpoch: Epoch.of(position)) ?? position
    // If several slabs in a row are gone, the first jump counts.
    if arrival == nil || arrival?.leavesOut == false && leavesOut {
      arrival = Arrival(cause: cause, from: position, kept: kept, leavesOut: leavesOut)
    }
    if cause == .cleaned { arrival?.cause = .cleaned }
    move(to: base)
  }

  /// Moves to an address, in whatever slab that is.
  mutating func move(to address: UInt64) {
    position = address
    leaveSlab()
  }

  // MARK: Damage

  /// A bad frame ends a version 1 slab. The rest of the slab is lost, unless it is the torn tail of
  /// the last slab. Returns false for a torn tail.
  private mutating func endVersion1Slab() throws(QueueError) -> Bool {
    guard let slab, limit != .max else { return false }
    // The epoch after it may no longer state the end of this one. The bound is then a later
    // epoch's, and there are slabs below it.
    let to = index.slab(after: slab.base, limit: limit).map { min($0, limit) } ?? limit
    owedLoss = Loss(.damaged, from: position, to: to, records: nil)
    // The number of records it held is not stored anywhere.
    ordinalIsCounted = false
    move(to: to)
    return true
  }

  /// The outcome at a damaged place.
  private enum Resynchronised {
    case goneOn
    /// Nothing follows it, and there is no slab to continue in.
    case nowhere
    /// The next frame was read before its proof: it must be read again.
    case unproven
  }

  /// Makes the record of the slab's damage, or resets it for a new proof.
  private mutating func damage(
    of slab: SlabFile, certainBelow: UInt64
  ) throws(QueueError) -> SlabDamage {
    if let damage {
      damage.lookAgain(certainBelow: certainBelow)
      return damage
    }
    // The header is the frame at the base. If it is damaged, only the file's size bounds a payload.
    let largest = maximumPayload >= 0 ? UInt64(maximumPayload) : try slab.end() - slab.base
    let made = SlabDamage(
      base: slab.base,
      frames: try FrameSearch(slab, topicID: topicID, maximumPayload: largest),
      certainBelow: certainBelow)
    damage = made
    return made
  }

  /// `position` is damaged: goes to the next frame that can be trusted.
  private mutating func resynchronise(
    _ damage: SlabDamage
  ) throws(QueueError) -> Resynchronised {
    guard let slab else { return .nowhere }
    guard let stretch = try stretch(of: damage, in: slab) else { return .unproven }
    let from = position
    let found = try resumption(damage, end: stretch.end, known: stretch.known)
    let to = found ?? stretch.goal

    guard to > from else { return .nowhere }
    note(damageFrom: from, to: to)
    if let atEnd = stretch.atEnd {
      if let found {
        // The ordinal is the goal's. If the file ends before the goal, records are missing between
        // them (D15, O9).
        if found < stretch.end, stretch.end == stretch.goal {
          try countBack(damage, from: found, to: stretch.end, known: atEnd)
        }
      } else if stretch.goesOnElsewhere {
        // The log may end here. The next epoch then counts on from this known ordinal.
        advance(to: atEnd)
      }
    }
    if found == nil, stretch.goesOnElsewhere {
      move(to: to)
    } else {
      if maximumPayload < 0 { maximumPayload = Int(clamping: damage.frames.maximumPayload) }
      position = to
    }
    return .goneOn
  }

  /// The damaged stretch that holds `position`. It is found once for all damaged places in it. Nil
  /// if its end was proven only now.
  private func stretch(
    of damage: SlabDamage, in slab: SlabFile
  ) throws(QueueError) -> SlabDamage.Stretch? {
    if let known = damage.stretch, known.contains(position) { return known }
    let content = min(limit, try slab.end())
    // Search after `position`: bytes that look like a mark at a slab's base are not one, and would
    // keep the walk there.
    let (after, overflow) = position.addingReportingOverflow(1)
    let mark =
      overflow ? nil : try damage.frames.firstMark(from: after, limit: content)

    // The end of the content counts as a mark with the next readable slab's ordinal. The ordinal is
    // exact if that slab is the very next one. Otherwise it is the highest possible.
    let next = mark == nil ? index.slab(after: slab.base, limit: limit) : nil
    var stretch = SlabDamage.Stretch(
      from: position, end: mark?.address ?? content,
      // If the file is too short, the next slab's base or the next epoch follows its last frame.
      goal: mark?.address ?? next.map { min($0, limit) } ?? content,
      atEnd: mark?.mark.ordinal, known: mark?.mark.ordinal, goesOnElsewhere: next != nil)
    if let next {
      stretch.atEnd = try index.ordinal(ofSlabAt: next)
      stretch.known = stretch.atEnd
      if stretch.known == nil { stretch.known = try index.ordinal(ofSlabFrom: next) }
    }
    // After the proven part a crash may have left holes: the log continues there, or ends.
    if stretch.goal > position, stretch.goal > provenBelow, try !index.isProven(stretch.goal - 1) {
      stretch.goal = max(provenBelow, index.highestSynced)
      stretch.end = min(stretch.end, stretch.goal)
      stretch.atEnd = nil
      stretch.goesOnElsewhere = false
    }
    guard stretch.goal <= max(position, damage.certainBelow) else { return nil }
    damage.stretch = stretch
    return stretch
  }

  /// The first sound record between `position` and `end`, which is a mark or the content's end.
  private func resumption(
    _ damage: SlabDamage, end: UInt64, known: UInt64?
  ) throws(QueueError) -> UInt64? {
    if let known, ordinalIsCounted, known >= ordinal, known - ordinal <= 1 {
      // At most one record was in between. The damage hit that record, or one or two marks before
      // it, or the header and the first mark.
      let skipped =
        position == damage.base
        ? [SlabHeader.byteCount + Mark.byteCount] : [Mark.byteCount, 2 * Mark.byteCount]
      for count in skipped {
        let (after, overflow) = position.addingReportingOverflow(UInt64(count))
        if !overflow, try damage.frames.isRecord(at: after, to: end) { return after }
      }
      return nil
    }
    let (next, overflow) = position.addingReportingOverflow(1)
    return overflow ? nil : try damage.frames.firstRecord(from: next, to: end)
  }

  private mutating func note(damageFrom from: UInt64, to: UInt64) {
    if pending == nil {
      pending = PendingLoss(from: from, to: to, ordinal: ordinal, isCounted: ordinalIsCounted)
    } else {
      pending?.to = to
      pending?.uncountedPlaces += 1
    }
  }

  /// Makes the ordinals after a damaged place exact if nothing else is damaged up to the next known
  /// ordinal.
  private mutating func countBack(
    _ damage: SlabDamage, from: UInt64, to end: UInt64, known: UInt64
  ) throws(QueueError) {
    guard let count = try damage.frames.countRecords(from: from, to: end), count <= known
    else { return }
    advance(to: known - count)
  }

  /// Moves the ordinal over a damaged place to the value known after it.
  private mutating func advance(to known: UInt64) {
    pending?.advanced &+= known &- ordinal
    pending?.uncountedPlaces = 0
    ordinal = known
  }
}
