// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Appends records to a ``ShardedTopic``, each to the shard of its key: one writer a topic, shared by
/// any number of threads and tasks.
///
/// ```swift
/// let writer = try ShardedWriter(topic: ShardedTopic("orders", shards: 100))
/// try writer.append("3 chairs", key: "customer 17")
/// try await writer.append("2 tables", key: "customer 4", ensuring: .synced)
/// try await writer.close()
/// ```
///
/// Each shard has a ``QueueWriter``, opened by the first record for the shard: so nothing is done for a
/// shard that nothing is appended to, and threads that append to different shards are not in each
/// other's way. Levels of ``Durability`` are as a `QueueWriter`'s.
///
/// On disk at most 64 shards are open at once. To open one more, the one is closed that was used least
/// recently and that no call is in; that syncs it, and to open it again later reads its end and syncs it
/// as well, some milliseconds each: who appends to more than 64 shards in turn, a record each, writes at
/// the pace of the disk's syncs. Calls that are in more than 64 shards at once, waiting for room, say,
/// each keep theirs open. In memory there is no such limit, and nothing waits.
///
/// What ends a shard's writer, a failed sync, ends that shard's alone: the others go on, and every later
/// append to the shard gets the error, until this writer is closed and a new one opened, which recovers
/// the shard when something is first appended to it.
public final class ShardedWriter: Sendable {
  /// What it was opened with.
  public let topic: ShardedTopic

  let pool: ShardPool

  /// A ``QueueWriter``'s, but for ``QueueWriter/Options-swift.struct/bufferSize``, which is 64 KiB: up to
  /// 64 shards are open at once, each with a buffer of its own, so 4 MiB rather than 128.
  public static let defaultOptions: QueueWriter.Options = {
    var options = QueueWriter.Options()
    options.bufferSize = .kibibytes(64)
    return options
  }()

  /// Opens the shards for writing; makes the directory, and the file that says how many shards there
  /// are, if there is none. No shard is opened or made yet.
  ///
  /// - Parameters:
  ///   - topic: the shards, in a directory or in memory.
  ///   - options: of each shard's writer, also what bounds a topic: so `maximumBytes` is a shard's. In
  ///     memory they are taken as ``Topic/memory(capacity:records:)`` says, and no shard has a thread of
  ///     its own.
  /// - Throws: `locked` while another writer has the shards open, in this process or another;
  ///   `notATopic` for a directory of other files, of an ordinary topic, or of shards whose file
  ///   `shards` is gone or damaged; `invalidOption`, also where the number of shards or the kind of
  ///   sharder is another one than what is stored; `unsupportedFormat`, `noSpace`, `syncFailed`,
  ///   `system`. After an error nothing is open or locked.
  /// - Complexity: independent of the number of shards and of what is in them, but for a listing of the
  ///   directory and 8 bytes a shard.
  public convenience init(
    topic: ShardedTopic, options: QueueWriter.Options = ShardedWriter.defaultOptions
  ) throws(QueueError) {
    try self.init(topic: topic, options: options, environment: .system)
  }

  /// - Parameter limit: how many shards are open at once; nil: as is right for the place.
  package init(
    topic: ShardedTopic, options: QueueWriter.Options = ShardedWriter.defaultOptions,
    environment: Environment, limit: Int? = nil
  ) throws(QueueError) {
    self.topic = topic
    pool = try ShardPool(topic, options: options, environment: environment, limit: limit)
  }

  /// Each open shard flushes, as a `QueueWriter` that is dropped does; the next writer recovers them.
  deinit { pool.abandon() }

  /// How many shards there are.
  public var shardCount: Int { pool.count }

  /// What was found in the shards that this writer opened and that had not been closed, by their
  /// numbers. A shard is opened, and recovered, by the first record that is appended to it.
  public var recoveries: [Int: RecoveryReport] { pool.reports }

  /// What was done in all shards, those that are closed as well.
  ///
  /// - Complexity: O(open shards). Waits while a shard is opened or closed.
  public var statistics: QueueWriter.Statistics { pool.statistics }

  /// How many shards are open.
  package var openShardCount: Int { pool.openCount }

  /// The shard that a key belongs to.
  ///
  /// - Throws: `invalidOption` for a key that the sharder refuses, and what a sharder of the program's
  ///   own throws.
  public func shard(of key: RawSpan) throws(QueueError) -> Int {
    try topic.sharder.shard(of: key, among: pool.count)
  }

  // MARK: Appending

