// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Synchronization
import Testing

@testable import DiskQueue

@Suite("Group commit")
struct GroupCommitTests {
  private func gated() throws -> (GatedStorage, QueueWriter) {
    let storage = GatedStorage(try Topic.memory().openForReading())
    let writer = try QueueWriter(topic: Topic(storage: storage))
    return (storage, writer)
  }

  @Test("whoever comes first takes turns, and whoever comes meanwhile shares the next")
  func turns() {
    let commit = GroupCommit()
    let starts = [commit.want(), commit.want()]
    commit.beginTurn()
    let startsAgain = commit.want()
    let goesOn = commit.endTurn()
    commit.beginTurn()
    let endsThen = !commit.endTurn()
    let startsAnew = commit.want()
    #expect(starts == [true, false])
    #expect(!startsAgain)
    #expect(goesOn)
    #expect(endsThen)
    #expect(startsAnew)
  }

  @Test("64 tasks that append at the same time share two syncs: the one that runs, and the next")
  func sharing() async throws {
    let (storage, writer) = try gated()
    let before = storage.gate.syncs
    for round in 0..<20 {
      storage.gate.close()
      let tasks = (0..<64).map { number in
        Task { try await writer.append("record \(round)/\(number)", ensuring: .synced) }
      }
      // The gate holds the first task's sync until all tasks have appended.
      while writer.core.updateTail({ $0.ordinal }) < UInt64(64 * (round + 1)) { await Task.yield() }
      storage.gate.open()
      var addresses: Set<Address> = []
      for task in tasks { addresses.insert(try await task.value.address) }
      #expect(addresses.count == 64)
    }
    #expect(storage.gate.syncs - before <= 2 * 20)
    #expect(try readAll(writer.topic).records.count == 64 * 20)
    try await writer.close()
  }

  @Test("one task needs one sync a record, and no more")
  func oneTask() async throws {
    let (storage, writer) = try gated()
    let before = storage.gate.syncs
    for number in 0..<50 { try await writer.append("record \(number)", ensuring: .synced) }
    #expect(storage.gate.syncs - before == 50)
    try await writer.close()
  }

  @Test("appending goes on while a sync runs")
  func appendingGoesOn() async throws {
    let (storage, writer) = try gated()
    try writer.append("first")
    let before = storage.gate.syncs
    storage.gate.close()
    async let synced: Void = writer.sync()
    await storage.gate.waitForSyncs(before + 1)
    for number in 0..<10_000 { try writer.append("meanwhile \(number)") }
    try await writer.flush()
    #expect(try readAll(writer.topic).records.count == 10_001)
    storage.gate.open()
    try await synced
    try await writer.close()
  }

  @Test("a waiter that is cancelled leaves at once, the record stays, and the error says so")
  func cancellation() async throws {
    let (storage, writer) = try gated()
    let before = storage.gate.syncs
    storage.gate.close()
    let task = Task { try await writer.append("kept", ensuring: .synced) }
    await storage.gate.waitForSyncs(before + 1)
    task.cancel()
    let error = await #expect(throws: QueueError.self) { try await task.value }
    #expect(error?.code == .cancelled)
    #expect(error?.appended == 1)
    let record = try readAll(writer.topic).records.first
    #expect(record?.text == "kept")
    #expect(error?.address == record?.address)
    storage.gate.open()
    try await writer.close()
    #expect(try readAll(writer.topic).texts == ["kept"])
  }

  @Test("a task that was cancelled before appends, and says so")
  func cancelledBefore() async throws {
    let (_, writer) = try gated()
    let task = Task {
      withUnsafeCurrentTask { $0?.cancel() }
      return try await writer.append("kept all the same", ensuring: .synced).address
    }
    let error = await #expect(throws: QueueError.self) { try await task.value }
    #expect(error?.code == .cancelled)
    #expect(error?.appended == 1)
    try await writer.close()
    #expect(try readAll(writer.topic).texts == ["kept all the same"])
  }

  @Test("a level below synced needs no sync, and flushed is seen by a reader")
  func flushedOnly() async throws {
    let (storage, writer) = try gated()
    let before = storage.gate.syncs
    try await writer.append("a buffered one", ensuring: .buffered)
    try await writer.append("a flushed one", ensuring: .flushed)
    #expect(storage.gate.syncs == before)
    #expect(try readAll(writer.topic).texts == ["a buffered one", "a flushed one"])
    try await writer.close()
  }

