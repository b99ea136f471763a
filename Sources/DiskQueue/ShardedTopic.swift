// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Several topics, called *shards*, in a directory or in memory.
///
/// A record's key decides its shard, and all records of a key are in one shard, in order.
///
/// ```swift
/// let orders = ShardedTopic("orders", shards: 100)
/// let writer = try ShardedWriter(topic: orders)
/// try writer.append("3 chairs", key: "customer 17")
/// try await writer.flush()
///
/// var reader = try orders.reader(ofKey: "customer 17")      // and other keys of the same shard
/// for try await found in try orders.records(following: true) { print(found.shard, found.record) }
/// ```
///
/// A shard is a ``Topic`` like any other. Pass ``topic(ofShard:)`` to a ``QueueReader``, a
/// ``QueueConsumer`` or a ``SlabCleaner``. Within a shard, records are in the order in which they
/// were appended. There is no order between shards. The key itself is not stored: put it into the
/// payload if a reader must distinguish the keys of one shard.
///
/// The number of shards is fixed when they are created. On disk it is stored with them, together
/// with the kind of the ``Sharder``. The first record that is appended to a shard creates it. A
/// shard without records takes no disk space and no memory.
///
/// A value of this type names the shards and says how keys are assigned to them. It opens nothing.
public struct ShardedTopic: Sendable, CustomStringConvertible {
  /// The storage of the shards.
  enum ShardStorage: Sendable {
    case files(ShardFiles)
    case memory(MemoryShards)
  }

  private(set) var shardStorage: ShardStorage
  var isInMemory: Bool { if case .memory = shardStorage { true } else { false } }
  /// The number of shards that the caller requested. nil: the number that is stored.
  let wanted: Int?
  let sharder: Sharder
  /// The path of the directory, or a text that replaces it for shards in memory.
  public let description: String

  /// Names the shards in a directory: topics `0000`, `0001`, … beside a file `shards`.
  ///
  /// Nothing is opened or created yet. The working directory at the moment of opening resolves a
  /// relative path.
  ///
  /// - Parameters:
  ///   - path: The path of the directory.
  ///   - shards: The number of shards, from 1 to 10,000. Opening refuses another number than the
  ///     stored one with `invalidOption`. nil, the default: the stored number. A new topic then
  ///     gets 16 shards, or as many as the sharder's list has keys if those are more.
  ///   - sharder: How keys are assigned to shards. By their hash by default, which distributes them
  ///     evenly and needs no knowledge of the keys. Opening refuses a sharder of another kind than
  ///     the stored one with `invalidOption`: keys would be looked up in the wrong shards.
  public init(_ path: some StringProtocol, shards: Int? = nil, by sharder: Sharder = .hash) {
    let path = String(path)
    self.init(.files(ShardFiles(path: path)), wanted: shards, sharder, description: path)
  }

  /// Makes shards in memory.
  ///
  /// They live as long as the values that name them. Two calls make two topics. Each shard behaves
  /// like ``Topic/memory(capacity:records:)``: at its cap it drops its oldest slab, and an appended
  /// record is readable immediately.
  ///
  /// - Parameters:
  ///   - shards: The number of shards, from 1 to 10,000. 16 by default, as on disk. An empty shard
  ///     takes no memory.
  ///   - capacity: The number of bytes that all shards may hold together, with headers and marks,
  ///     divided evenly. At least 64 KiB for each shard. 64 MiB by default. Opening refuses a value
  ///     out of these bounds with `invalidOption`.
  ///   - records: The number of records that all shards may hold together, divided evenly and
  ///     rounded up. At least 2 for each shard. nil, the default: no cap on records.
  ///   - sharder: How keys are assigned to shards. By their hash by default.
  public static func memory(
    shards: Int = 16, capacity: ByteCount = .mebibytes(64), records: UInt64? = nil,
    by sharder: Sharder = .hash
  ) -> ShardedTopic {
    ShardedTopic(
      .memory(MemoryShards(count: shards, capacity: capacity, records: records)), wanted: nil,
      sharder, description: MemoryShards.path)
  }

