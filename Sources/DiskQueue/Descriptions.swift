// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// What `print` shows of the objects that have a topic open: their kind, and the topic.

extension QueueWriter: CustomStringConvertible {
  /// The writer's topic.
  public var description: String { "writer of \(topic)" }
}

extension ValueWriter: CustomStringConvertible {
  /// The writer's topic.
  public var description: String { "\(writer)" }
}

extension ShardedWriter: CustomStringConvertible {
  /// The writer's topic.
  public var description: String { "writer of the shards of \(topic)" }
}

extension QueueReader.Records: CustomStringConvertible {
  /// The reader's topic.
  public var description: String { "records of \(feed.path)" }
}

extension QueueReader.Batches: CustomStringConvertible {
  /// The reader's topic.
  public var description: String { "batches of \(feed.path)" }
}

extension ValueRecords: CustomStringConvertible {
  /// The reader's topic.
  public var description: String { "\(records)" }
}

extension ValueRecord: CustomStringConvertible {
  /// The record, without its value.
  public var description: String { "\(record)" }
}

extension ShardedTopic.Records: CustomStringConvertible {
  /// The path of the shards.
  public var description: String { "records of the shards of \(feed.path)" }
}

extension QueueConsumer: CustomStringConvertible {
  /// The consumer's name and topic.
  public var description: String { "consumer \(name) of \(topic)" }
}

extension QueueConsumer.Batches: CustomStringConvertible {
  /// The consumer's name and topic.
  public var description: String { "batches of \(consumer)" }
}

extension ValueConsumer: CustomStringConvertible {
  /// The consumer's name and topic.
  public var description: String { "\(consumer)" }
}

extension ValueConsumer.Batches: CustomStringConvertible {
  /// The consumer's name and topic.
  public var description: String { "\(base)" }
}

extension ValueConsumer.Batch: CustomStringConvertible {
  /// The number of records, and the first one.
  public var description: String { "\(raw)" }
}

extension DiskChannel: CustomStringConvertible {
  /// The channel's topic.
  public var description: String { "channel of \(topic)" }
}

extension DiskChannel.Message: CustomStringConvertible {
  /// The record that carried the message.
  public var description: String { "\(record)" }
}

extension ValueChannel: CustomStringConvertible {
  /// The channel's topic.
  public var description: String { "\(channel)" }
}

extension ValueChannel.Message: CustomStringConvertible {
  /// The record that carried the message, without its value.
  public var description: String { "\(record)" }
}

extension SlabCleaner: CustomStringConvertible {
  /// The cleaner's topic.
  public var description: String { "cleaner of \(topic)" }
}
