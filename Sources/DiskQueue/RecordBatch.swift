// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Records that follow each other, with their own bytes, to keep or to hand to another task.
///
/// They share two allocations, where a ``QueueRecord`` each would take one each: owned records cost
/// little more than borrowed ones.
///
/// ```swift
/// while let batch = try reader.nextBatch(upTo: 500) {
///   for index in batch.indices { send(batch[index].payload) }
/// }
/// ```
public struct RecordBatch: Sendable {
  /// The frames of the records, one behind the other.
  private let frames: [UInt8]
  /// Where each begins in `frames`; then where the last one ends.
  private let starts: [Int]
  private let first: (address: UInt64, ordinal: UInt64)

  /// - Precondition: `starts` begins with 0, rises by at least a frame's header each time, and ends
  ///   with the count of `frames`.
  init(frames: [UInt8], starts: [Int], address: UInt64, ordinal: UInt64) {
    self.frames = frames
    self.starts = starts
    first = (address, ordinal)
  }

  /// How many there are: at least one.
  public var count: Int { starts.count - 1 }

  /// The numbers of the records, from 0.
  public var indices: Range<Int> { 0..<count }

  /// A record, in the batch's memory, for as long as the batch is there. O(1).
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
  /// The next records, together, with bytes of their own; nil at the end of the log.
  ///
  /// A batch is what the reader has in its buffer, which it never waits or reads on to fill: at least
  /// one record, at most `count`, and no more bytes than ``Options-swift.struct/bufferSize``, or one
  /// record. It ends before a loss, so that a loss is told between the records that it lies between.
  ///
  /// - Throws: as `next`.
  /// - Complexity: O(bytes of the batch); two allocations.
  /// - Precondition: `count` is above 0.
  public mutating func nextBatch(upTo count: Int = .max) throws(QueueError) -> RecordBatch? {
    precondition(count > 0, "a batch has at least one record")
    guard let (address, ordinal, length) = try nextPlace() else { return nil }
    return walker.batch(of: count, from: address, ordinal, length)
  }

  /// The next record without its bytes.
  private mutating func nextPlace() throws(QueueError) -> (UInt64, UInt64, Int)? {
    guard let record = try next() else { return nil }
    return (record.address.rawValue, record.ordinal, record.payload.count)
  }
}

extension LogWalker {
  /// The record that was just passed, and those behind it that the window shows.
  fileprivate mutating func batch(
    of count: Int, from address: UInt64, _ ordinal: UInt64, _ length: Int
  ) -> RecordBatch {
    var end = FrameHeader.byteCount + length
    var starts = [0, end]
    // As many as if all were as long as the first one.
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
