// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("Cleaning a topic")
struct SlabCleanerTests {
  private let made = CleaningTopic()
  private var storage: SimulatedStorage { made.storage }

  // MARK: Bounds

  @Test("by bytes: at least so many stay, and less than a slab more")
  func bytes() throws {
    try made.fill(slabs: 9)
    let total = made.sizes.reduce(0, +)
    for target in [total, total - 1, total / 2, 5000, 4097, 1] {
      let removed = try made.cleaner().clean(
        keeping: Retention(bytes: .bytes(Int64(target)), minimumBytes: .bytes(0))
      ).removals
      let left = made.sizes
      #expect(left.reduce(0, +) >= target)
      #expect(left.dropFirst().reduce(0, +) < target)
      #expect(removed.allSatisfy { $0.cause == .bytes(.bytes(Int64(target))) })
    }
    #expect(made.bases.count == 1)
  }

  @Test("by records: at least so many stay, and what was removed is counted")
  func records() throws {
    try made.fill(slabs: 9)
    let all = try readAll(made.topic).records
    var gone: UInt64 = 0
    for target in [all.count, all.count - 1, all.count / 2, 8, 1] {
      let removed = try made.cleaner().clean(
        keeping: Retention(records: UInt64(target), minimumBytes: .bytes(0))
      ).removals
      for removal in removed { gone += try #require(removal.records) }
      let left = try readAll(made.topic)
      #expect(left.records == Array(all.dropFirst(Int(gone))))
      #expect(left.losses == [])
      #expect(left.records.count >= target)
      let next = made.bases.dropFirst().first ?? .max
      #expect(left.records.filter { $0.address.rawValue >= next }.count < target)
    }
    #expect(made.bases.count < 3)
  }

  @Test("by age: a slab goes when its newest record is too old")
  func age() throws {
    let writer = try made.writer()
    for _ in 0..<6 {
      try made.roll(writer, times: 1)
      made.clock.advance(by: 3_600_000_000_000)
    }
    try made.roll(writer, times: 1)
    try writer.close()
    let bases = made.bases
    #expect(bases.count == 8)
    // The slabs were left at hours 0 to 6. Now it is hour 6.
    let plans = try [0, 1, 2, 5, 6].map {
      try made.cleaner().plan(
        keeping: Retention(age: .minutes($0 * 60 + 30), minimumBytes: .bytes(0))
      ).removals.count
    }
    #expect(plans == [6, 5, 4, 1, 0])
    let removed = try made.cleaner().clean(
      keeping: Retention(age: .minutes(90), minimumBytes: .bytes(0))
    ).removals
    #expect(removed.map(\.slab.rawValue) == Array(bases.prefix(5)))
    #expect(removed.first?.reason == "older than 90 minutes")
  }

  @Test("any one bound suffices; without one nothing goes")
  func anyBound() throws {
    try made.fill(slabs: 5)
    let most = Retention(age: .days(9), bytes: .gibibytes(1), records: 0, minimumBytes: .bytes(0))
    #expect(try made.cleaner().plan(keeping: most).removals.count == 4)
    let none = Retention(minimumBytes: .bytes(0))
    let report = try made.cleaner().clean(keeping: none)
    #expect(report == .init(removals: [], stopReason: .noBound))
    #expect(made.bases.count == 5)
  }

  @Test("the last slab stays, whatever the bounds say")
  func lastSlab() throws {
    try made.fill(slabs: 4)
    let last = try #require(made.bases.last)
    let report = try made.cleaner().clean(keeping: .nothing)
    #expect(report.removals.count == 3)
    #expect(report.stopReason == .lastSlab)
    #expect(made.bases == [last])
    // The next writer continues from there, and uses no address and no ordinal twice.
    let before = try readAll(made.topic)
    let writer = try made.writer()
    let address = try writer.append("next").address
    try writer.close()
    let after = try readAll(made.topic)
    #expect(address.rawValue > last)
    #expect(after.records.dropLast() == before.records[...])
    #expect(after.records.last?.ordinal == before.records.last.map { $0.ordinal + 1 })
  }

  @Test("the minimum stays, whatever the bounds say, counting only what is durable")
  func minimum() throws {
    try made.fill(slabs: 8)
    let unbounded = Retention(age: .seconds(0), bytes: .bytes(0), records: 0)
    // The minimum is 1 MiB by default.
    #expect(
      try made.cleaner().clean(keeping: unbounded)
        == .init(removals: [], stopReason: .minimum))
    for minimum in [20_000, 10_000, 4_000] as [Int64] {
      var retention = unbounded
      retention.minimumBytes = .bytes(minimum)
      let report = try made.cleaner().clean(keeping: retention)
      #expect(report.stopReason == .minimum)
      #expect(made.sizes.reduce(0, +) >= UInt64(minimum))
      #expect(made.sizes.dropFirst().reduce(0, +) < UInt64(minimum))
    }
  }

