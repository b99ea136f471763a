// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Appends records to a topic.
///
/// A topic has one writer at a time, which any number of threads and tasks may share.
///
/// ```swift
/// let writer = try QueueWriter(topic: "sensors")
/// let address = try writer.append("21.5")
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
    topic: Topic, options: Options, environment: Environment, events: EventQueue?
  ) throws(QueueError) {
    let bounds = topic.memoryBounds
    let options = bounds?.fitted(options) ?? options
    let environment = bounds?.fitted(environment) ?? environment
    try options.validate()
    self.topic = topic
    let storage = try topic.openForWriting(
      permissions: FilePermissions(
        directories: options.directoryPermissions, files: options.filePermissions))
    (core, recovery) = try WriterCore.open(
      storage, options: options, sharedEvents: events, environment: environment)
    if bounds != nil { core.attachToMemory() }
    core.events?.deliver()
  }

  deinit { core.abandon() }

  // MARK: Appending

  /// Appends one record. Level reached: `buffered`.
  ///
  /// - Returns: The record's permanent address.
  /// - Throws: One of these codes:
  ///   - `payloadTooLarge` before anything is written.
  ///   - `noSpace` or `system` if the buffer was full and could not be written. This record is then
  ///     not in the log, and the records before it are. Appending works again when there is space.
  ///   - `noSpace` if the topic is at its cap, and ``Options-swift.struct/whenFull`` does not
  ///     make room. Nothing of the record is in the log.
  ///   - `syncFailed`, `fileRemoved` or `closed` permanently.
  ///
  ///   If a sync was due by ``Options-swift.struct/syncEvery`` and failed, ``QueueError/appended``
  ///   is 1: the record is in the log, at ``QueueError/address``.
  /// - Complexity: O(payload), without an allocation. Once per full buffer also a write, and a sync
  ///   if ``Options-swift.struct/syncEvery`` requires one.
  @discardableResult
  public func append(_ payload: RawSpan) throws(QueueError) -> Address {
    try core.append(payload)
  }

  /// Appends one record from a span. Level reached: `buffered`.
  ///
  /// - Returns: The record's permanent address.
  /// - Throws: As ``append(_:)-(RawSpan)``.
  /// - Complexity: As ``append(_:)-(RawSpan)``.
  @discardableResult
  @inlinable
  public func append(_ payload: Span<UInt8>) throws(QueueError) -> Address {
    // Safe: a span of bytes is its bytes.
    unsafe try append(payload.bytes)
  }

  /// Appends one record from `[UInt8]`, `Data`, a slice or any other collection of bytes.
  ///
  /// Level reached: `buffered`. Contiguous bytes are copied once, into the buffer. Other
  /// collections need a temporary array.
  ///
  /// - Returns: The record's permanent address.
  /// - Throws: As ``append(_:)-(RawSpan)``.
  /// - Complexity: As ``append(_:)-(RawSpan)``.
  @discardableResult
  @inlinable
  public func append(_ payload: some Collection<UInt8>) throws(QueueError) -> Address {
    let result: Result<Address, QueueError>? = payload.withContiguousStorageIfAvailable { bytes in
      do throws(QueueError) {
        // Safe: the bytes are there for the length of this closure.
        return .success(try append(unsafe RawSpan(_unsafeElements: bytes)))
      } catch {
        return .failure(error)
      }
    }
    if let result { return try result.get() }
    return try append(Array(payload).span)
  }

  /// Appends one record with the UTF-8 bytes of a text. Level reached: `buffered`.
  ///
  /// - Returns: The record's permanent address.
  /// - Throws: As ``append(_:)-(RawSpan)``.
  /// - Complexity: As ``append(_:)-(RawSpan)``.
  @discardableResult
  @inlinable
  public func append(_ text: some StringProtocol) throws(QueueError) -> Address {
    try append(text.utf8)
  }

  /// Appends several records in order. Level reached: `buffered`.
  ///
  /// Records of other threads may be appended between the records of the batch.
  ///
  /// - Returns: The range from the first record's address to the end of the last record. The range
  ///   is empty if there are no records.
  /// - Throws: As ``append(_:)-(RawSpan)``. ``QueueError/appended`` is the number of records of the
  ///   batch that are in the log.
  @discardableResult
  @inlinable
  public func append<Payloads: Sequence>(
    contentsOf payloads: Payloads
  ) throws(QueueError) -> Range<Address> where Payloads.Element: Collection<UInt8> {
    if Payloads.self == [[UInt8]].self, let arrays = payloads as? [[UInt8]] {
      return try append(batch: arrays.span)
    }
    var batch = Batch()
    for payload in payloads {
      do throws(QueueError) {
        batch.add(try append(payload), payload.count)
      } catch {
        throw error.after(batch)
      }
    }
    return addresses(of: batch)
  }

  /// Appends a batch whose bytes are available without running the caller's code. It acquires the
  /// lock once for many records.
  @usableFromInline
  func append(batch: Span<[UInt8]>) throws(QueueError) -> Range<Address> {
    try core.append(batch)
  }

  /// Appends several records with the UTF-8 bytes of texts, in order.
  ///
  /// It behaves like ``append(contentsOf:)-(Payloads)``. Level reached: `buffered`.
  ///
  /// - Returns: The range from the first record's address to the end of the last record. The range
  ///   is empty if there are no records.
  /// - Throws: As ``append(contentsOf:)-(Payloads)``.
  @discardableResult
  @inlinable
  public func append<Texts: Sequence>(
    contentsOf texts: Texts
  ) throws(QueueError) -> Range<Address> where Texts.Element: StringProtocol {
    try append(contentsOf: texts.lazy.map(\.utf8))
  }

  /// The progress of a batch.
  @usableFromInline
  struct Batch {
    @usableFromInline var first: Address?
    /// The end of the last record.
    @usableFromInline var end: Address?
    @usableFromInline var count = 0

    @usableFromInline init() {}

    @usableFromInline
    mutating func add(_ address: Address, _ payloadBytes: Int) {
      if first == nil { first = address }
      end = Address(
        rawValue: address.rawValue + UInt64(FrameHeader.byteCount) + UInt64(payloadBytes))
      count += 1
    }
  }

  @usableFromInline
  func addresses(of batch: Batch) -> Range<Address> {
    guard let first = batch.first, let end = batch.end else {
      let position = position
      return position..<position
    }
    return first..<end
  }

  /// The address of the next record, or of a mark before it.
  public var position: Address { Address(rawValue: core.position) }

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
  /// Returns this error with the progress of the batch that it ended.
  @usableFromInline
  func after(_ batch: QueueWriter.Batch) -> QueueError { after(batch.count + appended) }

  /// Returns this error with the number of records that the batch appended before it.
  func after(_ appended: Int) -> QueueError {
    var error = self
    error.appended = appended
    return error
  }
}
