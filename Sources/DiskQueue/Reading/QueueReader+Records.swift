// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueReader {
  /// Returns the records from ``position`` on, as an asynchronous sequence.
  ///
  /// ```swift
  /// for try await record in try QueueReader(topic: "sensors").records(following: true) {
  ///   print(record.address, record.text ?? "")
  /// }
  /// ```
  ///
  /// If you pass many records on at once, ``batches(upTo:following:)`` costs less.
  ///
  /// - Parameter following: Whether to wait at the end of the log for more records, which wake the
  ///   task. false by default: the sequence ends there.
  public consuming func records(following: Bool = false) -> Records {
    Records(feed: RecordFeed(self, upTo: Records.mostRecords, isFollowing: following))
  }

  /// The records of a reader as an asynchronous sequence.
  ///
  /// - Records are read in batches of up to 512, as ``nextBatch(upTo:)`` reads them. The sequence's
  ///   own thread reads one batch ahead. It ends with the sequence and its iterators. A topic in
  ///   memory needs no thread: the task reads.
  /// - The sequence is single-pass. A second loop continues after the first one, also after an
  ///   error and after the end of the log. You can share the sequence among tasks: each record and
  ///   each loss goes to one of them.
  /// - In a cancelled task the next call throws `cancelled`, before the next record, and
  ///   immediately during a wait. It does not return nil, which would mean the end of the log. No
  ///   record is lost: the next loop continues after the last record that was returned.
  /// - The task that asks for the next record calls the reader's `onLoss` for each loss, in order
  ///   with the records. Without `onLoss` each loss is thrown once.
  public struct Records: AsyncSequence, Sendable {
    /// The sequence consists of records.
    public typealias Element = QueueRecord
    /// Every error of the sequence is a ``QueueError``.
    public typealias Failure = QueueError

    /// It limits the memory, and how often the task is suspended.
    fileprivate static let mostRecords = 512

    let feed: RecordFeed

    /// Makes an iterator. It continues after the record that was returned last.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(feed: feed) }

    /// Ends the loops over this sequence, now and later, before the next record.
    package func finish() { feed.finish() }

    /// Iterates over the records of a reader.
    public struct AsyncIterator: AsyncIteratorProtocol, Sendable {
      fileprivate let feed: RecordFeed

      /// Returns the next record, or nil at the end of the log if the sequence does not follow it.
      ///
      /// - Throws: As ``QueueReader/next()``. Also `cancelled`, and `system` if the operating
      ///   system refuses a thread. If the sequence follows the log, also as
      ///   ``QueueReader/waitForMore()``.
      public mutating func next(
        isolation actor: isolated (any Actor)? = #isolation
      ) async throws(QueueError) -> QueueRecord? {
        guard !Task.isCancelled else { throw .cancelled() }
        repeat {
          if let record = feed.takeRecord() { return record }
        } while try await feed.more()
        return nil
      }
    }
  }
}