  // MARK: Dry run and order

  @Test("a dry run finds what would go, and changes nothing")
  func dryRun() throws {
    try made.fill(slabs: 6)
    let before = storage.slabs
    storage.logCalls()
    var reported: [SlabCleaner.Removal] = []
    let retention = Retention(records: 6, minimumBytes: .bytes(0))
    let planned = try made.cleaner().plan(keeping: retention) {
      reported.append($0)
    }
    #expect(!storage.calls.contains { $0.changes && $0 != .consumers })
    #expect(storage.slabs == before)
    #expect(reported == planned.removals)
    #expect(reported.count > 2)
    #expect(try made.cleaner().plan(keeping: retention).removals == reported)
    let sizes = made.sizes.prefix(reported.count)
    #expect(planned.removedBytes == .bytes(Int64(sizes.reduce(0, +))))
    #expect(planned.removedRecords == reported.reduce(0) { $0 + ($1.records ?? 0) })
    var unknown = planned
    unknown.removals[1].records = nil
    #expect(unknown.removedRecords == nil)
    #expect(try made.cleaner().clean(keeping: retention) == planned)
    #expect(made.bases == Array(before.keys.sorted().dropFirst(reported.count)))
  }

  @Test("each removal syncs the directory before, and the last one also behind")
  func order() throws {
    try made.fill(slabs: 4)
    let bases = made.bases
    storage.logCalls()
    try made.cleaner().clean(keeping: .nothing)
    let changes = storage.calls.filter { $0.changes && $0 != .consumers }
    let expected = bases.dropLast().flatMap {
      [SimulatedStorage.Call.syncDirectory, .remove(SlabName.string($0))]
    }
    #expect(changes == expected + [.syncDirectory])
    // Between two removals, the cleaner reads the consumers again. One listing is enough for all
    // removals.
    for pair in zip(bases.dropLast(), bases.dropFirst().dropLast()) {
      let first = try #require(storage.calls.firstIndex(of: .remove(SlabName.string(pair.0))))
      let second = try #require(storage.calls.firstIndex(of: .remove(SlabName.string(pair.1))))
      #expect(storage.calls[first..<second].contains(.consumers))
      #expect(!storage.calls[first..<second].contains(.list))
    }
  }

  @Test("only as many slabs are opened as hold what is kept, and as go")
  func laziness() throws {
    try made.fill(slabs: 40)
    storage.logCalls()
    let retention = Retention(age: .days(1), minimumBytes: .bytes(4096))
    #expect(try made.cleaner().plan(keeping: retention).removals == [])
    let opened = Set(
      storage.calls.compactMap { if case .open(let name) = $0 { name } else { nil } })
    #expect(opened.count <= 4)
  }

  @Test("what was removed before an error is told")
  func errorBetween() throws {
    try made.fill(slabs: 6)
    storage.setFault(
      SimulatedStorage.Fault(.fail(Errno.io), at: 3) { $0 == .syncDirectory })
    var reported: [SlabCleaner.Removal] = []
    let error = queueError {
      _ = try made.cleaner().clean(keeping: .nothing) { reported.append($0) }
    }
    #expect(error?.code == .syncFailed)
    #expect(reported.count == 2)
    #expect(made.bases.count == 4)
  }

  // MARK: Proof

  /// A writer that syncs nothing in the background.
  private func lazyWriter() throws -> QueueWriter {
    try QueueWriter(
      topic: made.topic, options: SmallTopic.options,
      environment: fixedEnvironment(made.clock, topicID: 77, background: .manual))
  }

  @Test("what nothing states to be durable is made durable before anything goes")
  func proof() throws {
    let writer = try lazyWriter()
    try made.roll(writer, times: 5)
    try writer.flush()
    let bases = made.bases
    made.storage.logCalls()
    let report = try made.cleaner().clean(keeping: .nothing)
    #expect(report.removals.count == 5)
    #expect(report.stopReason == .lastSlab)
    let calls = made.storage.calls.filter { call in
      if case .remove = call { true } else { call.isSync || call == .syncDirectory }
    }
    let first = try #require(calls.firstIndex(of: .remove(SlabName.string(bases[0]))))
    let synced = bases.map { SimulatedStorage.Call.sync(SlabName.string($0)) }
    #expect(Array(calls[..<first]) == [.syncDirectory] + synced + [.syncDirectory])
    // The slab that is left survives a power cut, although the writer never synced it.
    var random = SeededGenerator(seed: 3)
    for _ in 0..<20 {
      let after = made.storage.powerCut(using: &random)
      #expect(after.slabs.keys.sorted() == [bases[5]])
      let again = try QueueWriter(
        topic: Topic(storage: after), options: SmallTopic.options,
        environment: fixedEnvironment(made.clock, topicID: 78))
      #expect(try again.append("after").address.rawValue >= 1 << 40)
      let read = try readAll(Topic(storage: after))
      #expect(read.losses.allSatisfy { $0.cause == .cleaned })
      try again.close()
    }
    try writer.close()
  }

