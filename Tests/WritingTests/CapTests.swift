// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Synchronization
import Testing

@testable import DiskQueue
@testable import DiskQueueInspection

@Suite("A cap, and what to do at it")
struct CapTests {
  private func options(
    _ whenFull: QueueWriter.Options.WhenFull, cap: ByteCount = .kibibytes(64)
  ) -> QueueWriter.Options {
    var options = QueueWriter.Options()
    options.slabSize = .bytes(cap.bytes / 4)
    options.maximumBytes = cap
    options.whenFull = whenFull
    options.bufferSize = .kibibytes(4)
    return options
  }

  private func open(
    _ storage: any TopicStorage, _ whenFull: QueueWriter.Options.WhenFull,
    background: Environment.Background = .inline
  ) throws -> QueueWriter {
    try QueueWriter(
      topic: Topic(storage: storage), options: options(whenFull),
      environment: fixedEnvironment(background: background))
  }

  private func payload(_ number: Int) -> [UInt8] {
    let text = Array("record \(number) ".utf8)
    return text + [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 200 - text.count)
  }

  /// Appends until an append fails. Returns the number of records before it, and the error.
  private func fill(_ writer: QueueWriter, from start: Int = 0) throws -> (Int, QueueError) {
    for number in start..<start + 10_000 {
      if let error = queueError({ try writer.append(payload(number)) }) {
        return (number - start, error)
      }
    }
    throw Unexpected()
  }
  private struct Unexpected: Error {}

  private func numbers(_ topic: Topic) throws -> [Int] {
    try readAll(topic).records.map { record in
      let text = String(decoding: record.payload.prefix(20), as: UTF8.self)
      return Int(text.split(separator: " ")[1]) ?? -1
    }
  }

  private func hasRoom(_ writer: QueueWriter) -> Bool {
    writer.core.updateTail { $0.shortage(forPayload: 200) } == 0
  }

  /// States all records as durable, as a call does that finds no room. If a cleaner came before
  /// that call, it could remove nothing, and nothing would wake the call.
  private func prove(_ writer: QueueWriter) throws {
    #expect(try writer.core.findRoom(forPayload: 200) != nil)
  }

  /// Removes every slab that may be removed, as a cleaner in another process does. It relies only
  /// on what the slabs state.
  private func clean(_ storage: any TopicStorage) throws {
    while true {
      let index = TopicIndex(storage)
      try index.refresh()
      var front = try SlabFront(of: storage)
      let outcome = try front.removeFirst(of: storage, synced: try index.durableEnd().synced)
      if case .kept = outcome { return }
    }
  }

  @Test("an append that does not fit fails, all before it is sound and durable, and it goes on")
  func fails() throws {
    let storage = SimulatedStorage()
    let writer = try open(storage, .fail)
    let (count, error) = try fill(writer)
    #expect(error.code == .noSpace)
    #expect(error.appended == 0)
    #expect(count > 250)
    #expect(storage.used <= 65_536)
    // Repeated failures take no room.
    let used = storage.used
    for number in 0..<100 {
      #expect(queueError { try writer.append(payload(number)) }?.code == .noSpace)
      try writer.sync()
    }
    #expect(storage.used == used)
    #expect(try numbers(writer.topic) == Array(0..<count))
    // After a cleaner has made room, the next record fits.
    try clean(storage)
    try writer.append(payload(count))
    try writer.close()
    #expect(try numbers(writer.topic).last == count)
    #expect(storage.used <= 65_536)
  }

  @Test("what was refused at the cap is stated as durable, so that a cleaner may make room")
  func proves() throws {
    // Nothing is synced in the background. Only the refused append syncs.
    let storage = SimulatedStorage()
    let writer = try open(storage, .fail, background: .manual)
    _ = try fill(writer)
    let index = TopicIndex(storage)
    try index.refresh()
    let synced = try index.durableEnd().synced
    #expect(synced > index.bases[index.bases.count - 1])
  }

  @Test("dropping the oldest keeps the total below the cap, and the newest records")
  func dropsOldest() throws {
    let storage = SimulatedStorage()
    let writer = try open(storage, .dropOldest)
    for number in 0..<3000 {
      try writer.append(payload(number))
      #expect(storage.used <= 65_536)
    }
    try writer.close()
    #expect(storage.used <= 65_536)
    let kept = try numbers(writer.topic)
    #expect(kept.count > 150)
    #expect(kept == Array(3000 - kept.count..<3000))
  }

