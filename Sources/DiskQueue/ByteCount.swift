// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A number of bytes. Arithmetic saturates and never traps.
public struct ByteCount: Sendable, Hashable, Comparable, CustomStringConvertible {
  /// The number of bytes. A negative number is a difference between two counts.
  public var bytes: Int64

  private init(_ count: Int64, _ unit: Int64) {
    let (product, overflow) = count.multipliedReportingOverflow(by: unit)
    bytes = overflow ? (count < 0 ? .min : .max) : product
  }

  /// `n` bytes. A negative number is a difference between two counts.
  public static func bytes(_ n: Int64) -> ByteCount { ByteCount(n, 1) }
  /// `n` times 1,024 bytes. A value out of range saturates and never traps.
  public static func kibibytes(_ n: Int64) -> ByteCount { ByteCount(n, 1 << 10) }
  /// `n` times 1,024² bytes. A value out of range saturates and never traps.
  public static func mebibytes(_ n: Int64) -> ByteCount { ByteCount(n, 1 << 20) }
  /// `n` times 1,024³ bytes. A value out of range saturates and never traps.
  public static func gibibytes(_ n: Int64) -> ByteCount { ByteCount(n, 1 << 30) }
  /// `n` times 1,024⁴ bytes. A value out of range saturates and never traps.
  public static func tebibytes(_ n: Int64) -> ByteCount { ByteCount(n, 1 << 40) }

  /// `n` times 1,000 bytes. A value out of range saturates and never traps.
  public static func kilobytes(_ n: Int64) -> ByteCount { ByteCount(n, 1_000) }
  /// `n` times 1,000² bytes. A value out of range saturates and never traps.
  public static func megabytes(_ n: Int64) -> ByteCount { ByteCount(n, 1_000_000) }
  /// `n` times 1,000³ bytes. A value out of range saturates and never traps.
  public static func gigabytes(_ n: Int64) -> ByteCount { ByteCount(n, 1_000_000_000) }
  /// `n` times 1,000⁴ bytes. A value out of range saturates and never traps.
  public static func terabytes(_ n: Int64) -> ByteCount { ByteCount(n, 1_000_000_000_000) }

  /// Returns whether the left count is the smaller one.
  public static func < (left: ByteCount, right: ByteCount) -> Bool { left.bytes < right.bytes }

  /// The sum of two counts. A sum out of range becomes the largest or the smallest possible count.
  public static func + (left: ByteCount, right: ByteCount) -> ByteCount {
    let (sum, overflow) = left.bytes.addingReportingOverflow(right.bytes)
    return .bytes(overflow ? (right.bytes < 0 ? .min : .max) : sum)
  }

  /// The difference of two counts.
  ///
  /// A difference out of range becomes the largest or the smallest possible count.
  public static func - (left: ByteCount, right: ByteCount) -> ByteCount {
    let (difference, overflow) = left.bytes.subtractingReportingOverflow(right.bytes)
    return .bytes(overflow ? (right.bytes < 0 ? .max : .min) : difference)
  }

  /// A number of bytes in words, for messages.
  static func words(_ count: UInt64) -> String { count == 1 ? "1 byte" : "\(count) bytes" }

  /// The count in the largest binary unit that divides it: "64MiB", "20B".
  ///
  /// `diskq` accepts sizes in this form.
  public var description: String {
    let units: [(Int64, String)] = [
      (1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"),
    ]
    for (unit, name) in units where bytes != 0 && bytes.isMultiple(of: unit) {
      return "\(bytes / unit)\(name)"
    }
    return "\(bytes)B"
  }
}
