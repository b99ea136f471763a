// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

extension QueueWriter {
  /// What a writer did since it was opened, and what it has yet to do. The counts only grow.
  ///
  /// ``writtenBytes`` by ``payloadBytes`` is what a byte costs the disk: 8 bytes of frame a record, 48 a
  /// mark, and the zeros that are written ahead of syncs. What the file system writes of its own is not
  /// in it.
  public struct Statistics: Sendable, Hashable {
    /// Records appended.
    public var records: UInt64 = 0
    /// Their payloads.
    public var payloadBytes: UInt64 = 0
    /// Handed to the system: frames, marks, headers, and zeros ahead of syncs.
    public var writtenBytes: UInt64 = 0
    /// How often the buffer, or a record larger than it, was handed to the system.
    public var flushes: UInt64 = 0
    /// Syncs that succeeded. One that many wait for counts once, and takes in all slabs that were due.
    public var syncs: UInt64 = 0
    /// Slabs that were left for a new one.
    public var slabs: UInt64 = 0
    /// Slabs that were removed for want of room: see ``Options-swift.struct/whenFull``.
    public var droppedSlabs: UInt64 = 0
    /// What they held, frames and marks with it.
    public var droppedBytes: UInt64 = 0

    /// Bytes that wait in the buffer: not even ``Durability/flushed``. This one, and the next, may fall.
    public var bufferedBytes: UInt64 = 0
    /// Records that are not known to be ``Durability/synced``.
    public var unsyncedRecords: UInt64 = 0

    /// Of which writer, by the order in which they were opened in this process; 0: of none.
    package var writer: UInt64 = 0

    /// Nothing done yet.
    public init() {}

    /// That of two writers together, and still of whom it was.
    static func += (sum: inout Statistics, other: Statistics) {
      sum.records &+= other.records
      sum.payloadBytes &+= other.payloadBytes
      sum.writtenBytes &+= other.writtenBytes
      sum.flushes &+= other.flushes
      sum.syncs &+= other.syncs
      sum.slabs &+= other.slabs
      sum.droppedSlabs &+= other.droppedSlabs
      sum.droppedBytes &+= other.droppedBytes
      sum.bufferedBytes &+= other.bufferedBytes
      sum.unsyncedRecords &+= other.unsyncedRecords
    }
  }

  /// What this writer did so far; also of a closed one.
  ///
  /// - Complexity: O(1). Appending costs nothing for it; to look takes the lock that appending takes.
  public var statistics: Statistics {
    var statistics = core.updateTail { $0.statistics }
    statistics.writer = core.number
    return statistics
  }
}

/// Tells writers apart.
enum WriterNumber {
  private static let last = Atomic<UInt64>(0)

  static func next() -> UInt64 { last.wrappingAdd(1, ordering: .relaxed).newValue }
}
