// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Room on the disk, had before it is needed: all of it hints, which may fail without a word. What is
// behind the last frame is given back when the slab is left, closed, or let go.

extension LogTail {
  // MARK: Blocks, for who writes much

  /// How much room is asked for at once: less gains less (measured on ext4: a write of 256 KiB takes a
  /// fifth less than without where 1 MiB is, a third less where 8 MiB are, and no less beyond), and so
  /// much may stay behind where the process dies.
  private static let reservation: UInt64 = 8 << 20

  /// Sees to it that the next bytes to be written have their room. The size stays.
  mutating func reserve(_ count: Int) {
    let end = bufferStart + UInt64(count)
    guard end > reservedEnd else { return }
    let from = max(reservedEnd, bufferStart)
    let to = max(end, min(from.addingSaturating(Self.reservation), slabLimit))
    // Where it cannot be had, it is not asked for again soon.
    reservedEnd = to
    if slab.file.reserve(to - from, at: from - slab.base) { hasRoomAhead = true }
  }

  // MARK: Zeros, for who syncs often

  /// How many are written at once. On ext4 they take 2 ms with the next sync, as 256 KiB do, and 4 MiB
  /// take 8 to 10. So many, too, stay behind at the most where the process dies.
  private static let mostZeros: UInt64 = 1 << 20

  /// Who has more than this to sync each time gains nothing by zeros: the bytes take longer than what
  /// the file system writes of its own.
  private static let smallSync: UInt64 = 64 << 10

  private static let zeros = [UInt8](repeating: 0, count: 64 << 10)

  /// Writes zeros behind the last frame, if those of before are used up. Syncs that only overwrite
  /// leave the file system nothing of its own to write, no size and no blocks: measured on ext4, 102
  /// to 150 us instead of 202 to 253.
  ///
  /// Never more than this writer wrote of the slab: who writes little writes few. They are no frame,
  /// and so no part of the log.
  ///
  /// - Precondition: all was written.
  mutating func zeroAhead() {
    let written = position - slabBegan
    guard position >= zeroedEnd, written > 0, position - min(synced, position) <= Self.smallSync
    else { return }
    // Not above the cap, either.
    let cap = slab.base.addingSaturating(
      settings.maximumBytes - min(settings.maximumBytes, otherBytes))
    let end = min(position.addingSaturating(min(written, Self.mostZeros)), slabLimit, cap)
    guard end > position else { return }
    // Where they cannot be had, they are not tried again soon.
    zeroedEnd = end
    guard slab.file.reserve(end - position, at: position - slab.base) else { return }
    hasRoomAhead = true
    var next = position
    while next < end {
      let count = Int(min(UInt64(Self.zeros.count), end - next))
      do throws(SystemError) {
        // Safe: a span of bytes is its bytes.
        let zeros = unsafe Self.zeros.span.bytes.extracting(first: count)
        let written = UInt64(try slab.file.write(zeros, at: next - slab.base))
        tally.writtenBytes &+= written
        next += written
      } catch {
        // What is wrong, the next write or sync tells.
        return
      }
    }
  }

  // MARK: Giving it back

  /// Gives back the room behind what was written.
  ///
  /// - Precondition: all was written.
  mutating func giveBackRoom() {
    if hasRoomAhead, max(reservedEnd, zeroedEnd) > position { leaveNothingBehind() }
    (reservedEnd, zeroedEnd, hasRoomAhead) = (0, 0, false)
  }
}