  /// Shards in any storage. For the parameters see `ShardFiles`.
  package init(
    root: any TopicStorage, shards: Int? = nil, by sharder: Sharder = .hash,
    topic: @escaping @Sendable (Int) -> Topic
  ) {
    self.init(
      .files(ShardFiles(root: root, topic: topic)), wanted: shards, sharder,
      description: root.path)
  }

  private init(_ shardStorage: ShardStorage, wanted: Int?, _ sharder: Sharder, description: String)
  {
    self.shardStorage = shardStorage
    self.wanted = wanted
    self.sharder = sharder
    self.description = description
  }

  // MARK: Shards

  /// Returns the number of shards.
  ///
  /// - Throws: One of these codes:
  ///   - `noSuchTopic` if no shards were created yet.
  ///   - `notATopic` if the directory holds something else, or the file `shards` is damaged.
  ///   - `invalidOption` if the number of shards or the kind of sharder differs from the stored
  ///     one, or the sharder cannot assign keys to this number.
  ///   - `unsupportedFormat` or `system`.
  /// - Complexity: On disk, a listing of the directory and a read.
  public func shardCount() throws(QueueError) -> Int { try opened().count }

  /// Returns the shard of a key: a text, `[UInt8]`, a slice or a span.
  ///
  /// Each call opens the topic. ``ShardedWriter/shard(of:)`` does not.
  ///
  /// - Parameter key: Any bytes, or none, of a type that conforms to ``PayloadBytes``. Two keys are
  ///   equal if their bytes are.
  /// - Throws: As ``shardCount()``. Also `invalidOption` if the sharder refuses the key, and the
  ///   errors of a custom sharder.
  public func shard<Key: PayloadBytes & ~Copyable & ~Escapable>(
    of key: borrowing Key
  ) throws(QueueError) -> Int {
    let count = try shardCount()
    return try key.withPayloadBytes { key throws(QueueError) in
      try sharder.shard(of: key, among: count)
    }
  }

  /// Returns the topic of a shard, for a ``QueueReader``, a ``QueueConsumer`` or a ``SlabCleaner``.
  ///
  /// On disk, the shard does not exist until the first record is appended to it. Until then those
  /// types throw `noSuchTopic`.
  ///
  /// A ``QueueWriter`` can also open the topic while no ``ShardedWriter`` has the shard open. It
  /// appends without regard to keys, so use it only if you know that each key belongs to this
  /// shard.
  ///
  /// - Throws: As ``shardCount()``. Also `invalidOption` if there is no such shard.
  public func topic(ofShard shard: Int) throws(QueueError) -> Topic {
    let count = try shardCount()
    guard (0..<count).contains(shard) else {
      throw .invalidOption("there is no shard \(shard): shards are numbered from 0 to \(count - 1)")
    }
    return topic(shard)
  }

  // MARK: Reading

  /// Opens a shard for reading.
  ///
  /// - Throws: As ``topic(ofShard:)`` and `QueueReader.init`. On disk also `noSuchTopic` if nothing
  ///   was appended to the shard yet.
  public func reader(
    ofShard shard: Int, from start: Topic.Position = .earliest,
    options: QueueReader.Options = .init(), onLoss: (@Sendable (Loss) -> Void)? = nil
  ) throws(QueueError) -> QueueReader {
    try QueueReader(
      topic: try topic(ofShard: shard), from: start, options: options, onLoss: onLoss)
  }

  /// Opens the shard of a key for reading. It may also contain records of other keys.
  ///
  /// - Parameters:
  ///   - key: A text, `[UInt8]`, a slice or a span, as in ``shard(of:)``.
  ///   - start: The position of the first record.
  ///   - options: The reader's options.
  ///   - onLoss: Called with each loss, as in `QueueReader.init`.
  /// - Throws: As ``shard(of:)`` and ``reader(ofShard:from:options:onLoss:)``.
  public func reader<Key: PayloadBytes & ~Copyable & ~Escapable>(
    ofKey key: borrowing Key, from start: Topic.Position = .earliest,
    options: QueueReader.Options = .init(), onLoss: (@Sendable (Loss) -> Void)? = nil
  ) throws(QueueError) -> QueueReader {
    try QueueReader(
      topic: topic(try shard(of: key)), from: start, options: options, onLoss: onLoss)
  }

