// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueInspection
import DiskQueueTestSupport
import Foundation
import Testing

@Suite("G14: what a cursor's file may hold")
struct CursorFileTests {
  /// A topic of 40 records, and a consumer that acknowledged 10, and then 20.
  private func acknowledged() async throws -> Topic {
    let topic = Topic(storage: SimulatedStorage())
    try ConsumerTopic.append(0..<40, to: topic)
    let consumer = try ConsumerTopic.consumer(topic)
    for _ in 0..<2 { try await consumer.nextBatch(upTo: 10)?.acknowledge() }
    try await consumer.close()
    return topic
  }

  private func slot(_ topic: Topic) throws -> CursorSlot {
    guard case .sound(let slot, _, _) = try topic.cursorSlots("reader") else {
      throw QueueError(.damagedCursor, "no sound slot")
    }
    return slot
  }

  private func open(_ topic: Topic) throws -> UInt64 {
    let consumer = try ConsumerTopic.consumer(topic, from: .latest)
    defer { try? consumer.close() }
    return consumer.ordinal
  }

  @Test("the slots take turns, and the higher generation holds")
  func turns() async throws {
    let topic = try await acknowledged()
    let slots = try topic.cursorSlots("reader")
    guard case .sound(let holds, let lowest, let count) = slots else {
      Issue.record("\(slots)")
      return
    }
    #expect(holds.generation == 3 && holds.ordinal == 20 && count == 2)
    #expect(lowest < holds.address && holds.topicID != 0)
    #expect(try open(topic) == 20)
  }

  @Test("one damaged slot falls back one acknowledgement; both are told, and never taken for none")
  func damaged() async throws {
    let topic = try await acknowledged()
    let bytes = try topic.cursor("reader")
    var newest = bytes
    newest[4096 + 33] ^= 4
    try topic.putCursor("reader", newest)
    #expect(try open(topic) == 10)
    var older = bytes
    older[0] ^= 1
    try topic.putCursor("reader", older)
    #expect(try open(topic) == 20)
    for missing in [0..<64, 4096..<4160] {
      var one = bytes
      one.replaceSubrange(missing, with: repeatElement(0, count: 64))
      try topic.putCursor("reader", one)
      #expect(try open(topic) == (missing.lowerBound == 0 ? 20 : 10))
    }
    var both = newest
    both[60] ^= 1
    try topic.putCursor("reader", both)
    for _ in 0..<2 {
      let error = queueError { _ = try open(topic) }
      #expect(error?.code == .damagedCursor)
      #expect(error?.path == "simulated/consumers/reader.cursor")
      #expect(try topic.cursor("reader") == both)
    }
    #expect(try QueueConsumer.consumers(of: topic).map(\.state) == [.damaged])
    // The ways out are a reset and a deletion.
    try QueueConsumer.reset("reader", of: topic, to: .ordinal(7))
    #expect(try open(topic) == 7)
    try topic.putCursor("reader", both)
    try QueueConsumer.delete("reader", of: topic)
    #expect(try open(topic) == 40)
  }

  @Test("64 random flips never give a position that was not acknowledged")
  func flips() async throws {
    let topic = try await acknowledged()
    let bytes = try topic.cursor("reader")
    for seed in UInt64(1)...400 {
      var random = SeededGenerator(seed: seed)
      var flipped = bytes
      let isAnywhere = random.chance(30)
      for _ in 0..<64 {
        let slot = isAnywhere ? random.below(8192) : random.below(2) * 4096 + random.below(64)
        flipped[slot] ^= 1 << UInt8(random.below(8))
      }
      try topic.putCursor("reader", flipped)
      do {
        #expect([10, 20].contains(try open(topic)), "seed \(seed)")
      } catch let error as QueueError {
        #expect([.damagedCursor, .unsupportedFormat].contains(error.code), "seed \(seed)")
      }
    }
  }

  @Test("an empty file, or zeros, or one whose making was cut short, was never written")
  func never() async throws {
    let topic = try await acknowledged()
    let first = CursorSlots.first(
      CursorSlot(generation: 1, topicID: 9, address: 77, ordinal: 5), of: "reader")
    for count in [0, 1, 512, 4096, 4097, 4130, 4159] {
      try topic.putCursor("reader", Array(first.prefix(count)))
      #expect(try QueueConsumer.consumers(of: topic).map(\.state) == [.neverWritten])
      #expect(try open(topic) == 40, "\(count)")
      #expect(try topic.cursor("reader").count == 8192)
    }
    try topic.putCursor("reader", [UInt8](repeating: 0, count: 8192))
    #expect(try open(topic) == 40)
    // If the file is whole, or held an older generation, it counts as damaged.
    var damaged = first
    damaged[4100] ^= 1
    try topic.putCursor("reader", damaged)
    #expect(queueError { _ = try open(topic) }?.code == .damagedCursor)
    var older = Array(first.prefix(4130))
    older[3] = 1
    try topic.putCursor("reader", older)
    #expect(queueError { _ = try open(topic) }?.code == .damagedCursor)
  }

