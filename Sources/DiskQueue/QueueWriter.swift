// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Appends records to a topic.
///
/// A topic has one writer at a time, which any number of threads and tasks may share.
///
/// ```swift
/// let writer = try QueueWriter(topic: "sensors")
/// let record = try writer.append("21.5")
/// print(record.address, record.ordinal)
/// try writer.close()
/// ```
///
/// An appended record reaches a level of ``Durability``:
///
/// - `append` makes it ``Durability/buffered``.
/// - `flush` makes every record appended so far ``Durability/flushed``.
/// - `sync` and `close` make them ``Durability/synced``.
/// - `append(_:ensuring:)` waits for a level. Calls that wait for ``Durability/synced`` at the same
///   time share one sync.
///
/// The writer also flushes and syncs by itself, as ``Options-swift.struct/flushEvery`` and
/// ``Options-swift.struct/syncEvery`` say. An append that finds the buffer full flushes it. When
/// the writer starts a new slab, it syncs the finished one in the background.
///
/// A writer that is dropped without `close` flushes but cannot report whether that succeeded. The
/// next writer then recovers the topic.
public final class QueueWriter: Sendable {
  /// The topic that this writer appends to.
  public let topic: Topic

  /// The state in which opening found the topic, and what recovery did.
  public let recovery: RecoveryReport

  /// The id of the topic, which a new topic gets from its first writer.
  public let topicID: TopicID

  let core: WriterCore

  /// Opens a topic for writing.
  ///
  /// Creates it, and the directories on its path, if it does not exist. Recovers it if it was not
  /// closed.
  ///
  /// - Throws: One of these codes. After an error nothing is open or locked.
  ///   - `locked` while another writer has the topic open, in this process or another.
  ///   - `notATopic`, `unsupportedFormat`, `invalidOption`, `addressesExhausted`, `noSpace`,
  ///     `syncFailed`, `fileRemoved` or `system`.
  /// - Complexity: Independent of the topic's size. If the topic was not closed, recovery reads it
  ///   from the last slab that is certainly durable, about one slab. It reads a version 1 topic
  ///   once from its start.
  public convenience init(topic: Topic, options: Options = .init()) throws(QueueError) {
    try self.init(topic: topic, options: options, environment: .system)
  }

  package convenience init(
    topic: Topic, options: Options, environment: Environment
  ) throws(QueueError) {
    try self.init(topic: topic, options: options, environment: environment, events: nil)
  }

  /// - Parameter events: The queue that collects the events for another object to report. nil: the
  ///   writer reports them itself.
  init(
    topic: Topic, options: Options, environment: Environment, events: ShardEvents?
  ) throws(QueueError) {
    let bounds = topic.memoryBounds
    let options = bounds?.fitted(options) ?? options
    let environment = bounds?.fitted(environment) ?? environment
    try options.validate()
    self.topic = topic
    let storage = try topic.openForWriting(
      permissions: options.permissions)
    (core, recovery) = try WriterCore.open(
      storage, options: options, sharedEvents: events, environment: environment)
    topicID = TopicID(rawValue: core.updateTail { $0.settings.topicID })
    if bounds != nil { core.attachToMemory() }
    core.events.deliver()
  }

  deinit { core.abandon() }

  // MARK: Appending

  /// Appends one record: a text, `[UInt8]`, a slice or a span. Level reached: `buffered`.
  ///
  /// ``PayloadBytes`` lists the types. Any other collection of bytes, such as `Data`, is accepted
  /// as well.
  ///
  /// - Returns: The record's permanent address, and its ordinal.
  /// - Throws: One of these codes:
  ///   - `payloadTooLarge` before anything is written.
  ///   - `noSpace` or `system` if the buffer was full and could not be written. This record is then
  ///     not in the log, and the records before it are. Appending works again when there is space.
  ///   - `noSpace` if the topic is at its cap, and ``Options-swift.struct/whenFull`` does not
  ///     make room. Nothing of the record is in the log.
  ///   - `syncFailed`, `fileRemoved` or `closed` permanently.
  ///
  ///   If a sync was due by ``Options-swift.struct/syncEvery`` and failed, ``QueueError/appended``
  ///   is 1: the record was appended, at ``QueueError/address``. With `noSpace` or `system`, it
  ///   waits in the buffer, and the next flush that succeeds stores it.
  /// - Complexity: O(payload), without an allocation. Once per full buffer also a write, and a sync
  ///   if ``Options-swift.struct/syncEvery`` requires one.
  @discardableResult
  @inlinable
  public func append<Payload: PayloadBytes & ~Copyable & ~Escapable>(
    _ payload: borrowing Payload
  ) throws(QueueError) -> AppendResult {
    try payload.withPayloadBytes { bytes throws(QueueError) in try append(bytes: bytes) }
  }