  // MARK: Opening

  /// The topic of a shard. On disk this opens nothing.
  func topic(_ shard: Int) -> Topic {
    switch shardStorage {
    case .files(let files): files.topic(shard)
    case .memory(let shards): shards.topic(ofShard: shard)
    }
  }

  /// The shards as they were found.
  struct OpenedShards {
    var count: Int
    /// The directory, if the shards are in one.
    var root: (any TopicStorage)?
  }

  /// Opens the shards for reading, and checks them against the caller's request.
  func opened() throws(QueueError) -> OpenedShards {
    try checkWanted()
    switch shardStorage {
    case .memory(let shards):
      try shards.check()
      try sharder.check(for: shards.count)
      return OpenedShards(count: shards.count)
    case .files(let files):
      let (root, file) = try files.openForReading()
      try check(file, path: root.path)
      return OpenedShards(count: file.count, root: root)
    }
  }

  /// Returns these shards with a path that is independent of the working directory. See
  /// `Topic.anchored`.
  func anchored() -> ShardedTopic {
    guard case .files(let files) = shardStorage else { return self }
    var anchored = self
    anchored.shardStorage = .files(files.anchored())
    return anchored
  }

  /// Opens the shards for the one writer. Creates them if they do not exist. Returns their lock.
  func openForWriting(
    permissions: TopicPermissions
  ) throws(QueueError) -> (lock: ShardsLock, count: Int) {
    try checkWanted()
    switch shardStorage {
    case .memory(let shards):
      try shards.check()
      try sharder.check(for: shards.count)
      guard let lock = shards.lock() else {
        let state = LockState(process: Syscalls.processID, isRunning: true, isHeld: true)
        throw .shardsLocked(by: state, path: description)
      }
      return (lock, shards.count)
    case .files(let files):
      let count = wanted ?? sharder.ordinaryCount
      guard ShardsFile.counts.contains(count) else { throw .invalidShardCount(count) }
      // An unsuitable list is refused before anything is created.
      if wanted != nil { try sharder.check(for: count) }
      let (lock, file) = try files.openForWriting(
        ShardsFile(dealer: sharder.dealer, count: count), permissions: permissions)
      try check(file, path: description)
      return (lock, file.count)
    }
  }

  private func checkWanted() throws(QueueError) {
    guard let wanted, !ShardsFile.counts.contains(wanted) else { return }
    throw .invalidShardCount(wanted)
  }

  private func check(_ file: ShardsFile, path: String) throws(QueueError) {
    if let wanted, wanted != file.count {
      throw QueueError(
        .invalidOption,
        "shards is \(wanted), but the topic was created with \(file.count): the number is fixed,"
          + " because keys would map to other shards. Leave it out, or use another path",
        path: path)
    }
    guard sharder.dealer == file.dealer else {
      throw QueueError(
        .invalidOption,
        "the sharder assigns keys by \(sharder.dealer.words), but the topic was created to assign"
          + " them by \(file.dealer.words): keys would map to other shards. Use the sharder that"
          + " the topic was created with, or another path",
        path: path)
    }
    try sharder.check(for: file.count)
  }
}

extension ShardsFile.Dealer {
  fileprivate var words: String {
    switch self {
    case .program: "a function of the program"
    case .hash: "their hash"
    case .list: "a list of keys"
    }
  }
}

/// Identifies one record of a ``ShardedTopic``, permanently.
public struct ShardAddress: Sendable, Hashable, Codable {
  /// The shard that contains the record.
  public var shard: Int
  /// The record's address in the shard.
  public var address: Address

  /// Makes the address of a record from its stored parts.
  public init(shard: Int, address: Address) {
    self.shard = shard
    self.address = address
  }
}
