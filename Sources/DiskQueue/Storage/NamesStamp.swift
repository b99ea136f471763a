// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A stamp of a directory's names at one moment. While a directory gives the same stamp, no name in
/// it was made, removed, or led to another file.
package struct NamesStamp: Equatable, Sendable {
  /// Never 0.
  package var rawValue: UInt64

  package init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// Makes stamps from the change times (st_ctime) of a directory.
///
/// Every change of a name sets the change time of the directory (POSIX, unlink(), rename() and
/// open()). No call sets it to a chosen value. But a file system counts time in ticks. Two changes
/// within one tick leave the same change time, so a time is a stamp only when its tick is over.
struct NamesStampSource {
  /// Ten ticks of the slowest clock that Linux counts file times with (100 a second), and of
  /// exFAT's.
  static let settlingNanoseconds: UInt64 = 100_000_000

  /// In nanoseconds.
  private var changeTime: UInt64 = 0
  /// When `changeTime` was first seen, on the monotonic clock.
  private var seenNanoseconds: UInt64 = 0

  /// - Parameters:
  ///   - changeTime: of the directory, just read.
  ///   - now: the monotonic clock, read after that. Called only if it matters.
  /// - Returns: nil while the directory may still change without a trace. That is always so if the
  ///   file system counts in whole seconds (FAT, HFS+, small inodes of ext3): ticks of two seconds
  ///   are not waited for.
  mutating func stamp(_ changeTime: FileTime, now: () -> UInt64) -> NamesStamp? {
    guard changeTime.nanoseconds != 0 else { return nil }
    let time = UInt64(bitPattern: changeTime.seconds) &* 1_000_000_000 &+ changeTime.nanoseconds
    let now = now()
    guard time == self.changeTime else {
      self.changeTime = time
      seenNanoseconds = now
      return nil
    }
    guard now - min(now, seenNanoseconds) >= Self.settlingNanoseconds else { return nil }
    return NamesStamp(rawValue: time)
  }
}

/// A time since 1970, as a file system reports it.
struct FileTime: Equatable {
  var seconds: Int64
  /// Within the second.
  var nanoseconds: UInt64
}
