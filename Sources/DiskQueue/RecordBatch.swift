// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Consecutive records with their own bytes. You can keep them or pass them to another task.
///
/// All records of a batch share two allocations. With a ``QueueRecord`` each, every record would
/// need its own. So ``borrowed(at:)`` costs little more than a record that the reader lends. The
/// subscript copies: each element that you take is one allocation.
///
/// ```swift
/// while let batch = try reader.nextBatch(upTo: 500) {
///   for index in batch.indices { send(batch.borrowed(at: index).payload) }
/// }
/// ```
///
/// A part of a batch is a batch: `batch[10..<20]` shares the bytes, and its indices are 10 to 19.
/// It keeps all bytes of the batch in memory.
public struct RecordBatch: Sendable, RandomAccessCollection {
  /// The place of a record in `frames`. A batch is at most as large as the largest record.
  struct Place {
    /// The start of its frame.
    var start: UInt32
    var payloadBytes: UInt32
  }

  /// The frames of the records, one after the other, with the marks between them.
  private let frames: [UInt8]
  private let places: [Place]
  /// The address of the first byte of `frames`, and the ordinal of the first record in it.
  private let first: (address: UInt64, ordinal: UInt64)

  /// The index of the first record: 0, unless this is a part of a batch.
  public private(set) var startIndex: Int
  /// The index after the last record.
  public let endIndex: Int

  /// - Precondition: `frames` holds the frame at each of `places`.
  init(frames: [UInt8], places: [Place], address: UInt64, ordinal: UInt64) {
    self.frames = frames
    self.places = places
    first = (address, ordinal)
    startIndex = 0
    endIndex = places.count
  }

  private init(_ batch: RecordBatch, _ bounds: Range<Int>) {
    frames = batch.frames
    places = batch.places
    first = batch.first
    startIndex = bounds.lowerBound
    endIndex = bounds.upperBound
  }

  /// Returns a record in the batch's memory. It is valid as long as the batch exists. O(1).
  ///
  /// - Precondition: `index` is one of `indices`.
  @_lifetime(borrow self)
  public func borrowed(at index: Int) -> BorrowedRecord {
    precondition(index >= startIndex && index < endIndex, "there is no record at this index")
    let place = places[index]
    let start = Int(place.start) + FrameHeader.byteCount
    return BorrowedRecord(
      address: Address(rawValue: first.address &+ UInt64(place.start)),
      ordinal: first.ordinal &+ UInt64(index),
      payload: frames.span.extracting(start..<start + Int(place.payloadBytes)))
  }

  /// Returns a copy of a record. O(payload), with one allocation.
  ///
  /// - Precondition: `index` is one of `indices`.
  public subscript(index: Int) -> QueueRecord { borrowed(at: index).copy() }

  /// Returns a part of the batch, which shares its bytes. O(1).
  ///
  /// - Precondition: `bounds` is within the batch.
  public subscript(bounds: Range<Int>) -> RecordBatch {
    precondition(
      bounds.lowerBound >= startIndex && bounds.upperBound <= endIndex,
      "the batch has no such part")
    return RecordBatch(self, bounds)
  }

  /// Removes the first record and returns a copy of it. Nil if the batch is empty.
  mutating func takeFirst() -> QueueRecord? {
    guard startIndex < endIndex else { return nil }
    defer { startIndex += 1 }
    return self[startIndex]
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

  /// Like `nextBatch`, but only for records that the buffer holds already. Nil does not mean the
  /// end of the log.
  mutating func nextBufferedBatch(upTo count: Int) -> RecordBatch? {
    repeat {
      let (address, ordinal) = (walker.position, walker.ordinal)
      if let length = walker.nextBuffered()?.payload.count {
        return walker.batch(of: count, from: address, ordinal, length)
      }
    } while walker.passBufferedMark()
    return nil
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
    var places = [RecordBatch.Place(start: 0, payloadBytes: UInt32(length))]
    var end = FrameHeader.byteCount + length
    // Assumes that all records are as long as the first one.
    places.reserveCapacity(min(count, window.count / end + 1))
    while places.count < count, let start = UInt32(exactly: position &- address) {
      if let payloadBytes = nextBuffered()?.payload.count {
        places.append(RecordBatch.Place(start: start, payloadBytes: UInt32(payloadBytes)))
        end = Int(position &- address)
      } else if !passBufferedMark() {
        break
      }
    }
    // Safe: copies exactly the span's bytes.
    let frames = unsafe window.bytes(end, at: Int(address &- window.start))
      .withUnsafeBytes { unsafe Array($0) }
    return RecordBatch(frames: frames, places: places, address: address, ordinal: ordinal)
  }
}
