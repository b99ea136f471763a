// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueReader {
  /// Returns the records from ``position`` on in batches, as an asynchronous sequence.
  ///
  /// Use it to pass many records on at once: their bytes stay together in two allocations.
  ///
  /// ```swift
  /// let reader = try QueueReader(topic: "sensors", from: .latest)
  /// for try await batch in reader.batches(upTo: 500, following: true) {
  ///   try await upload(batch)
  /// }
  /// ```
  ///
  /// - Parameters:
  ///   - count: The largest number of records in a batch. At least 1. Without it, a batch has all
  ///     records that the reader's buffer holds. A batch never waits for more records to come.
  ///   - following: Whether to wait at the end of the log for more records, which wake the task.
  ///     false by default: the sequence ends there.
  /// - Precondition: `count` is above 0.
  public consuming func batches(upTo count: Int = .max, following: Bool = false) -> Batches {
    precondition(count > 0, "a batch has at least one record")
    return Batches(feed: RecordFeed(self, upTo: count, isFollowing: following))
  }

  /// The batches of a reader as an asynchronous sequence.
  ///
  /// A batch is as ``nextBatch(upTo:)`` describes it. In all else the sequence behaves like
  /// ``Records``: it reads one batch ahead, it is single-pass, and tasks can share it.
  public struct Batches: AsyncSequence, Sendable {
    /// The sequence consists of batches.
    public typealias Element = RecordBatch
    /// Every error of the sequence is a ``QueueError``.
    public typealias Failure = QueueError

    let feed: RecordFeed

    /// Makes an iterator. It continues after the batch that was returned last.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(feed: feed) }

    /// Ends the loops over this sequence, now and later, before the next batch.
    package func finish() { feed.finish() }

    /// Iterates over the batches of a reader.
    public struct AsyncIterator: AsyncIteratorProtocol, Sendable {
      fileprivate let feed: RecordFeed

      /// Returns the next batch, or nil at the end of the log if the sequence does not follow it.
      ///
      /// - Throws: As `QueueReader.Records.AsyncIterator.next()`.
      public mutating func next(
        isolation actor: isolated (any Actor)? = #isolation
      ) async throws(QueueError) -> RecordBatch? {
        guard !Task.isCancelled else { throw .cancelled() }
        repeat {
          if let batch = feed.takeBatch() { return batch }
        } while try await feed.more()
        return nil
      }
    }
  }
}
