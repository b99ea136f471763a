// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("A last slab that is cut off")
struct TruncationTests {
  /// The last slab, and whether a cut leaves a closing mark at its end.
  private struct Last {
    var base: UInt64
    var bytes: [UInt8]

    init(_ small: SmallTopic) throws {
      let last = small.storage.slabs.max { $0.key < $1.key }
      base = try #require(last?.key)
      bytes = try #require(last?.value)
    }

    /// Whether a mark that states its own end as synced ends at this length.
    func isClosed(at length: Int) -> Bool {
      guard length >= 128 else { return false }
      let mark = bytes[(length - 48)..<length]
      let stated = mark.dropFirst(24).prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
      return mark.prefix(4).allSatisfy { $0 == 0xFF } && stated == base + UInt64(length)
    }
  }

  @Test("G4, G6: a writer keeps what is before the cut, and goes on in a new epoch")
  func recovery() throws {
    let small = try SmallTopic()
    let last = try Last(small)
    var failures: [String] = []
    for length in 0..<last.bytes.count where !last.isClosed(at: length) {
      let storage = small.storage.copy()
      storage.replace(slab: last.base, with: Array(last.bytes[..<length]))
      let before = storage.slabs
      let kept = small.records.filter { $0.end <= last.base + UInt64(length) }
      let writer = try storage.writer(SmallTopic.options)
      let payload = SmallTopic.payload(UInt64(1000 + length), length: 100)
      let address = try writer.append(payload).address.rawValue
      try writer.flush()
      if writer.recovery.state != .recovered || address >> 40 != last.base >> 40 + 1 {
        failures.append("length \(length): \(writer.recovery.state), address \(address)")
      }
      let pass = EnginePass(Topic(storage: storage), options: SmallTopic.readerOptions)
      let new = NaiveRecord(address, ordinal: UInt64(kept.count), payload: payload)
      if pass.records != kept + [new] || !pass.losses.isEmpty {
        failures.append("length \(length): other records than those kept and the new one")
      }
      if before.contains(where: { storage.slabs[$0.key] != $0.value }) {
        failures.append("length \(length): an old slab was changed")
      }
      writer.dieForTesting()
    }
    #expect(failures == [])
  }

  @Test("cut behind an earlier closing mark, it looks as it did when it was closed there")
  func cutWhereItWasClosed() throws {
    let small = try SmallTopic()
    let last = try Last(small)
    var lengths = (0..<last.bytes.count).filter(last.isClosed)
    lengths.append(last.bytes.count)
    for length in lengths {
      let storage = small.storage.copy()
      storage.replace(slab: last.base, with: Array(last.bytes[..<length]))
      let writer = try storage.writer(SmallTopic.options)
      #expect(writer.recovery.state == .clean, "length \(length)")
      #expect(writer.recovery.end.rawValue == last.base + UInt64(length))
      try writer.close()
    }
  }
}
