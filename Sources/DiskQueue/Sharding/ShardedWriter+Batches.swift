// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension ShardedWriter {
  /// Appends several records to the shard of one key, in order. Level reached: `buffered`.
  ///
  /// Records of other threads may be appended between the records of the batch.
  ///
  /// - Returns: The shard, and the ranges of the records' addresses and ordinals. If there are no
  ///   records, the ranges are empty and begin at 0, and the shard is not opened.
  /// - Throws: As ``append(_:key:)-(Payload,_)``. ``QueueError/appended`` is the number of records
  ///   of the batch that are in the log: the first ones.
  /// - Complexity: As ``append(_:key:)-(Payload,_)`` for each record. The call looks for the shard
  ///   once. It holds a copy of the payloads, unless the batch is a `[[UInt8]]`.
  @discardableResult
  @inlinable
  public func append<
    Payloads: Sequence, Key: PayloadBytes & ~Copyable & ~Escapable
  >(
    contentsOf payloads: Payloads, key: borrowing Key
  ) throws(QueueError) -> BatchAppendResult where Payloads.Element: PayloadBytes {
    let shard = try shard(of: key)
    return try append(batch: try payloads.copied(), toShard: shard)
  }

  /// Appends several records from `Data` or other collections of bytes to the shard of one key.
  ///
  /// It behaves like ``append(contentsOf:key:)-(Payloads,_)``. Level reached: `buffered`.
  ///
  /// - Returns: As ``append(contentsOf:key:)-(Payloads,_)``.
  /// - Throws: As ``append(contentsOf:key:)-(Payloads,_)``.
  @discardableResult
  @inlinable
  @_disfavoredOverload
  public func append<
    Collections: Sequence, Key: PayloadBytes & ~Copyable & ~Escapable
  >(
    contentsOf payloads: Collections, key: borrowing Key
  ) throws(QueueError) -> BatchAppendResult where Collections.Element: Collection<UInt8> {
    let shard = try shard(of: key)
    return try append(batch: payloads.map { Array($0) }, toShard: shard)
  }

  /// Appends several records to the shard of one key, in order, and waits until they reach a level.
  ///
  /// Level reached: `level`.
  ///
  /// - Returns: As ``append(contentsOf:key:)-(Payloads,_)``.
  /// - Throws: As ``append(_:key:ensuring:)-(Payload,_,_)``. ``QueueError/appended`` is the number
  ///   of records of the batch that are in the log: the first ones. Their level is in doubt.
  @discardableResult
  @inlinable
  public func append<
    Payloads: Sequence, Key: PayloadBytes & ~Copyable & ~Escapable
  >(
    contentsOf payloads: Payloads, key: borrowing Key, ensuring level: Durability
  ) async throws(QueueError) -> BatchAppendResult where Payloads.Element: PayloadBytes {
    let shard = try shard(of: key)
    return try await append(batch: try payloads.copied(), toShard: shard, ensuring: level)
  }

  /// Appends several records from `Data` or other collections of bytes to the shard of one key, and
  /// waits until they reach a level.
  ///
  /// Level reached: `level`.
  ///
  /// - Returns: As ``append(contentsOf:key:)-(Payloads,_)``.
  /// - Throws: As ``append(contentsOf:key:ensuring:)-(Payloads,_,_)``.
  @discardableResult
  @inlinable
  @_disfavoredOverload
  public func append<
    Collections: Sequence, Key: PayloadBytes & ~Copyable & ~Escapable
  >(
    contentsOf payloads: Collections, key: borrowing Key, ensuring level: Durability
  ) async throws(QueueError) -> BatchAppendResult where Collections.Element: Collection<UInt8> {
    let shard = try shard(of: key)
    return try await append(batch: payloads.map { Array($0) }, toShard: shard, ensuring: level)
  }

  // MARK: Each record to the shard of its own key

  /// Appends several records, each to the shard of its key. Level reached: `buffered`.
  ///
  /// The records of a key are in the log in the order of the batch. So are the records of a shard.
  ///
  /// ```swift
  /// let writer = try ShardedWriter(topic: ShardedTopic("orders"))
  /// let lines = ["17: 3 chairs", "4: 2 tables", "17: 1 lamp"]
  /// try writer.append(contentsOf: lines) { line in line.prefix { $0 != ":" } }
  /// ```
  ///
  /// - Parameters:
  ///   - payloads: The records.
  ///   - key: Returns the key of a record: a text, `[UInt8]`, or another type that conforms to
  ///     ``PayloadBytes``. It is called once for each record, in order, before any record is
  ///     appended. No key is stored.
  /// - Returns: One result for each shard that got a record, in the order of the shards' numbers.
  /// - Throws: As ``append(_:key:)-(Payload,_)``, and the error of `key`. If a key is refused,
  ///   nothing was appended.
  ///
  ///   The call appends to one shard after the other, in the order of their numbers, and stops at
  ///   the first error. ``QueueError/appended`` is the number of records of the batch that are in
  ///   the log. They are the first ones if you sort the batch by ``shard(of:)``, and leave records
  ///   of one shard in their order.
  /// - Complexity: As ``append(_:key:)-(Payload,_)`` for each record. The call looks for each shard
  ///   once. It holds a copy of the payloads that are no arrays.
  @discardableResult
  @inlinable
  public func append<Payloads: Sequence, Key: PayloadBytes>(
    contentsOf payloads: Payloads, keyedBy key: (Payloads.Element) throws(QueueError) -> Key
  ) throws(QueueError) -> [BatchAppendResult] where Payloads.Element: PayloadBytes {
    try append(try keyed(payloads, by: key))
  }

  /// Appends several records from `Data` or other collections of bytes, each to the shard of its
  /// key.
  ///
  /// It behaves like ``append(contentsOf:keyedBy:)-(Payloads,_)``. Level reached: `buffered`.
  ///
  /// - Returns: As ``append(contentsOf:keyedBy:)-(Payloads,_)``.
  /// - Throws: As ``append(contentsOf:keyedBy:)-(Payloads,_)``.
  @discardableResult
  @inlinable
  @_disfavoredOverload
  public func append<Collections: Sequence, Key: PayloadBytes>(
    contentsOf payloads: Collections,
    keyedBy key: (Collections.Element) throws(QueueError) -> Key
  ) throws(QueueError) -> [BatchAppendResult] where Collections.Element: Collection<UInt8> {
    try append(try keyed(collections: payloads, by: key))
  }

  /// Appends several records, each to the shard of its key, and waits until all of them reach a
  /// level.
  ///
  /// Level reached: `level`. It behaves like ``append(contentsOf:keyedBy:)-(Payloads,_)``. When all
  /// records are in the log, the shards flush or sync at the same time.
  ///
  /// - Returns: As ``append(contentsOf:keyedBy:)-(Payloads,_)``.
  /// - Throws: As ``append(_:key:ensuring:)-(Payload,_,_)``, and the error of `key`.
  ///   ``QueueError/appended`` is the number of records of the batch that are in the log. Their
  ///   level is in doubt.
  ///   - If it is the number of all records, a shard failed to reach the level. The error is that
  ///     of the first such shard. The other shards reached the level as far as possible.
  ///   - Otherwise the records are those that ``append(contentsOf:keyedBy:)-(Payloads,_)`` states,
  ///     and no shard was flushed or synced for this call.
  @discardableResult
  @inlinable
  public nonisolated(nonsending) func append<Payloads: Sequence, Key: PayloadBytes>(
    contentsOf payloads: Payloads,
    keyedBy key: (Payloads.Element) throws(QueueError) -> Key, ensuring level: Durability
  ) async throws(QueueError) -> [BatchAppendResult] where Payloads.Element: PayloadBytes {
    try await append(try keyed(payloads, by: key), ensuring: level)
  }

  /// Appends several records from `Data` or other collections of bytes, each to the shard of its
  /// key, and waits until all of them reach a level.
  ///
  /// Level reached: `level`.
  ///
  /// - Returns: As ``append(contentsOf:keyedBy:)-(Payloads,_)``.
  /// - Throws: As ``append(contentsOf:keyedBy:ensuring:)-(Payloads,_,_)``.
  @discardableResult
  @inlinable
  @_disfavoredOverload
  public nonisolated(nonsending) func append<Collections: Sequence, Key: PayloadBytes>(
    contentsOf payloads: Collections,
    keyedBy key: (Collections.Element) throws(QueueError) -> Key, ensuring level: Durability
  ) async throws(QueueError) -> [BatchAppendResult]
  where Collections.Element: Collection<UInt8> {
    try await append(try keyed(collections: payloads, by: key), ensuring: level)
  }

  // MARK: Without the caller's types

  /// The records of a batch by shard, in order.
  @usableFromInline
  struct KeyedBatch: Sendable {
    private(set) var shards: [Int: [[UInt8]]] = [:]

    @usableFromInline init() {}

    @usableFromInline
    mutating func add(_ payload: [UInt8], toShard shard: Int) {
      shards[shard, default: []].append(payload)
    }
  }

  @inlinable
  func keyed<Payloads: Sequence, Key: PayloadBytes>(
    _ payloads: Payloads, by key: (Payloads.Element) throws(QueueError) -> Key
  ) throws(QueueError) -> KeyedBatch where Payloads.Element: PayloadBytes {
    var batch = KeyedBatch()
    for payload in payloads {
      let shard = try shard(of: try key(payload))
      let bytes =
        if let array = payload as? [UInt8] { array } else {
          try payload.withPayloadBytes { bytes throws(QueueError) in Array(copying: bytes) }
        }
      batch.add(bytes, toShard: shard)
    }
    return batch
  }

  @inlinable
  func keyed<Collections: Sequence, Key: PayloadBytes>(
    collections payloads: Collections,
    by key: (Collections.Element) throws(QueueError) -> Key
  ) throws(QueueError) -> KeyedBatch where Collections.Element: Collection<UInt8> {
    var batch = KeyedBatch()
    for payload in payloads {
      batch.add(Array(payload), toShard: try shard(of: try key(payload)))
    }
    return batch
  }

  @usableFromInline
  func append(batch: [[UInt8]], toShard shard: Int) throws(QueueError) -> BatchAppendResult {
    try append(KeyedBatch(batch, shard)).first ?? .nothing(in: shard)
  }

  @usableFromInline
  func append(
    batch: [[UInt8]], toShard shard: Int, ensuring level: Durability
  ) async throws(QueueError) -> BatchAppendResult {
    try await append(KeyedBatch(batch, shard), ensuring: level).first ?? .nothing(in: shard)
  }

  @usableFromInline
  func append(_ batch: KeyedBatch) throws(QueueError) -> [BatchAppendResult] {
    try pool.append(batch)
  }

  @usableFromInline
  func append(
    _ batch: KeyedBatch, ensuring level: Durability
  ) async throws(QueueError) -> [BatchAppendResult] {
    try await pool.append(batch, ensuring: level)
  }
}

