// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A key, which decides the shard of a record in a ``ShardedTopic``: any bytes, or none.
///
/// Write it as a literal, or make it from a variable:
///
/// ```swift
/// let writer = try ShardedWriter(topic: ShardedTopic("orders"))
/// try writer.append("3 chairs", key: "customer 17")
/// let number = 4
/// try writer.append("2 tables", key: "customer \(number)")
/// let customer = "customer 17"
/// try writer.append("1 lamp", key: ShardKey(customer))
/// try writer.append("1 sofa", key: [0, 0, 0, 17])
/// ```
///
/// A text is its UTF-8 bytes. Two keys are equal if their bytes are. So a key from a text
/// and one from an array can be equal, and two spellings of `é` are two keys.
public struct ShardKey: Sendable, Hashable, ExpressibleByStringInterpolation,
  ExpressibleByArrayLiteral
{
  private enum Form: Sendable {
    case text(String)
    case bytes([UInt8])
  }

  private let form: Form

  /// Makes a key from the UTF-8 bytes of a text.
  ///
  /// - Complexity: O(1) for a `String`, which is not copied. Otherwise O(text).
  public init(_ text: some StringProtocol) { form = .text(String(text)) }

  /// Makes a key from bytes.
  ///
  /// - Complexity: O(1) for a `[UInt8]`, which is not copied. Otherwise O(bytes).
  public init(_ bytes: some Collection<UInt8>) { form = .bytes(Array(bytes)) }

  /// Makes a key from bytes, which are copied.
  ///
  /// - Complexity: O(bytes).
  public init(_ bytes: Span<UInt8>) {
    // Safe: a span of bytes is its bytes.
    form = .bytes(Array(copying: unsafe bytes.bytes))
  }

  /// Makes a key from the UTF-8 bytes of a literal.
  public init(stringLiteral text: String) { form = .text(text) }

  /// Makes a key from the bytes of a literal.
  public init(arrayLiteral bytes: UInt8...) { form = .bytes(bytes) }

  /// Passes the bytes to a closure.
  func withBytes<R>(
    _ body: (RawSpan) throws(QueueError) -> R
  ) throws(QueueError) -> R {
    switch form {
    case .text(let text): try text.withPayloadBytes(body)
    case .bytes(let bytes): try bytes.withPayloadBytes(body)
    }
  }

  private var bytes: [UInt8] {
    switch form {
    case .text(let text): Array(text.utf8)
    case .bytes(let bytes): bytes
    }
  }

  /// Returns whether two keys have the same bytes.
  public static func == (left: ShardKey, right: ShardKey) -> Bool { left.bytes == right.bytes }

  /// Adds the bytes to a hash.
  public func hash(into hasher: inout Hasher) { hasher.combine(bytes) }
}
