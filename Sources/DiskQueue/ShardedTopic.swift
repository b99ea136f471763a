// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Topics behind a key: every record is appended under a key, and a key's records come to lie in one
/// *shard*, in order. A directory of topics, or memory.
///
/// ```swift
/// let orders = ShardedTopic("orders", shards: 100)
/// let writer = try ShardedWriter(topic: orders)
/// try writer.append("3 chairs", key: "customer 17")
/// try await writer.flush()
///
/// var reader = try orders.reader(ofKey: "customer 17")      // and whoever shares its shard
/// for try await found in try orders.records(following: true) { print(found.shard, found.record) }
/// ```
///
/// A shard is a ``Topic`` like any other: ``topic(ofShard:)`` gives it to a ``QueueReader``, a
/// ``QueueConsumer`` or a ``SlabCleaner``. Within a shard records are in the order in which they were
/// appended; between shards there is none. The key itself is not stored: put it into the payload where
/// a reader is to tell keys of one shard apart.
///
/// How many shards there are is fixed when they are made, and stored with them on disk, together with
/// the kind of the ``Sharder``. A shard is made by the first record that is appended to it:
/// what was never written takes neither room on the disk nor memory.
///
/// A value of this type names the place and says how keys are dealt out; it opens nothing.
public struct ShardedTopic: Sendable, CustomStringConvertible {
  /// Where the shards lie.
  enum Place: Sendable {
    case files(ShardFiles)
    case memory(MemoryShards)
  }

  private(set) var place: Place
  /// How many shards were asked for; nil: those that there are.
  let wanted: Int?
  let sharder: Sharder
  /// The path, or what stands for it.
  public let description: String

  /// The shards in this directory: topics `0000`, `0001`, … beside a file `shards`. A relative path
  /// counts from the working directory of the moment it is opened.
  ///
  /// - Parameters:
  ///   - path: the directory.
  ///   - shards: how many, from 1 to 10,000; another number than what is stored is refused with
  ///     `invalidOption` where the topic is opened. nil, the default, takes what is stored; a new
  ///     topic gets 16 then, and as many as there are keys where `sharder` lists more.
  ///   - sharder: how keys are dealt out; by their hash by default, which deals them evenly and needs
  ///     to know nothing about them. A sharder of another kind than what is stored is refused with
  ///     `invalidOption`: keys would be looked for in other shards than those they are in.
  public init(_ path: some StringProtocol, shards: Int? = nil, by sharder: Sharder = .hash) {
    let path = String(path)
    self.init(.files(ShardFiles(path: path)), wanted: shards, sharder, description: path)
  }

  /// Shards in memory, which live as long as the values that name them. Two calls make two topics.
  /// Each is as ``Topic/memory(capacity:records:)``: bounded, it drops its oldest slab there, and what
  /// was appended can be read at once.
  ///
  /// - Parameters:
  ///   - shards: how many, from 1 to 10,000; 16 by default, as on disk. An empty shard takes no memory.
  ///   - capacity: what all shards may hold together, headers and marks included, divided evenly: at
  ///     least 64 KiB for each; 64 MiB by default. A value out of these bounds is refused with
  ///     `invalidOption` where the topic is opened.
  ///   - records: how many records all shards may hold together, divided evenly, and up: at least 2 for
  ///     each; no bound by default.
  ///   - sharder: how keys are dealt out; by their hash by default.
  public static func memory(
    shards: Int = 16, capacity: ByteCount = .mebibytes(64), records: UInt64? = nil,
    by sharder: Sharder = .hash
  ) -> ShardedTopic {
    ShardedTopic(
      .memory(MemoryShards(count: shards, capacity: capacity, records: records)), wanted: nil,
      sharder, description: MemoryShards.path)
  }

  /// Shards on any storage; for the parameters see `ShardFiles`.
  package init(
    root: any TopicStorage, shards: Int? = nil, by sharder: Sharder = .hash,
    topic: @escaping @Sendable (Int) -> Topic
  ) {
    self.init(
      .files(ShardFiles(root: root, topic: topic)), wanted: shards, sharder,
      description: root.path)
  }

