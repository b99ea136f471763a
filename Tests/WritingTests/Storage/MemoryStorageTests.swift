// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

/// A topic in memory behaves like one on disk.
@Suite("Files in memory")
struct MemoryStorageTests {
  private func read(_ file: any StorageFile) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 7, count: Int(try file.size()) + 10)
    let count = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
    return Array(bytes.prefix(count))
  }

  @Test("what is written behind the end has zeros before it")
  func pastTheEnd() throws {
    let file = try MemoryStorage(capacity: 10).create("file")
    let bytes: [UInt8] = [1, 2, 3]
    #expect(try file.write(bytes.span.bytes, at: 0) == 3)
    #expect(try file.write(bytes.span.bytes, at: 5) == 3)
    #expect(try read(file) == [1, 2, 3, 0, 0, 1, 2, 3])
    #expect(try file.write(bytes.span.bytes, at: 7) == 3)
    #expect(try read(file) == [1, 2, 3, 0, 0, 1, 2, 1, 2, 3])
  }

  @Test("where there is no room behind the zeros, nothing is written, and no room is taken")
  func noRoom() throws {
    let file = try MemoryStorage(capacity: 10).create("file")
    let bytes: [UInt8] = [1, 2, 3]
    for offset in [10, 11, UInt64(Int.max) - 1, .max] {
      #expect(throws: SystemError.self) { try file.write(bytes.span.bytes, at: offset) }
      #expect(try file.size() == 0)
    }
    #expect(try file.write(bytes.span.bytes, at: 8) == 2)
    #expect(try file.size() == 10)
  }

  @Test("a cursor's file that was cut behind its sound slot is gone on with")
  func shortCursor() async throws {
    let topic = try ConsumerTopic.memory(5)
    let slot = CursorSlot(generation: 2, topicID: 0, address: 0, ordinal: 0)
    try topic.putCursor("reader", slot.bytes(of: "reader"))
    let consumer = try ConsumerTopic.consumer(topic)
    let batch = try #require(try await consumer.nextBatch(upTo: 3, following: false))
    try await batch.acknowledge()
    try await consumer.close()
    #expect(consumer.ordinal == 3)
    guard case .sound(let holds, _, let count) = try topic.cursorSlots("reader") else {
      Issue.record("the file is not sound")
      return
    }
    #expect(holds.generation == 3)
    #expect(holds.address == consumer.position.rawValue)
    #expect(count == 2)
  }
}