  @Test("a reader that is overtaken is told exactly how many records it missed")
  func overtakesReader() throws {
    let storage = SimulatedStorage()
    let writer = try open(storage, .dropOldest)
    let reported = Reported()
    var reader = try QueueReader(topic: writer.topic) { reported.take($0) }
    var given = 0
    for number in 0..<2000 {
      try writer.append(payload(number))
      if number % 500 == 0 {
        try writer.flush()
        if try reader.nextCopy() != nil { given += 1 }
      }
    }
    try writer.flush()
    while try reader.nextCopy() != nil { given += 1 }
    let missed = reported.losses.reduce(0) { $0 + ($1.records ?? 0) }
    #expect(reported.losses.allSatisfy { $0.cause == .cleaned })
    #expect(UInt64(given) + missed == 2000)
    #expect(missed > 1000)
  }

  @Test("only what every consumer has acknowledged is dropped, and then the append fails")
  func dropsAcknowledged() throws {
    let topic = CleaningTopic()
    let storage = topic.storage
    let writer = try QueueWriter(
      topic: topic.topic, options: options(.dropOldestAcknowledged),
      environment: fixedEnvironment(topicID: CleaningTopic.topicID))
    // Without a consumer, no record counts as acknowledged.
    var (count, error) = try fill(writer)
    #expect(error.code == .noSpace)
    try topic.putCursor("uploader", topic.slot(0))
    (_, error) = try fill(writer, from: count)
    #expect(error.message.contains("uploader"))
    // The consumer has acknowledged two slabs.
    let slabs = storage.slabs.keys.sorted()
    try topic.putCursor("uploader", topic.slot(slabs[2] + 128))
    let more: Int
    (more, error) = try fill(writer, from: count)
    count += more
    #expect(error.code == .noSpace)
    #expect(more > 100)
    #expect(storage.slabs.keys.min() == slabs[2])
    #expect(try numbers(writer.topic).last == count - 1)
    #expect(storage.used - CursorSlots.byteCount <= 65_536)
  }

  @Test("a consumer that is set back between two removals keeps what it goes back to")
  func setBackMeanwhile() throws {
    let topic = CleaningTopic()
    let storage = HookedStorage(topic.storage)
    var options = options(.dropOldestAcknowledged)
    options.slabSize = .kibibytes(4)
    options.maximumPayload = .kibibytes(12)
    let writer = try QueueWriter(
      topic: Topic(storage: storage), options: options,
      environment: fixedEnvironment(topicID: CleaningTopic.topicID))
    try topic.putCursor("uploader", topic.slot(0))
    _ = try fill(writer)
    let slabs = topic.storage.slabs.keys.sorted()
    try topic.putCursor("uploader", topic.slot(slabs[8] + 128))
    storage.atNext(.removed) {
      #expect(throws: Never.self) { try topic.putCursor("uploader", topic.slot(slabs[1] + 128)) }
    }
    // The room of one slab is not enough for this record.
    let error = queueError { try writer.append([UInt8](repeating: 1, count: 10_000)) }
    #expect(error?.code == .noSpace)
    #expect(error?.message.contains("uploader") == true)
    #expect(topic.storage.slabs.keys.min() == slabs[1])
  }

  @Test("a record that no room would be enough for is refused, and nothing is dropped for it")
  func tooLarge() throws {
    let storage = SimulatedStorage()
    let writer = try open(storage, .dropOldest)
    for number in 0..<200 { try writer.append(payload(number)) }
    let error = queueError { try writer.append([UInt8](repeating: 1, count: 65_536)) }
    #expect(error?.code == .payloadTooLarge)
    try writer.flush()
    #expect(try numbers(writer.topic).count == 200)
    // A record larger than a slab, but smaller than the cap, gets the room that it needs.
    try writer.append([UInt8](repeating: 2, count: 30_000))
    try writer.close()
    #expect(storage.used <= 65_536)
    #expect(try readAll(writer.topic).records.last?.payload.count == 30_000)
  }

