// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

/// Slabs of an attacker that knows the format and the topic's id. Every structure is sound, and
/// every field may have any value. Nothing crashes, nothing hangs, and every error is a
/// `QueueError`. Seeds work as in `ModelTests`.
@Suite("Hostile topics")
struct HostileTests {
  static let id: UInt64 = 0x1122_3344_5566_7788
  /// Numbers at which arithmetic may go wrong.
  static let extremes: [UInt64] = [
    0, 1, 80, 128, 176, 4096, 65_535, 65_536, (1 << 40) - 129, (1 << 40) - 1, 1 << 40,
    (1 << 40) + 128, 2 << 40, .max - (1 << 40), .max - 4096, .max - 128, .max - 80, .max - 1, .max,
  ]

  struct Forger {
    var random: SeededGenerator

    mutating func number(near address: UInt64) -> UInt64 {
      switch UInt64.random(in: 0..<4, using: &random) {
      case 0: HostileTests.extremes.randomElement(using: &random) ?? 0
      case 1: address &+ UInt64.random(in: 0..<300, using: &random) &- 150
      case 2: address
      default: UInt64.random(in: 0...UInt64.max, using: &random)
      }
    }

    mutating func slab(_ base: UInt64) -> [UInt8] {
      var bytes: [UInt8] = []
      if Bool.random(using: &random) || Bool.random(using: &random) {
        var buffer = WriteBuffer(capacity: 80)
        buffer.put(
          SlabHeader(
            largestPayload: UInt32(truncatingIfNeeded: number(near: 1000)), base: base,
            ordinal: number(near: 3), stamp: number(near: 9), synced: number(near: base),
            kept: number(near: base), topicID: HostileTests.id))
        append(buffer.bytes, to: &bytes)
      }
      for _ in 0..<Int.random(in: 0..<12, using: &random) {
        let address = base &+ UInt64(bytes.count)
        switch UInt64.random(in: 0..<8, using: &random) {
        case 0, 1, 2:
          let payload = [UInt8](
            repeating: 7, count: Int.random(in: 0..<100, using: &random))
          var buffer = WriteBuffer(capacity: 8 + payload.count)
          buffer.putRecord(
            payload.span.bytes,
            checksum: Checksum.frame(payload.span.bytes, seed: HostileTests.id ^ address))
          append(buffer.bytes, to: &bytes)
        case 3, 4, 5:
          var buffer = WriteBuffer(capacity: 48)
          buffer.put(
            Mark(
              stamp: number(near: 10), ordinal: number(near: 5), synced: number(near: address),
              kept: number(near: base), topicID: HostileTests.id), at: address)
          append(buffer.bytes, to: &bytes)
        case 6:
          let length = UInt32(truncatingIfNeeded: number(near: 50))
          bytes += (0..<4).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) }
        default:
          for _ in 0..<Int.random(in: 0..<60, using: &random) {
            bytes.append(UInt8.random(in: 0...255, using: &random))
          }
        }
      }
      return bytes
    }

    private func append(_ span: RawSpan, to bytes: inout [UInt8]) {
      for index in 0..<span.byteCount { bytes.append(span.byte(index)) }
    }
  }

  /// Reads up to the end, an error, or the bound.
  private func read(_ topic: Topic, from start: Topic.Position) -> Int {
    var steps = 0
    let reported = Reported()
    do throws(QueueError) {
      var reader = try QueueReader(topic: topic, from: start) { reported.take($0) }
      while steps < 10_000 {
        guard try reader.next() != nil else { break }
        steps += 1
      }
      _ = try reader.record(at: reader.position).payload.count
    } catch {
      // Any `QueueError` is a correct answer.
    }
    return steps + reported.losses.count
  }

  @Test("G14: sound structures with any fields: no crash, no hang, for readers and writers")
  func forged() throws {
    let first = SeedRun.number("DISKQUEUE_FIRST") ?? 0
    let count = SeedRun.number("DISKQUEUE_SEEDS") ?? 3000
    let single = SeedRun.number("DISKQUEUE_SEED")
    let seeds = single.map { [$0] } ?? Array(first..<first + count)
    var opened = 0
    for seed in seeds {
      var forger = Forger(random: SeededGenerator(seed: seed))
      let storage = MemoryStorage(capacity: 1 << 20)
      for _ in 0..<Int.random(in: 1..<5, using: &forger.random) {
        let base = forger.number(near: 4096)
        let bytes = forger.slab(base)
        guard let slab = try? SlabFile.create(base, in: storage) else { continue }
        if !bytes.isEmpty { _ = try slab.file.write(bytes.span.bytes, at: 0) }
      }
      let topic = Topic(storage: storage)
      var most = read(topic, from: .earliest)
      most = max(most, read(topic, from: .latest))
      for _ in 0..<3 {
        let place = forger.number(near: 4096)
        most = max(most, read(topic, from: .address(Address(rawValue: place))))
        most = max(most, read(topic, from: .ordinal(place)))
        most = max(most, read(topic, from: .time(since1970: .seconds(Int64(place >> 2)))))
      }
      #expect(most < 10_000, "seed \(seed) does not end")
      do throws(QueueError) {
        let writer = try QueueWriter(
          topic: topic, options: .init(), environment: fixedEnvironment())
        let address = try writer.append("sound").address
        try writer.close()
        opened += 1
        var reader = try QueueReader(topic: topic)
        let text = try reader.record(at: address).text
        #expect(text == "sound", "seed \(seed)")
      } catch {
        // Any `QueueError` is a correct answer.
      }
    }
    #expect(single != nil || opened * 3 > seeds.count)
  }
}
