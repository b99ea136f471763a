// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import CXXHash

/// Makes the bytes of a slab from the page that describes the format, without the library. For
/// topics that would take a test too long to write.
public struct SlabForge {
  public let base: UInt64
  public private(set) var bytes: [UInt8] = []
  private let kept: UInt64
  private let topicID: UInt64
  private let stamp: UInt64
  private var ordinal: UInt64

  /// Begins a slab with its header and first mark.
  public init(
    base: UInt64, ordinal: UInt64 = 0, synced: UInt64, kept: UInt64 = 0, topicID: UInt64 = 77,
    largestPayload: UInt32 = 16 << 20, stamp: UInt64 = 1_600_000_000_000_000_000
  ) {
    self.base = base
    self.stamp = stamp
    self.kept = kept
    self.topicID = topicID
    self.ordinal = ordinal
    bytes = [0x89, 0x44, 0x51, 0x53, 0x4C, 0x41, 0x42, 0x0A, 2, 0, 0, 0]
    put(largestPayload)
    for field in [base, ordinal, stamp, synced, kept, 0, topicID] { put(field) }
    put(hash(bytes[...], seed: 0))
    putMark(synced: synced)
  }

  public var end: UInt64 { base &+ UInt64(bytes.count) }

  private mutating func put(_ value: some FixedWidthInteger) {
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  private func hash(_ bytes: ArraySlice<UInt8>, seed: UInt64) -> UInt64 {
    bytes.withUnsafeBytes { XXH3_64bits_withSeed($0.baseAddress, $0.count, seed) }
  }

  private mutating func putFrame(_ length: UInt32, _ body: [UInt8], seed: UInt64) {
    let checksum = UInt32(truncatingIfNeeded: hash(body[...], seed: seed))
    put(length)
    put(checksum == 0 ? 1 : checksum)
    bytes += body
  }

  public mutating func putRecord(_ payload: [UInt8]) {
    putFrame(UInt32(payload.count), payload, seed: topicID ^ end)
    ordinal &+= 1
  }

  /// Appends bytes that are no frame, instead of `records` records.
  public mutating func putGap(_ gap: [UInt8], records: UInt64 = 0) {
    bytes += gap
    ordinal &+= records
  }

  public mutating func putMark(synced: UInt64) {
    var body: [UInt8] = []
    for field in [stamp, ordinal, synced, kept, topicID] {
      withUnsafeBytes(of: field.littleEndian) { body.append(contentsOf: $0) }
    }
    putFrame(0xFFFF_FFFF, body, seed: ~(topicID ^ end))
  }

  /// A mark that states its own end as synced.
  public mutating func putClosingMark() { putMark(synced: end &+ 48) }
}
