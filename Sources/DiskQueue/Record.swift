// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A record that owns its bytes.
public struct QueueRecord: Sendable, Hashable, CustomStringConvertible {
  /// The record's permanent address.
  public var address: Address

  /// The number of records that the topic took before this one, counted from 0.
  ///
  /// The ordinal is exact, with two exceptions. In these it is a lower bound:
  ///
  /// - between two damaged areas that have no mark between them
  /// - after damage in version 1 slabs
  public var ordinal: UInt64

  /// The bytes that were appended, verified against their checksum.
  public var payload: [UInt8]

  /// Makes a record by hand: an element for ``QueueReader/fill(_:)``, or a record for a test.
  public init(
    address: Address = Address(rawValue: 0), ordinal: UInt64 = 0, payload: [UInt8] = []
  ) {
    self.address = address
    self.ordinal = ordinal
    self.payload = payload
  }

  /// The payload as text, or nil if it is not valid UTF-8. O(payload).
  public var text: String? { String(validating: payload, as: UTF8.self) }

  /// The ordinal, the address and the payload on one line: `record 12 at address 345: "21.5"`.
  ///
  /// The payload is a text if it has at most 200 bytes, and they are valid UTF-8 without control
  /// characters. Otherwise its size is printed.
  public var description: String {
    "record \(ordinal) at address \(address): \(Words.payload(payload))"
  }
}

extension RecordBatch: CustomStringConvertible {
  /// The number of records, and the first one's ordinal and address, on one line.
  public var description: String {
    guard count > 0 else { return "no record" }
    let first = self[indices.lowerBound]
    return Words.batch(count, ordinal: first.ordinal, address: first.address)
  }
}

/// A record in the reader's buffer.
///
/// It is valid until the next call of the reader, which the compiler enforces. To keep the record,
/// call ``copy()``. ``QueueReader/next()`` lists the compiler's errors, and what to do about each.
public struct BorrowedRecord: ~Escapable {
  /// The record's permanent address.
  public let address: Address

  /// The number of records that the topic took before this one. See ``QueueRecord/ordinal``.
  public let ordinal: UInt64

  /// The bytes in the reader's buffer, verified against their checksum.
  public let payload: Span<UInt8>

  @_lifetime(copy payload)
  @inlinable
  @inline(__always)
  init(address: Address, ordinal: UInt64, payload: Span<UInt8>) {
    self.address = address
    self.ordinal = ordinal
    self.payload = payload
  }

  /// The payload as text, or nil if it is not valid UTF-8. O(payload), one allocation.
  public var text: String? {
    guard let valid = try? UTF8Span(validating: payload) else { return nil }
    return String(copying: valid)
  }

  /// Copies the record, so that you can keep it. O(payload), one allocation.
  public func copy() -> QueueRecord {
    // Safe: reads exactly the span's elements.
    let bytes = unsafe payload.withUnsafeBufferPointer { unsafe Array($0) }
    return QueueRecord(address: address, ordinal: ordinal, payload: bytes)
  }
}
