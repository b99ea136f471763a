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
  /// - Complexity: one listing of the directory, and a walk from the last mark that is known to be
  ///   durable to the end. The first call takes a second buffer.
  public mutating func ordinals() throws(QueueError) -> Range<UInt64> {
    makeLookup()
    try lookup!.walker.seek(to: .latest, now: { 0 })
    let end = lookup!.walker.ordinal
    try lookup!.walker.seek(to: .earliest, now: { 0 })
    _ = try lookup!.walker.settleStart()
    let first = lookup!.walker.ordinal
    return first < end ? first..<end : end..<end
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
      guard found == ordinal else {
        throw QueueError(
          .notARecord,
          "no record is known to be ordinal \(ordinal): there is damage that nothing counts before the"
            + " next one, which is \(found)",
          path: topic.description, address: address)
      }
      return lookup!.walker.record(address, found, at: payload.lowerBound, payload.count)
    case .tooLarge(let address, let count):
      throw tooLarge(address, count)
    case .loss(let loss):
      throw .loss(loss, path: walker.index.path(of: loss))
    case .end:
      throw QueueError(
        .beyondLatest, "ordinal \(ordinal) is that of the next record: there is none of it yet",
        path: topic.description, address: lookup!.walker.position)
    }
  }
}
