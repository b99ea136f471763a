// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Synchronization
import Testing

@testable import DiskQueue

@Suite("Cleaning beside others")
struct CleaningCompanyTests {
  private let made = CleaningTopic()
  private var storage: SimulatedStorage { made.storage }

  // MARK: Consumers

  @Test("a protected consumer holds what it has not acknowledged, and is named")
  func consumers() throws {
    try made.fill(slabs: 8)
    let bases = made.bases
    func both(_ address: UInt64) -> (CursorSlot, CursorSlot) {
      (made.slot(address), made.slot(address, generation: 2))
    }
    let (slow, slow2) = both(bases[2] + 200)
    let (fast, fast2) = both(bases[5])
    try made.putCursor("slow", slow, slow2)
    try made.putCursor("fast", fast, fast2)
    func report(_ consumers: Retention.Consumers) throws -> SlabCleaner.Report {
      var retention = Retention.nothing
      retention.consumers = consumers
      return try made.cleaner().plan(keeping: retention)
    }
    #expect(try report(.protected).stopReason == .consumer("slow"))
    #expect(try report(.protected).removals.count == 2)
    #expect(try report(.only(["fast"])).stopReason == .consumer("fast"))
    #expect(try report(.only(["fast"])).removals.count == 5)
    #expect(try report(.except(["slow"])) == report(.only(["fast"])))
    #expect(try report(.except(["fast"])) == report(.protected))
    #expect(try report(.ignored).stopReason == .lastSlab)
    #expect(try report(.except(["slow", "fast"])).removals.count == 7)
    #expect(queueError { _ = try report(.only(["fsat"])) }?.code == .invalidOption)

    try made.putCursor("fast", bytes: [1, 2, 3])
    let unreadable = try report(.protected)
    #expect(unreadable.removals == [])
    #expect(unreadable.stopReason == .unreadableConsumer("fast", reason: "it is damaged"))
    #expect(unreadable.stopReason.description.contains("fast"))
    #expect(made.bases == bases)
  }

  @Test("a consumer that is set back between two removals is respected")
  func setBack() throws {
    try made.fill(slabs: 6)
    let bases = made.bases
    try made.putCursor("reader", made.slot(.max), made.slot(.max, generation: 2))
    var count = 0
    let report = try made.cleaner().clean(keeping: .nothing) { _ in
      count += 1
      if count == 2 {
        try? made.putCursor("reader", made.slot(bases[3]), made.slot(bases[2], generation: 2))
      }
    }
    #expect(report.removals.count == 2)
    #expect(report.stopReason == .consumer("reader"))
    #expect(made.bases == Array(bases.dropFirst(2)))
  }

  @Test("a cursor that cannot be read, or a failed sync of one, lets nothing go")
  func unreadableConsumers() throws {
    try made.fill(slabs: 4)
    let bases = made.bases
    try made.putCursor("reader", made.slot(.max))
    for call in [SimulatedStorage.Call.read("consumers/reader.cursor"), .syncConsumers] {
      storage.setFault(SimulatedStorage.Fault(.fail(Errno.io), at: 1) { $0 == call })
      #expect(throws: QueueError.self) { try made.cleaner().clean(keeping: .nothing) }
    }
    #expect(made.bases == bases)
  }

  // MARK: Other cleaners, readers and writers

  @Test("two cleaners, one between any two removals of the other")
  func secondCleaner() throws {
    try made.fill(slabs: 9)
    let bases = made.bases
    var byOther: [SlabCleaner.Removal] = []
    var other = Retention(minimumBytes: .bytes(0))
    let all = try readAll(made.topic).records.count
    let byOne = try made.cleaner().clean(keeping: .nothing) { removal in
      // The other cleaner removes the next slab each time, and in the end all slabs.
      let left = (try? readAll(made.topic).records.count) ?? 0
      other.records = UInt64(max(0, left - (removal.slab.rawValue == bases[4] ? all : 7)))
      byOther += (try? made.cleaner().clean(keeping: other))?.removals ?? []
    }
    let removed = (byOne.removals + byOther).map(\.slab.rawValue).sorted()
    #expect(removed == Array(bases.dropLast()))
    #expect(byOther.count > 2)
    #expect(byOne.removals.count > 1)
    #expect(made.bases == [bases.last])
  }

  @Test("a reader in a slab that goes reads on in it, and is then told what it missed")
  func liveReader() throws {
    try made.fill(slabs: 6)
    let all = try readAll(made.topic).records
    let losses = Mutex<[Loss]>([])
    var reader = try QueueReader(
      topic: made.topic, options: SmallTopic.readerOptions
    ) { loss in losses.withLock { $0.append(loss) } }
    let first = try reader.nextCopy()
    #expect(first == all.first)
    let removals = try made.cleaner().clean(keeping: .nothing).removals
    let bases = Set(removals.map(\.slab))
    #expect(bases.count == 5)

    var seen = [first]
    while let record = try reader.nextCopy() { seen.append(record) }
    let reported = losses.withLock { $0 }
    #expect(reported.count == 1)
    #expect(reported.first?.cause == .cleaned)
    let lost = try #require(reported.first?.records)
    #expect(seen.count + Int(lost) == all.count)
    // The reader saw its whole slab, and the records that are left.
    let inFirst = Int(try #require(removals.first?.records))
    #expect(seen == Array(all[..<inFirst]) + Array(all[(inFirst + Int(lost))...]))
    // A reader that begins too late, at a cleaned address, gets the loss as well, once.
    let late = try readAll(made.topic, from: .address(all[1].address))
    #expect(late.losses.map(\.cause) == [.cleaned])
    #expect(try readAll(made.topic).losses == [])
  }

  @Test("a writer that rolls between any two removals loses nothing")
  func rollingWriter() throws {
    let writer = try made.writer()
    try made.roll(writer, times: 4)
    try writer.sync()
    try writer.append("with a mark before it")
    try writer.flush()
    let before = try readAll(made.topic).records
    var count: UInt64 = 0
    var failures = 0
    let report = try made.cleaner().clean(keeping: .nothing) { removal in
      count += removal.records ?? 0
      do { try made.roll(writer, times: 2) } catch { failures += 1 }
    }
    try writer.close()
    #expect(failures == 0)
    #expect(report.removals.count == 4)
    let after = try readAll(made.topic)
    #expect(after.losses == [])
    #expect(after.records.starts(with: before.dropFirst(Int(count))))
    #expect(
      after.records.last?.ordinal
        == after.records.first.map { $0.ordinal + UInt64(after.records.count) - 1 })
  }

  @Test("a slab that appears before the first one is not taken for it")
  func slabAppears() throws {
    try made.fill(slabs: 4)
    let bases = made.bases
    let first = try #require(storage.slabs[0])
    try made.cleaner().clean(
      keeping: Retention(
        bytes: .bytes(Int64(made.sizes.dropFirst().reduce(0, +))), minimumBytes: .bytes(0)))
    let left = made.bases
    #expect(left == Array(bases.dropFirst()))
    var isFirst = true
    let report = try made.cleaner().clean(keeping: .nothing) { _ in
      // Another program puts a slab back.
      if isFirst { storage.replace(slab: 0, with: first) }
      isFirst = false
    }
    #expect(report.removals.map(\.slab.rawValue).contains(0))
    #expect(made.bases == [bases.last])
  }
}
