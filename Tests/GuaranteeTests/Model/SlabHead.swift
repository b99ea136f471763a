// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport

@testable import DiskQueue

/// The statements in a slab's bytes, at any offset.
enum SlabHead {
  /// A stamp and its address.
  struct Stamp {
    var address: UInt64
    var stamp: UInt64
  }

  private static func header(_ bytes: [UInt8], base: UInt64) -> SlabHeader? {
    if case .sound(let header) = SlabHeader.read(bytes.span.bytes, base: base) {
      header
    } else {
      nil
    }
  }

  /// The sound marks of a file. Includes marks in payloads, if they are at their own address.
  private static func marks(_ bytes: [UInt8], base: UInt64) -> [(address: UInt64, mark: Mark)] {
    var marks: [(UInt64, Mark)] = []
    var offset = SlabHeader.byteCount
    while offset + Mark.byteCount <= bytes.count {
      if bytes[offset] == 0xFF, bytes[offset + 3] == 0xFF,
        let mark = Mark.read(
          bytes.span.bytes.extracting(droppingFirst: offset), address: base + UInt64(offset),
          topicID: nil)
      {
        marks.append((base + UInt64(offset), mark))
        offset += Mark.byteCount
      } else {
        offset += 1
      }
    }
    return marks
  }

  /// Whether its header or any of its marks states the end of the records before its epoch.
  static func statesKept(_ bytes: [UInt8], base: UInt64) -> Bool {
    header(bytes, base: base) != nil || !marks(bytes, base: base).isEmpty
  }

  /// How many records the log took, by the last mark or header. The topic must be idle.
  static func ordinal(of slabs: [UInt64: [UInt8]]) -> Int {
    guard let (base, bytes) = slabs.max(by: { $0.key < $1.key }) else { return 0 }
    let last = marks(bytes, base: base).last?.mark.ordinal
    return Int(last ?? header(bytes, base: base)?.ordinal ?? 0)
  }

  /// The topic's id, from the last slab with a sound header.
  static func topicID(of slabs: [UInt64: [UInt8]]) -> UInt64? {
    slabs.sorted { $0.key > $1.key }.lazy.compactMap { header($1, base: $0)?.topicID }.first
  }

  /// How many records the log took before the first slab with a sound header.
  static func firstOrdinal(of slabs: [UInt64: [UInt8]]) -> Int {
    let first = slabs.sorted { $0.key < $1.key }.lazy.compactMap { header($1, base: $0) }.first
    return Int(first?.ordinal ?? 0)
  }

  /// The stamps of its header and marks, in order.
  static func stamps(_ bytes: [UInt8], base: UInt64) -> [Stamp] {
    let first = header(bytes, base: base).map { [Stamp(address: base, stamp: $0.stamp)] } ?? []
    return first + marks(bytes, base: base).map { Stamp(address: $0.address, stamp: $0.mark.stamp) }
  }
}

/// The position in a cursor's file, read only by the rules of the format's page.
enum NaiveCursor: Equatable {
  case never
  case at(UInt64)
  case damaged

  static func read(_ bytes: [UInt8], of consumer: String) -> NaiveCursor {
    var slots = [0, 4096].map { slot(bytes, at: $0, of: consumer) }
    // Beside a slot of version 2, a slot of version 1 counts only if it is one generation older.
    for (number, other) in [(0, 1), (1, 0)] {
      guard slots[number]?.version == 1, let newer = slots[other], newer.version == 2 else {
        continue
      }
      if slots[number]?.generation != newer.generation - 1 { slots[number] = nil }
    }
    if let holds = slots.compactMap(\.self).max(by: { $0.generation < $1.generation }) {
      return .at(holds.address)
    }
    let isEmpty = [0, 4096].map { bytes.dropFirst($0).prefix(64).allSatisfy { $0 == 0 } }
    if bytes.count < 8192, bytes.prefix(4096).allSatisfy({ $0 == 0 }) { return .never }
    return isEmpty == [true, true] ? .never : .damaged
  }

  /// Whether the slot at 0 or 4,096 is sound.
  static func isSound(_ bytes: [UInt8], slotAt start: Int, of consumer: String) -> Bool {
    slot(bytes, at: start, of: consumer) != nil
  }

  private static func slot(
    _ bytes: [UInt8], at start: Int, of consumer: String
  ) -> (version: UInt8, generation: UInt64, address: UInt64)? {
    guard bytes.count >= start + 64 else { return nil }
    func integer(_ offset: Int) -> UInt64 {
      (0..<8).reduce(0) { $0 | UInt64(bytes[start + offset + $1]) << UInt64(8 * $1) }
    }
    let generation = integer(16)
    guard bytes[start..<start + 8].elementsEqual([0x89, 0x44, 0x51, 0x43, 0x55, 0x52, 0x53, 0x0A]),
      integer(56) == xxh3(Array(bytes[start..<start + 56])), generation > 0,
      Int(generation % 2) * 4096 == start, (1...2).contains(bytes[start + 8]),
      bytes[start + 8] == 1 || integer(48) == xxh3(Array(consumer.utf8))
    else { return nil }
    return (bytes[start + 8], generation, integer(32))
  }
}
