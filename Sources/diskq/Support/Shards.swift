// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueInspection

extension StoredShards {
  /// Finds shards like `init(at:)`. Nil also if there is nothing at the path, or no directory.
  init?(ifAt path: String) throws(QueueError) {
    switch System.isDirectory(path) {
    case .success(false): return nil
    case .success(true): try self.init(at: path)
    case .failure(let failure):
      throw .system(
        SystemError(errno: failure.errno, call: "stat"), doing: "looking at the topic", path: path)
    }
  }
}

extension StoredShards {
  /// Finds shards like `init(ifAt:)`, also while a writer makes them. Their file is empty for a
  /// moment then, so this waits for its bytes, up to a second.
  static func arriving(
    at path: String, until stop: StopSignals?
  ) throws(QueueError) -> StoredShards? {
    if let stop {
      let file = "\(TopicPath.trimmed(path))/\(TopicLayout.shardsName)"
      for _ in 0..<50 where System.plainFileBytes(file) == 0 {
        if stop.isAskedFor(within: .milliseconds(20)) { break }
      }
    }
    return try StoredShards(ifAt: path)
  }
}

/// The paths of topics for verbs that also take a sharded topic.
enum Shards {
  /// The topics at a path: the topic itself, or the shards of a sharded topic that exist.
  static func topics(at path: String) throws(QueueError) -> [String] {
    guard let listing = try ShardListing(ofTopicAt: path) else { return [path] }
    return listing.shards.map(\.topic.description)
  }
}
