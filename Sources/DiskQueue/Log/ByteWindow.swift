// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A buffer in raw memory that shows a stretch of a slab, by address. One reader owns it.
///
/// An array instead would cost three times as much a record: every access would check for
/// uniqueness and bounds.
@safe
@usableFromInline
package struct ByteWindow: ~Copyable {
  private var memory: UnsafeMutableRawPointer
  /// The first byte shown. It is inside the memory.
  @usableFromInline var shown: UnsafeMutableRawPointer
  private(set) var capacity: Int
  /// The address of the first byte shown.
  @usableFromInline var start: UInt64 = 0
  /// How many bytes are shown.
  @usableFromInline var count = 0

  /// - Precondition: `capacity` is above 0.
  init(capacity: Int) {
    unsafe memory = .allocate(byteCount: capacity, alignment: 64)
    unsafe shown = memory
    self.capacity = capacity
  }

  @usableFromInline
  deinit { unsafe memory.deallocate() }

  /// The address after the last byte shown.
  @inline(__always) var end: UInt64 { start &+ UInt64(truncatingIfNeeded: count) }

  /// All bytes shown.
  @inlinable
  @inline(__always)
  package var bytes: RawSpan {
    @_lifetime(borrow self)
    get {
      // Safe: `count` bytes of the memory were filled, and it lives as long as `self`.
      let span = unsafe RawSpan(_unsafeStart: shown, byteCount: count)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// Some of the bytes shown.
  ///
  /// - Precondition: the window shows them.
  @inlinable
  @inline(__always)
  @_lifetime(borrow self)
  func bytes(_ byteCount: Int, at offset: Int) -> RawSpan {
    precondition(
      offset >= 0 && offset <= count && byteCount >= 0 && byteCount <= count &- offset,
      "bytes outside of the window")
    // Safe: the bounds were checked above. Otherwise as in `bytes`.
    let span = unsafe RawSpan(_unsafeStart: shown + offset, byteCount: byteCount)
    return unsafe _overrideLifetime(span, borrowing: self)
  }

  /// Shows nothing, at `address`, so that the next `fill` asks the file.
  mutating func clear(at address: UInt64) {
    start = address
    count = 0
  }

  /// Whether the window shows `byteCount` bytes from `address` on.
  func shows(_ byteCount: Int, at address: UInt64) -> Bool {
    address >= start && address <= end && end - address >= UInt64(byteCount)
  }

  /// Ensures a capacity of `byteCount` bytes. If that allocates memory, the window shows nothing
  /// afterwards.
  mutating func reserve(_ byteCount: Int) {
    guard byteCount > capacity else { return }
    unsafe memory.deallocate()
    unsafe memory = .allocate(byteCount: byteCount, alignment: 64)
    unsafe shown = memory
    capacity = byteCount
    count = 0
  }

  /// Shows the slab from `address` on, as far as the bytes fit, exist, and are below `limit`.
  ///
  /// - Parameter room: how many bytes of the memory to leave free for `extend`.
  mutating func fill(
    from slab: SlabFile, at address: UInt64, limit: UInt64, leaving headroom: Int = 0
  ) throws(QueueError) {
    precondition(headroom >= 0 && headroom <= capacity, "the headroom is out of range")
    start = address
    count = 0
    unsafe shown = memory + headroom
    let wanted =
      limit > address ? Int(clamping: min(UInt64(capacity - headroom), limit - address)) : 0
    // Safe: after the free part, the memory has at least `wanted` bytes.
    let target = unsafe UnsafeMutableRawBufferPointer(start: shown, count: wanted)
    unsafe count = try slab.read(into: target, at: address)
  }

  /// Shows the slab's bytes from `address` on, below `limit`, that can be read without waiting for
  /// a disk. False if the storage cannot say which bytes those are.
  mutating func fillWithoutWaiting(
    from slab: SlabFile, at address: UInt64, limit: UInt64
  ) -> Bool {
    clear(at: address)
    unsafe shown = memory
    let wanted = limit > address ? Int(clamping: min(UInt64(capacity), limit - address)) : 0
    // Safe: the memory has at least `wanted` bytes.
    let target = unsafe UnsafeMutableRawBufferPointer(start: shown, count: wanted)
    guard let read = unsafe slab.readWithoutWaiting(into: target, at: address) else { return false }
    count = read
    return true
  }

  /// How many bytes `extend` may add before those shown.
  var headroom: Int { unsafe shown - memory }

  /// Also shows the `byteCount` bytes of the slab before those shown. False, and no change, if
  /// these bytes are no longer there.
  ///
  /// - Precondition: `byteCount` is at most `headroom`, and at most the number of bytes that the
  ///   slab has before `start`.
  mutating func extend(from slab: SlabFile, by byteCount: Int) throws(QueueError) -> Bool {
    precondition(byteCount >= 0 && byteCount <= headroom, "no room before the window")
    // Safe: the bytes before those shown are inside the memory, as was just checked.
    let target = unsafe UnsafeMutableRawBufferPointer(start: shown - byteCount, count: byteCount)
    let before = start - UInt64(byteCount)
    guard unsafe try slab.read(into: target, at: before) == byteCount else { return false }
    unsafe shown -= byteCount
    start = before
    count += byteCount
    return true
  }
}
