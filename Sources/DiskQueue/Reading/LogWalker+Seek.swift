// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Seeking a position: find the last mark before it, which states the ordinal, and walk from there.
// A search for marks gives only a hint, because the bytes found may be part of a payload. Only
// marks that a walk comes over count.

extension LogWalker {
  package mutating func seek(to start: Topic.Position, now: () -> UInt64) throws(QueueError) {
    try index.refresh()
    pending = nil
    arrival = nil
    owedLoss = nil
    switch start.kind {
    case .earliest, .address(0):
      startAtEarliest()
      try learnOrdinal()
    case .latest: try seekLatest()
    case .address(let address): try seek(address: address)
    case .ordinal(let ordinal): try seek(ordinal: ordinal)
    case .time(let time): try seek(time: time)
    case .ago(let age):
      try age.validate("ago")
      let now = now()
      let back = age.duration.clampedNanoseconds
      try seek(time: back > now ? 0 : now - back)
    }
  }

  /// Starts at the first slab, whose header states its ordinal. The ordinal at address 0 is known
  /// without it.
  package mutating func startAtEarliest() { start(at: index.first ?? 0) }

  /// Reads the ordinal from the header before the walk comes over it. If the slab is cleaned in the
  /// meantime, the reader can then report how many records it missed.
  private mutating func learnOrdinal() throws(QueueError) {
    guard !ordinalIsCounted, !isVersion1(position), index.topicID != nil,
      let header = try SlabFile.open(position, in: index.storage)?.head().soundHeader,
      header.topicID == index.topicID
    else { return }
    ordinal = header.ordinal
    ordinalIsCounted = true
  }

  package mutating func start(at base: UInt64) {
    move(to: base)
    ordinal = 0
    ordinalIsCounted = base == 0
  }

  private mutating func start(at mark: MarkAt) {
    move(to: mark.address)
    ordinal = mark.mark.ordinal
    ordinalIsCounted = true
  }

  // MARK: Latest

  /// Seeks the end of the log, after the last record.
  private mutating func seekLatest() throws(QueueError) {
    let durable = try index.durableEnd()
    if let base = durable.slab, let slab = try SlabFile.open(base, in: index.storage),
      index.topicID != nil, !isVersion1(base)
    {
      let limit = durable.synced.addingReportingOverflow(UInt64(Mark.byteCount))
      let known = try index.lastMark(
        of: slab, from: base, limit: limit.overflow ? .max : limit.partialValue)
      if let known { start(at: known) } else { start(at: base) }
    } else {
      startAtEarliest()
    }
    while true {
      if case .end = try step() { break }
    }
    pending = nil
  }

  // MARK: Address

  private mutating func seek(address: UInt64) throws(QueueError) {
    switch index.locate(address) {
    case .nowhere:
      throw beyondLatest("address \(address)")
    case .gone, .nextEpoch:
      // The first step finds the next slab, and reports the records missing before it.
      start(at: address)
      ordinalIsCounted = false
    case .inside(let base, let limit):
      try startBefore(address, in: base, limit: limit)
      try walk(to: address)
    }
  }

  /// Starts at the last mark that starts at or before an address. Without such a mark, starts at
  /// the slab's base.
  mutating func startBefore(
    _ address: UInt64, in base: UInt64, limit: UInt64
  ) throws(QueueError) {
    if isVersion1(base) {
      // There are no marks, so ordinals can only be counted from the first slab.
      startAtEarliest()
    } else if let mark = try lastMark(notAfter: address, in: base, limit: limit) {
      start(at: mark)
    } else {
      start(at: base)
    }
  }

  private func lastMark(
    notAfter address: UInt64, in base: UInt64, limit: UInt64
  ) throws(QueueError) -> MarkAt? {
    guard let slab = try SlabFile.open(base, in: index.storage) else { return nil }
    let (end, overflow) = address.addingReportingOverflow(UInt64(Mark.byteCount))
    return try index.lastMark(of: slab, from: base, limit: min(overflow ? .max : end, limit))
  }

  private func isVersion1(_ base: UInt64) -> Bool { index.isVersion1 && Epoch.of(base) == 0 }

  /// Walks to the record at an address. If no record covers the address, walks to the next record.
  private mutating func walk(to address: UInt64) throws(QueueError) {
    while position < address {
      switch try step() {
      case .record(let start, let ordinal, _):
        try passed(start, ordinal, before: address)
      case .tooLarge(let start, _):
        try passed(start, ordinal &- 1, before: address)
      case .loss(let loss):
        guard loss.addresses.upperBound.rawValue > address else { continue }
        owedLoss = loss
        return
      case .end:
        guard position >= address else {
          throw beyondLatest("address \(address)", endAddress: position)
        }
      }
    }
    if let pending, pending.to <= address { dropPending() }
  }

  /// Checks a record that the walk passed on its way to an address. The record must end at or
  /// before the address, or start at or after it.
  private mutating func passed(
    _ start: UInt64, _ ordinal: UInt64, before address: UInt64
  ) throws(QueueError) {
    if start >= address {
      goBack(to: start, ordinal)
    } else if position > address {
      throw QueueError(
        .notARecord,
        "no record starts at address \(address). It is inside the record that starts at \(start):"
          + " use that address",
        path: slab?.path, address: start)
    }
  }

  /// Goes back to the start of a record that was just passed.
  mutating func goBack(to start: UInt64, _ ordinal: UInt64) {
    if start < window.start { window.clear(at: start) }
    position = start
    self.ordinal = ordinal
  }

  /// Drops a pending loss that is wholly before the reader's start. It does not concern the
  /// reader.
  private mutating func dropPending() {
    guard let dropped = pending.take() else { return }
    ordinalIsCounted = dropped.isExactAfter
  }

