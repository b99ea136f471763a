// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Shards in memory, for as long as a value names them. A shard is made when somebody first asks for
/// it: what was not asked for takes no memory.
final class MemoryShards: Sendable {
  let count: Int
  /// What each shard may hold.
  private let capacity: ByteCount
  private let records: UInt64?
  private let problem: QueueError?

  private struct State {
    var topics: [Int: Topic] = [:]
    var isLocked = false
  }
  private let state = Mutex(State())
  private let watchers = Watchers()

  /// For messages.
  static let path = "memory"

  /// What a shard in memory needs at least: a few slabs, of a few records each.
  private static let leastCapacity = ByteCount.kibibytes(64)

  /// And of records: the slab that is written stays.
  private static let leastRecords: UInt64 = 2

  /// - Parameters:
  ///   - capacity: of all shards together.
  ///   - records: of all shards together.
  init(count: Int, capacity: ByteCount, records: UInt64?) {
    self.count = count
    let share = ByteCount.bytes(max(0, capacity.bytes) / Int64(max(1, count)))
    self.capacity = share
    let divisor = UInt64(max(1, count))
    self.records = records.map { $0 / divisor + ($0 % divisor > 0 ? 1 : 0) }
    if !ShardsFile.counts.contains(count) {
      problem = .invalidShardCount(count)
    } else if share < Self.leastCapacity {
      problem = .invalidOption(
        "capacity is \(capacity) for \(count) shards, which is \(share) for each, and must be"
          + " \(Self.leastCapacity) or more: take fewer shards, or more memory")
    } else if let records, records / divisor < Self.leastRecords {
      problem = .invalidOption(
        "records is \(records) for \(count) shards, and must be \(Self.leastRecords) or more for each:"
          + " take fewer shards, or more records")
    } else {
      problem = nil
    }
  }

  /// - Throws: `invalidOption` where no shard can be made as was asked for.
  func check() throws(QueueError) { if let problem { throw problem } }

  /// A shard; made if need be.
  func topic(ofShard shard: Int) -> Topic {
    let (topic, isNew) = state.withLock { state in
      if let topic = state.topics[shard] { return (topic, false) }
      let new = Topic.memory(capacity: capacity, records: records)
      state.topics[shard] = new
      return (new, true)
    }
    if isNew { watchers.tell() }
    return topic
  }

  /// The shards that were made.
  var made: [Int] { state.withLock { $0.topics.keys.sorted() } }

  /// Calls `onChange` whenever a shard was made.
  func watch(_ onChange: @escaping @Sendable () -> Void) -> any StorageWatch {
    watchers.add(onChange)
  }

  /// Takes the one writer's lock, which goes with what is returned; nil: another has it.
  func lock() -> ShardsLock? {
    let isOurs = state.withLock { state in
      defer { state.isLocked = true }
      return !state.isLocked
    }
    guard isOurs else { return nil }
    return ShardsLock { [self] in state.withLock { $0.isLocked = false } }
  }
}

/// A held lock; `release` gives it up, once, and so does its last reference.
final class ShardsLock: Sendable {
  private let giveUp: Mutex<(@Sendable () -> Void)?>
  private let checkNames: @Sendable () throws(QueueError) -> Void

  init(
    checkNames: @escaping @Sendable () throws(QueueError) -> Void = {},
    _ giveUp: @escaping @Sendable () -> Void
  ) {
    self.checkNames = checkNames
    self.giveUp = Mutex(giveUp)
  }

  /// Throws if the names that the shards depend on do not lead to the files that are held.
  func check() throws(QueueError) { try checkNames() }

  deinit { release() }

  func release() { giveUp.withLock { $0.take() }?() }
}
