// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue
@testable import DiskQueueInspection

@Suite("G14: what a crafted slab costs is linear in its size, in calls and in bytes hashed")
struct DamageWorkTests {
  /// Makes a topic of these parts:
  ///
  /// - a slab of `count` empty records, each with a byte after it that is no frame
  /// - in it, a mark that states all of it as synced, and one more record
  /// - if `closed`, another slab
  private func gaps(_ count: Int, closed: Bool) -> SimulatedStorage {
    var bytes = SlabForge(base: 0, synced: 0)
    for _ in 0..<count {
      bytes.putRecord([])
      bytes.putGap([7], records: 1)
    }
    bytes.putMark(synced: bytes.end)
    bytes.putRecord([1])
    let storage = SimulatedStorage()
    storage.replace(slab: 0, with: bytes.bytes)
    if closed {
      var second = SlabForge(
        base: bytes.end, ordinal: 2 * UInt64(count) + 1, synced: bytes.end)
      second.putClosingMark()
      storage.replace(slab: second.base, with: second.bytes)
    }
    return storage
  }

  /// Operations that pass over damaged bytes.
  enum Way: CaseIterable {
    case reading, verifying, asking, toTheEnd, toAnAddress, toAnOrdinal, toATime, toACursor
    case recovering, scanning

    func go(_ storage: SimulatedStorage, places: Int) throws {
      let topic = Topic(storage: storage)
      let end = try #require(storage.slabs[0]).count
      func walker() -> LogWalker {
        LogWalker(TopicIndex(storage), payloadLimit: 1 << 20, bufferSize: 1 << 18)
      }
      switch self {
      case .reading:
        let pass = EnginePass(topic)
        #expect(pass.records.count == places + 1)
      case .verifying:
        var losses = 0
        let found = try TopicVerification(of: topic) { if case .loss = $0 { losses += 1 } }
        #expect(found.records == UInt64(places) + 1)
        #expect(losses == 1)
      case .asking:
        let info = try TopicInfo(of: topic)
        #expect(info.nextOrdinal == 2 * UInt64(places) + 1)
      case .toTheEnd:
        var walker = walker()
        try walker.seek(to: .latest, now: { 0 })
        #expect(walker.position >= UInt64(end))
      case .toAnAddress:
        var walker = walker()
        try walker.seek(to: .address(Address(rawValue: UInt64(end) - 9)), now: { 0 })
        #expect(walker.ordinal == 2 * UInt64(places))
      case .toAnOrdinal:
        var walker = walker()
        try walker.seek(to: .ordinal(2 * UInt64(places)), now: { 0 })
        #expect(walker.position > 0)
      case .toATime:
        var walker = walker()
        try walker.seek(to: .time(since1970: .seconds(1 << 32)), now: { 0 })
        #expect(walker.position > 0)
      case .toACursor:
        var walker = walker()
        let cursor = CursorPosition(address: UInt64(end) - 57, ordinal: 2 * UInt64(places))
        #expect(try walker.seek(toCursor: cursor).losses == [])
      case .recovering:
        let writer = try QueueWriter(
          topic: topic, options: .init(), environment: fixedEnvironment())
        #expect(writer.recovery.end.rawValue >= UInt64(end))
        try writer.close()
      case .scanning:
        let slab = try #require(try SlabFile.open(0, in: storage))
        var scan = try SlabScan(
          slab, from: 128, to: UInt64(end), topicID: 77, version1: nil, storage: storage)
        var gaps = 0
        while let item = try scan.next() { if case .neither = item { gaps += 1 } }
        #expect(gaps == places)
      }
    }
  }

  @Test(
    "ten times as many damaged places cost no further call, whatever comes past them",
    arguments: Way.allCases, [false, true])
  func calls(_ way: Way, closed: Bool) throws {
    var counts: [Int] = []
    for places in [100, 1000] {
      let storage = gaps(places, closed: closed)
      storage.logCalls()
      try way.go(storage, places: places)
      counts.append(storage.calls.count)
    }
    // Bisecting by ordinal or time takes one more step each time the slab doubles.
    #expect(counts[1] <= counts[0] + 8, "\(counts)")
    #expect(counts[0] < 110)
  }

  /// Bytes in which every fourth one begins a claim of a payload of about 60,000 bytes.
  private func claims(_ count: Int) -> [UInt8] {
    (0..<count).map { [0x10, 0xEA, 0, 0][$0 % 4] }
  }

  @Test("claims of long frames are hashed for the slab's allowance and no longer")
  func claimedLengths() throws {
    var first = SlabForge(base: 0, synced: 0)
    first.putRecord([1])
    let damaged = first.end
    first.putGap(claims(400_000))
    let short = first.end
    first.putRecord([2])
    first.putRecord([UInt8](repeating: 3, count: 1025))
    first.putRecord([4])
    var second = SlabForge(base: first.end, ordinal: 5, synced: first.end)
    second.putClosingMark()
    let storage = MemoryStorage(capacity: 1 << 20)
    for slab in [first, second] {
      _ = try SlabFile.create(slab.base, in: storage).file.write(slab.bytes.span.bytes, at: 0)
    }
    let pass = EnginePass(Topic(storage: storage))
    // The allowance is used up by then. Of the records after the claims, only the short ones are
    // found.
    #expect(pass.records.map(\.payload) == [[1], [2], [4]])
    #expect(pass.records.last?.ordinal == 4)
    #expect(pass.losses.map(\.records) == [2])
    #expect(pass.losses.map(\.from) == [damaged])

    let slab = try #require(try SlabFile.open(0, in: storage))
    var frames = try FrameSearch(slab, topicID: 77, maximumPayload: 1 << 20)
    #expect(try frames.firstRecord(from: damaged, to: first.end) == short)
    let bound = FrameSearch.allowanceOfByte * FrameSearch.leastAllowing
    #expect(frames.hashedInVain >= bound)
    #expect(frames.hashedInVain <= bound + 2 * 65_536)
  }

  @Test("marks without number, each with a bad frame after it, are each read once")
  func manyMarks() throws {
    var counts: [Int] = []
    for places in [100, 1000] {
      var first = SlabForge(base: 0, synced: 0)
      for _ in 0..<places {
        first.putRecord([5])
        first.putGap([9])
        first.putMark(synced: 0)
      }
      var second = SlabForge(base: first.end, ordinal: UInt64(places), synced: first.end)
      second.putClosingMark()
      let storage = SimulatedStorage()
      storage.replace(slab: 0, with: first.bytes)
      storage.replace(slab: second.base, with: second.bytes)
      storage.logCalls()
      let pass = EnginePass(Topic(storage: storage))
      counts.append(storage.calls.count)
      #expect(pass.records.count == places)
      #expect(pass.losses.map(\.records) == [UInt64?](repeating: 0, count: places))
    }
    // The reader asks for the file's size once at each damaged place.
    #expect(counts[1] - counts[0] <= 900 + 4, "\(counts)")
  }
}
