// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Identifies one record of a topic, permanently.
///
/// The address stays the same across crashes, power cuts, cleaning and new processes. Treat
/// addresses as opaque, ordered identifiers: a later record has a larger address. Address 0 is the
/// earliest record of any topic.
///
/// An address is 64 bits, `epoch (24) | position (40)`. Within a slab, addresses count bytes. No
/// address is assigned twice: a writer that does not find the topic cleanly closed starts the next
/// epoch.
///
/// An encoder gets the decimal text, because many programs round large numbers. JavaScript, for
/// example, rounds a number above 2^53. A decoder may supply the text or a number.
public struct Address: RawRepresentable, Sendable, Hashable, Comparable, Codable,
  LosslessStringConvertible
{
  /// The address as a 64-bit number, for storage outside DiskQueue.
  public var rawValue: UInt64

  /// Makes an address from a number that ``rawValue`` returned earlier.
  @inlinable
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// Parses a decimal number in the form that ``description`` writes.
  ///
  /// Returns nil for any other text.
  public init?(_ description: String) {
    guard description.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
      let value = UInt64(description)
    else { return nil }
    rawValue = value
  }

  /// The address as a decimal number.
  public var description: String { String(rawValue) }

  /// Returns whether the left address is the earlier one.
  @inlinable
  public static func < (left: Address, right: Address) -> Bool { left.rawValue < right.rawValue }
}

extension Address {
  /// Decodes the decimal text that ``encode(to:)`` writes, or a number.
  ///
  /// - Throws: A `DecodingError` for anything else.
  public init(from decoder: any Decoder) throws {
    try self.init(textOrNumberFrom: decoder, form: "an address is a decimal number of 64 bits")
  }

  /// Encodes the decimal text of ``description``.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}

extension RawRepresentable where Self: LosslessStringConvertible, RawValue == UInt64 {
  /// Decodes the text of `description`, or the raw number.
  init(textOrNumberFrom decoder: any Decoder, form: String) throws {
    let container = try decoder.singleValueContainer()
    let value: Self?
    do {
      value = Self(try container.decode(String.self))
    } catch DecodingError.typeMismatch {
      value = Self(rawValue: try container.decode(UInt64.self))
    }
    guard let value else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: form)
    }
    self = value
  }
}

/// Arithmetic on raw addresses: `epoch (24) | position (40)`.
package enum Epoch {
  package static let positionBits: UInt64 = 40
  package static let last: UInt64 = 1 << 24 - 1

  @inline(__always) package static func of(_ address: UInt64) -> UInt64 { address >> positionBits }

  package static func firstAddress(_ epoch: UInt64) -> UInt64 { epoch << positionBits }

  /// The first address after the epoch. The last epoch ends one byte earlier, so that its end fits
  /// into 64 bits.
  package static func end(_ epoch: UInt64) -> UInt64 {
    epoch >= last ? .max : firstAddress(epoch + 1)
  }
}

extension UInt64 {
  /// The sum, or the highest number if the sum is above it.
  package func addingSaturating(_ other: UInt64) -> UInt64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? .max : sum
  }
}
