// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@testable import DiskQueue

@Suite("G10: a cursor's file, its lock and their names")
struct CursorMakingTests {
  private typealias Call = SimulatedStorage.Call

  // MARK: Power cuts

  /// Two consumers acknowledge everything. One of them is deleted and made again beside the other.
  /// Parts of its new file that did not reach the disk hold the bytes of the old files.
  private func run(_ storage: SimulatedStorage) async -> (made: Bool, isGone: Bool) {
    let topic = Topic(storage: storage)
    var made = false
    var isGone = false
    do {
      for name in ["new", "other"] {
        let consumer = try ConsumerTopic.consumer(topic, name)
        while let batch = try await consumer.nextBatch(upTo: 10, following: false) {
          try await batch.acknowledge()
        }
        try await consumer.close()
      }
      try QueueConsumer.delete("new", of: topic)
      isGone = true
      try await ConsumerTopic.consumer(topic, "new", from: .ordinal(3)).close()
      made = true
    } catch {
      #expect(storage.isDead, "\(error)")
    }
    return (made, isGone)
  }

  @Test("a power cut at any call leaves no consumer at a position that an older file had held")
  func crashes() async throws {
    let full = SimulatedStorage()
    try ConsumerTopic.append(0..<40, to: Topic(storage: full))
    var number = 0
    var isDead = true
    var gone = 0
    while isDead, number < 400 {
      number += 1
      for seed in UInt64(1)...12 {
        let storage = full.copy(seed: seed &* 77 &+ UInt64(number))
        storage.setFault(SimulatedStorage.Fault(.die, at: number))
        let (made, isGone) = await run(storage)
        isDead = storage.isDead
        guard isGone else { continue }
        gone += 1
        var random = SeededGenerator(seed: seed &* 31 &+ UInt64(number))
        let cut = storage.powerCut(using: &random)
        guard !cut.slabs.isEmpty else { continue }
        let note: Comment = "call \(number), seed \(seed)"
        let found = try QueueConsumer.consumers(of: Topic(storage: cut)).first { $0.name == "new" }
        // The power cut leaves no consumer, or the one that was made, but never the deleted one.
        #expect(found == nil ? !made : found?.state == .sound && found?.ordinal == 3, note)
        let consumer = try ConsumerTopic.consumer(Topic(storage: cut), "new", from: .ordinal(3))
        #expect(consumer.ordinal == 3, note)
        try await consumer.close()
      }
    }
    #expect(number > 20 && number < 400 && gone > 20)
  }

