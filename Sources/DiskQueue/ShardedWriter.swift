// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Appends records to a ``ShardedTopic``, each to the shard of its key.
///
/// A sharded topic has one writer at a time, which any number of threads and tasks may share.
///
/// ```swift
/// let writer = try ShardedWriter(topic: ShardedTopic("orders", shards: 100))
/// try writer.append("3 chairs", key: "customer 17")
/// try await writer.append("2 tables", key: "customer 4", ensuring: .synced)
/// try writer.append(contentsOf: ["1 lamp", "1 sofa"], key: "customer 17")
/// try await writer.close()
/// ```
///
/// Each shard has its own ``QueueWriter``, which the first record for the shard opens. So a shard
/// without appends costs nothing, and threads that append to different shards do not block each
/// other. The levels of ``Durability`` are those of a `QueueWriter`.
///
/// On disk, at most ``Options-swift.struct/maximumOpenShards`` shards are open at once, 64 by
/// default. To open one more, the writer closes the least recently used shard that no call is
/// using. That syncs the closed shard. Opening it again later reads its end and syncs it, too. Each
/// takes some milliseconds. So if you cycle through more shards than that, a record each,
/// throughput drops to the disk's sync rate. If calls use more shards at once, for example while
/// they wait for room, all these shards stay open. In memory there is no such limit, and nothing
/// waits.
///
/// An error that ends a shard's writer, such as a failed sync, ends that shard only. The other
/// shards continue, and every later append to the shard throws the error. To recover the shard,
/// close this writer and open a new one. The first append to the shard then recovers it.
public final class ShardedWriter: Sendable {
  /// The sharded topic that this writer appends to.
  public let topic: ShardedTopic

  let pool: ShardPool

  /// Opens the shards for writing.
  ///
  /// Creates the directory and the file with the number of shards, if they do not exist. No shard
  /// is opened or created yet.
  ///
  /// - Parameters:
  ///   - topic: The shards, in a directory or in memory.
  ///   - options: The options of each shard's writer, and how many are open at once. In memory they
  ///     are limited as ``Topic/memory(capacity:records:)`` says, and no shard has its own thread.
  /// - Throws: One of these codes. After an error nothing is open or locked.
  ///   - `locked` while another writer has the shards open, in this process or another.
  ///   - `notATopic` if the directory holds other files, an ordinary topic, or shards whose file
  ///     `shards` is missing or damaged.
  ///   - `invalidOption`, also if the number of shards or the kind of sharder differs from the
  ///     stored one.
  ///   - `unsupportedFormat`, `noSpace`, `syncFailed`, `fileRemoved` or `system`.
  /// - Complexity: Independent of the content of the shards. A listing of the directory, and 8
  ///   bytes per shard.
  public convenience init(
    topic: ShardedTopic, options: Options = .init()
  ) throws(QueueError) {
    try self.init(topic: topic, options: options, environment: .system)
  }

  package init(
    topic: ShardedTopic, options: Options = .init(), environment: Environment
  ) throws(QueueError) {
    self.topic = topic
    pool = try ShardPool(topic, options: options, environment: environment)
  }

  /// Each open shard flushes, like a `QueueWriter` that is dropped. The next writer recovers the
  /// shards.
  deinit { pool.abandon() }

  /// The number of shards.
  public var shardCount: Int { pool.count }

  /// The recovery reports by shard number.
  ///
  /// They are those of the shards that this writer opened and that had not been closed. The first
  /// record that is appended to a shard opens and recovers it.
  public var recoveries: [Int: RecoveryReport] { pool.reports }

  /// What this writer has done in all shards, closed ones included.
  ///
  /// - Complexity: O(open shards). It waits while a shard is being opened or closed.
  public var statistics: QueueWriter.Statistics { pool.statistics }

  /// The errors that permanently ended shards' writers, by shard number. Empty while all work.
  ///
  /// Every later append to such a shard throws its error. This property looks at no file.
  ///
  /// - Complexity: O(open shards). It waits while a shard is being opened or closed.
  public var failures: [Int: QueueError] { pool.failures }

  /// Adds a handler for the events of all shards' writers, with the number of the shard.
  ///
  /// It behaves like ``QueueWriter/onEvent(_:)``. For the events of shards that were opened before,
  /// use ``Options-swift.struct/onEvent``.
  ///
  /// - Parameter handler: Called with each event. It should hold this writer weakly.
  public func onEvent(
    _ handler: @escaping @Sendable (_ shard: Int, _ event: QueueWriter.Event) -> Void
  ) {
    pool.events.add(handler)
  }

  /// The number of open shards.
  package var openShardCount: Int { pool.openCount }

