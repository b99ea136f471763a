// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension Topic.Position {
  private static let ordinalPrefix = "ordinal:"

  /// Parses a position, for example from the query of a request.
  ///
  /// ```swift
  /// let start = Topic.Position("ordinal:100") ?? .earliest
  /// ```
  ///
  /// - Parameter text: `earliest`, `latest`, an address as a decimal number, or `ordinal:` and a
  ///   decimal number. The result is nil for any other text.
  public init?(_ text: String) {
    switch text {
    case "earliest": self = .earliest
    case "latest": self = .latest
    case _ where text.hasPrefix(Self.ordinalPrefix):
      // The digits of an ordinal follow the same rule as those of an address.
      guard let number = Address(String(text.dropFirst(Self.ordinalPrefix.count))) else {
        return nil
      }
      self = .ordinal(number.rawValue)
    default:
      guard let address = Address(text) else { return nil }
      self = .address(address)
    }
  }

  /// The address, if the position is one.
  package var address: Address? {
    guard case .address(let address) = kind else { return nil }
    return Address(rawValue: address)
  }

  /// The ordinal, if the position is one.
  package var ordinal: UInt64? {
    guard case .ordinal(let ordinal) = kind else { return nil }
    return ordinal
  }
}

extension Topic.Position: CustomStringConvertible {
  /// The text that ``init(_:)`` parses.
  ///
  /// A time or an age has none. It is described in words: "90 seconds ago".
  public var description: String {
    switch kind {
    case .earliest: "earliest"
    case .latest: "latest"
    case .address(let address): String(address)
    case .ordinal(let ordinal): Self.ordinalPrefix + String(ordinal)
    case .time(let time):
      "\(Duration.nanoseconds(Int64(clamping: time))) after 1970-01-01T00:00:00Z"
    case .ago(let age): "\(age) ago"
    }
  }
}
