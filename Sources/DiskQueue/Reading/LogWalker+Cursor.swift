// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Going to a consumer's cursor. It knows more than an address does: how many records were before
// it, and that all of them were on stable storage.

extension LogWalker {
  /// Where a cursor led to.
  enum CursorSeat {
    /// The walk goes on at the cursor, or at the next record where it was lost.
    case seated
    /// The log ends before the cursor: the walk goes on at its end.
    case behindTheEnd(CursorPosition)
    /// There is no slab yet to look for it in.
    case noLog
  }

  /// How often a log that grows past the cursor while its end is looked for is looked at again.
  private static let mostLooks = 1000

  /// Goes to a cursor. Returns what was lost at and behind it, each loss exactly once.
  ///
  /// The address decides. The ordinal only counts: how many records are missing where the log does
  /// not go on at the address.
  ///
  /// - Throws: `notARecord` where the cursor points into a record.
  mutating func seek(
    toCursor cursor: CursorPosition
  ) throws(QueueError) -> (seat: CursorSeat, losses: [Loss]) {
    for _ in 0..<Self.mostLooks {
      try index.refresh()
      forgetLosses()
      switch index.locate(cursor.address) {
      case .nowhere where index.bases.isEmpty:
        start(at: cursor)
        return (.noLog, [])
      case .nowhere:
        break
      case .gone, .nextEpoch:
        // The first step finds the way, and counts what lies between.
        start(at: cursor)
        return (.seated, [])
      case .inside(let base, let limit):
        if let losses = try walk(to: cursor, in: base, limit: limit) { return (.seated, losses) }
      }
      // Where the log ends is judged without the cursor's word: what it bears witness to is not
      // there.
      try seek(to: .latest, now: { 0 })
      guard position < cursor.address else { continue }
      let isKnown = ordinalIsCounted && cursor.ordinal >= ordinal
      let loss = Loss(
        .discarded, from: position, to: cursor.address,
        records: isKnown ? cursor.ordinal - ordinal : nil)
      return (.behindTheEnd(CursorPosition(address: position, ordinal: ordinal)), [loss])
    }
    throw .system(
      SystemError(errno: Errno.again, call: "openat"), doing: "finding the end of the log",
      path: index.storage.path, address: cursor.address)
  }

  /// Goes on from a start that was just sought to the first record, if need be, so that its ordinal
  /// is known. Returns what was lost before it.
  mutating func settleStart() throws(QueueError) -> [Loss] {
    var losses: [Loss] = []
    while !ordinalIsCounted || arrival != nil || owedLoss != nil {
      switch try step() {
      case .record(let address, let ordinal, _):
        goBack(to: address, ordinal)
        return losses
      case .tooLarge(let address, _):
        goBack(to: address, ordinal &- 1)
        return losses
      case .loss(let loss):
        losses.append(loss)
      case .end:
        return losses
      }
    }
    return losses
  }

  /// Where a cursor stands that is made where the walk does, behind the losses that `settleStart`
  /// returned: before the first damage. Where it is not known how many records that took, none are
  /// counted: who meets it again is told of it with the least number that it can be.
  func placeBefore(_ losses: [Loss]) -> CursorPosition {
    var place = CursorPosition(address: position, ordinal: ordinal)
    if let pending {
      place.address = pending.from
      if pending.isCounted { place.ordinal = pending.ordinal }
    }
    for loss in losses.reversed() where loss.cause == .damaged {
      place.address = loss.addresses.lowerBound.rawValue
      place.ordinal -= min(place.ordinal, loss.records ?? 0)
    }
    return place
  }

  private mutating func forgetLosses() {
    pending = nil
    arrival = nil
    owedLoss = nil
  }

  private mutating func start(at cursor: CursorPosition) {
    move(to: cursor.address)
    ordinal = cursor.ordinal
    ordinalIsCounted = true
  }

  /// Walks from the last mark before a cursor to it. nil: the log ends before it.
  private mutating func walk(
    to cursor: CursorPosition, in base: UInt64, limit: UInt64
  ) throws(QueueError) -> [Loss]? {
    if index.holdsVersion1(base) {
      // A slab's first frame is whole; what was before the slab is the cursor's to know.
      start(at: base)
    } else {
      try startBefore(cursor.address, in: base, limit: limit)
    }
    // A cursor is never durable before the data behind it: what is bad there is damaged, and not
    // the end of the log.
    provenBelow = cursor.address
    defer { provenBelow = 0 }
    var loss: Loss?
    while position < cursor.address {
      switch try step() {
      case .record(let start, let ordinal, _):
        try passed(start, ordinal, before: cursor)
      case .tooLarge(let start, _):
        try passed(start, ordinal &- 1, before: cursor)
      case .loss(let found):
        if found.addresses.upperBound.rawValue > cursor.address { loss = found }
      case .end:
        guard position >= cursor.address else { return nil }
      }
    }
    return settle(at: cursor, loss).map { [$0] } ?? []
  }

  private mutating func passed(
    _ start: UInt64, _ ordinal: UInt64, before cursor: CursorPosition
  ) throws(QueueError) {
    if start >= cursor.address {
      goBack(to: start, ordinal)
    } else if position > cursor.address {
      throw QueueError(
        .notARecord,
        "the consumer's cursor, \(cursor.address), lies inside the record that starts at \(start):"
          + " the topic's files are not those that it was written for; reset the consumer to a"
          + " position, or delete it",
        path: slab?.path, address: start)
    }
  }

  /// At the cursor, or behind it where it was lost: what was lost before the cursor is none of its,
  /// and what it misses is counted from its own ordinal on.
  private mutating func settle(at cursor: CursorPosition, _ loss: Loss?) -> Loss? {
    owedLoss = nil
    if var spanning = pending, spanning.to > cursor.address {
      ordinal = max(ordinal, cursor.ordinal)
      spanning.from = max(spanning.from, cursor.address)
      spanning.ordinal = cursor.ordinal
      spanning.isCounted = true
      spanning.advanced = ordinal - cursor.ordinal
      pending = spanning
      return nil
    }
    if let dropped = pending.take() { ordinalIsCounted = dropped.isExactBehind }
    guard position > cursor.address else {
      if !ordinalIsCounted {
        ordinal = cursor.ordinal
        ordinalIsCounted = version1 == nil
      }
      return nil
    }
    guard loss != nil || ordinalIsCounted && ordinal != cursor.ordinal else { return nil }
    let cause: Loss.Cause =
      if ordinalIsCounted, ordinal < cursor.ordinal {
        .discarded
      } else if cursor.address < index.first ?? 0 {
        .cleaned
      } else {
        loss?.cause ?? .damaged
      }
    let records =
      ordinal < cursor.ordinal ? cursor.ordinal - ordinal : ordinal - cursor.ordinal
    return Loss(
      cause, from: max(cursor.address, loss?.addresses.lowerBound.rawValue ?? 0), to: position,
      records: ordinalIsCounted ? records : nil)
  }
}