  @Test("a newer version is refused, and neither reset nor overwritten")
  func version() async throws {
    let topic = try await acknowledged()
    // A slot of version 3, with its hash.
    var bytes = try topic.cursor("reader")
    bytes[4096 + 8] = 3
    let hash = xxh3(Array(bytes[4096..<4152]))
    withUnsafeBytes(of: hash.littleEndian) { bytes.replaceSubrange(4152..<4160, with: $0) }
    try topic.putCursor("reader", bytes)
    #expect(queueError { _ = try open(topic) }?.code == .unsupportedFormat)
    let reset = queueError { try QueueConsumer.reset("reader", of: topic, to: .earliest) }
    #expect(reset?.code == .unsupportedFormat)
    #expect(try QueueConsumer.consumers(of: topic).map(\.state) == [.unsupported])
    #expect(try topic.cursor("reader") == bytes)
    try QueueConsumer.delete("reader", of: topic)
    #expect(try topic.cursorFiles() == [])
  }

  @Test("another topic's cursor is refused, and a reset makes it this one's")
  func foreign() async throws {
    let topic = try await acknowledged()
    var slot = try slot(topic)
    slot.topicID ^= 1
    slot.generation = 1
    try topic.putCursor("reader", CursorSlots.first(slot, of: "reader"))
    #expect(queueError { _ = try open(topic) }?.code == .unsupportedFormat)
    // A slot without an id, after records that a topic with an id took.
    slot.topicID = 0
    try topic.putCursor("reader", CursorSlots.first(slot, of: "reader"))
    #expect(queueError { _ = try open(topic) }?.code == .unsupportedFormat)
    try QueueConsumer.reset("reader", of: topic, to: .ordinal(3))
    #expect(try open(topic) == 3)
  }

  @Test("hostile positions end in a loss that is told, or an error, and never in a crash")
  func hostile() async throws {
    let topic = try await acknowledged()
    let sound = try slot(topic)
    let addresses: [UInt64] = [
      0, 1, 79, 80, 81, 127, 128, 129, sound.address - 1, sound.address, sound.address + 1,
      sound.address + 100_000, (1 << 40) - 1, 1 << 40, (1 << 40) + 1, 1 << 63, .max - 1, .max,
    ]
    let ordinals: [UInt64] = [0, 20, 40, 41, 1 << 62, .max]
    for generation in [UInt64(1), 2, .max - 2, .max - 1, .max] {
      for address in addresses {
        for ordinal in ordinals {
          let slot = CursorSlot(
            generation: generation, topicID: sound.topicID, address: address, ordinal: ordinal)
          var bytes = [UInt8](repeating: 0, count: 8192)
          let start = Int(generation % 2) * 4096
          bytes.replaceSubrange(start..<start + 64, with: slot.bytes(of: "reader"))
          try topic.putCursor("reader", bytes)
          let reported = Reported()
          do {
            let consumer = try ConsumerTopic.consumer(topic, reported: reported)
            let records = try await ConsumerTopic.drain(consumer)
            #expect(records.texts == ConsumerTopic.texts(40 - records.count..<40))
            if address > sound.address + 50_000 { #expect(reported.losses.count == 1) }
            try await consumer.close()
          } catch let error as QueueError {
            #expect([.damagedCursor, .notARecord].contains(error.code), "\(slot)")
          }
        }
      }
    }
  }

  @Test("the last generation but one is written, and the last is no number that was counted to")
  func generations() async throws {
    let topic = try await acknowledged()
    var slot = try slot(topic)
    slot.generation = .max - 2
    try topic.putCursor("reader", CursorSlots.first(slot, of: "reader"))
    let consumer = try ConsumerTopic.consumer(topic)
    let batch = try #require(try await consumer.nextBatch(upTo: 10))
    try await batch.acknowledge(through: 0)
    #expect(try self.slot(topic).generation == .max - 1)
    try await batch.acknowledge(through: 1)
    #expect(await queueError { try await batch.acknowledge(through: 2) }?.code == .damagedCursor)
    #expect(queueError { try consumer.settle() }?.code == .damagedCursor)
    #expect(consumer.ordinal == 22)
  }

  @Test("a slot in the other one's place is damaged")
  func misplaced() async throws {
    let topic = try await acknowledged()
    var bytes = try topic.cursor("reader")
    bytes.replaceSubrange(0..<64, with: bytes[4096..<4160])
    try topic.putCursor("reader", bytes)
    #expect(try open(topic) == 20)
    bytes.replaceSubrange(4096..<4160, with: repeatElement(0, count: 64))
    try topic.putCursor("reader", bytes)
    #expect(queueError { _ = try open(topic) }?.code == .damagedCursor)
  }

  // MARK: Version 1

  @Test(
    "a cursor without an id passes in a topic of version 1, and gets the id with its next write")
  func version1() async throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    storage.replace(slab: 0, with: ConsumerTopic.version1Slab(0..<10))
    var consumer = try ConsumerTopic.consumer(topic)
    let batch = try #require(try await consumer.nextBatch(upTo: 4))
    try await batch.acknowledge()
    #expect(try slot(topic).topicID == 0)
    try await consumer.close()
    try ConsumerTopic.append(10..<20, to: topic)
    consumer = try ConsumerTopic.consumer(topic)
    #expect(consumer.ordinal == 4)
    let next = try #require(try await consumer.nextBatch(upTo: 3))
    #expect(next.map(\.ordinal) == [4, 5, 6])
    try await next.acknowledge()
    #expect(try slot(topic).topicID != 0)
    let rest = try await ConsumerTopic.drain(consumer)
    #expect(rest.texts == ConsumerTopic.texts(7..<20))
    #expect(rest.map(\.ordinal) == Array(7..<20))
    try await consumer.close()
  }

