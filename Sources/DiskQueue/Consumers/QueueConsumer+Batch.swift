// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueConsumer {
  /// Records that were delivered together, in order.
  ///
  /// All records of a batch share two allocations. An element is a ``QueueRecord``, which is copied
  /// when you take it. To read a record without a copy, use ``borrowed(at:)``.
  ///
  /// A part of a batch is a batch as well, with the same indices, as with every slice in Swift. You
  /// can process and acknowledge it by itself:
  ///
  /// ```swift
  /// if let batch = try await consumer.nextBatch(upTo: 500) {
  ///   let (first, rest) = (batch.prefix(100), batch.dropFirst(100))
  ///   try await upload(first)
  ///   try await first.acknowledge()
  ///   try await upload(rest)
  ///   try await rest.acknowledge()
  /// }
  /// ```
  ///
  /// Tasks may share a batch. A batch keeps its consumer open. A part of a batch keeps the memory
  /// of the whole batch.
  public struct Batch: RandomAccessCollection, Sendable, CustomStringConvertible {
    /// A part of a batch is a batch.
    public typealias SubSequence = Batch
    /// The indices are numbers without gaps.
    public typealias Indices = Range<Int>

    private let consumer: QueueConsumer
    private let delivery: ConsumerCore.Delivery
    /// The indices of this batch, or of this part of the delivery.
    private let bounds: Range<Int>

    init(consumer: QueueConsumer, _ delivery: ConsumerCore.Delivery) {
      self.init(consumer, delivery, 0..<delivery.range.count)
    }

    private init(
      _ consumer: QueueConsumer, _ delivery: ConsumerCore.Delivery, _ bounds: Range<Int>
    ) {
      self.consumer = consumer
      self.delivery = delivery
      self.bounds = bounds
    }

    /// The index of the first record. 0, unless this is a part of a batch.
    public var startIndex: Int { bounds.lowerBound }
    /// The index after the last record.
    public var endIndex: Int { bounds.upperBound }

    /// Returns a copy of a record.
    ///
    /// - Complexity: O(payload), one allocation.
    /// - Precondition: `position` is an index of the batch.
    public subscript(position: Int) -> QueueRecord {
      check(position..<position + 1)
      return delivery.records.record(delivery.range.lowerBound + position)
    }

    /// Returns a part of the batch, which has the same indices and shares its memory. O(1).
    ///
    /// - Precondition: The range is within the batch's indices.
    public subscript(bounds: Range<Int>) -> Batch {
      check(bounds)
      return Batch(consumer, delivery, bounds)
    }

    /// Returns a record in the batch's memory. It is valid as long as the batch exists. O(1).
    ///
    /// - Precondition: `index` is an index of the batch.
    @_lifetime(borrow self)
    public func borrowed(at index: Int) -> BorrowedRecord {
      check(index..<index + 1)
      return delivery.records.borrowed(delivery.range.lowerBound + index)
    }

    /// The number of records, and the first one's ordinal and address, on one line.
    public var description: String {
      guard !isEmpty else { return "no record" }
      let first = borrowed(at: startIndex)
      return Words.batch(count, ordinal: first.ordinal, address: first.address)
    }

    private func check(_ indices: Range<Int>) {
      precondition(
        bounds.lowerBound <= indices.lowerBound && indices.upperBound <= bounds.upperBound,
        "an index outside of the batch")
    }

    // MARK: Acknowledging

    /// Acknowledges all records up to the end of this batch, earlier batches included.
    ///
    /// Returns when that is durable. Calls at the same time share a write and its sync. If several
    /// workers share the consumer, use `acknowledge(only:)` instead: this call also acknowledges
    /// records that other workers are still processing.
    ///
    /// - Throws: One of these codes:
    ///   - `noSpace` or `system` if the cursor could not be written. Retry with this batch or a
    ///     later one.
    ///   - `syncFailed`, `fileRemoved` or `closed` permanently. Records whose acknowledgement is
    ///     not known to be durable are delivered again to the next holder.
    ///   - `cancelled` if the task is cancelled. The records are acknowledged and will soon be
    ///     durable, but this call has not waited for that.
    /// - Complexity: A write to the cursor and its sync, shared by all calls that wait. Before that
    ///   a sync of the slabs up to the cursor that are not known to be durable.
    public func acknowledge() async throws(QueueError) { try await acknowledge(upTo: endIndex) }

    /// Acknowledges everything that was delivered up to and including this record.
    ///
    /// It behaves like `acknowledge()`.
    ///
    /// - Throws: As `acknowledge()`.
    /// - Precondition: `index` is an index of the batch.
    public func acknowledge(through index: Int) async throws(QueueError) {
      check(index..<index + 1)
      try await acknowledge(upTo: index + 1)
    }

    private func acknowledge(upTo end: Int) async throws(QueueError) {
      try await core.acknowledge(.through(self.end(before: end)), session: delivery.session)
    }

    /// Acknowledges one record, whether or not the records before it are acknowledged.
    ///
    /// The cursor moves up to the first unacknowledged record. If this call moves it, the call
    /// returns when that is durable. Otherwise the call returns immediately. The consumer then
    /// holds the acknowledgement in memory, and it becomes durable when the cursor reaches it.
    ///
    /// - Throws: As `acknowledge()`.
    /// - Precondition: `index` is an index of the batch.
    public func acknowledge(only index: Int) async throws(QueueError) {
      try await acknowledge(only: index..<index + 1)
    }

    /// Acknowledges several records, whether or not the records before them are acknowledged.
    ///
    /// It behaves like `acknowledge(only:)` for one record. One of several workers acknowledges its
    /// whole batch with `batch.acknowledge(only: batch.indices)`.
    ///
    /// - Throws: As `acknowledge()`.
    /// - Precondition: The range is within the batch's indices.
    public func acknowledge(only indices: Range<Int>) async throws(QueueError) {
      guard let stretch = only(indices) else { return }
      try await core.acknowledge(stretch, session: delivery.session)
    }

    // MARK: Acknowledging without waiting

    /// Acknowledges all records up to the end of this batch, and does not wait for the disk.
    ///
    /// It acknowledges what `acknowledge()` acknowledges. That is durable within `delay`, or when
    /// ``QueueConsumer/settle()-19x24`` or ``QueueConsumer/close()-8nm2h`` returns. All
    /// acknowledgements of this time share a write and its sync. After a crash before the write,
    /// the records are delivered again.
    ///
    /// - Parameter delay: The longest time until the write begins. If it is 0, the write begins at
    ///   once.
    /// - Throws: One of these codes:
    ///   - `syncFailed`, `fileRemoved` or `closed` permanently.
    ///   - `noSpace` or `system`, once, if an earlier acknowledgement could not be written. Nothing
    ///     was acknowledged by this call: retry it.
    /// - Complexity: O(log n) for n ranges that are acknowledged out of order.
    public func acknowledge(within delay: Duration) throws(QueueError) {
      try core.acknowledge(
        .through(end(before: endIndex)), session: delivery.session,
        within: delay.clampedNanoseconds)
    }

    /// Acknowledges several records out of order, and does not wait for the disk.
    ///
    /// It acknowledges what `acknowledge(only:)` acknowledges. Otherwise it behaves like
    /// ``acknowledge(within:)``. The delay begins when the cursor reaches the records.
    ///
    /// - Throws: As ``acknowledge(within:)``.
    /// - Precondition: The range is within the batch's indices.
    public func acknowledge(
      only indices: Range<Int>, within delay: Duration
    ) throws(QueueError) {
      guard let stretch = only(indices) else { return }
      try core.acknowledge(stretch, session: delivery.session, within: delay.clampedNanoseconds)
    }

    // MARK: Putting aside

    /// Puts aside a record that cannot be processed.
    ///
    /// The record is appended to the topic for dead letters, and then acknowledged. The dead letter
    /// contains the reason and the record's origin. Read it with ``DeadLetter``. The record is
    /// acknowledged after the dead letter is on stable storage. If a crash comes in between, there
    /// may be two dead letters for it.
    ///
    /// If an earlier record is not acknowledged, the acknowledgement is in memory, as that of
    /// `acknowledge(only:)`. After a stop, the record is then delivered again, and may become a
    /// dead letter again. ``DeadLetter/address`` is the same in both.
    ///
    /// Each call opens the topic for dead letters and closes it again. So several consumers may
    /// share the topic. The calls of one consumer's workers take turns on its thread, so
    /// they do not get the error `locked`. Those of two consumers may.
    ///
    /// - Parameters:
    ///   - index: The record's index in the batch.
    ///   - reason: A text for people. It is cut after 65,535 bytes.
    /// - Returns: The record's address in the topic for dead letters.
    /// - Throws: One of these codes:
    ///   - `locked` while another writer has the topic for dead letters open. Retry.
    ///   - The errors of a `QueueWriter`. The record is not acknowledged then.
    ///   - The errors of `acknowledge()`.
    /// - Precondition: `index` is an index of the batch.
    @discardableResult
    public func deadLetter(_ index: Int, reason: String) async throws(QueueError) -> Address {
      try await deadLetter(CollectionOfOne(index)) { _ in reason }[0]
    }

    /// Puts aside several records that cannot be processed.
    ///
    /// It behaves like ``deadLetter(_:reason:)-(Int,String)`` for one record. It opens and syncs
    /// the topic for dead letters once for all of them.
    ///
    /// - Parameters:
    ///   - indices: The records' indices in the batch.
    ///   - reason: Returns a text for people, for an index. It is cut after 65,535 bytes.
    /// - Returns: The records' addresses in the topic for dead letters, in the order of `indices`.
    /// - Throws: As ``deadLetter(_:reason:)-(Int,String)``. After an error none of the records is
    ///   acknowledged, and some may be in the topic for dead letters. If you put them aside again,
    ///   they are there twice.
    /// - Precondition: The indices are indices of the batch.
    @discardableResult
    public func deadLetter(
      _ indices: some Collection<Int>, reason: (Int) -> String
    ) async throws(QueueError) -> [Address] {
      guard !indices.isEmpty else { return [] }
      let letters = indices.map { DeadLetter(self[$0], reason: reason($0)) }
      let acknowledged = indices.compactMap { only($0..<$0 + 1) }
      let topic = try consumer.deadLetters
      let addresses = try await core.onThread { core throws(QueueError) in
        try core.putAside(letters, to: topic)
      }
      try await core.acknowledge(acknowledged, session: delivery.session)
      return addresses
    }

    // MARK: Places

    private var core: ConsumerCore { consumer.core }

    /// The end of the record before an index, as a cursor.
    private func end(before index: Int) -> CursorPosition {
      index == 0 ? delivery.start : delivery.records.end(of: delivery.range.lowerBound + index - 1)
    }

    /// Nil if there are no records in the range.
    private func only(_ indices: Range<Int>) -> ConsumerCore.Acknowledged? {
      check(indices)
      guard !indices.isEmpty else { return nil }
      return .only(
        start: end(before: indices.lowerBound).address, end(before: indices.upperBound))
    }
  }
}
