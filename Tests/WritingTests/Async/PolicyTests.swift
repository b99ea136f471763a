// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue
@testable import DiskQueueInspection

@Suite("Flushing and syncing of its own accord")
struct PolicyTests {
  private static let second: UInt64 = 1_000_000_000

  private func open(
    _ storage: SimulatedStorage, _ clock: ManualClock = ManualClock(),
    _ change: (inout QueueWriter.Options) -> Void
  ) throws -> QueueWriter {
    var options = QueueWriter.Options()
    options.flushEvery = .never
    change(&options)
    return try QueueWriter(
      topic: Topic(storage: storage), options: options, environment: fixedEnvironment(clock))
  }

  private func seen(_ storage: SimulatedStorage) throws -> Int {
    try readAll(Topic(storage: storage)).records.count
  }

  private func syncs(_ storage: SimulatedStorage) -> Int { storage.calls.count(where: \.isSync) }

  @Test("every third record is flushed by the append that brings it")
  func flushEveryRecords() throws {
    let storage = SimulatedStorage()
    let writer = try open(storage) { $0.flushEvery = .records(3) }
    var counts: [Int] = []
    for number in 0..<10 {
      try writer.append("record \(number)")
      counts.append(try seen(storage))
    }
    #expect(counts == [0, 0, 3, 3, 3, 6, 6, 6, 9, 9])
  }

  @Test("so many bytes are flushed by the append with which they are reached")
  func flushEveryBytes() throws {
    let storage = SimulatedStorage()
    // A frame is 20 bytes.
    let writer = try open(storage) { $0.flushEvery = .bytes(.bytes(60)) }
    var counts: [Int] = []
    for number in 10..<18 {
      try writer.append("record of \(number)")
      counts.append(try seen(storage))
    }
    #expect(counts == [0, 0, 3, 3, 3, 6, 6, 6])
  }

  @Test("a batch is flushed as its records come")
  func flushInBatch() throws {
    let storage = SimulatedStorage()
    let writer = try open(storage) { $0.flushEvery = .records(4) }
    try writer.append(contentsOf: (0..<10).map { Array("record \($0)".utf8) })
    #expect(try seen(storage) == 8)
  }

  @Test("every third record is synced by the append that brings it, and survives a power cut")
  func syncEveryRecords() throws {
    let storage = SimulatedStorage()
    let writer = try open(storage) { $0.syncEvery = .records(3) }
    storage.logCalls()
    for number in 0..<8 { try writer.append("record \(number)") }
    #expect(syncs(storage) == 2)
    var random = SeededGenerator(seed: 7)
    for _ in 0..<20 {
      let after = storage.powerCut(using: &random)
      let kept = try readAll(Topic(storage: after)).texts
      #expect(kept.count >= 6)
      #expect(kept == (0..<kept.count).map { "record \($0)" })
    }
    _ = writer
  }

  @Test("syncing every so many bytes counts from the last sync, whoever asked for it")
  func syncEveryBytes() throws {
    let storage = SimulatedStorage()
    let writer = try open(storage) { $0.syncEvery = .bytes(.bytes(60)) }
    storage.logCalls()
    try writer.append("record of 10")
    try writer.append("record of 11")
    try writer.sync()
    #expect(syncs(storage) == 1)
    // The mark that states the sync has 48 bytes, and they count as well.
    try writer.append("record of 12")
    #expect(syncs(storage) == 2)
  }

  @Test("a time is enough, when nothing more is appended")
  func flushEveryTime() throws {
    let storage = SimulatedStorage()
    let clock = ManualClock()
    let writer = try open(storage, clock) { $0.flushEvery = .seconds(1) }
    try writer.append("one")
    clock.advance(by: Self.second - 1)
    writer.runDueWork()
    #expect(try seen(storage) == 0)
    clock.advance(by: 1)
    writer.runDueWork()
    #expect(try seen(storage) == 1)
    // The time starts again with the next record.
    clock.advance(by: 10 * Self.second)
    try writer.append("two")
    writer.runDueWork()
    #expect(try seen(storage) == 1)
    clock.advance(by: Self.second)
    writer.runDueWork()
    #expect(try seen(storage) == 2)
  }