  private init(_ place: Place, wanted: Int?, _ sharder: Sharder, description: String) {
    self.place = place
    self.wanted = wanted
    self.sharder = sharder
    self.description = description
  }

  // MARK: Shards

  /// How many shards there are.
  ///
  /// - Throws: `noSuchTopic` where none were made yet; `notATopic` for a directory of something else,
  ///   and where the file that tells is damaged; `unsupportedFormat`, `system`; `invalidOption` where
  ///   the number, or the kind of sharder, is another one than what is stored, and where the sharder
  ///   cannot deal keys out to so many.
  /// - Complexity: on disk, a listing of the directory and a read.
  public func shardCount() throws(QueueError) -> Int { try opened().count }

  /// The shard that a key belongs to. Each call opens the topic: ``ShardedWriter/shard(of:)-(RawSpan)``
  /// does not.
  ///
  /// - Throws: as ``shardCount()``; `invalidOption` for a key that the sharder refuses, and what a
  ///   sharder of the program's own throws.
  public func shard(of key: RawSpan) throws(QueueError) -> Int {
    try sharder.shard(of: key, among: try shardCount())
  }

  /// The shard that a key belongs to.
  ///
  /// - Throws: as ``shard(of:)-(RawSpan)``.
  @inlinable
  public func shard(of key: some Collection<UInt8>) throws(QueueError) -> Int {
    try withBytes(of: key) { key throws(QueueError) in try shard(of: key) }
  }

  /// The shard that a key belongs to, by its UTF-8.
  ///
  /// - Throws: as ``shard(of:)-(RawSpan)``.
  @inlinable
  public func shard(of key: some StringProtocol) throws(QueueError) -> Int {
    try shard(of: key.utf8)
  }

  /// A shard's own topic, for a ``QueueReader``, a ``QueueConsumer`` or a ``SlabCleaner``. On disk it
  /// is there once something was appended to it: they say `noSuchTopic` before.
  ///
  /// A ``QueueWriter`` works on it as well while no ``ShardedWriter`` has the shard open, but appends
  /// whatever the key: leave that to those who know.
  ///
  /// - Throws: as ``shardCount()``; `invalidOption` where there is no such shard.
  public func topic(ofShard shard: Int) throws(QueueError) -> Topic {
    let count = try shardCount()
    guard (0..<count).contains(shard) else {
      throw .invalidOption("shard \(shard) is none: shards are from 0 to \(count - 1)")
    }
    return topic(shard)
  }

  // MARK: Reading

  /// Opens a shard for reading.
  ///
  /// - Throws: as ``topic(ofShard:)`` and `QueueReader.init`; `noSuchTopic` on disk where nothing was
  ///   appended to the shard yet.
  public func reader(
    ofShard shard: Int, from start: Topic.Position = .earliest,
    options: QueueReader.Options = .init(), onLoss: ((Loss) -> Void)? = nil
  ) throws(QueueError) -> QueueReader {
    try QueueReader(
      topic: try topic(ofShard: shard), from: start, options: options, onLoss: onLoss)
  }

  /// Opens the shard of a key for reading. Other keys may share it.
  ///
  /// - Throws: as ``shard(of:)-(RawSpan)`` and ``reader(ofShard:from:options:onLoss:)``.
  public func reader(
    ofKey key: RawSpan, from start: Topic.Position = .earliest,
    options: QueueReader.Options = .init(), onLoss: ((Loss) -> Void)? = nil
  ) throws(QueueError) -> QueueReader {
    try QueueReader(
      topic: topic(try shard(of: key)), from: start, options: options, onLoss: onLoss)
  }

  /// Opens the shard of a key for reading. Other keys may share it.
  ///
  /// - Throws: as ``reader(ofKey:from:options:onLoss:)-(RawSpan,_,_,_)``.
  public func reader(
    ofKey key: some Collection<UInt8>, from start: Topic.Position = .earliest,
    options: QueueReader.Options = .init(), onLoss: ((Loss) -> Void)? = nil
  ) throws(QueueError) -> QueueReader {
    try QueueReader(
      topic: topic(try shard(of: key)), from: start, options: options, onLoss: onLoss)
  }

