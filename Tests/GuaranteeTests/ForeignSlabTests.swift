// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Synchronization
import Testing

@testable import DiskQueue

@Suite("A slab of another topic")
struct ForeignSlabTests {
  /// The position of the foreign slab. The topic's first slabs were cleaned.
  enum Place: CaseIterable {
    case before, between, after, nextEpoch

    func base(_ bases: [UInt64]) -> UInt64 {
      switch self {
      case .before: bases[0] - 1000
      case .between: bases[bases.count / 2] + 500
      case .after: (bases.last ?? 0) + (1 << 20)
      case .nextEpoch: 1 << 40
      }
    }
  }

  /// A topic whose first slabs were cleaned, so that addresses before its first slab are free.
  private func topic(isClosed: Bool) throws -> (CleaningTopic, [QueueRecord]) {
    let made = CleaningTopic()
    let writer = try made.writer()
    try made.roll(writer, times: 24)
    try writer.append("the last one")
    if isClosed {
      try writer.close()
    } else {
      try writer.sync()
      writer.dieForTesting()
      made.storage.kill()
    }
    try made.cleaner().clean(
      keeping: Retention(
        bytes: .bytes(Int64(made.sizes.dropFirst(2).reduce(0, +))), minimumBytes: .bytes(0)))
    return (made, try readAll(made.topic).records)
  }

  private static func foreign(at base: UInt64, isClosed: Bool = true) -> [UInt8] {
    var forge = SlabForge(base: base, ordinal: 3, synced: base, topicID: 5)
    for number in 0..<20 as Range<UInt8> { forge.putRecord([5, number]) }
    if isClosed { forge.putClosingMark() }
    return forge.bytes
  }

  private func options(_ whenFull: QueueWriter.Options.WhenFull) -> QueueWriter.Options {
    var options = SmallTopic.options
    options.maximumBytes = .kibibytes(64)
    options.whenFull = whenFull
    return options
  }

  /// Opens the topic, appends and closes.
  private func write(_ topic: Topic, _ whenFull: QueueWriter.Options.WhenFull) throws {
    let writer = try QueueWriter(
      topic: topic, options: options(whenFull),
      environment: fixedEnvironment(topicID: CleaningTopic.topicID))
    for number in 0..<40 as Range<UInt64> {
      try writer.append(SmallTopic.payload(number, length: 700))
    }
    try writer.close()
  }

  @Test(
    """
    stops who opens or cleans: nothing is removed or written, its name is told, and all goes on \
    without it
    """,
    arguments: Place.allCases)
  func copied(_ place: Place) throws {
    for isClosed in [true, false] {
      for foreignIsClosed in [true, false] {
        let (made, records) = try topic(isClosed: isClosed)
        let before = made.storage.slabs
        let bases = made.bases
        let base = place.base(bases)
        let foreign = Self.foreign(at: base, isClosed: foreignIsClosed)
        made.storage.replace(slab: base, with: foreign)
        let path = "simulated/" + SlabName.string(base)

        for whenFull in [.fail, .dropOldest] as [QueueWriter.Options.WhenFull] {
          let error = queueError { try write(made.topic, whenFull) }
          guard place != .between else { continue }
          #expect(error?.code == .unsupportedFormat && error?.path == path)
          #expect(made.storage.slabs == before.merging([base: foreign]) { $1 })
        }
        let cleaned = queueError { try made.cleaner().clean(keeping: .nothing) }
        #expect(cleaned?.code == .unsupportedFormat && cleaned?.path == path)
        #expect(cleaned?.message.contains("another topic") == true)
        #expect(made.storage.slabs[base] == foreign)
        if place != .between {
          #expect(made.storage.slabs == before.merging([base: foreign]) { $1 })
        } else {
          // All slabs after it are still there.
          #expect(bases.filter { $0 > base }.allSatisfy { made.storage.slabs[$0] != nil })
        }
        let read = queueError { _ = try readAll(made.topic) }
        #expect(read?.code == .unsupportedFormat && read?.path == path)

        made.storage.replace(slab: base, with: nil)
        if place != .between { #expect(try readAll(made.topic).records == records) }
        try write(made.topic, .dropOldest)
        let after = try readAll(made.topic)
        #expect(after.losses == [])
        #expect(
          after.records.suffix(40).map(\.payload)
            == (0..<40).map {
              SmallTopic.payload($0, length: 700)
            })
      }
    }
  }

