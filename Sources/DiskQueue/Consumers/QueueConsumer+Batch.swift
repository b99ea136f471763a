// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueConsumer {
  /// Records that were delivered together, in order.
  ///
  /// Tasks may share a batch. A batch keeps its consumer open.
  public struct Batch: RandomAccessCollection, Sendable {
    private let consumer: QueueConsumer
    private let session: UInt64
    /// The end of the record before the first one.
    private let start: UInt64
    private let records: [QueueRecord]

    init(consumer: QueueConsumer, _ delivery: ConsumerCore.Delivery) {
      self.consumer = consumer
      session = delivery.session
      start = delivery.start
      records = delivery.records
    }

    /// The index of the first record: 0.
    public var startIndex: Int { 0 }
    /// The number of records, as the index after the last one.
    public var endIndex: Int { records.count }

    /// Returns a record of the batch.
    ///
    /// - Precondition: `position` is an index of the batch.
    public subscript(position: Int) -> QueueRecord { records[position] }

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
    public func acknowledge() async throws(QueueError) {
      // A batch has at least one record.
      try await acknowledge(through: endIndex - 1)
    }

    /// Acknowledges everything that was delivered up to and including this record.
    ///
    /// It behaves like `acknowledge()`.
    ///
    /// - Throws: As `acknowledge()`.
    /// - Precondition: `index` is an index of the batch.
    public func acknowledge(through index: Int) async throws(QueueError) {
      try await consumer.core.acknowledge(through(index), session: session)
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
      guard !indices.isEmpty else { return }
      try await consumer.core.acknowledge(only(indices), session: session)
    }

    /// Puts aside a record that cannot be processed.
    ///
    /// The record is appended to the topic for dead letters, and then acknowledged. The dead letter
    /// contains the reason and the record's origin. Read it with ``DeadLetter``. The record is
    /// acknowledged after the dead letter is on stable storage. If a crash comes in between, there
    /// may be two dead letters for it.
    ///
    /// Each call opens the topic for dead letters and closes it again. So several consumers may
    /// share the topic.
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
      let letters = indices.map { DeadLetter(records[$0], reason: reason($0)) }
      let acknowledged = indices.map { only($0..<$0 + 1) }
      let topic = try consumer.deadLetters()
      let addresses = try await consumer.core.onThread { core throws(QueueError) in
        try core.putAside(letters, to: topic)
      }
      try await consumer.core.acknowledge(acknowledged, session: session)
      return addresses
    }

    /// Acknowledges like `acknowledge(through:)`, without waiting. The cursor is written within
    /// this number of nanoseconds, or by `settle` or `close`. If that fails, the next call throws
    /// the error.
    package func acknowledgeSoon(
      through index: Int, within nanoseconds: UInt64
    ) throws(QueueError) {
      try consumer.core.acknowledgeSoon(through(index), session: session, within: nanoseconds)
    }

    /// Acknowledges like `acknowledge(only:)`, without waiting. See
    /// `acknowledgeSoon(through:within:)`.
    package func acknowledgeSoon(only index: Int, within nanoseconds: UInt64) throws(QueueError) {
      try consumer.core.acknowledgeSoon(
        only(index..<index + 1), session: session, within: nanoseconds)
    }

    private func through(_ index: Int) -> ConsumerCore.Acknowledged {
      .through(ConsumerReading.end(of: records[index]))
    }

    /// - Precondition: `indices` is not empty.
    private func only(_ indices: Range<Int>) -> ConsumerCore.Acknowledged {
      let first = indices.lowerBound
      return .only(
        start: first == 0 ? start : ConsumerReading.end(of: records[first - 1]).address,
        ConsumerReading.end(of: records[indices.upperBound - 1]))
    }
  }
}