  /// Appends one record to the shard of its key. Level reached: `buffered`.
  ///
  /// - Parameters:
  ///   - payload: the record's bytes.
  ///   - key: any bytes, also none. It is not stored.
  /// - Returns: the shard, and the record's address in it.
  /// - Throws: as ``QueueWriter/append(_:)-(RawSpan)``. As ``shard(of:)-(RawSpan)`` for the key, and as
  ///   `QueueWriter.init` where the shard is opened for the record, and as `QueueWriter.close`
  ///   where another shard is closed for that: the record is not in the log then. `syncFailed` and
  ///   `fileRemoved` where it, or a sync of this shard before, failed; `closed`.
  /// - Complexity: as a `QueueWriter`'s, and a hash of the key; where the shard is not open, syncs.
  @discardableResult
  public func append(_ payload: RawSpan, key: RawSpan) throws(QueueError) -> ShardAddress {
    let shard = try shard(of: key)
    let address = try pool.withWriter(ofShard: shard) { writer throws(QueueError) in
      try writer.append(payload)
    }
    return ShardAddress(shard: shard, address: address)
  }

  /// Appends one record to the shard of its key, the text's UTF-8. Level reached:
  /// `buffered`.
  ///
  /// - Returns: the shard, and the record\'s address in it.
  /// - Throws: as ``append(_:key:)-(RawSpan,RawSpan)``.
  @discardableResult
  @inlinable
  public func append(
    _ payload: RawSpan, key: some StringProtocol
  ) throws(QueueError) -> ShardAddress {
    try append(payload, key: key.utf8)
  }

  /// Appends one record to the shard of its key. Level reached:
  /// `buffered`.
  ///
  /// - Returns: the shard, and the record\'s address in it.
  /// - Throws: as ``append(_:key:)-(RawSpan,RawSpan)``.
  @discardableResult
  @inlinable
  public func append(
    _ payload: RawSpan, key: some Collection<UInt8>
  ) throws(QueueError) -> ShardAddress {
    try withBytes(of: key) { key throws(QueueError) in try append(payload, key: key) }
  }

  /// Appends one record to the shard of its key. Level reached:
  /// `buffered`.
  ///
  /// - Returns: the shard, and the record\'s address in it.
  /// - Throws: as ``append(_:key:)-(RawSpan,RawSpan)``.
  @discardableResult
  @inlinable
  public func append(
    _ payload: some Collection<UInt8>, key: some Collection<UInt8>
  ) throws(QueueError) -> ShardAddress {
    try withBytes(of: payload) { payload throws(QueueError) in try append(payload, key: key) }
  }

  /// Appends one record to the shard of its key, the text's UTF-8. Level reached:
  /// `buffered`.
  ///
  /// - Returns: the shard, and the record\'s address in it.
  /// - Throws: as ``append(_:key:)-(RawSpan,RawSpan)``.
  @discardableResult
  @inlinable
  public func append(
    _ payload: some Collection<UInt8>, key: some StringProtocol
  ) throws(QueueError) -> ShardAddress {
    try append(payload, key: key.utf8)
  }

  /// Appends one record, the text's UTF-8, to the shard of its key. Level reached:
  /// `buffered`.
  ///
  /// - Returns: the shard, and the record\'s address in it.
  /// - Throws: as ``append(_:key:)-(RawSpan,RawSpan)``.
  @discardableResult
  @inlinable
  public func append(
    _ text: some StringProtocol, key: some Collection<UInt8>
  ) throws(QueueError) -> ShardAddress {
    try append(text.utf8, key: key)
  }

  /// Appends one record, the text's UTF-8, to the shard of its key. Level reached:
  /// `buffered`.
  ///
  /// - Returns: the shard, and the record\'s address in it.
  /// - Throws: as ``append(_:key:)-(RawSpan,RawSpan)``.
  @discardableResult
  @inlinable
  public func append(
    _ text: some StringProtocol, key: some StringProtocol
  ) throws(QueueError) -> ShardAddress {
    try append(text.utf8, key: key.utf8)
  }

  // MARK: Appending, and waiting for a level

  /// Appends one record to the shard of its key, and waits until it is at a level. Level reached:
  /// `level`.
  ///
  /// As ``QueueWriter/append(_:ensuring:)-(RawSpan,_)``: tasks that wait for ``Durability/synced`` in the
  /// same shard share a sync. Where the shard has to be opened, or another one closed for it, that is
  /// done on a thread of this writer's.
  ///
  /// - Returns: the shard, and the record's address in it.
  /// - Throws: as `append(_:key:)`, with ``QueueError/appended`` 0: the record is not in the log. With
  ///   `appended` 1 it is, at ``QueueError/address`` of its shard, and only the level is in doubt:
  ///   `cancelled` at once where the task is; `noSpace`, `system`, `syncFailed`,
  ///   `fileRemoved`.
  @discardableResult
  public func append(
    _ payload: RawSpan, key: RawSpan, ensuring level: Durability
  ) async throws(QueueError) -> ShardAddress {
    let shard = try shard(of: key)
    let address = try await pool.append(payload, toShard: shard, ensuring: level)
    return ShardAddress(shard: shard, address: address)
  }