  /// Appends one record from `Data` or another collection of bytes. Level reached: `buffered`.
  ///
  /// Contiguous bytes are copied once, into the buffer. Other collections need a temporary array.
  ///
  /// - Returns: The record's permanent address, and its ordinal.
  /// - Throws: As ``append(_:)-(Payload)``.
  /// - Complexity: As ``append(_:)-(Payload)``.
  @discardableResult
  @inlinable
  @_disfavoredOverload
  public func append(_ payload: some Collection<UInt8>) throws(QueueError) -> AppendResult {
    try withBytes(of: payload) { bytes throws(QueueError) in try append(bytes: bytes) }
  }

  @usableFromInline
  func append(bytes: RawSpan) throws(QueueError) -> AppendResult { try core.append(bytes) }

  /// Appends several records in order. Level reached: `buffered`.
  ///
  /// Records of other threads may be appended between the records of the batch.
  ///
  /// - Returns: The range of the records' addresses, and that of their ordinals. Both are empty if
  ///   there are no records.
  /// - Throws: As ``append(_:)-(Payload)``. ``QueueError/appended`` is the number of records of the
  ///   batch that are in the log.
  /// - Complexity: As ``append(_:)-(Payload)`` for each record. A `[[UInt8]]` acquires the writer's
  ///   lock once for many records.
  @discardableResult
  @inlinable
  public func append<Payloads: Sequence>(
    contentsOf payloads: Payloads
  ) throws(QueueError) -> BatchAppendResult where Payloads.Element: PayloadBytes {
    if Payloads.self == [[UInt8]].self, let arrays = payloads as? [[UInt8]] {
      return try append(batch: arrays.span)
    }
    var batch = Batch()
    for payload in payloads {
      try payload.withPayloadBytes { bytes throws(QueueError) in try append(bytes, &batch) }
    }
    return result(of: batch)
  }

  /// Appends several records from `Data` or other collections of bytes, in order.
  ///
  /// It behaves like ``append(contentsOf:)-(Payloads)``. Level reached: `buffered`.
  ///
  /// - Returns: As ``append(contentsOf:)-(Payloads)``.
  /// - Throws: As ``append(contentsOf:)-(Payloads)``.
  @discardableResult
  @inlinable
  @_disfavoredOverload
  public func append<Collections: Sequence>(
    contentsOf payloads: Collections
  ) throws(QueueError) -> BatchAppendResult where Collections.Element: Collection<UInt8> {
    var batch = Batch()
    for payload in payloads {
      try withBytes(of: payload) { bytes throws(QueueError) in try append(bytes, &batch) }
    }
    return result(of: batch)
  }

  /// Appends a batch whose bytes are available without running the caller's code. It acquires the
  /// lock once for many records.
  @usableFromInline
  func append(batch: Span<[UInt8]>) throws(QueueError) -> BatchAppendResult {
    try core.append(batch)
  }

  /// The progress of a batch.
  @usableFromInline
  struct Batch {
    var progress = WriterCore.BatchProgress()

    @usableFromInline init() {}
  }

  /// Appends the next record of a batch.
  @usableFromInline
  func append(_ payload: RawSpan, _ batch: inout Batch) throws(QueueError) {
    do throws(QueueError) {
      batch.progress.add(try core.append(payload), payload: payload.byteCount)
    } catch {
      throw error.after(batch.progress.count + error.appended)
    }
  }

  @usableFromInline
  func result(of batch: Batch) -> BatchAppendResult {
    batch.progress.count == 0
      ? WriterCore.BatchProgress(at: core.end).result : batch.progress.result
  }