  @Test("on a full disk the oldest slab goes as well")
  func fullDisk() throws {
    let storage = SimulatedStorage()
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(16)
    options.bufferSize = .kibibytes(4)
    options.whenFull = .dropOldest
    let writer = try QueueWriter(
      topic: Topic(storage: storage), options: options, environment: fixedEnvironment())
    storage.setCapacity(100_000)
    for number in 0..<3000 { try writer.append(payload(number)) }
    try writer.close()
    let kept = try numbers(writer.topic)
    #expect(kept.count > 200)
    #expect(kept == Array(3000 - kept.count..<3000))
    #expect(try TopicVerification(of: writer.topic) { _ in }.isDamaged == false)
  }

  @Test("a writer that waits goes on when somebody has cleaned")
  func waits() async throws {
    let storage = try Topic.memory().openForReading()
    let writer = try QueueWriter(topic: Topic(storage: storage), options: options(.wait))
    let appended = Progress()
    let task = Task.detached { [self] in
      for number in 0..<1000 {
        try await writer.append(payload(number), ensuring: .flushed)
        appended.advance()
      }
    }
    var reader = try QueueReader(topic: writer.topic)
    var seen = 0
    while seen < 1000 {
      // When every stored record has been read, the writer is waiting for room, or will be soon.
      while let record = try reader.next() {
        #expect(record.payload.count == 200)
        seen += 1
      }
      if seen < 1000 {
        // Nil: there still is room, and the writer goes on without a cleaner.
        _ = try writer.core.findRoom(forPayload: 200)
        try clean(storage)
        try await appended.wait(for: UInt64(seen) + 1)
      }
    }
    try await task.value
    try await writer.close()
  }

  @Test("a thread that waits for room is woken as well")
  func waitsBlocking() async throws {
    let storage = try Topic.memory().openForReading()
    let writer = try QueueWriter(topic: Topic(storage: storage), options: options(.wait))
    var count = 0
    // Fills the topic as far as it goes without waiting.
    while hasRoom(writer) {
      try writer.append(payload(count))
      count += 1
    }
    try prove(writer)
    let started = Progress()
    let next = payload(count)
    let task = Task.detached {
      started.advance()
      // The closure selects the synchronous `append`, which blocks.
      return try { () throws(QueueError) in try writer.append(next).address }()
    }
    try await started.wait(for: 1)
    try clean(storage)
    let address = try await task.value
    try await writer.close()
    #expect(try readAll(writer.topic).records.last?.address == address)
  }

  @Test("a task that waits for room and is cancelled has appended nothing, and says so")
  func cancelledWait() async throws {
    let storage = try Topic.memory().openForReading()
    let writer = try QueueWriter(topic: Topic(storage: storage), options: options(.wait))
    var count = 0
    while hasRoom(writer) {
      try await writer.append(payload(count), ensuring: .buffered)
      count += 1
    }
    let next = payload(count)
    let task = Task { try await writer.append(next, ensuring: .synced) }
    task.cancel()
    let error = await #expect(throws: QueueError.self) { try await task.value }
    #expect(error?.code == .cancelled)
    #expect(error?.appended == 0)
    try await writer.close()
    #expect(try numbers(writer.topic).count == count)
  }

  @Test("closing wakes whoever waits for room")
  func closingWakes() async throws {
    let storage = try Topic.memory().openForReading()
    let writer = try QueueWriter(topic: Topic(storage: storage), options: options(.wait))
    var count = 0
    while hasRoom(writer) {
      try await writer.append(payload(count), ensuring: .buffered)
      count += 1
    }
    let next = payload(count)
    let tasks = (0..<4).map { _ in Task { try await writer.append(next, ensuring: .flushed) } }
    try await writer.close()
    for task in tasks {
      let error = await #expect(throws: QueueError.self) { try await task.value }
      #expect(error?.code == .closed)
    }
  }

  @Test("a topic that is above its cap already is brought below it by dropping")
  func loweredCap() throws {
    let storage = SimulatedStorage()
    var large = QueueWriter.Options()
    large.slabSize = .kibibytes(16)
    var writer = try QueueWriter(
      topic: Topic(storage: storage), options: large, environment: fixedEnvironment())
    for number in 0..<2000 { try writer.append(payload(number)) }
    try writer.close()
    #expect(storage.used > 400_000)
    writer = try open(storage, .dropOldest)
    try writer.append(payload(2000))
    try writer.close()
    #expect(storage.used <= 65_536)
    #expect(try numbers(writer.topic).last == 2000)
  }