  @Test("what a crash left under the unfinished name is neither listed nor copied, nor kept")
  func leftover() throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    try ConsumerTopic.append(0..<10, to: topic)
    try ConsumerTopic.consumer(topic, "other").close()
    let directory = try storage.consumers(creating: false)
    let slot = CursorSlot(generation: 7, topicID: 1, address: 99, ordinal: 9)
    _ = try directory.create("reader.cursor.new").write(
      CursorSlots.first(slot, of: "reader").span.bytes, at: 0)
    #expect(try QueueConsumer.consumers(of: topic).map(\.name) == ["other"])
    let holds = try ConsumerHolds(
      of: storage, protecting: .protected, topicID: nil, beginsWithVersion1: true)
    #expect(holds.consumers == 1)
    let copy = SimulatedStorage()
    try TopicCopy.copy(storage, to: copy)
    #expect(try Topic(storage: copy).cursorFiles() == ["other.cursor"])
    let consumer = try ConsumerTopic.consumer(topic)
    #expect(consumer.ordinal == 0)
    try consumer.close()
    #expect(
      try topic.cursorFiles() == ["other.cursor", "other.lock", "reader.cursor", "reader.lock"])
  }

  // MARK: The owner of a slot

  @Test("a slot of another consumer is damaged, whatever its hash says")
  func otherName() async throws {
    let topic = Topic(storage: SimulatedStorage())
    try ConsumerTopic.append(0..<40, to: topic)
    let consumer = try ConsumerTopic.consumer(topic, "other")
    for _ in 0..<3 { try await consumer.nextBatch(upTo: 10)?.acknowledge() }
    try await consumer.close()
    let bytes = try topic.cursor("other")
    try topic.putCursor("reader", bytes)
    #expect(queueError { _ = try ConsumerTopic.consumer(topic) }?.code == .damagedCursor)
    #expect(try QueueConsumer.consumers(of: topic).map(\.state) == [.sound, .damaged])
    // A foreign slot beside one of the consumer's own, whether newer or older.
    let own = CursorSlots.first(
      CursorSlot(generation: 1, topicID: 0, address: 0, ordinal: 0), of: "reader")
    try topic.putCursor("reader", Array(bytes[..<4096]) + own[4096...])
    #expect(try ConsumerTopic.consumer(topic).ordinal == 0)
  }

  @Test("a version 1 cursor is read, and both its slots become version 2 with the next write")
  func version1() async throws {
    let topic = Topic(storage: SimulatedStorage())
    try ConsumerTopic.append(0..<40, to: topic)
    let made = try ConsumerTopic.consumer(topic)
    for _ in 0..<2 { try await made.nextBatch(upTo: 10)?.acknowledge() }
    try await made.close()
    guard case .sound(var slot, _, count: 2) = try topic.cursorSlots("reader") else {
      Issue.record("two slots")
      return
    }
    #expect(slot.version == 2 && slot.generation == 3)
    var bytes = try topic.cursor("reader")
    slot.version = 1
    for generation in [2, 3] as [UInt64] {
      slot.generation = generation
      let start = Int(CursorSlots.offset(ofGeneration: generation))
      // Any name is right, because version 1 does not state the consumer's name.
      bytes.replaceSubrange(start..<start + 64, with: slot.bytes(of: "anyone"))
    }
    try topic.putCursor("reader", bytes)
    let consumer = try ConsumerTopic.consumer(topic)
    #expect(consumer.ordinal == 20)
    #expect(try topic.cursor("reader") == bytes)
    try await consumer.nextBatch(upTo: 5)?.acknowledge()
    try await consumer.close()
    let after = try topic.cursor("reader")
    #expect(after[8] == 2 && after[4096 + 8] == 2)
    guard case .sound(let holds, let lowest, count: 2) = try topic.cursorSlots("reader") else {
      Issue.record("two slots")
      return
    }
    #expect(holds.ordinal == 25 && lowest == holds.address)
  }

  @Test("beside version 2, only the version 1 slot before it counts")
  func mixed() throws {
    let topic = Topic(storage: SimulatedStorage())
    let addresses = try ConsumerTopic.append(0..<40, to: topic)
    func ordinal(old: UInt64, new: UInt64) throws -> UInt64? {
      var bytes = [UInt8](repeating: 0, count: 8192)
      for (generation, version, ordinal) in [(old, 1, 30), (new, 2, 10)] as [(UInt64, UInt16, Int)]
      {
        let slot = CursorSlot(
          generation: generation, topicID: 0, address: addresses[ordinal].rawValue,
          ordinal: UInt64(ordinal), version: version)
        let start = Int(CursorSlots.offset(ofGeneration: generation))
        bytes.replaceSubrange(start..<start + 64, with: slot.bytes(of: "reader"))
      }
      guard case .sound(let holds, _, let count) = CursorSlots.read(bytes.span.bytes, of: "reader")
      else { return nil }
      #expect(count == (old + 1 == new ? 2 : 1))
      return holds.ordinal
    }
    #expect(try ordinal(old: 4, new: 5) == 10)
    #expect(try ordinal(old: 6, new: 5) == 10)
    #expect(try ordinal(old: 900, new: 5) == 10)
    #expect(try ordinal(old: 3, new: 8) == 10)
  }

  // MARK: Names that lead elsewhere

  @Test(
    "a consumer whose file, lock or directory was taken away acknowledges nothing more",
    arguments: ["cursor removed", "cursor replaced", "lock removed", "lock replaced", "directory"])
  func names(_ what: String) async throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/topic"
    let topic = Topic(path)
    try ConsumerTopic.append(0..<20, to: topic)
    let consumer = try QueueConsumer(topic: topic, name: "reader")
    let batch = try #require(try await consumer.nextBatch(upTo: 10))
    try await batch.acknowledge(through: 2)
    let consumers = path + "/consumers"
    let file = consumers + (what.hasPrefix("cursor") ? "/reader.cursor" : "/reader.lock")
    if what == "directory" {
      try FileManager.default.moveItem(atPath: consumers, toPath: path + "/.elsewhere")
      try writeFile(consumers + "/.keep", [])
    } else {
      let bytes = try readFile(file)
      // The file stays under another name, so that its inode number is not given to another file.
      try FileManager.default.moveItem(atPath: file, toPath: file + ".kept")
      if what.hasSuffix("replaced") { try writeFile(file, bytes) }
    }
    for _ in 0..<2 {
      let error = await queueError { try await batch.acknowledge() }
      #expect(error?.code == .fileRemoved)
      #expect(error?.path == (what == "directory" ? consumers : file))
      #expect(error?.message.contains("while this consumer had it open") == true)
    }
    #expect(consumer.ordinal == 3)
    #expect(await queueError { _ = try await consumer.nextBatch(upTo: 1) }?.code == .fileRemoved)
    #expect(await queueError { try await consumer.close() }?.code == .fileRemoved)
  }

  @Test("a name that is taken away at any call of an acknowledgement is found before it returns")
  func atEveryCall() async throws {
    var number = 0
    var hasStruck = true
    while hasStruck, number < 100 {
      number += 1
      for name in ["reader.cursor", "reader.lock"] {
        let storage = SimulatedStorage()
        let topic = Topic(storage: storage)
        try ConsumerTopic.append(0..<20, to: topic)
        let consumer = try ConsumerTopic.consumer(topic)
        let batch = try #require(try await consumer.nextBatch(upTo: 10))
        let directory = try storage.consumers(creating: false)
        let calls = Countdown(number)
        storage.setHook { call in
          if call.changes, calls.strikes() { try? directory.remove(name) }
        }
        let error = await queueError { try await batch.acknowledge() }
        hasStruck = calls.hasStruck
        storage.setHook(nil)
        // A removal before the last call that changes anything is found.
        #expect(error?.code == (hasStruck ? .fileRemoved : nil), "\(name) at \(number)")
        #expect(consumer.ordinal == (hasStruck ? 0 : 10))
      }
    }
    #expect(number > 2 && number < 100)
  }

  // MARK: The lock

  @Test("a lock on a cursor's file, as a reader may take one, keeps nobody out")
  func readersLock() throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    try ConsumerTopic.append(0..<5, to: topic)
    try QueueConsumer(topic: topic, name: "reader").close()
    let path = directory.path + "/topic/consumers"
    let consumers = try Syscalls.openDirectory(path)
    let file = try Syscalls.openFile(inDirectory: consumers, "reader.cursor", writable: true)
    defer {
      Syscalls.closeFile(file)
      Syscalls.closeFile(consumers)
    }
    try Syscalls.lock(file)
    let consumer = try QueueConsumer(topic: topic, name: "reader")
    #expect(consumer.ordinal == 0)
    try consumer.close()
    try QueueConsumer.delete("reader", of: topic)
    #expect(try topic.cursorFiles() == [])
  }

  @Test("who is locked out is told which process noted itself, and whether it is running")
  func holder() throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    try ConsumerTopic.append(0..<5, to: topic)
    let consumer = try QueueConsumer(topic: topic, name: "reader")
    func message() -> String {
      let error = queueError { _ = try QueueConsumer(topic: topic, name: "reader") }
      #expect(error?.code == .locked)
      return error?.message ?? ""
    }
    #expect(message().contains("(process \(Syscalls.processID), which is running)"))
    // No process has this number.
    try writeFile(directory.path + "/topic/consumers/reader.lock", Array("2147483647\n".utf8))
    #expect(message().contains("not process 2147483647"))
    #expect(message().contains("is not running"))
    try writeFile(directory.path + "/topic/consumers/reader.lock", Array("nonsense".utf8))
    #expect(message().contains("another holder has the consumer"))
    try consumer.close()
  }

  @Test("a consumer that cannot be opened leaves no lock behind, and one that is missing neither")
  func noLockLeft() throws {
    let topic = Topic(storage: SimulatedStorage())
    try ConsumerTopic.append(0..<5, to: topic)
    try topic.putCursor("reader", [UInt8](repeating: 1, count: 8192))
    #expect(queueError { _ = try ConsumerTopic.consumer(topic) }?.code == .damagedCursor)
    #expect(try topic.cursorFiles() == ["reader.cursor"])
    #expect(queueError { try QueueConsumer.delete("none", of: topic) }?.code == .noSuchConsumer)
    #expect(
      queueError { _ = try ConsumerTopic.consumer(topic, "new", from: .ordinal(77)) } != nil)
    #expect(try topic.cursorFiles() == ["reader.cursor"])
  }
}

/// Strikes once, at the call with the given number.
private final class Countdown: @unchecked Sendable {
  private let lock = NSLock()
  private var left: Int

  init(_ number: Int) { left = number }

  func strikes() -> Bool {
    lock.withLock {
      left -= 1
      return left == 0
    }
  }

  var hasStruck: Bool { lock.withLock { left <= 0 } }
}
