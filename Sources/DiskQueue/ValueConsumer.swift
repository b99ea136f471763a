// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A ``QueueConsumer`` that delivers values instead of payloads.
///
/// Make one with ``QueueConsumer/values(_:)``. Several value consumers may share one consumer.
///
/// ```swift
/// import DiskQueueFoundation
///
/// for try await batch in consumer.values(JSONCodec<Reading>()).batches(upTo: 500) {
///   var readings: [Reading] = []
///   for index in batch.indices {
///     do throws(QueueError) {
///       readings.append(try batch[index].value())
///     } catch {
///       try await batch.deadLetter(index, reason: "\(error.underlyingError ?? error)")
///     }
///   }
///   try await upload(readings)
///   try await batch.acknowledge()
/// }
/// ```
public struct ValueConsumer<Codec: PayloadCodec>: Sendable {
  /// The consumer that delivers the payloads.
  public let consumer: QueueConsumer
  fileprivate let codec: Codec

  /// Returns the batches from the consumer's position on, as an asynchronous sequence.
  ///
  /// It behaves like ``QueueConsumer/batches(upTo:lingering:following:)``.
  ///
  /// - Parameters:
  ///   - count: The largest number of records in a batch. At least 1.
  ///   - lingering: How long a batch waits to be filled. Not at all by default.
  ///   - following: Whether to wait at the end of the log for more records. false by default.
  public func batches(
    upTo count: Int, lingering: Duration = .zero, following: Bool = false
  ) -> Batches {
    Batches(
      base: consumer.batches(upTo: count, lingering: lingering, following: following),
      source: self)
  }

  /// Returns the next batch, or nil at the end of the log if `following` is false.
  ///
  /// It behaves like ``QueueConsumer/nextBatch(upTo:lingering:following:)`` and decodes nothing
  /// yet.
  ///
  /// - Parameters:
  ///   - count: The largest number of records in a batch. At least 1.
  ///   - lingering: How long the batch waits to be filled. Not at all by default.
  ///   - following: Whether to wait at the end of the log for more records. false by default.
  /// - Throws: As ``QueueConsumer/nextBatch(upTo:lingering:following:)``.
  public func nextBatch(
    upTo count: Int, lingering: Duration = .zero, following: Bool = false
  ) async throws(QueueError) -> Batch? {
    let batch = try await consumer.nextBatch(
      upTo: count, lingering: lingering, following: following)
    return batch.map { Batch(raw: $0, source: self) }
  }

  /// Returns the next batch, or nil if no record came within a time.
  ///
  /// It behaves like ``QueueConsumer/nextBatch(upTo:lingering:timeout:)`` and decodes nothing yet.
  ///
  /// - Parameters:
  ///   - count: The largest number of records in a batch. At least 1.
  ///   - lingering: How long the batch waits to be filled. Not at all by default.
  ///   - timeout: The longest time to wait for the first record of a batch.
  /// - Throws: As ``QueueConsumer/nextBatch(upTo:lingering:following:)``.
  public func nextBatch(
    upTo count: Int, lingering: Duration = .zero, timeout: Duration
  ) async throws(QueueError) -> Batch? {
    let batch = try await consumer.nextBatch(
      upTo: count, lingering: lingering, timeout: timeout)
    return batch.map { Batch(raw: $0, source: self) }
  }

  /// The batches of a ``ValueConsumer``, to iterate over.
  public struct Batches: AsyncSequence, Sendable {
    /// The sequence consists of batches.
    public typealias Element = Batch
    /// Every error of the sequence is a ``QueueError``.
    public typealias Failure = QueueError

    let base: QueueConsumer.Batches
    fileprivate let source: ValueConsumer

    /// Makes an iterator. Several iterators share the records: each record goes to one of them.
    public func makeAsyncIterator() -> AsyncIterator {
      AsyncIterator(base: base.makeAsyncIterator(), source: source)
    }

    /// Iterates over the batches of a ``ValueConsumer``.
    public struct AsyncIterator: AsyncIteratorProtocol {
      fileprivate var base: QueueConsumer.Batches.AsyncIterator
      fileprivate let source: ValueConsumer

      /// Returns the next batch.
      ///
      /// It behaves like ``ValueConsumer/nextBatch(upTo:lingering:following:)``.
      ///
      /// - Throws: As ``ValueConsumer/nextBatch(upTo:lingering:following:)``.
      public mutating func next(
        isolation actor: isolated (any Actor)? = #isolation
      ) async throws(QueueError) -> Batch? {
        guard let batch = try await base.next(isolation: actor) else { return nil }
        return Batch(raw: batch, source: source)
      }
    }
  }
}

extension ValueConsumer {
  /// Records that were delivered together, in order, with their values.
  ///
  /// Tasks may share a batch. A batch keeps its consumer open. A part of a batch is a batch as
  /// well, with the same indices.
  public struct Batch: RandomAccessCollection, Sendable {
    /// A part of a batch is a batch.
    public typealias SubSequence = Batch
    /// The indices are numbers without gaps.
    public typealias Indices = Range<Int>

    /// The batch of the records, with the same indices.
    public let raw: QueueConsumer.Batch
    private let source: ValueConsumer