  @Test("in the middle is never removed, nor is anything that is before it once it would be first")
  func between() throws {
    let (made, _) = try topic(isClosed: true)
    let base = Place.between.base(made.bases)
    let foreign = Self.foreign(at: base)
    made.storage.replace(slab: base, with: foreign)
    var errors: [QueueError?] = []
    for _ in 0..<3 { errors.append(queueError { try write(made.topic, .dropOldest) }) }
    #expect(errors.last??.code == .unsupportedFormat)
    #expect(errors.last??.path == "simulated/" + SlabName.string(base))
    #expect(made.storage.slabs[base] == foreign)
    // The slab before it stays, because without it the foreign slab would be the first.
    #expect(made.bases.contains { $0 < base })
  }

  @Test("at any step of a writer or cleaner harms nothing of ours", arguments: Place.allCases)
  func appearing(_ place: Place) throws {
    let (original, _) = try topic(isClosed: true)
    let base = place.base(original.bases)
    let foreign = Self.foreign(at: base)
    var isOver = false
    var step = 0
    var refused = 0
    while !isOver, step < 2000 {
      step += place == .between ? 1 : 3
      let storage = original.storage.copy()
      let countdown = Countdown(step)
      storage.setHook { [storage] _ in
        guard countdown.isLast() else { return }
        storage.replace(slab: base, with: foreign)
      }
      var acknowledged: [[UInt8]] = []
      do {
        let writer = try QueueWriter(
          topic: Topic(storage: storage), options: options(.dropOldest),
          environment: fixedEnvironment(topicID: CleaningTopic.topicID))
        for number in 0..<12 as Range<UInt64> {
          let payload = SmallTopic.payload(number, length: 700)
          try writer.append(payload)
          try writer.sync()
          acknowledged.append(payload)
        }
        try SlabCleaner(topic: Topic(storage: storage)).clean(
          keeping: Retention(bytes: .kibibytes(24), minimumBytes: .bytes(0)))
        try writer.close()
      } catch {
        refused += 1
        #expect(error.code == .unsupportedFormat, "step \(step): \(error)")
        #expect(error.path == "simulated/" + SlabName.string(base), "step \(step)")
      }
      storage.setHook(nil)
      isOver = !countdown.isOver
      #expect(isOver || storage.slabs[base] == foreign, "step \(step)")
      storage.replace(slab: base, with: nil)
      storage.kill()
      let after = try readAll(Topic(storage: storage))
      #expect(after.losses == [], "step \(step)")
      #expect(
        after.records.suffix(acknowledged.count).map(\.payload) == acknowledged, "step \(step)")
    }
    #expect(refused > 3 && isOver)
  }

  @Test("the topic is the one of most slabs, and after a tie that of the lowest address")
  func vote() {
    var vote = SlabVote()
    #expect(vote.winner == nil && vote.firstLoser == nil)
    vote.add(0, 7)
    #expect(vote.winner == 7 && vote.firstLoser == nil)
    vote.add(100, 8)
    #expect(vote.winner == 7 && vote.firstLoser == 100)
    vote.add(200, 8)
    #expect(vote.winner == 8 && vote.firstLoser == 0)
    let many = (0..<100).map { UInt64($0) }
    #expect(SlabVote.voters(among: many) == Array(0..<16) + Array(84..<100))
    #expect(SlabVote.voters(among: [3, 4]) == [3, 4])
  }

  @Test("a topic of one slab beside a foreign one: the message names one of the two, and both stay")
  func tie() throws {
    let storage = SimulatedStorage()
    var own = SlabForge(base: 0, synced: 0)
    own.putRecord([1])
    own.putClosingMark()
    storage.replace(slab: 0, with: own.bytes)
    storage.replace(slab: 5000, with: Self.foreign(at: 5000))
    let before = storage.slabs
    let error = queueError { try write(Topic(storage: storage), .dropOldest) }
    #expect(error?.path == "simulated/" + SlabName.string(5000))
    #expect(storage.slabs == before)
  }
}

/// Counts calls down, and finds the last one.
private final class Countdown: Sendable {
  private let left: Mutex<Int>
  init(_ count: Int) { left = Mutex(count) }
  func isLast() -> Bool {
    left.withLock { left in
      left -= 1
      return left == 0
    }
  }
  var isOver: Bool { left.withLock { $0 <= 0 } }
}
