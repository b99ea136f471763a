// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Bounds that options are held to, and why.
enum Limits {
  /// 4 KiB, a page: less holds no mark and a record beside its header. 1 TiB, a whole epoch.
  static let slabSize: ClosedRange<Int64> = 1 << 12...1 << 40

  /// What a length word can state.
  static let maximumPayload: ClosedRange<Int64> = 0...Int64(SlabFormat.largestPayload)

  /// 16 MiB: more than a sensor's reading or a request's body, and a buffer that a small device can
  /// still take.
  static let defaultMaximumPayload: UInt32 = 16 << 20

  /// 4 KiB holds a header, its mark and a closing mark; above 1 GiB nothing is gained.
  static let bufferSize: ClosedRange<Int64> = 1 << 12...1 << 30

  /// 64 KiB: four slabs of a few marks and records each. No bound above.
  static let maximumBytes: ClosedRange<Int64> = 1 << 16...Int64.max

  /// Half of all ordinals are left.
  static let firstOrdinal = UInt64(Int64.max)

  /// Above 1 GiB nothing is gained.
  static let batchBytes: ClosedRange<Int64> = 1...1 << 30

  /// Each takes 24 bytes.
  static let outOfOrder = 1...1 << 20

  static func check(
    _ value: ByteCount, _ bounds: ClosedRange<Int64>, _ name: String
  ) throws(QueueError) {
    guard bounds.contains(value.bytes) else {
      let least = ByteCount.bytes(bounds.lowerBound)
      // A bound that no number exceeds is none.
      let range =
        bounds.upperBound == .max
        ? "\(least) or more" : "from \(least) to \(ByteCount.bytes(bounds.upperBound))"
      throw .invalidOption("\(name) is \(value), and must be \(range)")
    }
  }
}