  @Test("a failed sync fails all who wait, and all who come")
  func failedSync() async throws {
    let (storage, writer) = try gated()
    let before = storage.gate.syncs
    storage.gate.close()
    let tasks = (0..<10).map { number in
      Task { try await writer.append("doomed \(number)", ensuring: .synced) }
    }
    await storage.gate.waitForSyncs(before + 1)
    storage.gate.fail(SystemError(errno: Errno.io, call: "fdatasync"))
    storage.gate.open()
    for task in tasks {
      let error = await #expect(throws: QueueError.self) { try await task.value }
      #expect(error?.code == .syncFailed)
    }
    let later = await #expect(throws: QueueError.self) {
      try await writer.append("later", ensuring: .flushed)
    }
    #expect(later?.code == .syncFailed)
    #expect(later?.appended == 0)
    #expect(storage.gate.syncs == before + 1)
  }

  @Test("a batch is waited for as a whole, and its addresses are right")
  func batch() async throws {
    let (storage, writer) = try gated()
    let before = storage.gate.syncs
    let texts = (0..<5000).map { "record \($0)" }
    let addresses = try await writer.append(contentsOf: texts, ensuring: .synced).addresses
    #expect(storage.gate.syncs - before == 1)
    let read = try readAll(writer.topic)
    #expect(read.texts == texts)
    #expect(read.records.first?.address == addresses.lowerBound)
    #expect(read.end == addresses.upperBound)
    try await writer.close()
  }

  @Test("a close that blocks brings whoever waits to their level, and tells nobody that it closed")
  func blockingClose() async throws {
    let (storage, writer) = try gated()
    let before = storage.gate.syncs
    storage.gate.close()
    let one = Task { try await writer.append("one", ensuring: .synced) }
    await storage.gate.waitForSyncs(before + 1)
    let two = Task { try await writer.append("two", ensuring: .synced) }
    while writer.core.synced.waiterCount < 2 { await Task.yield() }
    let closing = Task.detached { try { () throws(QueueError) in try writer.close() }() }
    while !writer.core.updateTail({ $0.isClosed }) { await Task.yield() }
    storage.gate.open()
    _ = try await one.value
    _ = try await two.value
    try await closing.value
    #expect(try readAll(writer.topic).texts == ["one", "two"])
  }

  // The time limit catches a close that hangs. It allows for a busy machine.
  @Test("a close ends, however many go on appending", .timeLimit(.minutes(10)))
  func closeAmongMany() async throws {
    let (_, writer) = try gated()
    let tasks = (0..<30).map { number in
      Task {
        var count: UInt64 = 0
        while (try? await writer.append("record \(number)", ensuring: .synced)) != nil {
          count += 1
        }
        return count
      }
    }
    while writer.core.updateTail({ $0.ordinal }) < 300 { await Task.yield() }
    try await writer.close()
    var landed: UInt64 = 0
    for task in tasks { landed += await task.value }
    #expect(landed == writer.core.updateTail { $0.ordinal })
  }

  @Test("a batch counts the record whose sync failed")
  func batchCount() throws {
    var options = QueueWriter.Options()
    options.syncEvery = .records(3)
    func failing() throws -> QueueWriter {
      let storage = SimulatedStorage()
      let writer = try QueueWriter(
        topic: Topic(storage: storage), options: options, environment: fixedEnvironment())
      storage.setFault(.init(.fail(Errno.io), at: 1, isLasting: true) { $0.isSync })
      return writer
    }
    let texts = try failing()
    #expect(queueError { try texts.append(contentsOf: ["a", "b", "c", "d"]) }?.appended == 3)
    let bytes = try failing()
    let payloads: [[UInt8]] = [[1], [2], [3], [4]]
    #expect(queueError { try bytes.append(contentsOf: payloads) }?.appended == 3)
  }

  @Test("closing while tasks wait brings all of them to their level")
  func closing() async throws {
    let (storage, writer) = try gated()
    let before = storage.gate.syncs
    storage.gate.close()
    let tasks = (0..<20).map { number in
      Task { try await writer.append("record \(number)", ensuring: .synced) }
    }
    await storage.gate.waitForSyncs(before + 1)
    async let closed: Void = writer.close()
    storage.gate.open()
    try await closed
    var landed = 0
    for task in tasks {
      do {
        _ = try await task.value
        landed += 1
      } catch let error as QueueError {
        // This append came after the writer was closed.
        #expect(error.code == .closed && error.appended == 0)
      }
    }
    #expect(try readAll(writer.topic).records.count == landed)
  }
}
