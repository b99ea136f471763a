// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import FuzzSupport

@testable import DiskQueue

/// The topics in which cursors are tried. They are made once.
struct KnownTopic: Sendable {
  var slabs: [SlabImage]
  /// The records that a pass over the topic delivers.
  var records: [Seen] = []

  struct Seen: Hashable, Sendable {
    var address: UInt64
    var ordinal: UInt64
  }

  init(_ slabs: [UInt64: [UInt8]]) {
    self.slabs = slabs.sorted { $0.key < $1.key }.map { SlabImage(base: $0.key, bytes: $0.value) }
    do throws(QueueError) {
      var reader = try QueueReader(topic: FuzzTopic(self.slabs).topic) { _ in }
      while let record = try reader.next() {
        records.append(Seen(address: record.address.rawValue, ordinal: record.ordinal))
      }
    } catch {
      fatalError("a topic cannot be read: \(error)")
    }
  }

  static let all: [KnownTopic] = {
    let small = written([12])
    let several = written([90, 40, 30])
    var cleaned = several
    cleaned[0] = nil
    var damaged = several
    for (base, bytes) in several where bytes.count > 700 {
      damaged[base]?[600] = ~bytes[600]
    }
    return [[:], small, several, cleaned, damaged, version1()].map { KnownTopic($0) }
  }()

  /// Runs one writer after another. All but the last one end with a crash.
  private static func written(_ counts: [Int]) -> [UInt64: [UInt8]] {
    let place = FuzzTopic([])
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(4)
    options.maximumPayload = .bytes(1000)
    do throws(QueueError) {
      for (index, count) in counts.enumerated() {
        let writer = try QueueWriter(topic: place.topic, options: options, environment: .fuzzing)
        for number in 0..<count {
          _ = try writer.append([UInt8](repeating: UInt8(number), count: 20 + number))
          if number % 9 == 0 { try writer.sync() }
        }
        if index < counts.count - 1 {
          try writer.flush()
          writer.dieForTesting()
        } else {
          try writer.close()
        }
      }
    } catch {
      fatalError("a topic cannot be written: \(error)")
    }
    return place.slabs
  }

  private static func version1() -> [UInt64: [UInt8]] {
    var slabs: [UInt64: [UInt8]] = [:]
    var base: UInt64 = 0
    for _ in 0..<2 {
      var slab = SlabImage(base: base, bytes: [])
      for count in 0..<10 as Range<UInt32> {
        slab.bytes.add(count)
        slab.bytes.add(0 as UInt32)
        slab.bytes += [UInt8](repeating: UInt8(count), count: Int(count))
      }
      slab.make(.version1)
      slabs[base] = slab.bytes
      base = slab.end
    }
    return slabs
  }
}
