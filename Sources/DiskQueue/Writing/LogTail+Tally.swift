// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension LogTail {
  /// Counts the work of a writer, at each action and never for each record. The end of the log
  /// shows how many records there are, and how many bytes they have.
  struct Tally: Sendable {
    private let start: UInt64
    private let startOrdinal: UInt64
    /// Addresses since the start that are no part of a record's frame: marks, headers, and those
    /// between two epochs.
    var unframedBytes: UInt64 = 0
    var writtenBytes: UInt64 = 0
    var flushes: UInt64 = 0
    var syncs: UInt64 = 0
    var slabs: UInt64 = 0
    var droppedSlabs: UInt64 = 0
    var droppedBytes: UInt64 = 0

    init(_ start: Start) {
      self.start = start.position
      startOrdinal = start.ordinal
    }

    func records(upTo ordinal: UInt64) -> UInt64 { ordinal &- startOrdinal }

    func payloadBytes(upTo position: UInt64, _ ordinal: UInt64) -> UInt64 {
      position &- start &- unframedBytes
        &- UInt64(FrameHeader.byteCount) &* records(upTo: ordinal)
    }
  }

  var statistics: QueueWriter.Statistics {
    var statistics = QueueWriter.Statistics()
    statistics.records = tally.records(upTo: ordinal)
    statistics.payloadBytes = tally.payloadBytes(upTo: position, ordinal)
    statistics.writtenBytes = tally.writtenBytes
    statistics.flushes = tally.flushes
    statistics.syncs = tally.syncs
    statistics.slabs = tally.slabs
    statistics.droppedSlabs = tally.droppedSlabs
    statistics.droppedBytes = tally.droppedBytes
    statistics.bufferedBytes = UInt64(buffer.count)
    statistics.unsyncedRecords = ordinal &- syncedOrdinal
    return statistics
  }
}
