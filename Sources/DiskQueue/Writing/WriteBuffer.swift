// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A buffer of raw memory. Frames are put in at the end, and written to the file from the front.
// Sendable: it is the only owner of its memory, and is not copied.
@safe
struct WriteBuffer: ~Copyable, @unchecked Sendable {
  private let memory: UnsafeMutableRawPointer
  let capacity: Int
  /// How many bytes wait.
  private(set) var count = 0

  /// - Precondition: a frame's length word can state `capacity`.
  init(capacity: Int) {
    precondition(capacity >= 0 && capacity <= Int(UInt32.max), "the capacity is out of range")
    unsafe memory = .allocate(byteCount: capacity, alignment: 64)
    self.capacity = capacity
  }

  deinit { unsafe memory.deallocate() }

  var isEmpty: Bool { count == 0 }
  var free: Int { capacity - count }

  /// The bytes that wait, oldest first.
  var bytes: RawSpan {
    @_lifetime(borrow self)
    get {
      // Safe: `count` bytes were put, and the memory lives as long as `self`.
      let span = unsafe RawSpan(_unsafeStart: memory, byteCount: count)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// Space for `byteCount` more bytes, which wait from now on.
  ///
  /// - Precondition: they fit.
  private mutating func claim(_ byteCount: Int) -> UnsafeMutableRawBufferPointer {
    precondition(byteCount <= capacity - count, "no space in the buffer")
    defer { count += byteCount }
    return unsafe UnsafeMutableRawBufferPointer(start: memory + count, count: byteCount)
  }

  /// Puts a record's header and payload.
  ///
  /// - Precondition: they fit.
  @inline(__always)
  mutating func putRecord(_ payload: RawSpan, checksum: UInt32) {
    let length = payload.byteCount
    // The count is between 0 and the capacity: nothing wraps around.
    precondition(length <= capacity &- count &- FrameHeader.byteCount, "no space in the buffer")
    // Safe: the frame fits, as just checked.
    let frame = unsafe memory + count
    unsafe frame.storeBytes(
      of: UInt32(truncatingIfNeeded: length).littleEndian, toByteOffset: FrameHeader.length,
      as: UInt32.self)
    unsafe frame.storeBytes(
      of: checksum.littleEndian, toByteOffset: FrameHeader.checksum, as: UInt32.self)
    unsafe payload.withUnsafeBytes { source in
      if let start = source.baseAddress {
        unsafe (frame + FrameHeader.byteCount).copyMemory(from: start, byteCount: length)
      }
    }
    count &+= FrameHeader.byteCount &+ length
  }

  /// Puts a record's header, for a payload that does not go through the buffer.
  ///
  /// - Precondition: it fits.
  mutating func putRecordHeader(length: Int, checksum: UInt32) {
    // Safe: the span ends before the claimed space does.
    var bytes = unsafe MutableRawSpan(_unsafeBytes: claim(FrameHeader.byteCount))
    bytes.store(UInt32(truncatingIfNeeded: length), at: FrameHeader.length)
    bytes.store(checksum, at: FrameHeader.checksum)
  }

  /// Puts a mark.
  ///
  /// - Precondition: it fits.
  mutating func put(_ mark: Mark, at address: UInt64) {
    // Safe: as above.
    var bytes = unsafe MutableRawSpan(_unsafeBytes: claim(Mark.byteCount))
    mark.encode(into: &bytes, address: address)
  }

  /// Puts a slab's header.
  ///
  /// - Precondition: it fits.
  mutating func put(_ header: SlabHeader) {
    // Safe: as above.
    var bytes = unsafe MutableRawSpan(_unsafeBytes: claim(SlabHeader.byteCount))
    header.encode(into: &bytes)
  }

  /// Removes the first bytes, after they were written.
  mutating func removeFirst(_ byteCount: Int) {
    precondition(byteCount <= count, "more bytes than the buffer holds")
    count -= byteCount
    // Safe: both stretches are inside the memory.
    unsafe memory.copyMemory(from: memory + byteCount, byteCount: count)
  }

  /// Removes the last bytes, which are not to be written.
  mutating func removeLast(_ byteCount: Int) {
    precondition(byteCount >= 0 && byteCount <= count, "more bytes than the buffer holds")
    count -= byteCount
  }
}
