// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueConsumer {
  /// Records that were delivered together, in order. It keeps its consumer open. Safe to share among
  /// tasks.
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

    public var startIndex: Int { 0 }
    public var endIndex: Int { records.count }

    /// - Precondition: `position` is an index of the batch.
    public subscript(position: Int) -> QueueRecord { records[position] }

    // MARK: Acknowledging

    /// Acknowledges everything delivered up to the end of this batch, also in batches before it.
    /// Returns when that is durable; calls at the same time share a write and its sync.
    ///
    /// - Throws: `noSpace` and `system` where the cursor could not be written: ask again, of this
    ///   batch or a later one. `syncFailed`, `fileRemoved` and `closed` for good: what is not known
    ///   to be acknowledged is delivered again to the next holder. `cancelled` where the task is: it is
    ///   acknowledged, and soon durable, but this call has not seen to it.
    /// - Complexity: a write to the cursor and its sync, shared by all that wait; before it a sync of
    ///   the slabs that are not known to be durable up to there.
    public func acknowledge() async throws(QueueError) {
      // A batch has at least one record.
      try await acknowledge(through: endIndex - 1)
    }

    /// Acknowledges everything delivered up to this record and with it; as `acknowledge()`.
    ///
    /// - Throws: as `acknowledge()`.
    /// - Precondition: `index` is an index of the batch.
    public func acknowledge(through index: Int) async throws(QueueError) {
      try await consumer.core.acknowledge(through(index), session: session)
    }

    /// Acknowledges one record, whatever was before it. The cursor moves up to the first record that
    /// is not acknowledged: if it moves by this, the call returns when that is durable; else at once,
    /// and what is held so is durable when the cursor comes to it.
    ///
    /// - Throws: as `acknowledge()`.
    /// - Precondition: `index` is an index of the batch.
    public func acknowledge(only index: Int) async throws(QueueError) {
      try await acknowledge(only: index..<index + 1)
    }

    /// Acknowledges some records, as the other `acknowledge(only:)`: for a batch that one of several
    /// workers has done, `batch.acknowledge(only: batch.indices)`.
    ///
    /// - Throws: as `acknowledge()`.
    /// - Precondition: the range lies within the batch's indices.
    public func acknowledge(only indices: Range<Int>) async throws(QueueError) {
      guard !indices.isEmpty else { return }
      try await consumer.core.acknowledge(only(indices), session: session)
    }

    /// Puts a record aside that cannot be processed: appends it, with the reason and where it came
    /// from, to the topic for such, as ``DeadLetter`` reads it, and acknowledges it once it is there
    /// on stable storage. After a crash in between it may be there twice.
    ///
    /// The topic is opened for the move and closed behind it, so that several consumers may share
    /// it.
    ///
    /// - Parameters:
    ///   - index: the record's, in the batch.
    ///   - reason: for people; cut where it is longer than 65,535 bytes.
    /// - Returns: the address it has there.
    /// - Throws: `locked` while somebody else writes there: try again. What a `QueueWriter` throws;
    ///   the record is then not acknowledged. What `acknowledge()` throws.
    /// - Precondition: `index` is an index of the batch.
    @discardableResult
    public func deadLetter(_ index: Int, reason: String) async throws(QueueError) -> Address {
      try await deadLetter(CollectionOfOne(index)) { _ in reason }[0]
    }

    /// Puts several records aside, as ``deadLetter(_:reason:)-(Int,String)``: the topic for such is opened
    /// once and synced once for all of them.
    ///
    /// - Parameters:
    ///   - indices: the records', in the batch.
    ///   - reason: says for an index why, for people; cut where it is longer than 65,535 bytes.
    /// - Returns: the addresses that they have there, in the order of `indices`.
    /// - Throws: as ``deadLetter(_:reason:)-(Int,String)``. After an error none of them is acknowledged,
    ///   and some may be there: they are there twice if you put them aside again.
    /// - Precondition: the indices are indices of the batch.
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

    /// As `acknowledge(through:)`, without waiting: the cursor is written within so many nanoseconds,
    /// or by `settle` or `close`. What fails then is thrown by the next call.
    package func acknowledgeSoon(
      through index: Int, within nanoseconds: UInt64
    ) throws(QueueError) {
      try consumer.core.acknowledgeSoon(through(index), session: session, within: nanoseconds)
    }

    /// As `acknowledge(only:)`, without waiting; see the other.
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
