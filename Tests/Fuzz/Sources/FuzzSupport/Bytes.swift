// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import CXXHash

// The format's integers and hashes, written from its page and without the library.

/// The id of the topics that are forged here, and of the golden topics.
public let forgedTopicID: UInt64 = 0x1122_3344_5566_7788

extension [UInt8] {
  /// The little-endian integer at an offset. Nil if not all of its bytes are there.
  public func integer<T: FixedWidthInteger>(_ offset: Int, as type: T.Type = T.self) -> T? {
    let size = MemoryLayout<T>.size
    guard offset >= 0, offset <= count - size else { return nil }
    return (0..<size).reduce(0) { $0 | T(truncatingIfNeeded: self[offset + $1]) << T(8 * $1) }
  }

  public mutating func set(_ value: some FixedWidthInteger, at offset: Int) {
    Swift.withUnsafeBytes(of: value.littleEndian) {
      replaceSubrange(offset..<offset + $0.count, with: $0)
    }
  }

  public mutating func add(_ value: some FixedWidthInteger) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }

  public func xxh3(_ range: Range<Int>, seed: UInt64) -> UInt64 {
    self[range].withUnsafeBytes { XXH3_64bits_withSeed($0.baseAddress, $0.count, seed) }
  }

  public func xxh32(_ range: Range<Int>) -> UInt32 {
    self[range].withUnsafeBytes { XXH32($0.baseAddress, $0.count, 0) }
  }

  /// The checksum that a version 2 frame stores.
  public func frameChecksum(_ range: Range<Int>, seed: UInt64) -> UInt32 {
    Swift.max(UInt32(truncatingIfNeeded: xxh3(range, seed: seed)), 1)
  }
}