  /// Returns the shard of a key: a text, `[UInt8]`, a slice or a span.
  ///
  /// Two keys are equal if their bytes are. So a text and an array can be the same key, and two
  /// spellings of `é` are two keys.
  ///
  /// - Parameter key: Any bytes, or none, of a type that conforms to ``PayloadBytes``. They are not
  ///   copied.
  /// - Throws: `invalidOption` if the sharder refuses the key, and the errors of a custom sharder.
  /// - Complexity: O(key) for ``ShardedTopic/Sharder/hash``.
  @inlinable
  public func shard<Key: PayloadBytes & ~Copyable & ~Escapable>(
    of key: borrowing Key
  ) throws(QueueError) -> Int {
    try key.withPayloadBytes { bytes throws(QueueError) in try shard(ofBytes: bytes) }
  }

  @usableFromInline
  func shard(ofBytes key: RawSpan) throws(QueueError) -> Int {
    try topic.sharder.shard(of: key, among: pool.count)
  }

  // MARK: Appending

  /// Appends one record to the shard of its key: a text, `[UInt8]`, a slice or a span.
  ///
  /// ``PayloadBytes`` lists the types of payloads and keys. A payload can also be `Data` or another
  /// collection of bytes. Level reached: `buffered`.
  ///
  /// - Parameters:
  ///   - payload: The record's bytes.
  ///   - key: Any text or bytes, or none, as in ``shard(of:)``. The key is not stored.
  /// - Returns: The shard, and the record's address and ordinal in it.
  /// - Throws: One of these errors. Only with ``QueueError/appended`` 1 is the record in the log.
  ///   - As ``QueueWriter/append(_:)-(Payload)``.
  ///   - As ``shard(of:)``, for the key.
  ///   - As `QueueWriter.init` if the call opens the shard, and as `QueueWriter.close` if it closes
  ///     another shard for that.
  ///   - `syncFailed` or `fileRemoved` if such a sync, or an earlier one of this shard, failed.
  ///   - `closed`.
  /// - Complexity: As a `QueueWriter`'s, and a hash of the key. If the shard is not open, also
  ///   syncs.
  @discardableResult
  @inlinable
  public func append<
    Payload: PayloadBytes & ~Copyable & ~Escapable, Key: PayloadBytes & ~Copyable & ~Escapable
  >(
    _ payload: borrowing Payload, key: borrowing Key
  ) throws(QueueError) -> AppendResult {
    let shard = try shard(of: key)
    return try payload.withPayloadBytes { bytes throws(QueueError) in
      try append(bytes: bytes, toShard: shard)
    }
  }

  /// Appends one record from `Data` or another collection of bytes to the shard of its key.
  ///
  /// Level reached: `buffered`.
  ///
  /// - Returns: The shard, and the record's address and ordinal in it.
  /// - Throws: As ``append(_:key:)-(Payload,_)``.
  /// - Complexity: As ``append(_:key:)-(Payload,_)``. Bytes that are not contiguous need an array.
  @discardableResult
  @inlinable
  @_disfavoredOverload
  public func append<Key: PayloadBytes & ~Copyable & ~Escapable>(
    _ payload: some Collection<UInt8>, key: borrowing Key
  ) throws(QueueError) -> AppendResult {
    let shard = try shard(of: key)
    return try withBytes(of: payload) { bytes throws(QueueError) in
      try append(bytes: bytes, toShard: shard)
    }
  }

  @usableFromInline
  func append(bytes: RawSpan, toShard shard: Int) throws(QueueError) -> AppendResult {
    let result = try pool.withWriter(ofShard: shard) { writer throws(QueueError) in
      try writer.append(bytes: bytes)
    }
    return AppendResult(shard: shard, result)
  }

  // MARK: Appending, and waiting for a level

  /// Appends one record to the shard of its key, and waits until it reaches a level.
  ///
  /// Level reached: `level`. It behaves like ``QueueWriter/append(_:ensuring:)-(Payload,_)``: tasks
  /// that wait for ``Durability/synced`` in the same shard share a sync. If the shard must be
  /// opened, or another one closed for it, a thread of this writer does that.
  ///
  /// - Returns: The shard, and the record's address and ordinal in it.
  /// - Throws: ``QueueError/appended`` distinguishes two cases:
  ///   - 0: the record is not in the log. The codes are those of
  ///     ``append(_:key:)-(Payload,_)``, and `cancelled`.
  ///   - 1: the record was appended, at ``QueueError/address`` of its shard, and its level is in
  ///     doubt. The codes are `cancelled`, `noSpace`, `system`, `syncFailed` and `fileRemoved`, and
  ///     mean the same as for ``QueueWriter/append(_:ensuring:)-(Payload,_)``.
  /// - Complexity: As ``append(_:key:)-(Payload,_)``, and the wait. The payload is copied into an
  ///   array only if the task opens the shard or waits for room.
  @discardableResult
  @inlinable
  public func append<
    Payload: PayloadBytes & ~Copyable & ~Escapable, Key: PayloadBytes & ~Copyable & ~Escapable
  >(
    _ payload: borrowing Payload, key: borrowing Key, ensuring level: Durability
  ) async throws(QueueError) -> AppendResult {
    let shard = try shard(of: key)
    let begun = try payload.withPayloadBytes { bytes throws(QueueError) in
      try beginAppending(bytes, toShard: shard)
    }
    return try await finish(begun, inShard: shard, ensuring: level)
  }

