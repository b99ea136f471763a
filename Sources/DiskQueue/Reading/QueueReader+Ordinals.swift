// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueReader {
  /// The ordinals that the topic holds now: from that of the earliest record that can be read to the
  /// one that the next record will get. Empty where there is no record: `0..<0` in a new topic, where
  /// one record is `0..<1`. The position does not move.
  ///
  /// A cleaner or a writer may have changed it by the time it is returned.
  ///
  /// - Throws: `unsupportedFormat`, `system`.
  /// - Complexity: two listings of the directory, a walk from the last mark that is known to be durable
  ///   to the end, and one to the first record. The first call takes a second buffer.
  public mutating func ordinals() throws(QueueError) -> Range<UInt64> {
    makeLookup()
    var end = try lookup!.walker.endOrdinal()
    while true {
      let first = try lookup!.walker.firstOrdinal()
      if first < end { return first..<end }
      // There is none; or all that lay before that end was dropped meanwhile.
      let newEnd = try lookup!.walker.endOrdinal()
      guard newEnd > end else { return newEnd..<newEnd }
      end = newEnd
    }
  }

  /// The record that the topic took as the n-th, from its first ordinal on; the position does not move.
  ///
  /// Records that are asked for one after the other cost as much as ``next()`` each.
  ///
  /// - Throws: `beforeEarliest` where it was cleaned, `damaged` and `discarded` where it was lost, each
  ///   time that it is asked for; `notARecord` behind damage that nothing counts; `beyondLatest` where
  ///   it is still to come; `payloadTooLarge`; as `next`.
  /// - Complexity: a search of O(log slabs) reads, and a walk from the last mark before it, about
  ///   64 KiB; behind the record that was looked up last, none of both.
  @_lifetime(&self)
  public mutating func record(ordinal: UInt64) throws(QueueError) -> BorrowedRecord {
    makeLookup()
    try lookup!.seek(toOrdinal: ordinal)
    switch try lookup!.walker.step() {
    case .record(let address, let found, let payload):
      guard lookup!.walker.isExact, found == ordinal else {
        throw try noRecord(of: ordinal, before: address, found)
      }
      return lookup!.walker.record(address, found, at: payload.lowerBound, payload.count)
    case .tooLarge(let address, let count):
      let found = lookup!.walker.ordinal &- 1
      guard lookup!.walker.isExact, found == ordinal else {
        throw try noRecord(of: ordinal, before: address, found)
      }
      throw tooLarge(address, count)
    case .loss(let loss):
      throw .loss(loss, path: walker.index.path(of: loss))
    case .end:
      throw QueueError(
        .beyondLatest, "ordinal \(ordinal) is that of the next record: there is none of it yet",
        path: topic.description, address: lookup!.walker.position)
    }
  }

  /// What to tell of an ordinal in whose place another record was found: that it was damaged, where
  /// what lies between is counted, and else that nobody knows.
  private mutating func noRecord(
    of ordinal: UInt64, before address: UInt64, _ found: UInt64
  ) throws(QueueError) -> QueueError {
    let isCounted = lookup!.walker.isExact && found > ordinal
    while isCounted, lookup!.walker.pending != nil {
      // As every reader is told: for the whole stretch, with the next ordinal that is known.
      if case .loss(let loss) = try lookup!.walker.step() {
        return .loss(loss, path: walker.index.path(of: loss))
      }
    }
    return QueueError(
      .notARecord,
      "no record is known to be ordinal \(ordinal): there is damage that nothing counts before the"
        + " next one, which is \(found)",
      path: topic.description, address: address)
  }
}

extension LogWalker {
  /// Whether the ordinal of the record that was just passed is certain.
  fileprivate var isExact: Bool { ordinalIsCounted && pending?.isExactBehind != false }

  /// The ordinal that the next record will get.
  fileprivate mutating func endOrdinal() throws(QueueError) -> UInt64 {
    try seek(to: .latest, now: { 0 })
    return ordinal
  }

  /// That of the earliest record that can be read, before which it stands then; where there is none,
  /// that of the next one.
  fileprivate mutating func firstOrdinal() throws(QueueError) -> UInt64 {
    try seek(to: .earliest, now: { 0 })
    while true {
      switch try step() {
      case .record(let address, let found, _):
        goBack(to: address, found)
        return found
      case .tooLarge:
        return ordinal &- 1
      case .loss:
        continue
      case .end:
        return ordinal
      }
    }
  }
}
