// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Shards in memory, which exist as long as a value names them. A shard is made when it is first
/// asked for. Until then it takes no memory.
final class MemoryShards: Sendable {
  let count: Int
  /// The capacity of each shard.
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

  /// The least capacity of a shard in memory: a few slabs, of a few records each.
  private static let leastCapacity = ByteCount.kibibytes(64)

  /// The least number of records of a shard: the slab that is written stays.
  private static let leastRecords: UInt64 = 2

  /// - Parameters:
  ///   - capacity: the capacity of all shards together.
  ///   - records: the number of records of all shards together.
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
        "records is \(records) for \(count) shards, and must be \(Self.leastRecords) or more for"
          + " each: take fewer shards, or more records")
    } else {
      problem = nil
    }
  }

  /// - Throws: `invalidOption` if no shard can be made with these options.
  func check() throws(QueueError) { if let problem { throw problem } }

  /// A shard, made if need be.
  func topic(ofShard shard: Int) -> Topic {
    let (topic, isNew) = state.withLock { state in
      if let topic = state.topics[shard] { return (topic, false) }
      let new = Topic.memory(capacity: capacity, records: records)
      state.topics[shard] = new
      return (new, true)
    }
    if isNew { watchers.notify() }
    return topic
  }

  /// The shards that were made.
  var made: [Int] { state.withLock { $0.topics.keys.sorted() } }

  /// Calls `onChange` each time a shard was made.
  func watch(_ onChange: @escaping @Sendable () -> Void) -> any StorageWatch {
    watchers.add(onChange)
  }

  /// Takes the lock of the only writer. It ends with the returned value. Nil if another writer has
  /// it.
  func lock() -> ShardsLock? {
    let isOurs = state.withLock { state in
      defer { state.isLocked = true }
      return !state.isLocked
    }
    guard isOurs else { return nil }
    return ShardsLock { [self] in state.withLock { $0.isLocked = false } }
  }
}

/// A held lock. `release` gives it up, once. So does the end of its last reference.
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

  /// Throws if the names that the shards depend on do not lead to the held files.
  func check() throws(QueueError) { try checkNames() }

  deinit { release() }

  func release() { giveUp.withLock { $0.take() }?() }
}
