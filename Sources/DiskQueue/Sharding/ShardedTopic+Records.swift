// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A record, and the shard that it was read from.
public struct ShardedRecord: Sendable, Hashable {
  /// The shard it lies in.
  public var shard: Int
  /// The record; its address and ordinal are the shard's.
  public var record: QueueRecord

  /// A record made by hand, in a test say.
  public init(shard: Int, record: QueueRecord) {
    self.shard = shard
    self.record = record
  }
}

extension ShardedTopic {
  /// The records of all shards as one asynchronous sequence: each shard in its own order, shards in turn,
  /// and no order between them.
  ///
  /// ```swift
  /// for try await found in try ShardedTopic("orders").records(following: true) {
  ///   print(found.shard, found.record.text ?? "")
  /// }
  /// ```
  ///
  /// Without `following` the sequence ends when each shard was seen at its end once; a shard is not looked
  /// at again behind that. So it gives every record that was flushed before the first one was asked for,
  /// and of what comes later what lies before the end that is seen. With it, the sequence waits there, by
  /// wake-up, and looks only at the shards that have changed, and at those that are made meanwhile, which
  /// it gives from their first record on.
  ///
  /// - Parameters:
  ///   - start: where to begin in each shard that there is: `earliest`, `latest`, `ago` or `time`;
  ///     addresses and ordinals are a shard's own, and are refused with `invalidOption`.
  ///   - following: whether to wait for what is appended; false by default.
  ///   - options: bounds of memory; of `bufferSize` no more than 64 KiB a shard is taken.
  ///   - onLoss: with it, every loss is handed to it, with the shard, and reading goes on; without, it is
  ///     thrown once as ``QueueError/loss``, the shard's directory in ``QueueError/path``, and the next
  ///     call goes on behind it.
  /// - Throws: as ``shardCount()`` and, for a start other than the earliest record, as
  ///   `QueueReader.init`; where the end is followed `system` where the system has no more watches to
  ///   give.
  /// - Complexity: from the earliest record, a listing of the directory; else each shard is opened once.
  public func records(
    from start: Topic.Position = .earliest, following: Bool = false,
    options: QueueReader.Options = .init(), onLoss: ((_ shard: Int, _ loss: Loss) -> Void)? = nil
  ) throws(QueueError) -> Records {
    let reading = try MergedReading(
      self, from: start, options: options, isFollowing: following, environment: .system)
    return Records(MergedFeed(reading, path: description), onLoss)
  }

  /// The records of all shards, read in turn: 64 records or 64 KiB of a shard, one record at least, then
  /// the next shard's. That is done on a thread of its own, which is one turn ahead and ends with the
  /// sequence and its iterators.
  ///
  /// Single pass: a second loop goes on where the first one ended, also after an error, and after the end,
  /// behind which it begins another round. One loop at a time.
  ///
  /// A cancelled task is told so by the error `cancelled`, before the next record and at once where it
  /// waits; nil would read as the end. No record is lost by that: the next loop goes on behind the last
  /// one that was given.
  ///
  /// At most 64 shards are open at once, with a buffer of up to 64 KiB each; of the others only where they
  /// stand is kept, and, where the end is followed, a watch. What is cleaned before a shard's next turn is
  /// told with its exact count, whether it was open or not. An error that is no loss, of a shard that
  /// cannot be read, is thrown at each of that shard's turns; those of the others come between.
  public struct Records: AsyncSequence {
    public typealias Element = ShardedRecord
    public typealias Failure = QueueError

    private let source: Source

    fileprivate init(_ feed: MergedFeed, _ onLoss: ((Int, Loss) -> Void)?) {
      source = Source(feed, onLoss)
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(source: source) }

    public struct AsyncIterator: AsyncIteratorProtocol {
      fileprivate let source: Source

      /// The next record, or nil at the end of all shards where that is not followed.
      ///
      /// - Throws: as ``QueueReader/next()``; `cancelled`; where the end is followed `noSuchTopic` for a
      ///   shard, or a topic, that was removed, and `system` where the system has no more watches to
      ///   give, with the limit to raise; `system` where it has no thread to give.
      public mutating func next(
        isolation actor: isolated (any Actor)? = #isolation
      ) async throws(QueueError) -> ShardedRecord? {
        guard !Task.isCancelled else { throw .cancelled() }
        if let record = source.takeRecord() { return record }
        return try await source.nextBatch(isolation: actor)
      }
    }

    /// What all iterators share.
    fileprivate final class Source {
      private var batch = MergedFeed.Batch()
      private let feed: MergedFeed
      private let onLoss: ((Int, Loss) -> Void)?

      init(_ feed: MergedFeed, _ onLoss: ((Int, Loss) -> Void)?) {
        self.feed = feed
        self.onLoss = onLoss
      }

      func takeRecord() -> ShardedRecord? {
        let shard = batch.shard
        return batch.records.popLast().map { ShardedRecord(shard: shard, record: $0) }
      }

      /// The first record of the next batch that has one.
      func nextBatch(
        isolation actor: isolated (any Actor)?
      ) async throws(QueueError) -> ShardedRecord? {
        while true {
          switch batch.ending.take() {
          case .error(let error): throw error
          case .loss(let loss, let path):
            guard let onLoss else { throw .loss(loss, path: path) }
            onLoss(batch.shard, loss)
          case .end: return nil
          case nil: break
          }
          batch = try await feed.next()
          if let record = takeRecord() { return record }
        }
      }
    }
  }
}