  /// The address of the next record, or of a mark before it.
  public var position: Address { Address(rawValue: core.position) }

  /// The ordinal of the next record: the number of records that the topic took so far.
  public var ordinal: UInt64 { core.end.ordinal }

  /// The error that permanently ended this writer, or nil while it works.
  ///
  /// After `syncFailed` or `fileRemoved`, every later call throws this error. A full disk and
  /// `close` do not end the writer in this sense.
  ///
  /// This property looks at no file. It states what an earlier call or the background work met. To
  /// ask the disk, use `sync`.
  public var failure: QueueError? { core.failure }

  // MARK: Durability

  /// Hands everything appended so far to the operating system. Level reached: `flushed`.
  ///
  /// - Throws: `noSpace` or `system` if the write failed. The unwritten records stay in the buffer,
  ///   in order, and the next `flush` continues there. `syncFailed`, `fileRemoved` or `closed`
  ///   permanently.
  /// - Complexity: A write of the buffer's content.
  public func flush() throws(QueueError) { try core.flush() }

  /// Puts everything appended so far on stable storage. Level reached: `synced`.
  ///
  /// Other threads can append during the sync. Calls at the same time share a sync.
  ///
  /// - Throws: As `flush`. `syncFailed` and `fileRemoved` are final for this writer: records since
  ///   the last sync may be lost. Close this writer and open a new one, which reports the records
  ///   that remain.
  /// - Complexity: As `flush`, and a sync of everything written since the last one, if there is
  ///   anything. After that one fstat(2), and one fstatat(2) each for the lock and the synced slabs
  ///   if the directory changed recently.
  public func sync() throws(QueueError) { try core.sync() }

  /// Puts everything on stable storage, marks the topic as cleanly closed, and releases the lock.
  ///
  /// Level reached: `synced`. Closing a closed writer does nothing. If an error ended the writer,
  /// it throws that error again.
  ///
  /// - Throws: One of these codes:
  ///   - `noSpace` or `system` if the end of the log could not be written. The writer stays open.
  ///     Retry `close` when there is space.
  ///   - `syncFailed` or `fileRemoved`. The writer is closed, and the next one recovers the topic.
  /// - Complexity: As `sync`, and a write and a sync of the closing mark.
  public func close() throws(QueueError) {
    try core.close()
    core.stopThread()
  }

  /// Hands everything appended so far to the operating system. Level reached: `flushed`.
  ///
  /// The write to the system's cache runs in this task, without suspending it.
  ///
  /// - Throws: As the synchronous `flush`.
  public func flush() async throws(QueueError) { try core.flush() }

  /// Puts everything appended so far on stable storage, without blocking the caller's thread.
  ///
  /// Level reached: `synced`. Calls at the same time share a sync, also with calls of
  /// `append(_:ensuring:)`.
  ///
  /// - Throws: As the synchronous `sync`. Also `cancelled`, immediately, if the task is cancelled.
  ///   The sync that it waited for may still be done.
  public func sync() async throws(QueueError) {
    try await core.syncAll()
  }

  /// Closes the writer without blocking the caller's thread. Level reached: `synced`.
  ///
  /// - Throws: As the synchronous `close`.
  public func close() async throws(QueueError) {
    try await core.onThread { core throws(QueueError) in try core.close() }
    core.stopThread()
  }

  /// Registers a handler for the error that permanently ends this writer. The handler is called
  /// once, immediately if the writer has already ended.
  ///
  /// It may be called with a lock held, and must not call the writer.
  package func onFailure(_ body: @escaping @Sendable (QueueError) -> Void) {
    core.onFailure(body)
  }

  // MARK: For tests

  /// Does the work of the background thread now.
  package func syncLeftSlabs() throws(QueueError) { try core.syncLeftSlabs() }

  /// Does the timed work that is due by the environment's clock.
  package func runDueWork() { core.runDueWork() }

  /// Ends the writer like the death of the process: it writes nothing more, and the lock is
  /// released.
  package func dieForTesting() { core.die() }
}

extension QueueError {
  /// Returns this error with the number of records that the batch appended before it.
  func after(_ appended: Int) -> QueueError {
    var error = self
    error.appended = appended
    return error
  }
}
