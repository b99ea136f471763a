// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Standard output, or the standard input of a command, with one big buffer.
///
/// If you put much, check `isOpen` now and then. After a failed write, everything put later is
/// dropped, and `flush` throws the failure.
struct Output: ~Copyable {
  private static let capacity = 1 << 18

  private let memory = UnsafeMutableRawPointer.allocate(byteCount: Output.capacity, alignment: 64)
  private var count = 0
  private var failure: Failure?
  private let descriptor: Int32
  /// The descriptor's name, for messages.
  private let name: String
  /// Whether JSON has addresses and ordinals as strings.
  let placesAreText: Bool
  /// Whether records as lines have their control characters escaped.
  let escapesLines: Bool

  init(
    to descriptor: Int32 = System.standardOutput, name: String = "standard output",
    placesAreText: Bool = false, escapesLines: Bool = false
  ) {
    self.descriptor = descriptor
    self.name = name
    self.placesAreText = placesAreText
    self.escapesLines = escapesLines
  }

  deinit { memory.deallocate() }

  /// Whether no write has failed so far.
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

  /// Writes the buffered bytes. A failure is stored, and not thrown.
  mutating func drain() {
    write(UnsafeRawBufferPointer(start: memory, count: count))
    count = 0
  }

  private mutating func write(_ bytes: UnsafeRawBufferPointer) {
    guard failure == nil else { return }
    do throws(Failure) {
      try System.write(descriptor, bytes, name: name)
    } catch {
      failure = error
    }
  }

  /// Writes the buffered bytes, and throws the first failure since the beginning.
  mutating func flush() throws(Failure) {
    drain()
    if let failure { throw failure }
  }

  /// Like `flush`, for the end of a command. It is no failure if the reader is gone.
  mutating func finish() throws(Failure) {
    drain()
    if let failure, !failure.isClosedOutput { throw failure }
  }
}
