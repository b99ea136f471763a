// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Consecutive records with their own bytes. You can keep them or pass them to another task.
///
/// All records of a batch share two allocations. With a ``QueueRecord`` each, every record would
/// need its own. So records from a batch cost little more than borrowed ones.
///
/// ```swift
/// while let batch = try reader.nextBatch(upTo: 500) {
///   for index in batch.indices { send(batch[index].payload) }
/// }
/// ```
public struct RecordBatch: Sendable {
  /// The frames of the records, one after the other.
  private let frames: [UInt8]
  /// The start of each frame in `frames`, followed by the end of the last one.
  private let starts: [Int]
  private let first: (address: UInt64, ordinal: UInt64)

  /// - Precondition: `starts` begins with 0, rises by at least a frame's header each time, and ends
  ///   with the count of `frames`.
  init(frames: [UInt8], starts: [Int], address: UInt64, ordinal: UInt64) {
    self.frames = frames
    self.starts = starts
    first = (address, ordinal)
  }

  /// The number of records: at least one.
  public var count: Int { starts.count - 1 }

  /// The indices of the records, from 0.
  public var indices: Range<Int> { 0..<count }

  /// Returns a record in the batch's memory. It is valid as long as the batch exists. O(1).
  ///
  /// - Precondition: `index` is one of `indices`.
  public subscript(index: Int) -> BorrowedRecord {
    @_lifetime(borrow self)
    get {
      let start = starts[index]
      let payload = frames.span.extracting(
        start + FrameHeader.byteCount..<starts[index + 1])
      return BorrowedRecord(
        address: Address(rawValue: first.address &+ UInt64(start)),
        ordinal: first.ordinal &+ UInt64(index), payload: payload)
    }
  }
}

extension QueueReader {
  /// Returns the next records as one batch with its own bytes, or nil at the end of the log.
  ///
  /// A batch contains what the reader's buffer already holds. The reader never waits or reads ahead
  /// to fill a batch. So a batch has
  ///
  /// - at least one record and at most `count`
  /// - at most ``Options-swift.struct/bufferSize`` bytes, or a single larger record
  ///
  /// A batch ends before a loss. So each loss is reported between the records that surround it.
  ///
  /// - Throws: As ``next()``.
  /// - Complexity: O(bytes of the batch), with two allocations.
  /// - Precondition: `count` is above 0.
  public mutating func nextBatch(upTo count: Int = .max) throws(QueueError) -> RecordBatch? {
    precondition(count > 0, "a batch has at least one record")
    guard let (address, ordinal, length) = try nextPlace() else { return nil }
    return walker.batch(of: count, from: address, ordinal, length)
  }

  /// Returns the address, ordinal and payload size of the next record.
  private mutating func nextPlace() throws(QueueError) -> (UInt64, UInt64, Int)? {
    guard let record = try next() else { return nil }
    return (record.address.rawValue, record.ordinal, record.payload.count)
  }
}

extension LogWalker {
  /// Makes a batch of the record that was just passed and the records after it in the window.
  fileprivate mutating func batch(
    of count: Int, from address: UInt64, _ ordinal: UInt64, _ length: Int
  ) -> RecordBatch {
    var end = FrameHeader.byteCount + length
    var starts = [0, end]
    // Assumes that all records are as long as the first one.
    starts.reserveCapacity(min(count, window.count / end) + 1)
    while starts.count <= count, let record = nextBuffered() {
      end += FrameHeader.byteCount + record.payload.count
      starts.append(end)
    }
    // Safe: copies exactly the span's bytes.
    let frames = unsafe window.bytes(end, at: Int(address &- window.start))
      .withUnsafeBytes { unsafe Array($0) }
    return RecordBatch(frames: frames, starts: starts, address: address, ordinal: ordinal)
  }
}
