// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Bytes that one call can append as a record, or use as a key, without a copy into an array first.
///
/// These types conform. A text is its UTF-8 bytes.
///
/// - `RawSpan` and `Span<UInt8>`
/// - `[UInt8]`, `ArraySlice<UInt8>` and `ContiguousArray<UInt8>`
/// - `String`, `Substring`, `StaticString`, and the `utf8` of the first two
///
/// Every function that appends them also accepts any other collection of `UInt8`, such as `Data`. A
/// key must conform. `Data` does, and so can be a key, if you import `DiskQueueFoundation`.
///
/// Your own type can conform if its bytes are contiguous in memory:
///
/// ```swift
/// struct Reading: PayloadBytes {
///   var line: String
///
///   func withPayloadBytes<R>(
///     _ body: (RawSpan) throws(QueueError) -> R
///   ) throws(QueueError) -> R {
///     try line.withPayloadBytes(body)
///   }
/// }
/// ```
public protocol PayloadBytes: ~Copyable, ~Escapable {
  /// Calls a closure once with the bytes, and returns its result.
  ///
  /// - Parameter body: Uses the bytes. They are valid until it returns.
  /// - Throws: The error of `body`.
  /// - Complexity: O(1), besides `body`.
  borrowing func withPayloadBytes<R>(
    _ body: (RawSpan) throws(QueueError) -> R
  ) throws(QueueError) -> R
}

extension RawSpan: PayloadBytes {
  /// Calls a closure once with these bytes.
  ///
  /// - Throws: The error of `body`.
  @inlinable
  @inline(__always)
  public func withPayloadBytes<R>(
    _ body: (RawSpan) throws(QueueError) -> R
  ) throws(QueueError) -> R {
    try body(self)
  }
}

// Safe in all extensions below: a span of bytes is its bytes, and `self` outlives the call.

extension Span: PayloadBytes where Element == UInt8 {
  /// Calls a closure once with these bytes.
  ///
  /// - Throws: The error of `body`.
  @inlinable
  @inline(__always)
  public func withPayloadBytes<R>(
    _ body: (RawSpan) throws(QueueError) -> R
  ) throws(QueueError) -> R {
    try body(unsafe bytes)
  }
}

extension Array: PayloadBytes where Element == UInt8 {
  /// Calls a closure once with these bytes.
  ///
  /// - Throws: The error of `body`.
  @inlinable
  @inline(__always)
  public func withPayloadBytes<R>(
    _ body: (RawSpan) throws(QueueError) -> R
  ) throws(QueueError) -> R {
    try body(unsafe span.bytes)
  }
}

extension ArraySlice: PayloadBytes where Element == UInt8 {
  /// Calls a closure once with these bytes.
  ///
  /// - Throws: The error of `body`.
  @inlinable
  @inline(__always)
  public func withPayloadBytes<R>(
    _ body: (RawSpan) throws(QueueError) -> R
  ) throws(QueueError) -> R {
    try body(unsafe span.bytes)
  }
}

extension ContiguousArray: PayloadBytes where Element == UInt8 {
  /// Calls a closure once with these bytes.
  ///
  /// - Throws: The error of `body`.
  @inlinable
  @inline(__always)
  public func withPayloadBytes<R>(
    _ body: (RawSpan) throws(QueueError) -> R
  ) throws(QueueError) -> R {
    try body(unsafe span.bytes)
  }
}

extension String: PayloadBytes {
  /// Calls a closure once with the text's UTF-8 bytes.
  ///
  /// - Throws: The error of `body`.
  @inlinable
  @inline(__always)
  public func withPayloadBytes<R>(
    _ body: (RawSpan) throws(QueueError) -> R
  ) throws(QueueError) -> R {
    try body(unsafe utf8Span.span.bytes)
  }
}

extension Substring: PayloadBytes {
  /// Calls a closure once with the text's UTF-8 bytes.
  ///
  /// - Throws: The error of `body`.
  @inlinable
  @inline(__always)
  public func withPayloadBytes<R>(
    _ body: (RawSpan) throws(QueueError) -> R
  ) throws(QueueError) -> R {
    try body(unsafe utf8Span.span.bytes)
  }
}

extension String.UTF8View: PayloadBytes {
  /// Calls a closure once with these bytes.
  ///
  /// - Throws: The error of `body`.
  @inlinable
  @inline(__always)
  public func withPayloadBytes<R>(
    _ body: (RawSpan) throws(QueueError) -> R
  ) throws(QueueError) -> R {
    try body(unsafe span.bytes)
  }
}

extension Substring.UTF8View: PayloadBytes {
  /// Calls a closure once with these bytes.
  ///
  /// - Throws: The error of `body`.
  @inlinable
  @inline(__always)
  public func withPayloadBytes<R>(
    _ body: (RawSpan) throws(QueueError) -> R
  ) throws(QueueError) -> R {
    try body(unsafe span.bytes)
  }
}

extension StaticString: PayloadBytes {
  /// Calls a closure once with the text's UTF-8 bytes.
  ///
  /// - Throws: The error of `body`.
  @inlinable
  public func withPayloadBytes<R>(
    _ body: (RawSpan) throws(QueueError) -> R
  ) throws(QueueError) -> R {
    // A static string of one character has no pointer.
    guard hasPointerRepresentation else {
      return try String(describing: self).withPayloadBytes(body)
    }
    // Safe: the program's constant lives as long as the program.
    let bytes = unsafe RawSpan(
      _unsafeStart: UnsafeRawPointer(utf8Start), byteCount: utf8CodeUnitCount)
    return try body(bytes)
  }
}

/// Passes the bytes of a collection to a closure. Contiguous bytes are passed directly, and others
/// by way of an array.
@inlinable
func withBytes<R>(
  of bytes: some Collection<UInt8>, _ body: (RawSpan) throws(QueueError) -> R
) throws(QueueError) -> R {
  let result: Result<R, QueueError>? = bytes.withContiguousStorageIfAvailable { bytes in
    do throws(QueueError) {
      // Safe: the bytes are there for the length of this closure.
      return .success(try body(unsafe RawSpan(_unsafeElements: bytes)))
    } catch {
      return .failure(error)
    }
  }
  if let result { return try result.get() }
  return try Array(bytes).withPayloadBytes(body)
}

extension Array where Element == UInt8 {
  /// Copies bytes.
  @usableFromInline
  init(copying bytes: RawSpan) {
    self = unsafe bytes.withUnsafeBytes { unsafe Array($0) }
  }
}
