// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A directory of shards as it is found on disk, for tools that know nothing of its keys.
package struct StoredShards: Sendable {
  /// The number of shards.
  package let count: Int
  /// Whether keys are assigned by their hash, and so by any program.
  package let assignsByHash: Bool
  /// The shards that exist, ascending. The first record of a shard creates it.
  package let created: [Int]
  /// The known facts about the holder of the lock of all shards.
  package let writer: LockState
  /// All shards together, with a sharder that assigns no key unless keys are assigned by their
  /// hash.
  package let topic: ShardedTopic

  /// Looks at a directory. Nil if it holds no shards.
  ///
  /// - Throws: `noSuchTopic` if there is nothing at the path. `notATopic`, `unsupportedFormat` and
  ///   `system` as `ShardedTopic.shardCount()`.
  package init?(at path: String) throws(QueueError) {
    let files = ShardFiles(path: path)
    guard try files.areHere() else { return nil }
    let (root, file) = try files.openForReading()
    count = file.count
    assignsByHash = file.dealer == .hash
    created = try ShardFiles.made(in: root, of: file.count)
    writer = root.lockState()
    topic = ShardedTopic(path, by: ShardedTopic.Sharder(storedAs: file.dealer))
  }

  /// The topic of a shard.
  package func topic(ofShard shard: Int) -> Topic { topic.topic(shard) }
}

extension ShardedTopic.Sharder {
  /// A sharder of a stored kind. A list and a function of a program are not stored, so this one
  /// refuses every key.
  fileprivate init(storedAs dealer: ShardsFile.Dealer) {
    self =
      switch dealer {
      case .hash: .hash
      case .list: .keys([])
      case .program:
        .custom { (_, _) throws(QueueError) -> Int in
          throw .invalidOption(
            "a function of the program that made the shards assigns keys: name a shard instead")
        }
      }
  }
}
