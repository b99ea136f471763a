// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

extension QueueWriter {
  /// Counts of a writer's work since it was opened, and of the work that it still has to do.
  ///
  /// All values only grow, except ``bufferedBytes`` and ``unsyncedRecords``. ``writtenBytes``
  /// divided by ``payloadBytes`` is the cost of a byte to the disk. It includes 8 bytes of frame
  /// per record, 48 bytes per mark, and the zeros that are written ahead of syncs. It does not
  /// include what the file system writes itself.
  public struct Statistics: Sendable, Hashable, Codable, CustomStringConvertible {
    /// The number of appended records.
    public var records: UInt64 = 0
    /// The number of bytes of their payloads.
    public var payloadBytes: UInt64 = 0
    /// The number of bytes handed to the operating system.
    ///
    /// They include frames, marks, headers, and zeros that are written ahead of syncs and later
    /// overwritten. So this is not the size of the topic. For that, use `TopicExtent(of:)` of
    /// `DiskQueueInspection`.
    public var writtenBytes: UInt64 = 0
    /// The number of flushes of the buffer to the operating system.
    ///
    /// A record larger than the buffer counts as a flush of its own.
    public var flushes: UInt64 = 0
    /// The number of successful syncs.
    ///
    /// A sync that many callers wait for counts once, and covers all slabs that were due.
    public var syncs: UInt64 = 0
    /// The number of slabs that the writer has finished, each time starting a new one.
    public var slabs: UInt64 = 0
    /// The number of slabs that the writer removed to make room.
    ///
    /// See ``Options-swift.struct/whenFull``.
    public var droppedSlabs: UInt64 = 0
    /// The number of bytes in those slabs, with frames and marks.
    public var droppedBytes: UInt64 = 0

    /// The number of bytes in the buffer, which are not even ``Durability/flushed``.
    ///
    /// This value may fall.
    public var bufferedBytes: UInt64 = 0
    /// The number of records that are not known to be ``Durability/synced``. This value may fall.
    public var unsyncedRecords: UInt64 = 0

    /// The number of the writer, in the order in which writers were opened in this process. 0: no
    /// writer.
    package var writer: UInt64 = 0

    /// The counts. The writer's number has no meaning in another process.
    private enum CodingKeys: String, CodingKey {
      case records, payloadBytes, writtenBytes, flushes, syncs, slabs, droppedSlabs, droppedBytes
      case bufferedBytes, unsyncedRecords
    }

    /// Makes statistics of a writer that has done nothing.
    public init() {}

    /// All counts on one line, those that may fall at the end.
    public var description: String {
      "records: \(records), payload bytes: \(payloadBytes), written bytes: \(writtenBytes),"
        + " flushes: \(flushes), syncs: \(syncs), finished slabs: \(slabs),"
        + " dropped slabs: \(droppedSlabs), dropped bytes: \(droppedBytes),"
        + " buffered bytes: \(bufferedBytes), unsynced records: \(unsyncedRecords)"
    }

    /// Adds the counts of another writer. The writer's number stays.
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

  /// What this writer has done so far. Also available after it was closed.
  ///
  /// - Complexity: O(1). It adds no cost to appending. Reading it acquires the lock that appending
  ///   uses.
  public var statistics: Statistics {
    var statistics = core.updateTail { $0.statistics }
    statistics.writer = core.number
    return statistics
  }
}

/// Gives every writer its own number.
enum WriterNumber {
  private static let last = Atomic<UInt64>(0)

  static func next() -> UInt64 { last.wrappingAdd(1, ordering: .relaxed).newValue }
}
