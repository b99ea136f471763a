// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Synchronization
import Testing

@testable import DiskQueue

@Suite("G9: opening on a full disk")
struct FullDiskOpeningTests {
  /// A topic of 10 slabs, on a disk that has only `room` free bytes left.
  private func topic(isClosed: Bool, room: Int = 0) throws -> CleaningTopic {
    let made = CleaningTopic()
    let writer = try made.writer()
    try made.roll(writer, times: 9)
    try writer.append("the last one")
    if isClosed {
      try writer.close()
    } else {
      try writer.sync()
      writer.dieForTesting()
      made.storage.kill()
    }
    made.storage.setCapacity(made.storage.used + room)
    return made
  }

  private func open(
    _ storage: SimulatedStorage, _ whenFull: QueueWriter.Options.WhenFull
  ) throws -> QueueWriter {
    var options = SmallTopic.options
    options.whenFull = whenFull
    return try QueueWriter(
      topic: Topic(storage: storage), options: options,
      environment: fixedEnvironment(topicID: CleaningTopic.topicID))
  }

  @Test("drops the oldest slab if the policy says so, reports it, and goes on")
  func drops() throws {
    for isClosed in [true, false] {
      for room in [0, 1, 47, 80, 127] {
        let made = try topic(isClosed: isClosed, room: isClosed ? min(room, 47) : room)
        let bases = made.bases
        let before = try readAll(made.topic).records
        #expect(queueError { _ = try open(made.storage, .fail) }?.code == .noSpace)
        #expect(made.bases == bases)
        made.storage.kill()

        let writer = try open(made.storage, .dropOldest)
        #expect(writer.statistics.droppedSlabs == 1)
        #expect(writer.statistics.droppedBytes == bases[1])
        #expect(made.bases.first == bases[1])
        try writer.append("after")
        try writer.close()
        let after = try readAll(made.topic)
        #expect(after.losses == [])
        let kept = before.filter { $0.address.rawValue >= bases[1] }
        #expect(after.records.dropLast() == kept[...])
        #expect(after.records.last?.text == "after")
      }
    }
  }

  @Test("reports each dropped slab as an event, behind the opening")
  func events() throws {
    let made = try topic(isClosed: false)
    let events = Mutex<[QueueWriter.Event]>([])
    var options = SmallTopic.options
    options.whenFull = .dropOldest
    options.onEvent = { event in events.withLock { $0.append(event) } }
    let writer = try QueueWriter(
      topic: made.topic, options: options,
      environment: fixedEnvironment(topicID: CleaningTopic.topicID))
    try writer.close()
    let seen = events.withLock { $0 }
    guard case .opened = seen.first, case .dropped(let slab, let records, _) = seen[1] else {
      Issue.record("\(seen)")
      return
    }
    #expect(slab.rawValue == 0 && records == 5)
  }

  @Test("keeps what a consumer has not acknowledged")
  func acknowledged() throws {
    let made = try topic(isClosed: false)
    let bases = made.bases
    // Without a consumer, no record counts as acknowledged.
    #expect(
      queueError { _ = try open(made.storage, .dropOldestAcknowledged) }?.code == .noSpace)
    made.storage.kill()
    made.storage.setCapacity(nil)
    try made.putCursor("slow", made.slot(bases[1] - 1), made.slot(bases[1] - 1, generation: 2))
    made.storage.setCapacity(made.storage.used)
    #expect(
      queueError { _ = try open(made.storage, .dropOldestAcknowledged) }?.code == .noSpace)
    #expect(made.bases == bases)
    made.storage.kill()
    made.storage.setCapacity(nil)
    try made.putCursor("slow", made.slot(bases[1]), made.slot(bases[1], generation: 2))
    made.storage.setCapacity(made.storage.used)
    let writer = try open(made.storage, .dropOldestAcknowledged)
    #expect(writer.statistics.droppedSlabs == 1)
    #expect(made.bases.first == bases[1])
    try writer.close()
  }

  @Test("never drops the slab that recovery starts at")
  func start() throws {
    let made = CleaningTopic()
    let writer = try made.writer()
    try made.roll(writer, times: 1)
    // No mark proves that a record is durable, so recovery starts at the first slab.
    writer.dieForTesting()
    made.storage.kill()
    made.storage.setCapacity(made.storage.used)
    let slabs = made.storage.slabs
    #expect(queueError { _ = try open(made.storage, .dropOldest) }?.code == .noSpace)
    #expect(made.storage.slabs.filter { $0.key < 1 << 40 } == slabs)
  }

  @Test("G1, G9: a crash at any step keeps all that was synced and not dropped")
  func crashes() throws {
    for isClosed in [true, false] {
      var number = 0
      var isDead = true
      while isDead, number < 100 {
        number += 1
        for seed in UInt64(1)...6 {
          let made = try topic(isClosed: isClosed)
          let before = try readAll(made.topic).records
          let second = made.bases[1]
          made.storage.setFault(SimulatedStorage.Fault(.die, at: number))
          _ = queueError { try open(made.storage, .dropOldest).close() }
          isDead = made.storage.isDead
          var random = SeededGenerator(seed: seed)
          let after = made.storage.powerCut(using: &random)
          after.setCapacity(after.used)
          let writer = try open(after, .dropOldest)
          try writer.append("after")
          try writer.close()
          let read = try readAll(Topic(storage: after))
          #expect(read.losses == [], "call \(number)")
          let kept = read.records.dropLast()
          #expect(kept == before.suffix(kept.count)[...], "call \(number)")
          // Each of the two openings drops at most one slab, of five records.
          #expect(kept.count >= before.count { $0.address.rawValue >= second } - 5)
        }
      }
      #expect(number > 6 && number < 100)
    }
  }
}