  @Test("a time syncs what came up to then, and what comes behind gets a time of its own")
  func syncEveryTime() throws {
    let storage = SimulatedStorage()
    let clock = ManualClock()
    let writer = try open(storage, clock) { $0.syncEvery = .seconds(1) }
    storage.logCalls()
    try writer.append("one")
    try writer.append("two")
    clock.advance(by: Self.second)
    writer.runDueWork()
    #expect(syncs(storage) == 1)
    clock.advance(by: 100 * Self.second)
    writer.runDueWork()
    #expect(syncs(storage) == 1)
    try writer.append("three")
    clock.advance(by: Self.second)
    writer.runDueWork()
    #expect(syncs(storage) == 2)
  }

  @Test("a time that comes when there is no room is set again, and nothing is lost")
  func timeWithoutRoom() throws {
    let storage = SimulatedStorage()
    let clock = ManualClock()
    let writer = try open(storage, clock) { $0.flushEvery = .seconds(1) }
    try writer.append("one")
    storage.setCapacity(storage.used)
    clock.advance(by: Self.second)
    writer.runDueWork()
    #expect(try seen(storage) == 0)
    storage.setCapacity(nil)
    clock.advance(by: Self.second)
    writer.runDueWork()
    #expect(try seen(storage) == 1)
  }

  @Test("a record that cannot be flushed when it should be is refused, and those before it stay")
  func refusedByPolicy() throws {
    let storage = SimulatedStorage()
    let writer = try open(storage) { $0.flushEvery = .records(2) }
    try writer.append("one")
    // The disk takes the first record and half of the second.
    storage.setCapacity(storage.used + 11 + 6)
    let error = queueError { try writer.append("two") }
    #expect(error?.code == .noSpace)
    #expect(error?.appended == 0)
    storage.setCapacity(nil)
    try writer.append("three")
    try writer.close()
    #expect(try readAll(writer.topic).texts == ["one", "three"])
    #expect(try readAll(writer.topic).records.map(\.ordinal) == [0, 1])
  }

  @Test("a long record is refused, too, with the marks around it")
  func longRecordRefused() throws {
    let storage = SimulatedStorage()
    let writer = try open(storage) { $0.flushEvery = .records(1) }
    try writer.append("one")
    storage.setCapacity(storage.used + 50_000)
    let long = [UInt8](repeating: 7, count: 100_000)
    #expect(queueError { try writer.append(long) }?.code == .noSpace)
    storage.setCapacity(nil)
    try writer.append("two")
    try writer.append(long)
    try writer.close()
    let read = try readAll(writer.topic)
    #expect(read.records.count == 3)
    #expect(read.losses.isEmpty)
    #expect(try TopicVerification(of: writer.topic) { _ in }.isDamaged == false)
  }

  @Test("a failed sync of the policy is told by the append that waited for it, and is final")
  func failedPolicySync() throws {
    let storage = SimulatedStorage()
    let writer = try open(storage) { $0.syncEvery = .records(2) }
    try writer.append("one")
    storage.setFault(.init(.fail(Errno.io), at: 1) { $0.isSync })
    let error = queueError { try writer.append("two") }
    #expect(error?.code == .syncFailed)
    #expect(error?.appended == 1)
    #expect(queueError { try writer.append("three") }?.code == .syncFailed)
  }

  @Test("the writer's own thread flushes and syncs when the time has come")
  func onTheThread() async throws {
    let storage = GatedStorage(try Topic.memory().openForReading())
    var options = QueueWriter.Options()
    options.flushEvery = .never
    options.syncEvery = .milliseconds(1)
    let writer = try QueueWriter(topic: Topic(storage: storage), options: options)
    let before = storage.gate.syncs
    try writer.append("one")
    await storage.gate.waitForSyncs(before + 1)
    try writer.append("two")
    await storage.gate.waitForSyncs(before + 2)
    #expect(try readAll(writer.topic).texts == ["one", "two"])
    try await writer.close()
  }

  @Test(
    "values out of bounds are refused",
    arguments: [
      Threshold.records(0), .bytes(.bytes(0)), .bytes(.bytes(-1)),
      .time(.zero), .time(.nanoseconds(999)), .seconds(-1),
    ])
  func bounds(_ interval: Threshold) {
    var options = QueueWriter.Options()
    options.flushEvery = interval
    #expect(queueError { try options.validate() }?.code == .invalidOption)
    options.flushEvery = .never
    options.syncEvery = interval
    #expect(queueError { try options.validate() }?.code == .invalidOption)
  }
}