extension ShardedWriter.KeyedBatch {
  /// A batch for one shard.
  fileprivate init(_ payloads: [[UInt8]], _ shard: Int) {
    if !payloads.isEmpty { shards[shard] = payloads }
  }

  /// The shards by number, with their records.
  fileprivate var sorted: [(shard: Int, payloads: [[UInt8]])] {
    shards.map { (shard: $0.key, payloads: $0.value) }.sorted { $0.shard < $1.shard }
  }
}

extension ShardedWriter.BatchAppendResult {
  fileprivate static func nothing(in shard: Int) -> Self {
    let start = Address(rawValue: 0)
    return Self(
      shard: shard, QueueWriter.BatchAppendResult(addresses: start..<start, ordinals: 0..<0))
  }
}

extension ShardPool {
  fileprivate func append(
    _ batch: ShardedWriter.KeyedBatch
  ) throws(QueueError) -> [ShardedWriter.BatchAppendResult] {
    var results: [ShardedWriter.BatchAppendResult] = []
    var appended = 0
    for (shard, payloads) in batch.sorted {
      do throws(QueueError) {
        let result = try withWriter(ofShard: shard) { writer throws(QueueError) in
          try writer.append(batch: payloads.span)
        }
        results.append(ShardedWriter.BatchAppendResult(shard: shard, result))
      } catch {
        throw error.after(appended + error.appended)
      }
      appended += payloads.count
    }
    return results
  }

