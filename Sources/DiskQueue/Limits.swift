// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The bounds of options, with their reasons.
package enum Limits {
  /// At least 4 KiB, one page: a smaller slab has no space for a mark and a record after its
  /// header. At most 1 TiB, a whole epoch.
  static let slabSize: ClosedRange<Int64> = 1 << 12...1 << 40

  /// 64 MiB: few files, and still an amount that a small device can free by cleaning.
  package static let largestAutomaticSlab = ByteCount.mebibytes(64)

  /// The largest part of a cap that one slab takes if the library chooses the size. At a cap, room
  /// is made a slab at a time.
  static func slabSize(inCap cap: ByteCount) -> ByteCount {
    .bytes(max(slabSize.lowerBound, cap.bytes / 16))
  }

  /// The size of slabs for options that state none.
  ///
  /// - Parameter largest: the size without a cap, or with a cap that is large enough for it.
  static func automaticSlabSize(
    cap: ByteCount?, largest: ByteCount = largestAutomaticSlab
  ) -> ByteCount {
    cap.map { min(slabSize(inCap: $0), largest) } ?? largest
  }

  /// The range that a frame's length word can express.
  static let maximumPayload: ClosedRange<Int64> = 0...Int64(SlabFormat.largestPayload)

  /// 16 MiB: larger than a sensor reading or a request body, and still a buffer that a small device
  /// can afford.
  package static let defaultMaximumPayload: UInt32 = 16 << 20

  /// At least 4 KiB, which holds a header, its mark and a closing mark. Above 1 GiB nothing is
  /// gained.
  static let bufferSize: ClosedRange<Int64> = 1 << 12...1 << 30

  /// At least 64 KiB: four slabs of a few marks and records each. There is no upper bound.
  static let maximumBytes: ClosedRange<Int64> = 1 << 16...Int64.max

  /// Leaves half of all ordinals for the topic's records.
  static let firstOrdinal = UInt64(Int64.max)

  /// Above 1 GiB nothing is gained.
  static let batchBytes: ClosedRange<Int64> = 1...1 << 30

  /// Each range takes 24 bytes.
  static let outOfOrder = 1...1 << 20

  static func check(
    _ value: ByteCount, _ bounds: ClosedRange<Int64>, _ name: String
  ) throws(QueueError) {
    guard bounds.contains(value.bytes) else {
      let least = ByteCount.bytes(bounds.lowerBound)
      // Every number is within this upper bound: the message leaves it out.
      let range =
        bounds.upperBound == .max
        ? "\(least) or more" : "from \(least) to \(ByteCount.bytes(bounds.upperBound))"
      throw .invalidOption("\(name) is \(value), and must be \(range)")
    }
  }
}
