// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Synchronization
import Testing

@testable import DiskQueue

@Suite("Cleaning and crashes")
struct CleaningCrashTests {
  private let made = CleaningTopic()
  private var storage: SimulatedStorage { made.storage }

  @Test("a crash at every call, and a power cut: what is left is the end of the log")
  func crashes() throws {
    try made.fill(slabs: 6)
    try made.putCursor("reader", made.slot(.max))
    let all = try readAll(made.topic).records
    let bases = made.bases
    let highest = try #require(all.last?.address)
    var crashes = 0
    var leftBehind: Set<Int> = []
    for number in 1... {
      let disk = storage.copy(seed: UInt64(number))
      let topic = Topic(storage: disk)
      let losses = Mutex<[Loss]>([])
      var live = try QueueReader(topic: topic, options: SmallTopic.readerOptions) { loss in
        losses.withLock { $0.append(loss) }
      }
      var seen = [try live.nextCopy()].compactMap { $0 }
      disk.setFault(SimulatedStorage.Fault(.die, at: number))
      let error = queueError {
        try SlabCleaner(topic: topic).clean(keeping: .nothing)
      }
      guard disk.isDead else { break }
      #expect(error != nil)
      crashes += 1
      disk.kill()
      while let record = try live.nextCopy() { seen.append(record) }
      let missed = losses.withLock { $0 }
      #expect(missed.count <= 1)
      #expect(missed.allSatisfy { $0.cause == .cleaned })
      #expect(seen.count + missed.reduce(0) { $0 + Int($1.records ?? 0) } == all.count)

      for seed in 0..<6 as Range<UInt64> {
        var random = SeededGenerator(seed: seed * 100 + UInt64(number))
        let after = disk.powerCut(using: &random)
        let left = after.slabs.keys.sorted()
        #expect(left == Array(bases.suffix(left.count)), "call \(number), seed \(seed)")
        leftBehind.insert(left.count)
        let read = try readAll(Topic(storage: after))
        #expect(read.records == Array(all.suffix(read.records.count)))
        #expect(read.losses == [])
        #expect(try #require(read.records.first).address.rawValue >= left[0])

        let writer = try QueueWriter(
          topic: Topic(storage: after), options: SmallTopic.options,
          environment: fixedEnvironment(topicID: 77))
        #expect(writer.recovery.wasClean)
        #expect(try writer.append("next").address > highest)
        try writer.close()
        #expect(try readAll(Topic(storage: after)).records.last?.ordinal == UInt64(all.count))
        try SlabCleaner(topic: Topic(storage: after)).clean(keeping: .nothing)
        #expect(after.slabs.count == 1)
      }
    }
    // There is a sync before each of five removals, one after them, and the cursor's.
    #expect(crashes > 15)
    #expect(leftBehind.count > 4)
  }

  @Test("a power cut before a live writer's data is durable leaves no hole either")
  func powerCutBesideAWriter() throws {
    for seed in 0..<60 as Range<UInt64> {
      let made = CleaningTopic()
      var random = SeededGenerator(seed: seed)
      let writer = try QueueWriter(
        topic: made.topic, options: SmallTopic.options,
        environment: fixedEnvironment(made.clock, topicID: 77, background: .manual))
      var durable: UInt64 = 0
      for _ in 0..<4 + random.below(5) {
        try made.roll(writer, times: 1 + random.below(2))
        if random.chance(50) {
          try writer.sync()
          durable = writer.position.rawValue
          try writer.append("with a mark before it")
        }
        try writer.flush()
        if random.chance(50) {
          try SlabCleaner(topic: made.topic).clean(keeping: .nothing)
        }
      }
      let before = try readAll(made.topic).records
      let after = made.storage.powerCut(using: &random)
      let reopened = try QueueWriter(
        topic: Topic(storage: after), options: SmallTopic.options,
        environment: fixedEnvironment(topicID: 78))
      let address = try reopened.append("next").address
      try reopened.close()
      let read = try readAll(Topic(storage: after))
      let old = read.records.dropLast()
      let kept = before.filter { $0.address.rawValue < durable }
      // All records that were durable and not cleaned are there without a gap, from the first slab
      // that is left.
      let suffix = old.drop { record in before.first.map { record.address < $0.address } ?? true }
      #expect(Array(suffix.prefix(kept.count)) == kept, "seed \(seed)")
      #expect(Array(suffix) == Array(before.prefix(suffix.count)), "seed \(seed)")
      #expect(read.losses == [], "seed \(seed)")
      #expect(before.last.map { address > $0.address } ?? true)
    }
  }
}