  // MARK: Names

  @Test("a second holder is refused until the first one closes or is gone")
  func holders() async throws {
    let topic = try await acknowledged()
    var first: QueueConsumer? = try ConsumerTopic.consumer(topic)
    let refusals: [() throws -> Void] = [
      { _ = try ConsumerTopic.consumer(topic) },
      { try QueueConsumer.delete("reader", of: topic) },
      { try QueueConsumer.reset("reader", of: topic, to: .earliest) },
    ]
    for refused in refusals { #expect(queueError(refused)?.code == .locked) }
    #expect(first?.ordinal == 20)
    first = nil
    #expect(try open(topic) == 20)
    // A batch keeps its consumer alive.
    var batch = try await ConsumerTopic.consumer(topic).nextBatch(upTo: 1)
    #expect(queueError { _ = try open(topic) }?.code == .locked)
    try await batch?.acknowledge()
    batch = nil
    #expect(try open(topic) == 21)
  }

  @Test("a consumer that is not there can be neither reset nor deleted")
  func missing() throws {
    let topic = try ConsumerTopic.memory(1)
    for name in ["nobody", "reader"] {
      let calls: [() throws -> Void] = [
        { try QueueConsumer.delete(name, of: topic) },
        { try QueueConsumer.reset(name, of: topic, to: .earliest) },
      ]
      for call in calls { #expect(queueError(call)?.code == .noSuchConsumer) }
      #expect(
        queueError { try QueueConsumer.delete("../" + name, of: topic) }?.code == .invalidOption)
    }
    #expect(try QueueConsumer.consumers(of: topic).isEmpty)
    try ConsumerTopic.consumer(topic).close()
    try QueueConsumer.delete("reader", of: topic)
    #expect(queueError { try QueueConsumer.delete("reader", of: topic) }?.code == .noSuchConsumer)
  }

  @Test("lists name every consumer and nothing else, and how far behind each is")
  func lists() async throws {
    let topic = try ConsumerTopic.memory(40)
    for number in 0..<1000 {
      try await ConsumerTopic.consumer(topic, "c\(number)", from: .ordinal(UInt64(number % 41)))
        .close()
    }
    let storage = try topic.openForReading()
    let directory = try storage.consumers(creating: true)
    for name in ["x", ".cursor", ".a.cursor", "a b.cursor", "c1.cursor.tmp", "c1.CURSOR"] {
      _ = try directory.create(name)
    }
    let names = (0..<1000).map { "c\($0)" }.sorted()
    let consumers = try QueueConsumer.consumers(of: topic)
    #expect(consumers.map(\.name) == names)
    #expect(consumers.allSatisfy { $0.state == .sound })
    try topic.putCursor("never", [])
    try topic.putCursor("worse", [1])
    let infos = try ConsumerInfo.all(of: topic)
    #expect(infos.count == 1002)
    for info in infos {
      switch info.consumer.name {
      case "never":
        #expect(info.records == 40 && info.bytes ?? 0 > 0)
      case "worse":
        #expect(info.records == nil && info.bytes == nil && info.consumer.state == .damaged)
      default:
        let ordinal = try #require(info.consumer.ordinal)
        #expect(ordinal == UInt64(try #require(Int(info.consumer.name.dropFirst()))) % 41)
        #expect(info.records == 40 - ordinal)
        // The closing mark does not count as left to read.
        #expect((info.bytes ?? 0 > 0) == (ordinal < 40))
      }
    }
    #expect(try ConsumerInfo.all(of: ConsumerTopic.memory(1)).isEmpty)
  }

  @Test("a directory that is no topic is left as it is")
  func notATopic() throws {
    let directory = try TemporaryDirectory()
    try writeFile(directory.path + "/letter.txt", [1])
    let topic = Topic(directory.path)
    #expect(queueError { _ = try ConsumerTopic.consumer(topic) }?.code == .notATopic)
    #expect(queueError { _ = try QueueConsumer.consumers(of: topic) }?.code == .notATopic)
    #expect(try snapshot(directory.path) == ["letter.txt": [1]])
    let missing = Topic(directory.path + "/none")
    #expect(queueError { _ = try ConsumerTopic.consumer(missing) }?.code == .noSuchTopic)
  }

  // MARK: Files

  @Test("on a real disk: files, permissions, locks, and a name that is removed and made anew")
  func realDisk() async throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/topic"
    let topic = Topic(path)
    try ConsumerTopic.append(0..<200, to: topic)
    let first = try QueueConsumer(topic: topic, name: "up.loader-1")
    #expect(
      queueError { _ = try QueueConsumer(topic: topic, name: "up.loader-1") }?.code == .locked)
    #expect(queueError { try QueueConsumer.delete("up.loader-1", of: topic) }?.code == .locked)
    let other = try QueueConsumer(topic: topic, name: "other", from: .latest)
    for try await batch in first.batches(upTo: 30, following: false) {
      try await batch.acknowledge()
      if batch[0].ordinal == 90 { break }
    }
    #expect(first.ordinal == 120)
    try await first.close()
    try await other.close()
    let file = path + "/consumers/up.loader-1.cursor"
    #expect(try readFile(file).count == 8192)
    #expect(try QueueConsumer.consumers(of: topic).map(\.ordinal) == [200, 120])
    let again = try QueueConsumer(topic: topic, name: "up.loader-1")
    #expect(try await again.nextBatch(upTo: 1)?.first?.ordinal == 120)
    // The file is removed by hand. Its holder still has the name.
    try removeFile(file)
    #expect(
      queueError { _ = try QueueConsumer(topic: topic, name: "up.loader-1") }?.code == .locked)
    try await again.close()
    let anew = try QueueConsumer(topic: topic, name: "up.loader-1")
    #expect(anew.ordinal == 0)
    try await anew.close()
    try QueueConsumer.delete("up.loader-1", of: topic)
    #expect(try QueueConsumer.consumers(of: topic).map(\.name) == ["other"])
  }

  @Test("no link is followed, no directory or pipe taken for a cursor, and all are listed")
  func links() throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    try ConsumerTopic.append(0..<2, to: topic)
    try QueueConsumer(topic: topic, name: "a").close()
    let consumers = directory.path + "/topic/consumers/"
    try writeFile(directory.path + "/target", [7])
    try makeLink(consumers + "link.cursor", to: directory.path + "/target")
    try writeFile(consumers + "dir.cursor/file", [8])
    #expect(mkfifo(consumers + "pipe.cursor", 0o600) == 0)
    for name in ["link", "dir", "pipe"] {
      let error = queueError { _ = try QueueConsumer(topic: topic, name: name) }
      #expect(error?.code == error?.errno.map { .system(errno: $0) }, "\(name)")
      #expect(queueError { try QueueConsumer.delete(name, of: topic) } != nil, "\(name)")
    }
    #expect(
      queueError { _ = try QueueConsumer(topic: topic, name: "pipe") }?.errno
        == Errno.notSupported)
    #expect(try readFile(directory.path + "/target") == [7])
    let listed = try QueueConsumer.consumers(of: topic)
    #expect(listed.map(\.name) == ["a", "dir", "link", "pipe"])
    #expect(listed.map(\.state) == [.sound, .damaged, .damaged, .damaged])
    // A cleaner stops at the consumers that are listed as damaged.
    let error = queueError {
      _ = try SlabCleaner(topic: topic).plan(keeping: .nothing)
    }
    #expect(error?.path?.hasSuffix("dir.cursor") == true)
  }

  @Test("a pipe in the place of the lock is refused")
  func pipeAsLock() throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    try ConsumerTopic.append(0..<2, to: topic)
    try removeFile(directory.path + "/topic/lock")
    #expect(mkfifo(directory.path + "/topic/lock", 0o600) == 0)
    #expect(queueError { _ = try ConsumerTopic.open(topic) }?.errno == Errno.notSupported)
  }

  @Test("many who delete and make one name at once never hold it twice")
  func races() async throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    try ConsumerTopic.append(0..<5, to: topic)
    let held = Occupancy()
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<4 {
        group.addTask {
          for _ in 0..<40 {
            if let consumer = try? QueueConsumer(topic: topic, name: "x") {
              held.enter()
              held.leave()
              try? await consumer.close()
            }
            try? QueueConsumer.delete("x", of: topic)
          }
        }
      }
    }
    #expect(held.most == 1)
  }
}