  /// Opens the shard of a key for reading, by its UTF-8. Other keys may share it.
  ///
  /// - Throws: as ``reader(ofKey:from:options:onLoss:)-(RawSpan,_,_,_)``.
  public func reader(
    ofKey key: some StringProtocol, from start: Topic.Position = .earliest,
    options: QueueReader.Options = .init(), onLoss: ((Loss) -> Void)? = nil
  ) throws(QueueError) -> QueueReader {
    try reader(ofKey: key.utf8, from: start, options: options, onLoss: onLoss)
  }

  // MARK: Opening

  /// A shard's topic. On disk nothing is asked for.
  func topic(_ shard: Int) -> Topic {
    switch place {
    case .files(let files): files.topic(shard)
    case .memory(let shards): shards.topic(ofShard: shard)
    }
  }

  /// What was found at the place.
  struct Opened {
    var count: Int
    /// The directory, if it is one.
    var root: (any TopicStorage)?
  }

  /// Opens the place for reading, and checks it against what was asked for.
  func opened() throws(QueueError) -> Opened {
    try checkWanted()
    switch place {
    case .memory(let shards):
      try shards.check()
      try sharder.check(for: shards.count)
      return Opened(count: shards.count)
    case .files(let files):
      let (root, file) = try files.openForReading()
      try check(file, path: root.path)
      return Opened(count: file.count, root: root)
    }
  }

  /// As `Topic.anchored`, for its shards.
  func anchored() -> ShardedTopic {
    guard case .files(let files) = place else { return self }
    var anchored = self
    anchored.place = .files(files.anchored())
    return anchored
  }

  /// Opens the place for the one writer, made if need be; returns its lock.
  func openForWriting(
    permissions: FilePermissions
  ) throws(QueueError) -> (lock: ShardsLock, count: Int) {
    try checkWanted()
    switch place {
    case .memory(let shards):
      try shards.check()
      try sharder.check(for: shards.count)
      guard let lock = shards.lock() else {
        let state = LockState(process: Syscalls.processID, isRunning: true, isReadLock: false)
        throw .shardsLocked(by: state, path: description)
      }
      return (lock, shards.count)
    case .files(let files):
      let count = wanted ?? sharder.ordinaryCount
      guard ShardsFile.counts.contains(count) else { throw .invalidShardCount(count) }
      // A list that fits nothing is refused before anything is made.
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
        "shards is \(wanted), and the topic was made with \(file.count): their number is fixed, as keys"
          + " would be looked for elsewhere; leave it out, or take another path",
        path: path)
    }
    guard sharder.dealer == file.dealer else {
      throw QueueError(
        .invalidOption,
        "keys are dealt out by \(sharder.dealer.words), and the topic was made with"
          + " \(file.dealer.words): keys would be looked for elsewhere; open it as it was made, or take"
          + " another path",
        path: path)
    }
    try sharder.check(for: file.count)
  }
}

extension ShardsFile.Dealer {
  fileprivate var words: String {
    switch self {
    case .program: "a way of the program's own"
    case .hash: "their hash"
    case .list: "a list of keys"
    }
  }
}

/// Names a record of a ``ShardedTopic``, for ever.
public struct ShardAddress: Sendable, Hashable, Codable {
  /// The shard it lies in.
  public var shard: Int
  /// Its address there.
  public var address: Address

  /// The name of a record that was kept elsewhere, in parts.
  public init(shard: Int, address: Address) {
    self.shard = shard
    self.address = address
  }
}

/// The bytes of a key or a payload; contiguous ones where they are, others by way of an array.
@inlinable
func withBytes<R>(
  of bytes: some Collection<UInt8>, _ body: (RawSpan) throws(QueueError) -> R
) throws(QueueError) -> R {
  let result: Result<R, QueueError>? = bytes.withContiguousStorageIfAvailable { bytes in
    do throws(QueueError) {
      // Safe: the bytes are there for the length of this closure.
      return .success(try body(unsafe RawSpan(_unsafeElements: bytes)))
    } catch {
      return .failure(error)
    }
  }
  if let result { return try result.get() }
  let copy = Array(bytes)
  // Safe: a span of bytes is its bytes, and the array outlives the call.
  return unsafe try body(copy.span.bytes)
}
