// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueInspection
import DiskQueueTestSupport
import Foundation
import Testing

@Suite("Looking into a topic")
struct InspectionTests {
  /// The bytes of a topic's slab files, by their base addresses.
  private func files(of topic: String) throws -> [UInt64: Data] {
    var files: [UInt64: Data] = [:]
    for name in try FileManager.default.contentsOfDirectory(atPath: topic) {
      guard let base = SlabName.parse(name) else { continue }
      files[base] = try Data(contentsOf: URL(fileURLWithPath: topic + "/" + name))
    }
    return files
  }

  private func make(_ path: String, records: Int) throws {
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(4)
    let writer = try QueueWriter(topic: Topic(path), options: options)
    for number in 0..<records { try writer.append("payload number \(number)") }
    try writer.close()
  }

  private func write(_ files: [UInt64: Data], to path: String) throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    for (base, bytes) in files {
      try bytes.write(to: URL(fileURLWithPath: path + "/" + SlabName.string(base)))
    }
  }

  @Test("a slab before a missing one is not credited with the missing one's records")
  func missingSlab() throws {
    let directory = try TemporaryDirectory()
    try make(directory.path + "/whole", records: 1000)
    let whole = try files(of: directory.path + "/whole")
    let bases = whole.keys.sorted()
    let all = try TopicInfo(of: Topic(directory.path + "/whole")).slabs.map(\.records)
    try #require(all.count > 4 && !all.contains(nil))
    for missing in 1..<bases.count - 1 {
      var files = whole
      files[bases[missing]] = nil
      let path = directory.path + "/without-\(missing)"
      try write(files, to: path)
      var expected = all
      expected[missing - 1] = nil
      expected.remove(at: missing)
      #expect(try TopicInfo(of: Topic(path)).slabs.map(\.records) == expected)

      // A cleaner does not know these counts either, nor does a writer that drops the slab.
      let removals = try SlabCleaner(topic: Topic(path)).plan(
        keeping: Retention(records: 0, minimumBytes: .bytes(0))
      ).removals
      #expect(removals.map(\.records) == expected.dropLast())
    }
  }

  @Test("wherever the last slab is cut, info, verify, recovery and the naive reader agree")
  func cuts() throws {
    let directory = try TemporaryDirectory()
    try make(directory.path + "/whole", records: 300)
    let whole = try files(of: directory.path + "/whole")
    let last = try #require(whole.keys.max())
    let size = try #require(whole[last]?.count)
    for cut in Array(stride(from: 0, to: size, by: 37)) + [size - 49, size - 48, size - 1, size] {
      var files = whole
      files[last] = whole[last]?.prefix(cut)
      let path = directory.path + "/cut-\(cut)"
      try write(files, to: path)
      let topic = Topic(path)
      let naive = naiveRead(slabs: files.mapValues { Array($0) })

      let info = try TopicInfo(of: topic)
      var tailBytes: UInt64 = 0
      var losses: [Loss] = []
      let verified = try TopicVerification(of: topic) { finding in
        if case .tail(let tail) = finding { tailBytes += tail.bytes }
        if case .loss(let loss, _) = finding { losses.append(loss) }
      }
      let records = naive.events.count {
        if case .record = $0 { true } else { false }
      }
      #expect(losses.isEmpty && records == naive.events.count)
      #expect(info.records == UInt64(records))
      #expect(verified.records == UInt64(records))
      #expect(info.next.rawValue == naive.end)
      #expect(verified.end == info.next)
      #expect((info.ending == .closed) == naive.isClean)
      #expect(verified.ending == info.ending)
      #expect(tailBytes == info.tailBytes)

      let recovery = try QueueWriter(topic: topic).recovery
      #expect(recovery.end == info.next)
      #expect(recovery.discardedBytes == info.tailBytes)
      #expect(recovery.wasClean == (info.ending == .closed))
      // After recovery, the same tail is reported as discarded.
      var discarded: UInt64 = 0
      let after = try TopicVerification(of: topic) { finding in
        if case .tail(let tail) = finding, tail.cause == .discarded { discarded += tail.bytes }
      }
      #expect(after.records == UInt64(records))
      #expect(discarded == tailBytes)
    }
  }

  @Test("whatever bit is flipped, verify finds what the naive reader does")
  func flips() throws {
    let directory = try TemporaryDirectory()
    try make(directory.path + "/whole", records: 300)
    let whole = try files(of: directory.path + "/whole")
    for (base, bytes) in whole {
      for offset in stride(from: Int(base % 7), to: bytes.count, by: 61) {
        var files = whole
        files[base]?[bytes.startIndex + offset] ^= 0x10
        let path = directory.path + "/flipped"
        try write(files, to: path)
        let naive = naiveRead(slabs: files.mapValues { Array($0) })
        var losses: [Loss] = []
        let verified = try TopicVerification(of: Topic(path)) { finding in
          if case .loss(let loss, _) = finding { losses.append(loss) }
        }
        var expected: [Loss] = []
        var records: UInt64 = 0
        for event in naive.events {
          switch event {
          case .record: records += 1
          case .loss(let loss):
            let addresses = Address(rawValue: loss.from)..<Address(rawValue: loss.to)
            expected.append(Loss(cause: .damaged, addresses: addresses, records: loss.records))
            #expect(loss.cause == .damaged)
          }
        }
        #expect(losses == expected, "slab \(base), offset \(offset)")
        #expect(verified.records == records)
        #expect((verified.ending == .closed) == naive.isClean)
      }
    }
  }

  @Test("a dump accounts for every byte, in order, whatever is damaged")
  func dump() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.path + "/topic"
    try make(topic, records: 100)
    let whole = try files(of: topic)
    let bytes = try #require(whole[0])
    for offset in stride(from: 0, to: bytes.count, by: 97) {
      var damaged = bytes
      damaged[damaged.startIndex + offset] ^= 1
      let path = topic + "/" + SlabName.string(0)
      try damaged.write(to: URL(fileURLWithPath: path))
      var dump = try SlabDump(path: path)
      var position: UInt64 = 0
      var bad = 0
      while let frame = try dump.next() {
        switch frame {
        case .header(let header):
          #expect(header.base.rawValue == position)
          position += 80
        case .mark(let mark):
          #expect(mark.address.rawValue == position)
          position += 48
        case .record(let record):
          #expect(record.address.rawValue == position)
          position += 8 + record.payloadBytes
        case .neither(let addresses):
          #expect(addresses.lowerBound.rawValue == position)
          position = addresses.upperBound.rawValue
          bad += 1
        case .preallocated:
          Issue.record("a closed slab ends with a frame")
        }
      }
      #expect(position == UInt64(bytes.count))
      #expect(bad == 1)
    }
  }

  @Test("a hostile slab ends in findings or an error, never in a crash")
  func hostile() throws {
    let directory = try TemporaryDirectory()
    var generator = SystemRandomNumberGenerator()
    for (number, base) in [0, 1 << 40, UInt64.max, UInt64.max - 60].enumerated() {
      for length in [0, 1, 8, 79, 80, 200, 70_000] {
        let path = directory.path + "/hostile-\(number)-\(length)"
        let bytes = Data((0..<length).map { _ in UInt8.random(in: 0...255, using: &generator) })
        try write([base: bytes], to: path)
        do throws(QueueError) {
          let info = try TopicInfo(of: Topic(path))
          #expect(info.slabs.count == 1)
          let verified = try TopicVerification(of: Topic(path)) { _ in }
          #expect(verified.records == 0)
          var dump = try SlabDump(path: path + "/" + SlabName.string(base))
          while try dump.next() != nil {}
        } catch {
          #expect(error.code != .invalidOption)
        }
      }
    }
  }

  @Test(
    "the holder of a topic and of a consumer is known, and nothing is locked to find it",
    arguments: [true, false])
  func holders(inMemory: Bool) throws {
    let directory = try TemporaryDirectory()
    let topic = inMemory ? Topic.memory() : Topic(directory.path + "/topic")
    let writer = try QueueWriter(topic: topic)
    try writer.append("held")
    try writer.flush()
    let process = ProcessInfo.processInfo.processIdentifier
    let consumer = try QueueConsumer(topic: topic, name: "reader")
    for _ in 0..<2 {
      let info = try TopicInfo(of: topic)
      #expect(info.writer == LockHolder(isAlive: true, process: process, processIsRunning: true))
      let described = try ConsumerInfo.all(of: topic)
      #expect(described.map(\.holder) == [info.writer])
    }
    try consumer.close()
    try writer.close()
    #expect(try TopicInfo(of: topic).writer.isAlive == false)
    #expect(try ConsumerInfo.all(of: topic).map(\.holder.isAlive) == [false])
    try QueueWriter(topic: topic).close()
  }

  @Test("a topic without a lock has no writer")
  func noLock() throws {
    let directory = try TemporaryDirectory()
    #expect(
      try TopicInfo(of: Topic(directory.path)).writer == LockHolder(isAlive: false, process: nil))
  }
}