  /// Appends one record to the shard of its key, and waits until it is at a level.
  /// Level reached: `level`.
  ///
  /// - Returns: the shard, and the record\'s address in it.
  /// - Throws: as ``append(_:key:ensuring:)-(RawSpan,_,_)``.
  @discardableResult
  @inlinable
  public func append(
    _ payload: some Collection<UInt8>, key: some Collection<UInt8>, ensuring level: Durability
  ) async throws(QueueError) -> ShardAddress {
    try await append(bytes: Array(payload), key: Array(key), ensuring: level)
  }

  /// Appends one record to the shard of its key, the text's UTF-8, and waits until it is at a level.
  /// Level reached: `level`.
  ///
  /// - Returns: the shard, and the record\'s address in it.
  /// - Throws: as ``append(_:key:ensuring:)-(RawSpan,_,_)``.
  @discardableResult
  @inlinable
  public func append(
    _ payload: some Collection<UInt8>, key: some StringProtocol, ensuring level: Durability
  ) async throws(QueueError) -> ShardAddress {
    try await append(bytes: Array(payload), key: Array(key.utf8), ensuring: level)
  }

  /// Appends one record, the text's UTF-8, to the shard of its key, and waits until it is at a level.
  /// Level reached: `level`.
  ///
  /// - Returns: the shard, and the record\'s address in it.
  /// - Throws: as ``append(_:key:ensuring:)-(RawSpan,_,_)``.
  @discardableResult
  @inlinable
  public func append(
    _ text: some StringProtocol, key: some Collection<UInt8>, ensuring level: Durability
  ) async throws(QueueError) -> ShardAddress {
    try await append(bytes: Array(text.utf8), key: Array(key), ensuring: level)
  }

  /// Appends one record, the text's UTF-8, to the shard of its key, and waits until it is at a level.
  /// Level reached: `level`.
  ///
  /// - Returns: the shard, and the record\'s address in it.
  /// - Throws: as ``append(_:key:ensuring:)-(RawSpan,_,_)``.
  @discardableResult
  @inlinable
  public func append(
    _ text: some StringProtocol, key: some StringProtocol, ensuring level: Durability
  ) async throws(QueueError) -> ShardAddress {
    try await append(bytes: Array(text.utf8), key: Array(key.utf8), ensuring: level)
  }

  @usableFromInline
  func append(
    bytes payload: [UInt8], key: [UInt8], ensuring level: Durability
  ) async throws(QueueError) -> ShardAddress {
    // Safe: a span of bytes is its bytes, and the arrays outlive the call.
    unsafe try await append(payload.span.bytes, key: key.span.bytes, ensuring: level)
  }

  // MARK: Durability

  /// Hands everything appended so far to the system. Level reached: `flushed`.
  ///
  /// - Throws: the first shard's error, behind all that could be flushed: as `QueueWriter.flush`.
  ///   Also what ended a shard's writer before; `closed`.
  public func flush() throws(QueueError) {
    try pool.forEachOpen { writer throws(QueueError) in try writer.flush() }
  }

  /// Puts everything appended so far on stable storage, in shards that were closed meanwhile, too. Level
  /// reached: `synced`.
  ///
  /// One shard after the other; shards that nothing was appended to since cost nothing. The asynchronous
  /// one syncs all at once.
  ///
  /// - Throws: the first shard's error, behind all that could be synced: as `QueueWriter.sync`.
  ///   Also what ended a shard's writer before: what was appended to that shard may be lost. `closed`.
  public func sync() throws(QueueError) {
    try pool.sync()
  }

  /// Puts everything on stable storage, closes every shard, and gives up the lock. Level reached:
  /// `synced`. Closing a closed writer does nothing, or throws again what ended a shard's.
  ///
  /// - Throws: the first shard's error, behind all that could be closed. `noSpace` and `system`: this
  ///   writer stays open, and `close` may be asked again when there is room. `syncFailed` and
  ///   `fileRemoved`: it is closed, and the next one recovers the shard.
  public func close() throws(QueueError) {
    defer { pool.stopThread() }
    try pool.close()
  }

  /// As the other `flush`, without blocking the caller's thread.
  ///
  /// - Throws: as the other `flush`.
  public func flush() async throws(QueueError) { try await pool.flush() }

  /// As the other `sync`, without blocking the caller's thread, and for all shards at once.
  ///
  /// - Throws: also `cancelled`, at once where the task is; what it waited for may still be done.
  public func sync() async throws(QueueError) { try await pool.sync() }

  /// As the other `close`, without blocking the caller's thread.
  ///
  /// - Throws: as the other `close`.
  public func close() async throws(QueueError) { try await pool.close() }
}