  @Test("where it cannot be made durable, nothing goes, and that is told")
  func noProof() throws {
    let writer = try lazyWriter()
    try made.roll(writer, times: 5)
    try writer.flush()
    let bases = made.bases
    made.storage.setFault(.init(.fail(Errno.io), at: 2) { $0.isSync })
    #expect(
      queueError { try made.cleaner().clean(keeping: .nothing) }?.code == .syncFailed)
    #expect(made.bases == bases)
    writer.dieForTesting()
  }

  @Test("what a crash has parted from the log proves nothing, and counts for no minimum")
  func behindAHole() throws {
    let writer = try lazyWriter()
    try made.roll(writer, times: 3)
    try writer.sync()
    try made.roll(writer, times: 6)
    try writer.flush()
    writer.dieForTesting()
    made.storage.kill()
    // The fifth slab gets a hole. No mark states that the slab was durable, so the log ends there.
    let bases = made.bases
    made.storage.flip(bit: 8 * 200, ofSlab: bases[4])
    let end = try readAll(made.topic).end.rawValue
    #expect(end > bases[4] && end < bases[5])
    for minimum in [0, 4096] as [Int64] {
      let report = try made.cleaner().plan(
        keeping: Retention(bytes: .bytes(0), minimumBytes: .bytes(minimum)))
      #expect(report.removals.map(\.slab.rawValue).allSatisfy { $0 < bases[4] })
      #expect(report.stopReason == (minimum == 0 ? .unproven : .minimum))
    }
  }

  // MARK: Topics without slabs

  @Test("an empty topic, one without slabs, and what is none")
  func noSlabs() throws {
    #expect(
      try made.cleaner().clean(keeping: .nothing)
        == .init(removals: [], stopReason: .empty))
    let directory = try TemporaryDirectory()
    func open(_ name: String) -> QueueError? {
      queueError {
        let report = try SlabCleaner(topic: Topic(directory.path + "/" + name))
          .clean(keeping: .nothing)
        #expect(report.stopReason == .empty)
      }
    }
    #expect(open("missing")?.code == .noSuchTopic)
    try writeFile(directory.path + "/locked/lock", [])
    #expect(open("locked") == nil)
    #expect(try snapshot(directory.path + "/locked") == ["lock": []])
    try writeFile(directory.path + "/other/photo.jpg", [1])
    #expect(open("other")?.code == .notATopic)
    #expect(open("other/photo.jpg")?.code == .notATopic)
  }

  @Test("in memory, and on the file system, with a reader in what goes")
  func places() throws {
    let directory = try TemporaryDirectory()
    for topic in [Topic.memory(), Topic(directory.path + "/topic")] {
      let writer = try QueueWriter(topic: topic, options: SmallTopic.options)
      for number in 0..<30 as Range<UInt64> {
        try writer.append(SmallTopic.payload(number, length: 700))
      }
      try writer.close()
      let all = try readAll(topic).records
      let reported = Reported()
      var reader = try QueueReader(topic: topic, options: SmallTopic.readerOptions) {
        reported.take($0)
      }
      let first = try reader.nextCopy()
      #expect(first == all.first)
      let removed = try SlabCleaner(topic: topic).clean(keeping: .nothing).removals
      #expect(removed.count > 3)
      var count = 1
      while try reader.nextCopy() != nil { count += 1 }
      #expect(reported.losses.map(\.cause) == [.cleaned])
      #expect(count + Int(reported.losses.first?.records ?? 0) == all.count)
      #expect(
        try readAll(topic).records
          == Array(all.dropFirst(Int(removed.reduce(0) { $0 + ($1.records ?? 0) }))))
    }
    #expect(try slabs(directory.path + "/topic").count == 1)
  }

  @Test("a consumers' directory that is a link, or a cursor that is a directory, stops everything")
  func linksAreNotFollowed() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/topic"
    let writer = try QueueWriter(topic: Topic(path), options: SmallTopic.options)
    for number in 0..<20 as Range<UInt64> {
      try writer.append(SmallTopic.payload(number, length: 700))
    }
    try writer.close()
    let before = try slabs(path)
    try writeFile(path + "/consumers/reader.cursor/file", [1])
    #expect(throws: QueueError.self) {
      try SlabCleaner(topic: Topic(path)).clean(keeping: .nothing)
    }
    try removeFile(path + "/consumers")
    try writeFile(path + "/consumers", [1])
    #expect(throws: QueueError.self) {
      try SlabCleaner(topic: Topic(path)).clean(keeping: .nothing)
    }
    #expect(try slabs(path) == before)
  }
}
