// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Disk space that is preallocated before it is needed. All of it is a hint, which may fail
// silently. The space after the last frame is given back when the slab is left, when the writer
// closes, and when the writer is dropped.

extension LogTail {
  // MARK: Blocks, for large writes

  /// How much is preallocated at once. Less gains less. Measured on ext4, a write of 256 KiB takes
  /// a fifth less time with 1 MiB, and a third less with 8 MiB. More than that gains nothing. If
  /// the process dies, this much may stay after the last frame.
  private static let reservation: UInt64 = 8 << 20

  /// Preallocates blocks for the next bytes to be written. The size stays.
  mutating func reserve(_ count: Int) {
    let end = bufferStart + UInt64(count)
    guard end > reservedEnd else { return }
    let from = max(reservedEnd, bufferStart)
    let to = max(end, min(from.addingSaturating(Self.reservation), slabLimit))
    // If this fails, it is not tried again soon.
    reservedEnd = to
    if slab.file.reserve(to - from, at: from - slab.base) { hasPreallocated = true }
  }

  // MARK: Zeros, for frequent syncs

  /// How many zeros are written at once. On ext4 they take 2 ms with the next sync, as 256 KiB do,
  /// and 4 MiB take 8 to 10. If the process dies, at most this many stay after the last frame.
  private static let mostZeros: UInt64 = 1 << 20

  /// If each sync has more bytes than this, zeros gain nothing: the bytes take longer than the file
  /// system's own writes.
  private static let smallSync: UInt64 = 64 << 10

  private static let zeros = [UInt8](repeating: 0, count: 64 << 10)

  /// Writes zeros after the last frame, if the earlier ones are used up. A sync that only
  /// overwrites leaves the file system nothing of its own to write, no size and no blocks. Measured
  /// on ext4, it takes 102 to 150 us instead of 202 to 253.
  ///
  /// There are never more zeros than this writer wrote bytes to the slab: a writer that writes
  /// little writes few. Zeros are no frame, and so no part of the log.
  ///
  /// - Precondition: everything was written.
  mutating func zeroAhead() {
    let written = position - slabBegan
    guard position >= zeroedEnd, written > 0, position - min(synced, position) <= Self.smallSync
    else { return }
    // Not above the cap, either.
    let cap = slab.base.addingSaturating(
      settings.maximumBytes - min(settings.maximumBytes, otherBytes))
    let end = min(position.addingSaturating(min(written, Self.mostZeros)), slabLimit, cap)
    guard end > position else { return }
    // If this fails, it is not tried again soon.
    zeroedEnd = end
    guard slab.file.reserve(end - position, at: position - slab.base) else { return }
    hasPreallocated = true
    var next = position
    while next < end {
      let count = Int(min(UInt64(Self.zeros.count), end - next))
      do throws(SystemError) {
        // Safe: the elements of the span are bytes.
        let zeros = unsafe Self.zeros.span.bytes.extracting(first: count)
        let written = UInt64(try slab.file.write(zeros, at: next - slab.base))
        tally.writtenBytes &+= written
        next += written
      } catch {
        // The next write or sync reports the cause.
        return
      }
    }
  }

  // MARK: Giving it back

  /// Gives back the space after the last byte that was written.
  ///
  /// - Precondition: everything was written.
  mutating func releasePreallocated() {
    if hasPreallocated, max(reservedEnd, zeroedEnd) > position { truncateToPosition() }
    (reservedEnd, zeroedEnd, hasPreallocated) = (0, 0, false)
  }
}
