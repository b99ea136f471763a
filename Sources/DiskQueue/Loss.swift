// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Records that can never be read again.
///
/// Every loss is told once: to the closure that a reader was made with, or thrown, as
/// ``QueueError/loss``. Reading goes on behind it either way.
public struct Loss: Sendable, Hashable {
  /// Why records are gone.
  @nonexhaustive
  public enum Cause: Sendable, Hashable {
    /// The disk gave back other bytes than were written there.
    case damaged
    /// The cleaner removed them before this reader came to them.
    case cleaned
    /// They had been read before they were durable, and a crash took them back.
    case discarded
  }

  /// Why they are gone.
  public var cause: Cause

  /// From the first address that was lost to where reading went on. Sound records may lie within:
  /// several damaged places between two marks are one loss.
  public var addresses: Range<Address>

  /// How many records; nil where that cannot be known: in version 1 slabs, in the first slab left
  /// after cleaning, and in a tail. It may be 0, where only a mark or a header was hit.
  public var records: UInt64?

  /// A loss as it is told, for tests of what handles one.
  ///
  /// - Parameters:
  ///   - cause: why they are gone.
  ///   - addresses: from the first address that was lost to where reading went on.
  ///   - records: how many; nil where that cannot be known.
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
  /// A sentence, as `diskq verify` prints it.
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
