// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// A consumer's durable position on disk: consumers/NAME.cursor, 8,192 bytes.
//
//   two slots, at 0 and at 4,096: generation g is stored in slot g mod 2, and the sound slot with
//   the higher generation holds (C1 to C8 of the format)
//
//   slot, 64 bytes                            (all integers unsigned, little-endian)
//   +0   magic      89 44 51 43 55 52 53 0A ("\x89DQCURS\n")
//   +8   u16        version: 2 is written, and 1 is read as well
//   +10             6 zero bytes
//   +16  u64        generation, from 1
//   +24  u64        topic id, 0 while the topic had none
//   +32  u64        address of the next record to deliver: it decides
//   +40  u64        the ordinal of that record: it only counts
//   +48  u64        XXH3-64 of the consumer's name, seed 0, or 0 in version 1
//   +56  u64        XXH3-64 of bytes 0 ..< 56, seed 0

/// One durable position of a consumer.
package struct CursorSlot: Equatable, Sendable {
  package static let byteCount = 64

  package var generation: UInt64
  package var topicID: UInt64
  package var address: UInt64
  package var ordinal: UInt64
  /// The version of the format. A slot of version 1 does not state its consumer.
  package var version: UInt16

  package init(
    generation: UInt64, topicID: UInt64, address: UInt64, ordinal: UInt64,
    version: UInt16 = CursorSlot.newestVersion
  ) {
    self.generation = generation
    self.topicID = topicID
    self.address = address
    self.ordinal = ordinal
    self.version = version
  }

  /// The version that a holder writes.
  package static let newestVersion: UInt16 = 2

  private static let magic: UInt64 = 0x0A53_5255_4351_4489

  private enum Offset {
    static let magic = 0
    static let version = 8
    static let zero = 10
    static let generation = 16
    static let topicID = 24
    static let address = 32
    static let ordinal = 40
    static let nameHash = 48
    static let hash = 56
  }

  /// What a slot turned out to be (C5).
  enum SlotVerdict: Equatable {
    case sound(CursorSlot)
    /// Only zeros: it was not written yet.
    case empty
    /// A newer program wrote it.
    case unsupported(version: UInt16)
    case damaged
  }

  /// The hash by which a slot states its consumer. Blocks of another consumer's file are not
  /// believed.
  private static func hash(of consumer: String) -> UInt64 {
    let name = Array(consumer.utf8)
    // Safe: the array outlives the call.
    return unsafe Checksum.xxh3(name.span.bytes, seed: 0)
  }

  /// - Precondition: `bytes` holds at least 64 bytes.
  package func encode(into bytes: inout MutableRawSpan, of consumer: String) {
    bytes.store(Self.magic, at: Offset.magic)
    bytes.store(version, at: Offset.version)
    bytes.store(0 as UInt16, at: Offset.zero)
    bytes.store(0 as UInt32, at: Offset.zero + 2)
    bytes.store(generation, at: Offset.generation)
    bytes.store(topicID, at: Offset.topicID)
    bytes.store(address, at: Offset.address)
    bytes.store(ordinal, at: Offset.ordinal)
    bytes.store(version == 1 ? 0 : Self.hash(of: consumer), at: Offset.nameHash)
    bytes.store(
      Checksum.xxh3(bytes.bytes.extracting(first: Offset.hash), seed: 0), at: Offset.hash)
  }

  /// Judges a slot in a consumer's file. Fewer than 64 bytes are damaged unless all are zero. A
  /// slot of version 2 is damaged if it is another consumer's.
  static func read(_ bytes: RawSpan, of consumer: String) -> SlotVerdict {
    let slot = bytes.extracting(first: byteCount)
    guard (0..<slot.byteCount).contains(where: { slot.byte($0) != 0 }) else { return .empty }
    guard slot.byteCount == byteCount, slot.u64(Offset.magic) == magic,
      Checksum.xxh3(slot.extracting(first: Offset.hash), seed: 0) == slot.u64(Offset.hash)
    else { return .damaged }
    let version = slot.u16(Offset.version)
    guard (1...newestVersion).contains(version) else { return .unsupported(version: version) }
    guard version == 1 || slot.u64(Offset.nameHash) == hash(of: consumer) else { return .damaged }
    let cursor = CursorSlot(
      generation: slot.u64(Offset.generation), topicID: slot.u64(Offset.topicID),
      address: slot.u64(Offset.address), ordinal: slot.u64(Offset.ordinal), version: version)
    return cursor.generation > 0 ? .sound(cursor) : .damaged
  }
}