  /// Appends one record from `Data` or another collection of bytes to the shard of its key, and
  /// waits until it reaches a level.
  ///
  /// Level reached: `level`.
  ///
  /// - Returns: The shard, and the record's address and ordinal in it.
  /// - Throws: As ``append(_:key:ensuring:)-(Payload,_,_)``.
  /// - Complexity: As ``append(_:key:ensuring:)-(Payload,_,_)``. Bytes that are not contiguous need
  ///   an array.
  @discardableResult
  @inlinable
  @_disfavoredOverload
  public func append<Key: PayloadBytes & ~Copyable & ~Escapable>(
    _ payload: some Collection<UInt8>, key: borrowing Key, ensuring level: Durability
  ) async throws(QueueError) -> AppendResult {
    let shard = try shard(of: key)
    let begun = try withBytes(of: payload) { bytes throws(QueueError) in
      try beginAppending(bytes, toShard: shard)
    }
    return try await finish(begun, inShard: shard, ensuring: level)
  }

  /// An append that went as far as it can without suspending the task.
  @usableFromInline
  enum BegunShardAppend: Sendable {
    /// The record is in the log of this writer.
    case appended(QueueWriter.BegunAppend.PlacedRecord, QueueWriter)
    /// The shard was not open, or had no room. A copy of the payload waits.
    case waits([UInt8])
  }

  @usableFromInline
  func beginAppending(
    _ payload: RawSpan, toShard shard: Int
  ) throws(QueueError) -> BegunShardAppend {
    try pool.beginAppending(payload, toShard: shard)
  }

  @usableFromInline
  func finish(
    _ begun: BegunShardAppend, inShard shard: Int, ensuring level: Durability
  ) async throws(QueueError) -> AppendResult {
    AppendResult(
      shard: shard, try await pool.finish(begun, inShard: shard, ensuring: level))
  }

  // MARK: Durability

  /// Hands everything appended so far to the operating system. Level reached: `flushed`.
  ///
  /// - Throws: The first shard's error, after the other shards were flushed as far as possible. The
  ///   errors are those of `QueueWriter.flush`. Also the error that ended a shard's writer earlier,
  ///   and `closed`.
  public func flush() throws(QueueError) {
    try pool.forEachOpen { writer throws(QueueError) in try writer.flush() }
  }

  /// Puts everything appended so far on stable storage, also in shards that were closed meanwhile.
  ///
  /// Level reached: `synced`. It syncs one shard after the other. A shard without appends since the
  /// last sync costs nothing. The asynchronous `sync` syncs all shards at once.
  ///
  /// - Throws: The first shard's error, after the other shards were synced as far as possible. The
  ///   errors are those of `QueueWriter.sync`. Also the error that ended a shard's writer earlier:
  ///   records of that shard may be lost. Also `closed`, and `fileRemoved` if the lock or the file
  ///   `shards` was removed or replaced.
  public func sync() throws(QueueError) {
    try pool.sync()
  }

  /// Puts everything on stable storage, closes every shard, and releases the lock.
  ///
  /// Level reached: `synced`. Closing a closed writer does nothing. If an error ended a shard's
  /// writer, it throws that error again.
  ///
  /// - Throws: The first shard's error, after the other shards were closed as far as possible:
  ///   - `noSpace` or `system`. This writer stays open. Retry `close` when there is space.
  ///   - `syncFailed` or `fileRemoved`. This writer is closed, and the next one recovers the shard.
  public func close() throws(QueueError) {
    defer { pool.stopThread() }
    try pool.close()
  }

  /// Flushes everything appended so far, without blocking the caller's thread.
  ///
  /// Level reached: `flushed`.
  ///
  /// - Throws: As the synchronous `flush`.
  public func flush() async throws(QueueError) { try await pool.flush() }

  /// Syncs all shards at once, without blocking the caller's thread.
  ///
  /// Level reached: `synced`.
  ///
  /// - Throws: As the synchronous `sync`. Also `cancelled`, immediately, if the task is cancelled.
  ///   The syncs that it waited for may still be done.
  public func sync() async throws(QueueError) { try await pool.sync() }

  /// Closes the writer without blocking the caller's thread. Level reached: `synced`.
  ///
  /// - Throws: As the synchronous `close`.
  public func close() async throws(QueueError) { try await pool.close() }
}
