// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueInspection

/// A summary of a sharded topic: the sums, and a row for each shard that exists.
struct ShardedInfo {
  private struct Shard {
    var number: Int
    var path: String
    var info: TopicInfo
    var consumers: [ConsumerInfo]
  }

  private let path: String
  private let shardCount: Int
  private let writer: LockHolder
  private let shards: [Shard]

  init(_ listing: ShardListing, path: String) throws(QueueError) {
    self.path = path
    shardCount = listing.shardCount
    writer = listing.writer
    var shards: [Shard] = []
    for shard in listing.shards {
      shards.append(
        Shard(
          number: shard.number, path: shard.topic.description,
          info: try TopicInfo(of: shard.topic), consumers: try ConsumerInfo.all(of: shard.topic)))
    }
    self.shards = shards
  }

  /// Nil if the number of some shard is unknown.
  private var records: UInt64? {
    shards.reduce(UInt64?.some(0)) { sum, shard in
      sum.flatMap { sum in shard.info.records.map { sum &+ $0 } }
    }
  }

  private var bytes: UInt64 { shards.reduce(0) { $0 &+ $1.info.bytes } }

  private var slabs: Int { shards.reduce(0) { $0 + $1.info.slabs.count } }

  // MARK: Text

  var text: String {
    let lines = [
      ("topic", Messages.onOneLine(path)),
      ("shards", "\(shardCount), \(shards.count) of them with records"),
      ("writer", writer.sentence),
      ("slabs", "\(slabs)"),
      ("records", records.map { "\($0)" } ?? "unknown"),
      ("bytes", "\(bytes) (\(HumanSize.text(bytes)))"),
    ]
    var text = lines.map { "\(Layout.left($0.0, 9))\($0.1)\n" }.joined()
    guard !shards.isEmpty else { return text }
    text += "\n\(row("shard", "slabs", "bytes", "records", "consumers", "state"))"
    for shard in shards {
      text += row(
        ShardName.string(shard.number), "\(shard.info.slabs.count)", "\(shard.info.bytes)",
        shard.info.records.map { "\($0)" } ?? "?", "\(shard.consumers.count)",
        shard.info.ending.short(writer: shard.info.writer))
    }
    return text
  }

  private func row(
    _ shard: String, _ slabs: String, _ bytes: String, _ records: String, _ consumers: String,
    _ state: String
  ) -> String {
    "\(Layout.left(shard, 8)) \(Layout.right(slabs, 8)) \(Layout.right(bytes, 14))"
      + " \(Layout.right(records, 12)) \(Layout.right(consumers, 9))  \(state)\n"
  }

  // MARK: JSON

  var object: JSONValue {
    .object([
      "topic": .text(path),
      "shardCount": .number(UInt64(shardCount)),
      "writer": writer.json,
      "slabCount": .number(UInt64(slabs)),
      "records": .number(records),
      "bytes": .number(bytes),
      "shards": .array(
        shards.map {
          .object([
            "shard": .number(UInt64($0.number)),
            "info": InfoCommand.object($0.info, $0.consumers, topic: $0.path),
          ])
        }),
    ])
  }
}
