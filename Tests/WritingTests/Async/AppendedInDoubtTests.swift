// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("The error for records that were appended, and whose level is in doubt")
struct AppendedInDoubtTests {
  private func open(_ storage: SimulatedStorage) throws -> QueueWriter {
    var options = QueueWriter.Options()
    options.flushEvery = .never
    return try QueueWriter(
      topic: Topic(storage: storage), options: options, environment: .simulated())
  }

  @Test(
    "on a full disk says that the record waits in memory; the next flush that succeeds stores it",
    arguments: [Durability.flushed, .synced])
  func fullDisk(level: Durability) async throws {
    let storage = SimulatedStorage()
    let writer = try open(storage)
    try await writer.append("one", ensuring: level)
    storage.setCapacity(storage.used)
    let error = await queueError { _ = try await writer.append("two", ensuring: level) }
    #expect(error?.code == .noSpace)
    #expect(error?.appended == 1)
    let message = try #require(error?.message)
    #expect(message.contains("The record waits in the writer's memory"))
    #expect(message.contains("Do not append it again"))
    #expect(!message.contains("in the log"))
    #expect(try readAll(writer.topic).texts == ["one"])
    let batch = await queueError {
      _ = try await writer.append(contentsOf: ["three", "four"], ensuring: level)
    }
    #expect(batch?.appended == 2)
    #expect(batch?.message.contains("wait in the writer's memory") == true)
    storage.setCapacity(nil)
    try await writer.flush()
    let read = try readAll(writer.topic)
    #expect(read.texts == ["one", "two", "three", "four"])
    #expect(read.records[1].address == error?.address)
    try await writer.close()
  }

  @Test("on a full disk the record is gone if the process ends before")
  func fullDiskAndEnd() async throws {
    let storage = SimulatedStorage()
    let writer = try open(storage)
    storage.setCapacity(storage.used)
    let error = await queueError { _ = try await writer.append("lost", ensuring: .flushed) }
    #expect(error?.appended == 1)
    #expect(error?.message.contains("If the process ends before, it is lost") == true)
    writer.dieForTesting()
    storage.setCapacity(nil)
    #expect(try readAll(writer.topic).texts == [])
  }

  @Test("after a write that failed for another reason, the record waits in memory as well")
  func failedWrite() async throws {
    let storage = SimulatedStorage()
    let writer = try open(storage)
    storage.setFault(
      .init(.fail(Errno.io), at: 1) { call in
        if case .write = call { true } else { false }
      })
    let error = await queueError { _ = try await writer.append("kept", ensuring: .flushed) }
    #expect(error?.code == .system(errno: Errno.io))
    #expect(error?.appended == 1)
    #expect(error?.message.contains("The record waits in the writer's memory") == true)
    try await writer.close()
    #expect(try readAll(writer.topic).texts == ["kept"])
  }

  @Test("after a failed sync says that the record may be lost")
  func failedSync() async throws {
    let storage = SimulatedStorage()
    let writer = try open(storage)
    storage.setFault(.init(.fail(Errno.io), at: 1) { $0.isSync })
    let error = await queueError { _ = try await writer.append("in doubt", ensuring: .synced) }
    #expect(error?.code == .syncFailed)
    #expect(error?.appended == 1)
    let message = try #require(error?.message)
    #expect(message.contains("The record may be lost: read its address"))
    #expect(!message.contains("in the log"))
  }

  @Test("of a cancelled task says that the record is in the log")
  func cancelled() async throws {
    let writer = try QueueWriter(
      topic: Topic(storage: GatedStorage(try Topic.memory().openForReading())))
    let task = Task {
      withUnsafeCurrentTask { $0?.cancel() }
      return try await writer.append("kept", ensuring: .synced)
    }
    let error = await queueError { _ = try await task.value }
    #expect(error?.code == .cancelled)
    #expect(error?.message.contains("is in the log, and only the durability is in doubt") == true)
    try await writer.close()
    #expect(try readAll(writer.topic).texts == ["kept"])
  }
}
