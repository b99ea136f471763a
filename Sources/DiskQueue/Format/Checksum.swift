// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import CXXHash

/// The hashes of the format (T2, Q2), from libxxhash. No other file imports it.
@usableFromInline
enum Checksum {
  /// XXH3-64 with a seed (`XXH3_64bits_withSeed`, with whichever instructions the machine has).
  @usableFromInline
  static func xxh3(_ bytes: RawSpan, seed: UInt64) -> UInt64 {
    // Safe: the call reads `count` bytes from the base and keeps nothing.
    unsafe bytes.withUnsafeBytes { unsafe diskqueue_xxh3($0.baseAddress, $0.count, seed) }
  }

  /// The 32 bits that a version 2 frame stores: the low half (T3). A 0 is stored as 1. So zeros,
  /// which crashes leave, are never a frame.
  @inlinable
  @inline(__always)
  static func frame(_ bytes: RawSpan, seed: UInt64) -> UInt32 {
    max(UInt32(truncatingIfNeeded: xxh3(bytes, seed: seed)), 1)
  }

  /// XXH32 with seed 0: what version 1 frames store.
  static func xxh32(_ bytes: RawSpan) -> UInt32 {
    // Safe: as above.
    unsafe bytes.withUnsafeBytes { unsafe XXH32($0.baseAddress, $0.count, 0) }
  }
}

/// A hash over bytes that arrive in pieces, for payloads longer than a buffer.
@safe
struct StreamingChecksum: ~Copyable {
  enum Algorithm {
    case version2(seed: UInt64)
    case version1
  }

  private let xxh3: OpaquePointer?
  private let xxh32: OpaquePointer?

  /// Returns nil if libxxhash has no memory for its state.
  init?(_ kind: Algorithm) {
    switch kind {
    case .version2(let seed):
      guard let state = unsafe XXH3_createState() else { return nil }
      unsafe XXH3_64bits_reset_withSeed(state, seed)
      unsafe (xxh3, xxh32) = (state, nil)
    case .version1:
      guard let state = unsafe XXH32_createState() else { return nil }
      unsafe XXH32_reset(state, 0)
      unsafe (xxh3, xxh32) = (nil, state)
    }
  }

  deinit {
    // Both calls take a null pointer.
    unsafe XXH3_freeState(xxh3)
    unsafe XXH32_freeState(xxh32)
  }

  mutating func update(_ bytes: RawSpan) {
    unsafe bytes.withUnsafeBytes { bytes in
      if let xxh3 = unsafe xxh3 {
        unsafe diskqueue_xxh3_update(xxh3, bytes.baseAddress, bytes.count)
      } else if let xxh32 = unsafe xxh32 {
        unsafe XXH32_update(xxh32, bytes.baseAddress, bytes.count)
      }
    }
  }

  /// The checksum as a frame stores it.
  var frameChecksum: UInt32 {
    if let xxh3 = unsafe xxh3 {
      return max(UInt32(truncatingIfNeeded: unsafe XXH3_64bits_digest(xxh3)), 1)
    }
    return unsafe XXH32_digest(xxh32)
  }
}
