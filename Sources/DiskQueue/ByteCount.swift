// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A number of bytes. Arithmetic saturates; it never traps.
public struct ByteCount: Sendable, Hashable, Comparable, CustomStringConvertible {
  /// In bytes. Negative where a difference is.
  public var bytes: Int64

  private init(_ count: Int64, _ unit: Int64) {
    let (product, overflow) = count.multipliedReportingOverflow(by: unit)
    bytes = overflow ? (count < 0 ? .min : .max) : product
  }

  /// So many bytes; negative ones are a difference.
  public static func bytes(_ n: Int64) -> ByteCount { ByteCount(n, 1) }
  /// So many times 1,024 bytes. Saturates; it never traps.
  public static func kibibytes(_ n: Int64) -> ByteCount { ByteCount(n, 1 << 10) }
  /// So many times 1,024² bytes. Saturates; it never traps.
  public static func mebibytes(_ n: Int64) -> ByteCount { ByteCount(n, 1 << 20) }
  /// So many times 1,024³ bytes. Saturates; it never traps.
  public static func gibibytes(_ n: Int64) -> ByteCount { ByteCount(n, 1 << 30) }
  /// So many times 1,024⁴ bytes. Saturates; it never traps.
  public static func tebibytes(_ n: Int64) -> ByteCount { ByteCount(n, 1 << 40) }

  /// Whether the left one is the smaller.
  public static func < (left: ByteCount, right: ByteCount) -> Bool { left.bytes < right.bytes }

  /// The sum; the largest or smallest count there is, where it is beyond that.
  public static func + (left: ByteCount, right: ByteCount) -> ByteCount {
    let (sum, overflow) = left.bytes.addingReportingOverflow(right.bytes)
    return .bytes(overflow ? (right.bytes < 0 ? .min : .max) : sum)
  }

  /// The difference; the largest or smallest count there is, where it is beyond that.
  public static func - (left: ByteCount, right: ByteCount) -> ByteCount {
    let (difference, overflow) = left.bytes.subtractingReportingOverflow(right.bytes)
    return .bytes(overflow ? (right.bytes < 0 ? .max : .min) : difference)
  }

  /// So many bytes, in words, for messages.
  static func words(_ count: UInt64) -> String { count == 1 ? "1 byte" : "\(count) bytes" }

  /// In the largest binary unit that divides it, as `diskq` takes sizes: "64MiB", "20B".
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
