// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// The on-disk format, version 2: the one byte diagram, the constants, and the codec of the slab
// header. Marks and records are in FrameFormat.swift, version 1 in Version1Format.swift.
//
// One directory is one topic, and each slab is a file named by its base address:
//
//   slab   = header, frame*
//   frame  = record | mark                    (all integers unsigned, little-endian, unaligned)
//
//   header, 80 bytes
//   +0   magic      89 44 51 53 4C 41 42 0A ("\x89DQSLAB\n")
//   +8   u16        version, 2
//   +10  u16        flags, 0: an unknown bit means "refuse, do not guess"
//   +12  u32        largest payload that this slab may hold
//   +16  u64        base address, equal to the file's name
//   +24  u64        ordinal of the next record: how many the log took before it
//   +32  u64        stamp: nanoseconds since 1970, never below an earlier stamp of the topic
//   +40  u64        synced: all below this address was on stable storage when this was written
//   +48  u64        kept: the end of the records before this epoch, 0 in the first epoch
//   +56  u64        0
//   +64  u64        topic id, random, never 0
//   +72  u64        XXH3-64 of bytes 0 ..< 72, seed 0
//
//   record, 8 bytes and the payload, no padding
//   +0   u32        payload bytes, 0 ... 0xFFFF_FFEF
//   +4   u32        low half of XXH3-64(payload, seed: topic id ^ address), a 0 stored as 1
//   +8              payload
//
//   mark, 48 bytes
//   +0   u32        0xFFFF_FFFF (0xFFFF_FFF0 ... 0xFFFF_FFFE are reserved)
//   +4   u32        low half of XXH3-64(bytes 8 ..< 48, seed: ~(topic id ^ address)), 0 as 1
//   +8   u64        stamp       as in the header
//   +16  u64        ordinal     of the next record
//   +24  u64        synced      as in the header, when the mark was written
//   +32  u64        kept        as in the header
//   +40  u64        topic id
//
// The seed holds the address, and an address is never used twice. So no bytes that are stale, moved
// or embedded in a payload pass for a frame. The hash takes in the payload's length. So a damaged
// length word fails the check as well.

/// Constants of the format that belong to no single structure.
package enum SlabFormat {
  package static let version: UInt16 = 2
  static let magic: UInt64 = 0x0A42_414C_5351_4489

  /// A mark comes before a record once this many bytes were written since the last mark, and around
  /// every payload larger than this (W4, W5). It bounds the search after damage.
  static let markSpacing: UInt64 = 65_536

  /// The largest payload that a length word can state.
  package static let largestPayload: UInt32 = 0xFFFF_FFEF
}

/// The first 80 bytes of a slab.
package struct SlabHeader: Equatable, Sendable {
  package static let byteCount = 80

  package var largestPayload: UInt32
  package var base: UInt64
  package var ordinal: UInt64
  package var stamp: UInt64
  package var synced: UInt64
  package var kept: UInt64
  package var topicID: UInt64

  /// What the first bytes of a slab turned out to be.
  package enum HeaderVerdict: Equatable, Sendable {
    case sound(SlabHeader)
    /// A newer program wrote it. It is refused, and not guessed at (S4).
    case unsupported(version: UInt16, flags: UInt16)
    /// Torn, damaged, or in a file of another name.
    case unsound
  }

  private enum Offset {
    static let magic = 0
    static let version = 8
    static let flags = 10
    static let largestPayload = 12
    static let base = 16
    static let ordinal = 24
    static let stamp = 32
    static let synced = 40
    static let kept = 48
    static let zero = 56
    static let topicID = 64
    static let hash = 72
  }

  /// - Precondition: `bytes` holds at least 80 bytes.
  func encode(into bytes: inout MutableRawSpan) {
    bytes.store(SlabFormat.magic, at: Offset.magic)
    bytes.store(SlabFormat.version, at: Offset.version)
    bytes.store(0 as UInt16, at: Offset.flags)
    bytes.store(largestPayload, at: Offset.largestPayload)
    bytes.store(base, at: Offset.base)
    bytes.store(ordinal, at: Offset.ordinal)
    bytes.store(stamp, at: Offset.stamp)
    bytes.store(synced, at: Offset.synced)
    bytes.store(kept, at: Offset.kept)
    bytes.store(0 as UInt64, at: Offset.zero)
    bytes.store(topicID, at: Offset.topicID)
    let hash = Checksum.xxh3(bytes.bytes.extracting(first: Offset.hash), seed: 0)
    bytes.store(hash, at: Offset.hash)
  }

  /// Judges the first bytes of the slab that is named by `base`. Fewer than 80 bytes are unsound.
  static func read(_ bytes: RawSpan, base: UInt64) -> HeaderVerdict {
    guard bytes.byteCount >= byteCount, bytes.u64(Offset.magic) == SlabFormat.magic,
      Checksum.xxh3(bytes.extracting(first: Offset.hash), seed: 0) == bytes.u64(Offset.hash)
    else { return .unsound }
    let version = bytes.u16(Offset.version)
    let flags = bytes.u16(Offset.flags)
    guard version == SlabFormat.version, flags == 0 else {
      return .unsupported(version: version, flags: flags)
    }
    let header = SlabHeader(
      largestPayload: bytes.u32(Offset.largestPayload), base: bytes.u64(Offset.base),
      ordinal: bytes.u64(Offset.ordinal), stamp: bytes.u64(Offset.stamp),
      synced: bytes.u64(Offset.synced), kept: bytes.u64(Offset.kept),
      topicID: bytes.u64(Offset.topicID))
    guard header.base == base, header.topicID != 0 else { return .unsound }
    return .sound(header)
  }
}
