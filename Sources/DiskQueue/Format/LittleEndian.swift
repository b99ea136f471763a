// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// The only integer loads and stores on raw bytes. Everything on disk is little-endian and unaligned
// (T1). Every load is bounds-checked. Shaped like SE-0525, whose safe loads will replace it.

extension RawSpan {
  /// Loads an unaligned little-endian integer.
  ///
  /// - Precondition: `offset ..< offset + size` is inside the span.
  @inlinable
  @inline(__always)
  func loadLittleEndian<T: FixedWidthInteger & BitwiseCopyable>(
    _ offset: Int, as type: T.Type
  ) -> T {
    precondition(
      offset >= 0 && offset <= byteCount - MemoryLayout<T>.size, "load outside of the bytes")
    // Safe: the bounds were checked above, and every bit pattern is an integer.
    return unsafe T(
      littleEndian: unsafeLoadUnaligned(
        fromUncheckedByteOffset: offset, as: T.self))
  }

  /// Whether the last byte of any of the 16 words of four bytes from `offset` on is FF.
  ///
  /// - Precondition: `offset ..< offset + 64` is inside the span.
  @inline(__always)
  func anyOf16WordsEndsWithFF(_ offset: Int) -> Bool {
    precondition(offset >= 0 && offset <= byteCount - 64, "load outside of the bytes")
    // Safe: as above.
    let words = unsafe unsafeLoadUnaligned(
      fromUncheckedByteOffset: offset, as: SIMD16<UInt32>.self)
    let last = SIMD16<UInt32>(repeating: UInt32(0xFF00_0000).littleEndian)
    return any((words & last) .== last)
  }

  @inline(__always) package func byte(_ offset: Int) -> UInt8 {
    loadLittleEndian(offset, as: UInt8.self)
  }
  @inline(__always) func u16(_ offset: Int) -> UInt16 { loadLittleEndian(offset, as: UInt16.self) }
  @inlinable
  @inline(__always)
  func u32(_ offset: Int) -> UInt32 { loadLittleEndian(offset, as: UInt32.self) }
  @inline(__always) func u64(_ offset: Int) -> UInt64 { loadLittleEndian(offset, as: UInt64.self) }
}

extension MutableRawSpan {
  /// Stores an unaligned little-endian integer.
  ///
  /// - Precondition: `offset ..< offset + size` is inside the span.
  @inline(__always)
  mutating func store<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, at offset: Int) {
    storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self)
  }
}
