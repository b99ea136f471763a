// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// A record that was put aside, as a record of another topic (B4 of the format).
//
//   payload                                   (all integers unsigned, little-endian)
//   +0   u16        version, 1
//   +2   u16        how many bytes the reason has
//   +4              the reason, UTF-8
//   +4+r u64        the record's address in the topic it came from
//   +12+r u64       its ordinal there
//   +20+r           its payload

/// A record that a consumer could not process and put aside.
///
/// It is the payload of a record of another topic, by default the consumer's topic with `.dead`
/// added to its path.
///
/// ```swift
/// var reader = try QueueReader(topic: "sensors.dead")
/// while let record = try reader.nextCopy() {
///   let letter = try DeadLetter(record.payload)
///   print(letter.address, letter.reason)
/// }
/// ```
public struct DeadLetter: Sendable, Hashable {
  /// Why it was put aside.
  public var reason: String
  /// The record's address in the topic it came from.
  public var address: Address
  /// The record's ordinal there.
  public var ordinal: UInt64
  /// The record's bytes.
  public var payload: [UInt8]

  private static let version: UInt16 = 1
  private static let longestReason = Int(UInt16.max)
  private static let fixedByteCount = 20

  /// No reason and numbers take more bytes than this, together.
  static let mostExtraBytes = longestReason + fixedByteCount

  init(_ record: QueueRecord, reason: String) {
    self.reason = reason
    address = record.address
    ordinal = record.ordinal
    payload = record.payload
  }

  /// Reads a payload of the topic for records that were put aside.
  ///
  /// - Throws: `unsupportedFormat` if the payload is not such a record, or a newer version wrote
  ///   it.
  /// - Complexity: O(payload).
  public init(_ bytes: [UInt8]) throws(QueueError) {
    // Safe: the array outlives the calls.
    let raw = unsafe bytes.span.bytes
    guard raw.byteCount >= Self.fixedByteCount, raw.u16(0) == Self.version else {
      throw Self.isNone("it does not begin with version \(Self.version)")
    }
    let reasonEnd = 4 + Int(raw.u16(2))
    guard raw.byteCount - reasonEnd >= 16 else { throw Self.isNone("it is too short") }
    guard let reason = String(validating: bytes[4..<reasonEnd], as: UTF8.self) else {
      throw Self.isNone("its reason is not UTF-8")
    }
    self.reason = reason
    address = Address(rawValue: raw.u64(reasonEnd))
    ordinal = raw.u64(reasonEnd + 8)
    payload = Array(bytes[(reasonEnd + 16)...])
  }

  private static func isNone(_ why: String) -> QueueError {
    QueueError(
      .unsupportedFormat,
      "the payload is no dead letter: \(why). Check which topic it was read from")
  }

  /// The payload of the record that stores it. A reason of more than 65,535 bytes is cut after the
  /// last whole character within that.
  var encoded: [UInt8] {
    let reason = reasonThatFits
    var head = [UInt8](repeating: 0, count: 4)
    var numbers = [UInt8](repeating: 0, count: 16)
    do {
      var elements = head.mutableSpan
      // Safe: bytes are bytes.
      var raw = unsafe elements.mutableBytes
      raw.store(Self.version, at: 0)
      raw.store(UInt16(truncatingIfNeeded: reason.utf8.count), at: 2)
    }
    do {
      var elements = numbers.mutableSpan
      // Safe: as above.
      var raw = unsafe elements.mutableBytes
      raw.store(address.rawValue, at: 0)
      raw.store(ordinal, at: 8)
    }
    return head + reason.utf8 + numbers + payload
  }

  private var reasonThatFits: Substring {
    guard reason.utf8.count > Self.longestReason else { return reason[...] }
    var end = reason.startIndex
    var count = 0
    for character in reason {
      count += character.utf8.count
      guard count <= Self.longestReason else { break }
      end = reason.index(after: end)
    }
    return reason[..<end]
  }
}