  @Test("what is stated as synced ends between two frames, also where a write stopped in one")
  func statedBetweenFrames() throws {
    for seed in 0..<5 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let storage = SimulatedStorage(seed: seed)
      var options = options(.dropOldest)
      options.maximumBytes = nil
      options.slabSize = .kibibytes(4)
      let writer = try QueueWriter(
        topic: Topic(storage: storage), options: options,
        environment: fixedEnvironment(background: .manual))
      var ends: [UInt64: UInt64] = [:]
      for number in 0..<80 {
        if number == 60 { storage.setCapacity(storage.used + 1 + random.below(3000)) }
        let address = try writer.append(payload(number) + payload(number)).address.rawValue
        ends[address] = address + 408
        let synced = writer.core.updateTail { $0.synced }
        #expect(ends.allSatisfy { synced <= $0.key || synced >= $0.value })
      }
      storage.setCapacity(nil)
      try writer.flush()
      for _ in 0..<20 {
        let after = storage.powerCut(using: &random)
        let losses = after.pass().losses
        #expect(losses.allSatisfy { $0.cause != .damaged })
      }
      writer.dieForTesting()
    }
  }

  @Test("threads that make room at the same time neither exceed the cap nor fail")
  func manyThreads() async throws {
    let storage = SimulatedStorage()
    let writer = try open(storage, .dropOldest)
    await withTaskGroup(of: Int.self) { group in
      for thread in 0..<8 {
        group.addTask { [self] in
          var most = 0
          for number in 0..<1000 {
            _ = queueError { try writer.append(payload(thread * 1000 + number)) }
            most = max(most, storage.used)
          }
          return most
        }
      }
      for await most in group { #expect(most <= 65_536) }
    }
    try await writer.close()
    #expect(writer.core.updateTail { $0.ordinal } == 8000)
  }

  @Test("the largest records that a cap takes push each other out, one by one")
  func largeRecords() throws {
    let storage = SimulatedStorage()
    let writer = try open(storage, .dropOldest)
    for number in 0..<5 {
      try writer.append([UInt8](repeating: UInt8(number), count: 32_300))
      // This record begins the next slab. The slab's beginning waits in the buffer until the flush.
      try writer.append(payload(number))
      try writer.flush()
      #expect(storage.used <= 65_536)
    }
    #expect(
      queueError { try writer.append([UInt8](repeating: 9, count: 32_500)) }?.code
        == .payloadTooLarge)
    try writer.close()
  }

  @Test("a slab above a quarter of the cap, and a cap below 64 KiB, are refused")
  func bounds() {
    var options = options(.fail)
    options.slabSize = .bytes(16_385)
    #expect(queueError { try options.validate() }?.code == .invalidOption)
    options.slabSize = .kibibytes(16)
    #expect(queueError { try options.validate() } == nil)
    options.slabSize = .kibibytes(4)
    options.maximumBytes = .bytes(65_535)
    #expect(queueError { try options.validate() }?.code == .invalidOption)
    options.maximumBytes = nil
    options.whenFull = .wait
    #expect(queueError { try options.validate() }?.code == .invalidOption)
  }

  @Test("what other writers and cleaners left counts, and power cuts while dropping leave a suffix")
  func powerCuts() throws {
    for step in 1...60 {
      let storage = SimulatedStorage(seed: UInt64(step))
      let writer = try open(storage, .dropOldest)
      for number in 0..<250 { try writer.append(payload(number)) }
      try writer.sync()
      storage.setFault(.init(.die, at: step))
      var count = 250
      while !storage.isDead, count < 2000 {
        do { try writer.append(payload(count)) } catch { break }
        count += 1
      }
      var random = SeededGenerator(seed: UInt64(step))
      let after = storage.powerCut(using: &random)
      let reopened = try open(after, .dropOldest)
      try reopened.append(payload(9999))
      try reopened.close()
      var kept = try numbers(reopened.topic)
      #expect(kept.popLast() == 9999)
      let first = try #require(kept.first)
      #expect(kept == Array(first..<first + kept.count))
    }
  }
}