  /// Appends to one shard after the other. Then brings all of them to a level at the same time.
  fileprivate func append(
    _ batch: ShardedWriter.KeyedBatch, ensuring level: Durability
  ) async throws(QueueError) -> [ShardedWriter.BatchAppendResult] {
    var results: [ShardedWriter.BatchAppendResult] = []
    var writers: [QueueWriter] = []
    var appended = 0
    for (shard, payloads) in batch.sorted {
      do throws(QueueError) {
        let (writer, result) = try await append(payloads, toShard: shard)
        writers.append(writer)
        results.append(ShardedWriter.BatchAppendResult(shard: shard, result))
      } catch {
        throw error.after(appended + error.appended)
      }
      appended += payloads.count
    }
    guard level > .buffered else { return results }
    if let (index, error) = await failure(of: writers, results, reaching: level) {
      throw error.after(appended, at: results[index].addresses.lowerBound)
    }
    return results
  }

  /// Brings all shards of a batch to a level at the same time. Returns the error of the first one
  /// that failed, and its index.
  private func failure(
    of writers: [QueueWriter], _ results: [ShardedWriter.BatchAppendResult],
    reaching level: Durability
  ) async -> (index: Int, error: QueueError)? {
    await withTaskGroup(of: (index: Int, error: QueueError)?.self) { group in
      for (index, (writer, result)) in zip(writers, results).enumerated() {
        group.addTask {
          do throws(QueueError) {
            try await self.reach(
              level, at: result.addresses.upperBound.rawValue, of: writer)
            return nil
          } catch {
            return (index, error)
          }
        }
      }
      var failures: [(index: Int, error: QueueError)] = []
      for await failure in group { if let failure { failures.append(failure) } }
      failures.sort { $0.index < $1.index }
      // A refusal by a disk matters more than the cancellation of the task.
      return failures.first { $0.error.code != .cancelled } ?? failures.first
    }
  }
}
