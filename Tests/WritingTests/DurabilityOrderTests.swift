// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("What is made durable, and in which order")
struct DurabilityOrderTests {
  private let storage = SimulatedStorage()
  private var topic: Topic { Topic(storage: storage) }

  private func writer(
    background: Environment.Background = .manual
  ) throws -> QueueWriter {
    try QueueWriter(
      topic: topic, options: SmallTopic.options, environment: .simulated(background: background))
  }

  /// Appends until the writer has left `times` slabs.
  private func roll(_ writer: QueueWriter, times: Int) throws {
    let before = storage.slabs.count
    var number: UInt64 = 0
    while storage.slabs.count < before + times {
      number += 1
      try writer.append(SmallTopic.payload(number, length: 700))
    }
  }

  private var changes: [SimulatedStorage.Call] { storage.calls.filter(\.changes) }

  @Test("a new topic is durable under its name, with its first slab, before an address is given")
  func newTopic() throws {
    storage.logCalls()
    _ = try writer()
    let slab = SlabName.string(0)
    #expect(
      changes == [
        .syncParent, .create(slab), .write(slab, offset: 0, count: 128), .sync(slab),
        .syncDirectory,
      ])
  }

  @Test("a roll syncs nothing")
  func roll() throws {
    let writer = try writer()
    storage.logCalls()
    try roll(writer, times: 3)
    #expect(changes.count > 3)
    #expect(!storage.calls.contains { $0.isSync || $0 == .syncDirectory || $0 == .syncParent })
  }

  @Test(
    "a sync syncs the directory, if slabs were made, and then the slabs, oldest first",
    arguments: [true, false])
  func sync(isWhole: Bool) throws {
    let writer = try writer()
    try roll(writer, times: 3)
    try writer.flush()
    let bases = storage.slabs.keys.sorted()
    storage.logCalls()
    if isWhole { try writer.sync() } else { try writer.syncLeftSlabs() }
    let syncs = (isWhole ? bases[...] : bases.dropLast()).map {
      SimulatedStorage.Call.sync(SlabName.string($0))
    }
    #expect(changes == [.syncDirectory] + syncs)

    // No slab was made since then, so the names need no second sync.
    try writer.append("more")
    try writer.flush()
    storage.logCalls()
    try writer.sync()
    if isWhole { #expect(changes == [.sync(SlabName.string(bases[3]))]) }
    #expect(!storage.calls.contains(.syncDirectory))
  }

  @Test("a slab that is left is synced by its appender, where nobody else does")
  func inlineSync() throws {
    let writer = try writer(background: .inline)
    storage.logCalls()
    try roll(writer, times: 4)
    let slabs = storage.slabs.keys.sorted().dropLast().map {
      SimulatedStorage.Call.sync(SlabName.string($0))
    }
    #expect(storage.calls.filter(\.isSync) == slabs)
    #expect(orderFault(in: storage.calls) == nil)
  }

  @Test("closing syncs all data before it writes the closing mark, and then that")
  func closing() throws {
    let writer = try writer()
    try writer.append("record")
    storage.logCalls()
    try writer.close()
    let slab = SlabName.string(0)
    #expect(
      changes == [
        .write(slab, offset: 128, count: 14), .sync(slab), .write(slab, offset: 142, count: 48),
        .sync(slab),
      ])
    #expect(storage.calls.last == .unlock)
  }

  @Test("the opening mark is durable before anything else is written")
  func opening() throws {
    try writer().close()
    let size = try #require(storage.slabs[0]?.count)
    storage.logCalls()
    let second = try writer()
    let slab = SlabName.string(0)
    let opened = changes
    #expect(
      opened.suffix(2) == [.write(slab, offset: UInt64(size), count: 48), .sync(slab)])
    #expect(opened.dropLast(2).allSatisfy { $0 == .syncDirectory || $0 == .sync(slab) })
    try second.close()
  }

  @Test("recovery syncs and forgets what is old before it judges, and the new epoch before it ends")
  func newEpoch() throws {
    let first = try writer()
    try roll(first, times: 2)
    try first.flush()
    first.dieForTesting()
    let old = storage.slabs.keys.sorted().map(SlabName.string)
    storage.logCalls()
    _ = try writer()
    let new = SlabName.string(1 << 40)
    let syncs = old.map { SimulatedStorage.Call.sync($0) }
    #expect(
      changes == [.syncDirectory] + syncs + [
        .create(new), .write(new, offset: 0, count: 128), .sync(new), .syncDirectory,
      ])
    for name in old {
      let dropped = try #require(storage.calls.firstIndex(of: .dropCache(name)))
      let synced = try #require(storage.calls.firstIndex(of: .sync(name)))
      #expect(synced < dropped)
    }
  }

  @Test("a recovery that cannot finish its slab removes it, and the next one has its name")
  func unfinishedRecovery() throws {
    try writer().dieForTesting()
    let new = SlabName.string(1 << 40)
    for failing in [SimulatedStorage.Call.sync(new), .write(new, offset: 0, count: 128)] {
      storage.setFault(SimulatedStorage.Fault(.fail(Errno.noSpace), at: 1) { $0 == failing })
      #expect(throws: QueueError.self) { try writer() }
      #expect(storage.slabs.keys.sorted() == [0])
    }
    let last = try writer()
    #expect(try last.append("record").address.rawValue == 1 << 40 + 128)
    try last.close()
  }

  @Test("G8: one writer at a time: a second is refused, and the dead one's lock is gone")
  func lock() throws {
    let first = try writer()
    let second = #expect(throws: QueueError.self) { try writer() }
    #expect(second?.code == .locked)
    first.dieForTesting()
    try writer().close()
    let third = try writer()
    storage.kill()
    try writer().close()
    // After the kill, the third writer cannot write any more.
    try third.append("nothing")
    #expect(throws: QueueError.self) { try third.flush() }
    #expect(EnginePass(topic).records.isEmpty)
  }
}
