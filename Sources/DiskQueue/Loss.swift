// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Records that can never be read again.
///
/// A reader reports every loss once. It calls the `onLoss` closure that it was made with, or,
/// without a closure, throws an error with this ``QueueError/loss``. Reading continues after the
/// loss in both cases.
///
/// It is `Codable`. The addresses are encoded as a pair of texts, as an ``Address`` is. If
/// ``records`` is nil, it is left out.
public struct Loss: Sendable, Hashable, Codable {
  /// The reason for a loss. It is printed and encoded as its name, such as `cleaned`.
  ///
  /// A later version may add cases. So end a `switch` that names all of them with
  /// `@unknown default`.
  @nonexhaustive
  public enum Cause: String, Sendable, Hashable, Codable {
    /// The disk returned other bytes than were written there.
    case damaged
    /// The cleaner removed the records before this reader reached them.
    case cleaned
    /// A crash took the records back. They had been read before they were durable.
    case discarded
  }

  /// The reason for the loss.
  public var cause: Cause

  /// The range from the first lost address to the address at which reading continues.
  ///
  /// Sound records may be inside the range: several damaged areas between two marks are reported
  /// as one loss.
  public var addresses: Range<Address>

  /// The number of lost records, or nil if it cannot be known.
  ///
  /// It cannot be known in version 1 slabs, in the first slab that remains after cleaning, and in
  /// the tail of the log. Also, if reading begins at the address of a cleaned record, the number is
  /// nil, because an address does not count records. If it begins at an ordinal, the number is
  /// exact. The number may be 0 if the damage hit only a mark or a header.
  public var records: UInt64?

  /// Makes a loss, to test code that handles losses.
  ///
  /// - Parameters:
  ///   - cause: The reason for the loss.
  ///   - addresses: The range from the first lost address to the address at which reading
  ///     continues.
  ///   - records: The number of lost records, or nil if it cannot be known.
  public init(cause: Cause, addresses: Range<Address>, records: UInt64?) {
    self.cause = cause
    self.addresses = addresses
    self.records = records
  }

  init(_ cause: Cause, from start: UInt64, to end: UInt64, records: UInt64?) {
    self.init(
      cause: cause,
      addresses: Address(rawValue: start)..<Address(rawValue: max(start, end)),
      records: records)
  }
}

extension Loss: CustomStringConvertible {
  /// The loss as a sentence, as `diskq verify` prints it.
  public var description: String {
    let count =
      switch records {
      case nil: "an unknown number of records"
      case 0: "no record"
      case 1: "1 record"
      case .some(let count): "\(count) records"
      }
    let verb =
      switch cause {
      case .damaged: "damaged"
      case .cleaned: "cleaned before it was read"
      case .discarded: "discarded after a crash"
      }
    return "\(addresses.lowerBound) up to \(addresses.upperBound): \(verb), \(count) lost"
  }
}