/// Both slots of a cursor file.
package struct CursorSlots: Equatable, Sendable {
  package static let byteCount = 8192
  /// From the start of one slot to the start of the other. A torn write cannot hit both.
  static let spacing: UInt64 = 4096

  /// What the file holds (C7).
  package enum Content: Equatable, Sendable {
    /// It was never written, or never whole.
    case never
    /// - Parameters:
    ///   - holds: the sound slot with the higher generation.
    ///   - lowest: the lower address of the sound slots. A crash may fall back to it.
    ///   - count: how many are sound.
    case sound(holds: CursorSlot, lowest: UInt64, count: Int)
    case unsupported(version: UInt16)
    case damaged
  }

  /// The offset in the file of the slot of a generation.
  package static func offset(ofGeneration generation: UInt64) -> UInt64 { generation % 2 * spacing }

  /// Judges a consumer's whole file. Bytes that are missing at its end count as zeros.
  ///
  /// - A slot whose generation belongs to the other slot is damaged.
  /// - Beside a sound slot of version 2, one of version 1 counts only if its generation is one
  ///   less. The file held that slot when it changed its version. Any other one is not this file's
  ///   (C6).
  /// - A file that is too short and has an empty first slot was never written: its making was cut
  ///   short.
  package static func read(_ bytes: RawSpan, of consumer: String) -> Content {
    let readings = [0, Int(spacing)].map { start -> CursorSlot.SlotVerdict in
      let reading = CursorSlot.read(
        bytes.extracting(droppingFirst: min(start, bytes.byteCount)), of: consumer)
      if case .sound(let slot) = reading, offset(ofGeneration: slot.generation) != UInt64(start) {
        return .damaged
      }
      return reading
    }
    for case .unsupported(let version) in readings { return .unsupported(version: version) }
    var sound = readings.compactMap { if case .sound(let slot) = $0 { slot } else { nil } }
    if let newest = sound.first(where: { $0.version > 1 }) {
      sound.removeAll { $0.version == 1 && $0.generation != newest.generation - 1 }
    }
    if let holds = sound.max(by: { $0.generation < $1.generation }),
      let lowest = sound.map(\.address).min()
    {
      return .sound(holds: holds, lowest: lowest, count: sound.count)
    }
    let isCutShort = bytes.byteCount < byteCount && readings[0] == .empty
    return isCutShort || readings[1] == .empty && readings[0] == .empty ? .never : .damaged
  }

  /// The bytes of a consumer's whole file with one slot. The file of the first generation is made
  /// so (C19).
  package static func first(_ slot: CursorSlot, of consumer: String) -> [UInt8] {
    let start = Int(offset(ofGeneration: slot.generation))
    var bytes = [UInt8](repeating: 0, count: byteCount)
    bytes.replaceSubrange(start..<start + CursorSlot.byteCount, with: slot.bytes(of: consumer))
    return bytes
  }
}

extension CursorSlot {
  /// The slot's bytes in a consumer's file.
  package func bytes(of consumer: String) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: CursorSlot.byteCount)
    var elements = bytes.mutableSpan
    // Safe: bytes are bytes.
    var raw = unsafe elements.mutableBytes
    encode(into: &raw, of: consumer)
    return bytes
  }
}