  /// - Parameter endOrdinal: The ordinal of the next record, if an ordinal was asked for.
  private func beyondLatest(
    _ what: String, endAddress: UInt64? = nil, endOrdinal: UInt64? = nil
  ) -> QueueError {
    let place =
      switch (endAddress, endOrdinal) {
      case (let address?, let ordinal?): ", which is at ordinal \(ordinal), address \(address)"
      case (let address?, nil): ", which is at address \(address)"
      case (nil, _): ""
      }
    return QueueError(
      .beyondLatest,
      "\(what) is past the end of the topic\(place): check it, or begin at the latest position",
      path: index.storage.path, address: endAddress)
  }

  // MARK: Ordinal

  private mutating func seek(ordinal: UInt64) throws(QueueError) {
    let found = try lastSlab { $0.ordinal <= ordinal }
    if let found {
      if let mark = try lastMark(in: found, where: { $0.ordinal <= ordinal }) {
        start(at: mark)
      } else {
        start(at: found)
      }
    } else {
      startAtEarliest()
      if let base = index.first, let head = try SlabFile.open(base, in: index.storage)?.head(),
        let first = head.ordinal, first > ordinal
      {
        owedLoss = Loss(.cleaned, from: 0, to: base, records: first - ordinal)
        return
      }
    }
    while self.ordinal < ordinal || !ordinalIsCounted {
      switch try step() {
      case .record(let start, let passed, _):
        if passed >= ordinal { return stop(at: start, passed, for: ordinal) }
      case .tooLarge(let start, _):
        if self.ordinal > ordinal { return stop(at: start, self.ordinal - 1, for: ordinal) }
      case .loss(var loss):
        guard self.ordinal > ordinal else { continue }
        // The cleaner removed records meanwhile. Do not count those before the ordinal that was
        // asked for.
        if loss.cause == .cleaned, ordinalIsCounted { loss.records = self.ordinal - ordinal }
        owedLoss = loss
        return
      case .end:
        guard self.ordinal >= ordinal else {
          throw beyondLatest(
            "ordinal \(ordinal)", endAddress: position,
            endOrdinal: ordinalIsCounted ? self.ordinal : nil)
        }
        return
      }
    }
    if self.ordinal == ordinal { dropPending() }
  }

  /// Goes back to the record that was just passed on the way to an ordinal. It is the record asked
  /// for, or the next one that is left.
  private mutating func stop(at start: UInt64, _ passed: UInt64, for ordinal: UInt64) {
    goBack(to: start, passed)
    if passed == ordinal, pending?.isExactAfter == true { dropPending() }
  }

  // MARK: Time

  private mutating func seek(time: UInt64) throws(QueueError) {
    if let base = try lastSlab(where: { $0.stamp < time }) {
      if let mark = try lastMark(in: base, where: { $0.stamp < time }) {
        start(at: mark)
      } else {
        start(at: base)
      }
    } else if let base = index.bases.first(where: { !isVersion1($0) && !index.isPassedOver($0) }) {
      // Version 1 slabs count as older than any time.
      start(at: base)
    } else {
      try seekLatest()
    }
  }

  /// What both a slab's header and a mark state.
  struct Stated {
    var ordinal: UInt64
    var stamp: UInt64
  }

  /// The last slab for whose beginning `holds` is true. It must be true up to some slab, and false
  /// after it.
  private func lastSlab(where holds: (Stated) -> Bool) throws(QueueError) -> UInt64? {
    guard let topicID = index.topicID else { return nil }
    let bases = index.bases.filter { !isVersion1($0) && !index.isPassedOver($0) }
    var found: UInt64?
    var low = 0
    var high = bases.count
    while low < high {
      // A slab whose beginning is damaged states nothing: try the slabs before it.
      var middle = (low + high) / 2
      var stated: Stated?
      while stated == nil {
        let head = try SlabFile.open(bases[middle], in: index.storage)?.head().of(topicID: topicID)
        if let ordinal = head?.ordinal, let stamp = head?.stamp {
          stated = Stated(ordinal: ordinal, stamp: stamp)
        } else if middle > low {
          middle -= 1
        } else {
          break
        }
      }
      let tried = (low + high) / 2
      if let stated {
        if holds(stated) {
          found = bases[middle]
          low = tried + 1
        } else {
          high = middle
        }
      } else {
        low = tried + 1
      }
    }
    return found
  }

  /// The last mark of a slab for which `holds` is true. It must be true up to some mark, and false
  /// after it.
  private func lastMark(
    in base: UInt64, where holds: (Stated) -> Bool
  ) throws(QueueError) -> MarkAt? {
    guard let topicID = index.topicID, let slab = try SlabFile.open(base, in: index.storage),
      case .inside(_, let limit) = index.locate(base)
    else { return nil }
    var marks = MarkSearch(slab, topicID: topicID)
    var found: MarkAt?
    let content = min(limit, try slab.end())
    // The range in which the mark may start. A mark that starts below `high` may end after it.
    var low = base
    var high = content
    while low < high {
      let middle = low + (high - low) / 2
      let end = high + min(content - high, UInt64(Mark.byteCount - 1))
      guard let mark = try marks.first(from: middle, limit: end) else {
        high = middle
        continue
      }
      if holds(Stated(ordinal: mark.mark.ordinal, stamp: mark.mark.stamp)) {
        found = mark
        low = mark.end
      } else {
        high = middle
      }
    }
    guard let hint = found else { return nil }
    return try index.lastMark(of: slab, from: base, limit: content, near: hint.address) {
      holds(Stated(ordinal: $0.ordinal, stamp: $0.stamp))
    }
  }
}
