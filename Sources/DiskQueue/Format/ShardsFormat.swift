// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// How a topic's keys are dealt out to its shards: the file `shards`, 24 bytes (H2 of the format).
//
//                                             (all integers unsigned, little-endian)
//   +0   magic      44 51 53 48 41 52 44 53 ("DQSHARDS")
//   +8   u16        version, 1
//   +10  u16        dealer: 0 the program's own function, 1 XXH3-64 of the key, 2 a list of keys
//   +12  u32        how many shards, from 1 to 10,000
//   +16  u64        XXH3-64 of bytes 0 ..< 16, seed 0

/// The content of the file `shards`.
package struct ShardsFile: Equatable, Sendable {
  package static let byteCount = 24

  /// Four digits name a shard.
  package static let counts = 1...10_000

  /// The way to find the shard of a key (H3).
  package enum Dealer: UInt16, Sendable {
    case program = 0
    case hash = 1
    case list = 2
  }

  package var dealer: Dealer
  package var count: Int

  package init(dealer: Dealer, count: Int) {
    self.dealer = dealer
    self.count = count
  }

  private static let magic: UInt64 = 0x5344_5241_4853_5144
  private static let version: UInt16 = 1

  private enum Offset {
    static let magic = 0
    static let version = 8
    static let dealer = 10
    static let count = 12
    static let hash = 16
  }

  /// What a file of this name turned out to be (H6).
  package enum ShardsVerdict: Equatable, Sendable {
    case sound(ShardsFile)
    /// Only a beginning: the writer that made it did not finish it.
    case unfinished
    /// A newer program wrote it.
    case unsupported
    /// Another program's file.
    case foreign
    case damaged
  }

  /// The bytes of the file.
  ///
  /// - Precondition: the count is one of `counts`.
  package var bytes: [UInt8] {
    var bytes = [UInt8](repeating: 0, count: Self.byteCount)
    var elements = bytes.mutableSpan
    // Safe: bytes are bytes.
    var raw = unsafe elements.mutableBytes
    raw.store(Self.magic, at: Offset.magic)
    raw.store(Self.version, at: Offset.version)
    raw.store(dealer.rawValue, at: Offset.dealer)
    raw.store(UInt32(count), at: Offset.count)
    raw.store(Checksum.xxh3(raw.bytes.extracting(first: Offset.hash), seed: 0), at: Offset.hash)
    return bytes
  }

  /// Judges a file's first bytes. Pass one byte more than `byteCount`, if the file has it: that
  /// shows that the file is too long.
  ///
  /// One write makes the file, and a crash leaves its beginning or zeros. A program wrote anything
  /// else, so that is not unfinished.
  package static func read(_ bytes: RawSpan) -> ShardsVerdict {
    let count = bytes.byteCount
    let indices = 0..<min(count, byteCount)
    if count <= byteCount, indices.allSatisfy({ bytes.byte($0) == 0 }) { return .unfinished }
    let beginning = indices.prefix(MemoryLayout<UInt64>.size)
    guard
      beginning.allSatisfy({ bytes.byte($0) == UInt8(truncatingIfNeeded: magic >> (8 * $0)) })
    else { return .foreign }
    guard count >= byteCount else { return .unfinished }
    let (version, known) = (bytes.u16(Offset.version), Self.version)
    // A newer version may be longer, and have its hash elsewhere.
    guard count == byteCount else { return version > known ? .unsupported : .damaged }
    guard Checksum.xxh3(bytes.extracting(first: Offset.hash), seed: 0) == bytes.u64(Offset.hash)
    else { return .damaged }
    guard version == known, let dealer = Dealer(rawValue: bytes.u16(Offset.dealer)) else {
      return .unsupported
    }
    let shards = Int(bytes.u32(Offset.count))
    return counts.contains(shards) ? .sound(ShardsFile(dealer: dealer, count: shards)) : .damaged
  }
}

/// A shard's directory: its number, four digits.
package enum ShardName {
  package static let digits = 4

  package static func string(_ shard: Int) -> String {
    let number = String(shard)
    return String(repeating: "0", count: max(0, digits - number.utf8.count)) + number
  }

  /// The number of a shard. Nil if the name is not a shard's.
  package static func parse(_ name: String) -> Int? {
    let name = name.utf8
    guard name.count == digits, name.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
    return name.reduce(0) { 10 * $0 + Int($1 - 0x30) }
  }
}