    fileprivate init(raw: QueueConsumer.Batch, source: ValueConsumer) {
      self.raw = raw
      self.source = source
    }

    /// The index of the first record.
    public var startIndex: Int { raw.startIndex }
    /// The index after that of the last record.
    public var endIndex: Int { raw.endIndex }

    /// Returns a record of the batch. It is decoded when you ask for its value.
    ///
    /// - Precondition: `position` is an index of the batch.
    public subscript(position: Int) -> ValueRecord<Codec> {
      ValueRecord(
        raw[position], codec: source.codec, path: source.consumer.topic.description)
    }

    /// Returns a part of the batch, which has the same indices and shares its memory. O(1).
    ///
    /// - Precondition: The range is within the batch's indices.
    public subscript(bounds: Range<Int>) -> Batch { Batch(raw: raw[bounds], source: source) }

    /// Acknowledges all records up to the end of this batch, earlier batches included.
    ///
    /// It behaves like ``QueueConsumer/Batch/acknowledge()``. Records that do not decode are
    /// acknowledged as well.
    ///
    /// - Throws: As ``QueueConsumer/Batch/acknowledge()``.
    public func acknowledge() async throws(QueueError) { try await raw.acknowledge() }

    /// Acknowledges everything that was delivered up to and including this record.
    ///
    /// - Throws: As ``QueueConsumer/Batch/acknowledge()``.
    /// - Precondition: `index` is an index of the batch.
    public func acknowledge(through index: Int) async throws(QueueError) {
      try await raw.acknowledge(through: index)
    }

    /// Acknowledges one record, whether or not the records before it are acknowledged.
    ///
    /// It behaves like `acknowledge(only:)` of ``QueueConsumer/Batch``.
    ///
    /// - Throws: As ``QueueConsumer/Batch/acknowledge()``.
    /// - Precondition: `index` is an index of the batch.
    public func acknowledge(only index: Int) async throws(QueueError) {
      try await raw.acknowledge(only: index)
    }

    /// Acknowledges several records, whether or not the records before them are acknowledged.
    ///
    /// It behaves like `acknowledge(only:)` of ``QueueConsumer/Batch``.
    ///
    /// - Throws: As ``QueueConsumer/Batch/acknowledge()``.
    /// - Precondition: The range is within the batch's indices.
    public func acknowledge(only indices: Range<Int>) async throws(QueueError) {
      try await raw.acknowledge(only: indices)
    }

    /// Acknowledges all records up to the end of this batch, and does not wait for the disk.
    ///
    /// It behaves like ``QueueConsumer/Batch/acknowledge(within:)``.
    ///
    /// - Parameter delay: The longest time until the write begins.
    /// - Throws: As ``QueueConsumer/Batch/acknowledge(within:)``.
    public func acknowledge(within delay: Duration) throws(QueueError) {
      try raw.acknowledge(within: delay)
    }

    /// Acknowledges several records out of order, and does not wait for the disk.
    ///
    /// It behaves like ``QueueConsumer/Batch/acknowledge(only:within:)``.
    ///
    /// - Throws: As ``QueueConsumer/Batch/acknowledge(within:)``.
    /// - Precondition: The range is within the batch's indices.
    public func acknowledge(
      only indices: Range<Int>, within delay: Duration
    ) throws(QueueError) {
      try raw.acknowledge(only: indices, within: delay)
    }

    /// Puts aside a record that cannot be processed, with its payload as it was appended.
    ///
    /// It behaves like ``QueueConsumer/Batch/deadLetter(_:reason:)-(Int,String)``.
    ///
    /// - Parameters:
    ///   - index: The record's index in the batch.
    ///   - reason: A text for people. It is cut after 65,535 bytes.
    /// - Returns: The record's address in the topic for dead letters.
    /// - Throws: As ``QueueConsumer/Batch/deadLetter(_:reason:)-(Int,String)``.
    /// - Precondition: `index` is an index of the batch.
    @discardableResult
    public func deadLetter(_ index: Int, reason: String) async throws(QueueError) -> Address {
      try await raw.deadLetter(index, reason: reason)
    }

    /// Puts aside several records that cannot be processed, with their payloads as they were
    /// appended.
    ///
    /// It opens and syncs the topic for dead letters once for all of them.
    ///
    /// - Parameters:
    ///   - indices: The records' indices in the batch.
    ///   - reason: Returns a text for people, for an index. It is cut after 65,535 bytes.
    /// - Returns: The records' addresses in the topic for dead letters, in the order of `indices`.
    /// - Throws: As `deadLetter(_:reason:)` of ``QueueConsumer/Batch`` for several records.
    /// - Precondition: The indices are indices of the batch.
    @discardableResult
    public func deadLetter(
      _ indices: some Collection<Int>, reason: (Int) -> String
    ) async throws(QueueError) -> [Address] {
      try await raw.deadLetter(indices, reason: reason)
    }
  }
}

extension QueueConsumer {
  /// Returns this consumer with values instead of payloads.
  ///
  /// Several value consumers may share one consumer.
  public func values<Codec: PayloadCodec>(_ codec: Codec) -> ValueConsumer<Codec> {
    ValueConsumer(consumer: self, codec: codec)
  }
}
