// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Frames: records and marks. Their byte diagram is in SlabFormat.swift.

/// The eight bytes before every payload.
@usableFromInline
package enum FrameHeader {
  @inlinable package static var byteCount: Int { 8 }
  @inlinable static var length: Int { 0 }
  @inlinable static var checksum: Int { 4 }
  /// The length word of a mark.
  static let markWord: UInt32 = 0xFFFF_FFFF
}

/// A mark (M1). It is a point to resynchronise at, an entry of the index by ordinal and by time, a
/// proof of durability, and the spare copy of the slab's header.
package struct Mark: Equatable, Sendable {
  package static let byteCount = 48

  package var stamp: UInt64
  package var ordinal: UInt64
  package var synced: UInt64
  package var kept: UInt64
  package var topicID: UInt64

  private enum Offset {
    static let body = 8
    static let stamp = 8
    static let ordinal = 16
    static let synced = 24
    static let kept = 32
    static let topicID = 40
  }

  /// - Precondition: `bytes` holds at least 48 bytes.
  func encode(into bytes: inout MutableRawSpan, address: UInt64) {
    bytes.store(FrameHeader.markWord, at: FrameHeader.length)
    bytes.store(stamp, at: Offset.stamp)
    bytes.store(ordinal, at: Offset.ordinal)
    bytes.store(synced, at: Offset.synced)
    bytes.store(kept, at: Offset.kept)
    bytes.store(topicID, at: Offset.topicID)
    let checksum = Checksum.frame(
      bytes.bytes.extracting(Offset.body..<Mark.byteCount), seed: ~(topicID ^ address))
    bytes.store(checksum, at: FrameHeader.checksum)
  }

  /// The mark at the start of `bytes`, if it was written at this address.
  ///
  /// - Parameter topicID: the topic's. Nil if the caller does not know it yet.
  static func read(_ bytes: RawSpan, address: UInt64, topicID: UInt64?) -> Mark? {
    guard bytes.byteCount >= byteCount, bytes.u32(FrameHeader.length) == FrameHeader.markWord
    else { return nil }
    let stated = bytes.u64(Offset.topicID)
    guard stated != 0, stated == topicID ?? stated else { return nil }
    let body = bytes.extracting(Offset.body..<byteCount)
    guard bytes.u32(FrameHeader.checksum) == Checksum.frame(body, seed: ~(stated ^ address))
    else { return nil }
    return Mark(
      stamp: bytes.u64(Offset.stamp), ordinal: bytes.u64(Offset.ordinal),
      synced: bytes.u64(Offset.synced), kept: bytes.u64(Offset.kept), topicID: stated)
  }

  /// Whether a mark at this address states that everything before it was durable and that the
  /// writer closed. No other mark can state the address of its own end (M3).
  package func closes(at address: UInt64) -> Bool {
    let (end, overflow) = address.addingReportingOverflow(UInt64(Mark.byteCount))
    return !overflow && synced == end
  }
}
