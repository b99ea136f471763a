// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A record that owns its bytes.
public struct QueueRecord: Sendable, Hashable {
  /// Names the record for ever.
  public var address: Address

  /// How many records the topic took before this one, from 0. Exact but between two damaged places
  /// of one stretch, and behind damage in version 1 slabs, where it is the least it can be.
  public var ordinal: UInt64

  /// The bytes that were appended, verified against their checksum.
  public var payload: [UInt8]

  /// A record made by hand: as an element for ``QueueReader/fill(_:)`` to fill, or in a test.
  public init(
    address: Address = Address(rawValue: 0), ordinal: UInt64 = 0, payload: [UInt8] = []
  ) {
    self.address = address
    self.ordinal = ordinal
    self.payload = payload
  }

  /// The payload as text, or nil where it is not UTF-8. O(payload).
  public var text: String? { String(validating: payload, as: UTF8.self) }
}

/// A record in the reader's buffer, good until the reader's next call; the compiler sees to that.
public struct BorrowedRecord: ~Escapable {
  /// Names the record for ever.
  public let address: Address

  /// How many records the topic took before this one; see ``QueueRecord/ordinal``.
  public let ordinal: UInt64

  /// The bytes, in the reader's buffer. Verified against their checksum.
  public let payload: Span<UInt8>

  @_lifetime(copy payload)
  @inlinable
  @inline(__always)
  init(address: Address, ordinal: UInt64, payload: Span<UInt8>) {
    self.address = address
    self.ordinal = ordinal
    self.payload = payload
  }

  /// The payload as text, or nil where it is not UTF-8. O(payload), one allocation.
  public var text: String? {
    guard let valid = try? UTF8Span(validating: payload) else { return nil }
    return String(copying: valid)
  }

  /// The record with bytes of its own, to keep. O(payload), one allocation.
  public func copy() -> QueueRecord {
    // Safe: reads exactly the span's elements.
    let bytes = unsafe payload.withUnsafeBufferPointer { unsafe Array($0) }
    return QueueRecord(address: address, ordinal: ordinal, payload: bytes)
  }
}
