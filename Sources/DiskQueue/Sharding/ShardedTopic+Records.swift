// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A record and the shard that it was read from.
public struct ShardedRecord: Sendable, Hashable {
  /// The shard that contains the record.
  public var shard: Int
  /// The record. Its address and its ordinal are those of the shard.
  public var record: QueueRecord

  /// Makes a record by hand, for example for a test.
  public init(shard: Int, record: QueueRecord) {
    self.shard = shard
    self.record = record
  }
}

extension ShardedTopic {
  /// Returns the records of all shards as one asynchronous sequence.
  ///
  /// The shards take turns, each in its own order. There is no order between shards.
  ///
  /// - Without `following`, the sequence ends when it has seen the end of each shard once. It does
  ///   not look at a shard again after that. So it returns every record that was flushed before the
  ///   first one was requested. Later records are returned if they precede the end that is seen.
  /// - With `following`, the sequence waits at that point until a change wakes it. It then reads
  ///   only the changed shards. It reads a new shard from its first record on.
  ///
  /// ```swift
  /// for try await found in try ShardedTopic("orders").records(following: true) {
  ///   print(found.shard, found.record.text ?? "")
  /// }
  /// ```
  ///
  /// - Parameters:
  ///   - start: The position at which reading begins in each existing shard: `earliest`, `latest`,
  ///     `ago` or `time`. Addresses and ordinals belong to one shard, and are refused with
  ///     `invalidOption`.
  ///   - following: Whether to wait for more records. false by default.
  ///   - options: The bounds of memory. At most 64 KiB of `bufferSize` is used per shard.
  ///   - onLoss: Receives every loss with its shard, and reading continues. Without it, each loss
  ///     is thrown once as ``QueueError/loss``, with a path of the shard in ``QueueError/path``.
  ///     The next call continues after it.
  /// - Throws: As ``shardCount()``. For another start than the earliest record also as
  ///   `QueueReader.init`. With `following` also `system` if a shard can be neither watched nor
  ///   polled.
  /// - Complexity: From the earliest record, a listing of the directory. Otherwise each shard is
  ///   opened once.
  public func records(
    from start: Topic.Position = .earliest, following: Bool = false,
    options: QueueReader.Options = .init(),
    onLoss: (@Sendable (_ shard: Int, _ loss: Loss) -> Void)? = nil
  ) throws(QueueError) -> Records {
    let reading = try MergedReading(
      self, from: start, options: options, isFollowing: following, environment: .system)
    return Records(feed: MergedFeed(reading, path: description, onLoss: onLoss))
  }

  /// The records of all shards as an asynchronous sequence.
  ///
  /// - A turn of a shard is 64 records or 64 KiB, one record at least. Then the next shard has its
  ///   turn. The sequence's own thread reads one turn ahead. It ends with the sequence and its
  ///   iterators.
  /// - The sequence is single-pass. A second loop continues after the first one, also after an
  ///   error. After the end it begins another round. You can share the sequence among tasks: each
  ///   record and each loss goes to one of them.
  /// - In a cancelled task the next call throws `cancelled`, before the next record, and
  ///   immediately during a wait. It does not return nil, which would mean the end. No record is
  ///   lost: the next loop continues after the last record that was returned.
  /// - At most 64 shards are open at once, with a buffer of up to 64 KiB each. For each other
  ///   shard, memory holds its position, and a watch if the sequence follows the topic.
  /// - Records that are cleaned before a shard's next turn are reported as a loss with the exact
  ///   count, whether or not the shard was open.
  /// - An error that is not a loss, of a shard that cannot be read, is thrown at each turn of that
  ///   shard. The records of the other shards come in between.
  public struct Records: AsyncSequence, Sendable {
    /// The sequence consists of records with their shards.
    public typealias Element = ShardedRecord
    /// Every error of the sequence is a ``QueueError``.
    public typealias Failure = QueueError

    let feed: MergedFeed

    /// Makes an iterator. It continues after the record that was returned last.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(feed: feed) }

    /// Ends the loops over this sequence, now and later, before the next record.
    package func finish() { feed.finish() }

    /// Iterates over the records of all shards.
    public struct AsyncIterator: AsyncIteratorProtocol, Sendable {
      fileprivate let feed: MergedFeed

      /// Returns the next record, or nil at the end of all shards if the sequence does not follow
      /// them.
      ///
      /// - Throws: One of these codes:
      ///   - As ``QueueReader/next()``.
      ///   - `cancelled`.
      ///   - `system` if the operating system refuses a thread.
      ///   - If the sequence follows the shards, `noSuchTopic` if a shard or the topic was removed.
      ///     Also `system` if a shard can be neither watched nor polled.
      public mutating func next(
        isolation actor: isolated (any Actor)? = #isolation
      ) async throws(QueueError) -> ShardedRecord? {
        guard !Task.isCancelled else { throw .cancelled() }
        repeat {
          if let record = feed.takeRecord() { return record }
        } while try await feed.more()
        return nil
      }
    }
  }
}
