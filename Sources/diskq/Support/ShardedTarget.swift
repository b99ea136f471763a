// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueInspection

/// A sharded topic, and the key of each record.
struct ShardedTarget: AppendTarget {
  /// At most so many records are appended until all shards are flushed, so that their shards take
  /// 2 MiB.
  private static let mostUnflushed = 1 << 20

  private let path: String
  private let writer: ShardedWriter
  private let key: RecordKey
  private let progress: ProgressBar

  /// The shard of each record that was appended after the last flush of all shards.
  private var unflushed: [UInt16] = []
  /// How many records were appended before the last flush of all shards, and before their last
  /// sync.
  private var (flushed, synced): (UInt64, UInt64) = (0, 0)
  /// For each shard with appended records, the ordinal after the last of them.
  private var nextOrdinals: [UInt64?]

  /// Opens the topic, or makes it.
  ///
  /// - Parameter shards: The number of shards. Nil for that of the topic that exists.
  init(
    _ path: String, shards: Int?, key: RecordKey, options: QueueWriter.Options,
    progress: ProgressBar
  ) throws {
    try Self.check(path, shards: shards)
    var sharded = ShardedWriter.Options()
    // Each open shard has a buffer, so it is the smaller one of a sharded writer.
    let bufferSize = sharded.writer.bufferSize
    sharded.writer = options
    sharded.writer.bufferSize = bufferSize
    writer = try ShardedWriter(topic: ShardedTopic(path, shards: shards), options: sharded)
    nextOrdinals = Array(repeating: nil, count: writer.shardCount)
    (self.path, self.key, self.progress) = (path, key, progress)
  }

  /// Refuses a topic that is no sharded one, or is another one than the options describe.
  private static func check(_ path: String, shards: Int?) throws {
    let stored: StoredShards?
    do throws(QueueError) {
      stored = try StoredShards(ifAt: path)
    } catch {
      // A crash may leave shards that are not made completely. Opening them for writing ends that.
      guard error.code == .noSuchTopic, shards != nil else { throw error }
      return
    }
    guard let stored else { return try checkNothing(path, shards: shards) }
    guard stored.assignsByHash else {
      throw Failure(
        "a program assigns the keys of the topic to shards by a list or by a function of its own,"
          + " and append assigns them by their hash: append with that program",
        path: path)
    }
    guard let shards, shards != stored.count else { return }
    throw Failure(
      "--shards is \(shards), and the topic was made with \(stored.count) shards, which is fixed:"
        + " leave --shards out, or take another path",
      path: path)
  }

  /// Refuses an ordinary topic, and to make a topic without a number of shards.
  private static func checkNothing(_ path: String, shards: Int?) throws {
    do throws(QueueError) {
      _ = try QueueReader(topic: Topic(path))
    } catch {
      guard error.code == .noSuchTopic else { throw error }
      guard shards == nil else { return }
      throw Failure(
        "there is no sharded topic yet, and a key needs one: check the path, or add --shards N to"
          + " make a topic of N shards",
        path: path)
    }
    throw Failure(
      "the topic is an ordinary one, and a key needs a sharded topic: leave out --shards, --key and"
        + " --key-field, or take another path",
      path: path)
  }

  // MARK: Appending

  var records: UInt64 { writer.statistics.records }

  mutating func append(_ payload: UnsafeRawBufferPointer) throws -> ShardAddress {
    let result = try writer.append(payload, key: try key.text(of: payload))
    try note(result)
    return result.shardAddress
  }

  mutating func appendIfRoom(_ payload: UnsafeRawBufferPointer) throws -> ShardAddress? {
    let key = try key.text(of: payload)
    guard let result = try writer.appendIfRoom(payload.bytes, key: key) else { return nil }
    try note(result)
    return result.shardAddress
  }

  mutating func append(
    _ payload: UnsafeRawBufferPointer, waitingUntil stop: StopSignals
  ) throws -> ShardAddress? {
    let (writer, key, copy) = (writer, try key.text(of: payload), Array(payload))
    do {
      let result = try runTask(cancelledBy: stop) {
        try await writer.append(copy, key: key, ensuring: .buffered)
      }
      try note(result)
      return result.shardAddress
    } catch let error as QueueError where error.code == .cancelled {
      // If the task was cancelled after the append itself, the record is taken.
      guard error.appended > 0, let address = error.address else { return nil }
      return ShardAddress(shard: try writer.shard(of: key), address: address)
    }
  }

  private mutating func note(_ result: ShardedWriter.AppendResult) throws {
    // The first record of a shard opens it.
    if nextOrdinals[result.shard] == nil, let recovery = writer.recoveries[result.shard] {
      progress.clear()
      RecoveryMessages.say(
        recovery, position: result.address, path: Self.shard(result.shard, of: path))
    }
    nextOrdinals[result.shard] = result.ordinal + 1
    unflushed.append(UInt16(result.shard))
    if unflushed.count == Self.mostUnflushed { try flush() }
  }

  private static func shard(_ shard: Int, of path: String) -> String {
    "\(TopicPath.trimmed(path))/\(ShardName.string(shard))"
  }

  // MARK: Levels

  mutating func flush() throws {
    try writer.flush()
    flushed += UInt64(unflushed.count)
    unflushed.removeAll(keepingCapacity: true)
  }

  /// Syncs all shards at the same time.
  mutating func sync() throws {
    let writer = writer
    // Not cancelled by a stop: append syncs the records that it took.
    try runTask(cancelledBy: nil) { try await writer.sync() }
    flushed += UInt64(unflushed.count)
    unflushed.removeAll(keepingCapacity: true)
    synced = flushed
  }

  func close() throws { try writer.close() }

  func storedRecords(after error: any Error) -> StoredRecords {
    let appended = flushed + UInt64(unflushed.count)
    // See `TopicTarget`: after these errors, flushed records are not certain.
    let code = (error as? QueueError)?.code
    guard code != .syncFailed, code != .fileRemoved, var missing = missingRecords() else {
      return StoredRecords(first: synced, hasOthers: synced < appended)
    }
    let all = missing.reduce(0, +)
    // The last records of a shard are missing.
    var first = unflushed.count
    for (index, shard) in unflushed.enumerated().reversed() where missing[Int(shard)] > 0 {
      missing[Int(shard)] -= 1
      first = index
    }
    guard missing.allSatisfy({ $0 == 0 }) else {
      return StoredRecords(first: synced, hasOthers: synced < appended)
    }
    return StoredRecords(
      first: flushed + UInt64(first), hasOthers: first + Int(all) < unflushed.count)
  }

  /// For each shard, how many of the last appended records are not in it. Nil if that is unknown.
  private func missingRecords() -> [UInt64]? {
    var missing = nextOrdinals.map { _ in UInt64(0) }
    for (shard, next) in nextOrdinals.enumerated() {
      guard let next else { continue }
      do {
        guard let stored = try TopicInfo(of: Topic(Self.shard(shard, of: path))).nextOrdinal else {
          return nil
        }
        missing[shard] = next - min(next, stored)
      } catch {
        return nil
      }
    }
    return missing
  }
}
