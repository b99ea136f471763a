// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue

/// The shards of a sharded topic, found without knowing how it assigns keys.
///
/// Pass the topic of a shard to ``TopicInfo``, ``TopicVerification`` or ``ConsumerInfo``.
public struct ShardListing: Sendable {
  /// A shard that exists.
  public struct Shard: Sendable {
    /// The shard's number.
    public var number: Int
    /// The shard's topic.
    public var topic: Topic
  }

  /// The number of shards, with those that have no record yet.
  public let shardCount: Int
  /// The shards that exist, ascending. The first record of a shard creates it.
  public let shards: [Shard]
  /// The writer of all shards: whether there is one now, and which process it is.
  public let writer: LockHolder

  /// Lists the shards in a directory. Nil if the directory holds no sharded topic, and so perhaps
  /// an ordinary one.
  ///
  /// - Throws: `noSuchTopic` if there is nothing at the path. `notATopic` if the path is a file, or
  ///   if the file that states the number of shards is damaged. `unsupportedFormat` if a newer
  ///   version wrote it. `system` if the directory cannot be read.
  /// - Complexity: a listing and a read.
  public init?(ofTopicAt path: some StringProtocol) throws(QueueError) {
    guard let stored = try StoredShards(at: String(path)) else { return nil }
    shardCount = stored.count
    shards = stored.created.map { Shard(number: $0, topic: stored.topic(ofShard: $0)) }
    writer = LockHolder(stored.writer)
  }
}
