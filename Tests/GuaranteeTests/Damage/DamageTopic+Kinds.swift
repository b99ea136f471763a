// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport

extension DamageTopic {
  /// The slabs at the front, and how the log ends.
  enum Kind: CaseIterable {
    /// Few marks, two epochs, closed twice.
    case small
    /// Two version 1 slabs, then two epochs with many marks. The second epoch was closed, opened
    /// and closed.
    case closed
    /// The same, but not closed: some records are synced, some only flushed.
    case open
  }

  init(_ kind: Kind) throws {
    switch kind {
    case .small:
      let small = try SmallTopic()
      try self.init(small.storage, small.records)
    case .closed, .open:
      var made = Made()
      made.putVersion1([0..<4, 4..<9])
      try made.write(22, syncingEvery: 6, closing: false)
      try made.write(12, syncingEvery: 5, closing: true)
      try made.write(13, syncingEvery: 6, closing: kind == .closed)
      try self.init(made.storage, made.records)
    }
  }

  /// A closed slab of less than 300 bytes, opened once more by a writer that was killed. The epoch
  /// after it states that all of it is synced.
  static func tiny() throws -> DamageTopic {
    var made = Made()
    try made.write(3, syncingEvery: 9, closing: true, length: { 5 + $0 * 3 })
    try made.write(0, syncingEvery: 9, closing: false)
    try made.write(1, syncingEvery: 9, closing: true, length: { _ in 9 })
    return try DamageTopic(made.storage, made.records)
  }

  /// A slab of 4 KiB, and another one after it.
  static func full() throws -> DamageTopic {
    var made = Made()
    while made.storage.slabs.count < 2 {
      guard made.records.isEmpty else { throw Complaint("one run fills it") }
      try made.write(60, syncingEvery: 17, closing: true, spacing: 700)
    }
    return try DamageTopic(made.storage, made.records)
  }

  private struct Made {
    let storage = SimulatedStorage()
    var records: [NaiveRecord] = []

    mutating func putVersion1(_ slabs: [Range<Int>]) {
      var base: UInt64 = 0
      for range in slabs {
        let bytes = ConsumerTopic.version1Slab(range)
        storage.replace(slab: base, with: bytes)
        var address = base
        for number in range {
          let payload = Array(ConsumerTopic.text(number).utf8)
          records.append(
            NaiveRecord(address, ordinal: UInt64(number), payload: payload))
          address += 8 + UInt64(payload.count)
        }
        base += UInt64(bytes.count)
      }
    }

    mutating func write(
      _ count: Int, syncingEvery interval: Int, closing: Bool, spacing: UInt64 = 256,
      length: (Int) -> Int = { $0 % 11 == 5 ? 0 : 20 + $0 * 37 % 190 }
    ) throws {
      var options = SmallTopic.options
      options.markSpacing = spacing
      let writer = try storage.writer(options)
      for number in 0..<count {
        let ordinal = UInt64(records.count)
        let payload = SmallTopic.payload(ordinal, length: length(records.count))
        let address = try writer.append(payload).address.rawValue
        records.append(NaiveRecord(address, ordinal: ordinal, payload: payload))
        if number % interval == interval - 1 { try writer.sync() }
      }
      if closing { return try writer.close() }
      try writer.flush()
      writer.dieForTesting()
    }
  }
}
