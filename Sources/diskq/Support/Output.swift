// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Standard output behind one big buffer.
///
/// A write that fails is remembered, and all that is put after it is dropped: whoever puts much
/// looks at `isOpen` now and then, and `flush` says what happened.
struct Output: ~Copyable {
  private static let capacity = 1 << 18

  private let memory = UnsafeMutableRawPointer.allocate(byteCount: Output.capacity, alignment: 64)
  private var count = 0
  private var failure: Failure?
  /// Whether JSON has addresses and ordinals as strings.
  let placesAreText: Bool

  init(placesAreText: Bool = false) { self.placesAreText = placesAreText }

  deinit { memory.deallocate() }

  /// Whether nothing failed so far.
  var isOpen: Bool { failure == nil }

  @inline(__always)
  mutating func put(_ byte: UInt8) {
    if count == Output.capacity { drain() }
    memory.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
    count &+= 1
  }

  @inline(__always)
  mutating func put(_ bytes: UnsafeRawBufferPointer) {
    guard let start = bytes.baseAddress else { return }
    guard bytes.count <= Output.capacity &- count else { return putMuch(bytes) }
    (memory + count).copyMemory(from: start, byteCount: bytes.count)
    count &+= bytes.count
  }

  @inline(__always)
  mutating func put(_ bytes: Span<UInt8>) {
    bytes.withUnsafeBytes { put($0) }
  }

  mutating func put(_ text: String) {
    var text = text
    text.withUTF8 { put(UnsafeRawBufferPointer($0)) }
  }

  /// Puts a number in decimal digits.
  mutating func put(decimal number: UInt64) {
    var digits: InlineArray<20, UInt8> = .init(repeating: 0)
    var left = number
    var start = 20
    repeat {
      start -= 1
      digits[start] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: left % 10)
      left /= 10
    } while left > 0
    digits.span.withUnsafeBytes { put(UnsafeRawBufferPointer(rebasing: $0[start...])) }
  }

  private mutating func putMuch(_ bytes: UnsafeRawBufferPointer) {
    drain()
    guard bytes.count >= Output.capacity else { return put(bytes) }
    write(bytes)
  }

  /// Writes what is held. A failure is remembered.
  mutating func drain() {
    write(UnsafeRawBufferPointer(start: memory, count: count))
    count = 0
  }

  private mutating func write(_ bytes: UnsafeRawBufferPointer) {
    guard failure == nil else { return }
    do throws(Failure) {
      try System.write(System.standardOutput, bytes, name: "standard output")
    } catch {
      failure = error
    }
  }

  /// Writes what is held, and throws what has failed since the beginning.
  mutating func flush() throws(Failure) {
    drain()
    if let failure { throw failure }
  }

  /// As `flush`, at the end of a command: that nobody reads any further is no failure.
  mutating func finish() throws(Failure) {
    drain()
    if let failure, !failure.isClosedOutput { throw failure }
  }
}
