// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueReader {
  /// Returns the range of the ordinals in the topic.
  ///
  /// The range begins with the earliest readable record. It ends with the ordinal that the next
  /// record will get.
  ///
  /// The position does not move. The range is empty if there is no record. It is `0..<0` in a new
  /// topic, and `0..<1` after one record. A cleaner or a writer may have changed the topic before
  /// this returns.
  ///
  /// - Throws: `unsupportedFormat` or `system`.
  /// - Complexity: Two listings of the directory, a walk from the last mark that is known to be
  ///   durable to the end, and a walk to the first record. The first call allocates a second
  ///   buffer.
  public mutating func ordinals() throws(QueueError) -> Range<UInt64> {
    makeLookup()
    var end = try lookup!.walker.endOrdinal()
    while true {
      let first = try lookup!.walker.firstOrdinal()
      if first < end { return first..<end }
      // There is no record, or all records before that end were dropped meanwhile.
      let newEnd = try lookup!.walker.endOrdinal()
      guard newEnd > end else { return newEnd..<newEnd }
      end = newEnd
    }
  }

  /// Returns the record with this ordinal. The position does not move.
  ///
  /// Records that you look up one after the other cost as much as with ``next()``.
  ///
  /// - Throws: One of these codes:
  ///   - `cleaned` if the record was cleaned, or `damaged` or `discarded` if it was lost.
  ///     Each call for it throws again.
  ///   - `notARecord` after damage of an unknown number of records.
  ///   - `beyondLatest` if the record was not appended yet.
  ///   - `payloadTooLarge`.
  ///   - As ``next()``.
  /// - Complexity: A search of O(log slabs) reads, and a walk from the last mark before the record,
  ///   about 64 KiB. Neither is necessary directly after the record that was looked up last.
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
      throw .loss(loss, path: walker.index.path(of: loss), isLookup: true)
    case .end:
      throw QueueError(
        .beyondLatest,
        "ordinal \(ordinal) belongs to the next record, which was not appended yet: read it again"
          + " after the next append",
        path: topic.description, address: lookup!.walker.position)
    }
  }

  /// Returns the error for an ordinal if the walk found another record instead. If the records in
  /// between are counted, the error is their damage. Otherwise it says that the record is not
  /// known.
  private mutating func noRecord(
    of ordinal: UInt64, before address: UInt64, _ found: UInt64
  ) throws(QueueError) -> QueueError {
    let isCounted = lookup!.walker.isExact && found > ordinal
    while isCounted, lookup!.walker.pending != nil {
      // The loss that every reader reports: for the whole stretch, with the next known ordinal.
      if case .loss(let loss) = try lookup!.walker.step() {
        return .loss(loss, path: walker.index.path(of: loss), isLookup: true)
      }
    }
    return QueueError(
      .notARecord,
      "no record is known to have ordinal \(ordinal): damage of an unknown number of records"
        + " precedes the next one, which has ordinal \(found). Read on from there",
      path: topic.description, address: address)
  }
}

extension LogWalker {
  /// Whether the ordinal of the record that was just passed is certain.
  fileprivate var isExact: Bool { ordinalIsCounted && pending?.isExactAfter != false }

  /// The ordinal that the next record will get.
  fileprivate mutating func endOrdinal() throws(QueueError) -> UInt64 {
    try seek(to: .latest, now: { 0 })
    return ordinal
  }

  /// The ordinal of the earliest readable record, before which the walk then stops. If there is no
  /// record, the ordinal of the next one.
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
