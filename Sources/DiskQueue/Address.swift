// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Names one record of a topic, for ever: across crashes, power cuts, cleaning and new processes.
///
/// An address is 64 bits, `epoch (24) | position (40)`: a writer that finds anything but a cleanly
/// closed topic starts the next epoch, so that no address is handed out twice. Within a slab,
/// addresses count bytes. Treat them as opaque, ordered names: a later record has a larger address.
/// Address 0 is the earliest record of any topic.
public struct Address: RawRepresentable, Sendable, Hashable, Comparable, Codable,
  LosslessStringConvertible
{
  public var rawValue: UInt64

  @inlinable
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// Reads a decimal number, as `description` writes it; nil for anything else.
  public init?(_ description: String) {
    guard description.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
      let value = UInt64(description)
    else { return nil }
    rawValue = value
  }

  /// The address as a decimal number.
  public var description: String { String(rawValue) }

  @inlinable
  public static func < (left: Address, right: Address) -> Bool { left.rawValue < right.rawValue }
}

/// Arithmetic on raw addresses: `epoch (24) | position (40)`.
package enum Epoch {
  package static let positionBits: UInt64 = 40
  package static let last: UInt64 = 1 << 24 - 1

  @inline(__always) package static func of(_ address: UInt64) -> UInt64 { address >> positionBits }

  package static func firstAddress(_ epoch: UInt64) -> UInt64 { epoch << positionBits }

  /// The address behind the epoch's last one; the last epoch gives up its final byte for it.
  package static func end(_ epoch: UInt64) -> UInt64 {
    epoch >= last ? .max : firstAddress(epoch + 1)
  }
}
