// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

package import DiskQueue
import Synchronization

/// The storage of a test's shards: memory, or a temporary directory.
package enum ShardedPlace: CaseIterable {
  case memory, disk

  /// Makes a new topic there. Hold `directory` while you use the topic: its last reference removes
  /// the files.
  package func make(
    shards: Int = 10, by sharder: ShardedTopic.Sharder = .hash
  ) throws -> (topic: ShardedTopic, directory: TemporaryDirectory?) {
    switch self {
    case .memory:
      return (.memory(shards: shards, capacity: .gibibytes(1), by: sharder), nil)
    case .disk:
      let directory = try TemporaryDirectory()
      return (ShardedTopic(directory.path + "/topic", shards: shards, by: sharder), directory)
    }
  }
}

/// Shards on simulated disks of their own.
package final class SimulatedShards: Sendable {
  package let root: SimulatedStorage
  private let shards = Mutex<[Int: SimulatedStorage]>([:])

  package init(_ root: SimulatedStorage = SimulatedStorage()) { self.root = root }

  package subscript(shard: Int) -> SimulatedStorage {
    shards.withLock { shards in
      if let known = shards[shard] { return known }
      let new = SimulatedStorage(seed: UInt64(shard) + 1)
      shards[shard] = new
      return new
    }
  }

  /// The shards that were used, in order.
  fileprivate var made: [Int] { shards.withLock { $0.keys.sorted() } }

  package func topic(shards: Int? = nil, by sharder: ShardedTopic.Sharder = .hash) -> ShardedTopic {
    ShardedTopic(root: Root(self), shards: shards, by: sharder) { [self] in
      Topic(storage: self[$0])
    }
  }

  /// The topic's directory. It also lists the shards.
  private final class Root: TopicStorage {
    let shards: SimulatedShards
    private var base: SimulatedStorage { shards.root }

    init(_ shards: SimulatedShards) { self.shards = shards }

    var path: String { base.path }

    func forEachName(_ body: (String) -> Void) throws(SystemError) {
      try base.forEachName(body)
      for shard in shards.made { body(ShardName.string(shard)) }
    }

    func remove(_ name: String) throws(SystemError) { try base.remove(name) }
    func open(_ name: String, writable: Bool) throws(SystemError) -> any StorageFile {
      try base.open(name, writable: writable)
    }
    func create(_ name: String) throws(SystemError) -> any StorageFile { try base.create(name) }
    package func rename(_ name: String, to new: String) throws(SystemError) {
      try base.rename(name, to: new)
    }
    package func identity(of name: String) throws(SystemError) -> FileIdentity? {
      try base.identity(of: name)
    }
    package func namesStamp() throws(SystemError) -> NamesStamp? { try base.namesStamp() }
    func syncDirectory() throws(SystemError) { try base.syncDirectory() }
    func syncParent() throws(SystemError) { try base.syncParent() }
    func lock() throws(SystemError) -> any StorageLock { try base.lock() }
    func lockHolder() -> Int32? { base.lockHolder() }
    func lock(_ name: String, creating: Bool) throws(SystemError) -> any StorageLock {
      try base.lock(name, creating: creating)
    }
    func consumers(creating: Bool) throws(SystemError) -> any StorageDirectory {
      try base.consumers(creating: creating)
    }
    func watch(
      _ onChange: @escaping @Sendable () -> Void
    ) throws(SystemError) -> any StorageWatch { try base.watch(onChange) }
  }
}

/// The records of all shards, read shard by shard.
package func readShards(_ topic: ShardedTopic) throws -> [Int: [String]] {
  var texts: [Int: [String]] = [:]
  for shard in 0..<(try topic.shardCount()) {
    do throws(QueueError) {
      var reader = try topic.reader(ofShard: shard)
      while let record = try reader.nextCopy() {
        texts[shard, default: []].append(record.text ?? "")
      }
    } catch {
      // Nothing was appended to this shard.
      guard error.code == .noSuchTopic else { throw error }
    }
  }
  return texts
}
