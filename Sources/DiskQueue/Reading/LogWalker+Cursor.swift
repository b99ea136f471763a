// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Seeking a consumer's cursor. A cursor states more than an address: how many records came before
// it, and that all of them were on stable storage.

extension LogWalker {
  /// The outcome of a seek to a cursor.
  enum CursorSeat {
    /// The walk continues at the cursor, or at the next record if the cursor's record was lost.
    case seated
    /// The log ends before the cursor. The walk continues at the log's end.
    case pastTheEnd(CursorPosition)
    /// There is no slab yet in which to find the cursor.
    case noLog
  }

  /// How many times to look again if the log grows past the cursor while the walk seeks its end.
  private static let mostLooks = 1000

  /// Goes to a cursor. Returns the losses at and after it, each exactly once.
  ///
  /// The address decides. The ordinal only serves to count missing records if the log does not
  /// continue at the address.
  ///
  /// - Throws: `notARecord` if the cursor points into a record.
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
        // The first step finds the next slab, and counts the records missing before it.
        start(at: cursor)
        return (.seated, [])
      case .inside(let base, let limit):
        if let losses = try walk(to: cursor, in: base, limit: limit) { return (.seated, losses) }
      }
      // Judge the end of the log without relying on the cursor: the records that it states as
      // durable are missing.
      try seek(to: .latest, now: { 0 })
      guard position < cursor.address else { continue }
      let isKnown = ordinalIsCounted && cursor.ordinal >= ordinal
      let loss = Loss(
        .discarded, from: position, to: cursor.address,
        records: isKnown ? cursor.ordinal - ordinal : nil)
      return (.pastTheEnd(CursorPosition(address: position, ordinal: ordinal)), [loss])
    }
    throw .system(
      SystemError(errno: Errno.again, call: "openat"), doing: "finding the end of the log",
      path: index.storage.path, address: cursor.address)
  }

  /// Walks from a start that was just sought to the first record, unless the ordinal is already
  /// known. Returns the losses before that record.
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

  /// The position for a cursor that is made at the walk's position, after `settleStart` returned
  /// `losses`. The cursor goes before the first damage.
  ///
  /// If the number of damaged records is unknown, none are counted. The next reader that comes to
  /// the damage reports it with the least number possible.
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

  /// Walks from the last mark before a cursor to it. Nil if the log ends before the cursor.
  private mutating func walk(
    to cursor: CursorPosition, in base: UInt64, limit: UInt64
  ) throws(QueueError) -> [Loss]? {
    if index.holdsVersion1(base) {
      // A slab's first frame is whole. How many records came before the slab is known from the
      // cursor.
      start(at: base)
    } else {
      try startBefore(cursor.address, in: base, limit: limit)
    }
    // A cursor never becomes durable before the data below it. So a bad frame below it is damage,
    // and not the end of the log.
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
        "the consumer's cursor, \(cursor.address), is inside the record that starts at \(start),"
          + " so the topic's files are not those that it was written for: reset the consumer to a"
          + " position, or delete it",
        path: slab?.path, address: start)
    }
  }

  /// Settles the losses at the cursor, or after it if its record was lost. Losses before the cursor
  /// are dropped. Records missing after it are counted from its own ordinal.
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
    if let dropped = pending.take() { ordinalIsCounted = dropped.isExactAfter }
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
