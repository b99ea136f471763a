// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Appends records to a topic: one writer a topic, shared by any number of threads and tasks.
///
/// ```swift
/// let writer = try QueueWriter(topic: "sensors")
/// let address = try writer.append("21.5")
/// try writer.close()
/// ```
///
/// A record that was appended is ``Durability/buffered``; `flush` makes all before it
/// ``Durability/flushed``, and `sync` and `close` ``Durability/synced``. `append(_:ensuring:)` waits
/// for a level, and shares what is done for it with all that wait at the same time. A full buffer is
/// flushed by the append that finds it full; ``Options-swift.struct/flushEvery`` and
/// ``Options-swift.struct/syncEvery`` say what happens without being asked for. A slab that is left
/// behind is synced in the background.
///
/// A writer that is dropped without `close` flushes, and cannot say whether that succeeded; the next
/// one recovers the topic.
public final class QueueWriter: Sendable {
  /// What it was opened with.
  public let topic: Topic

  /// What opening the topic found, and what became of it.
  public let recovery: RecoveryReport

  let core: WriterCore

  /// Opens a topic for writing; makes it if there is none, with the directories on the way to it.
  /// Recovers it if it was not closed.
  ///
  /// - Throws: `locked` while another writer has it open, in this process or another; `notATopic`,
  ///   `unsupportedFormat`, `invalidOption`, `addressesExhausted`, `noSpace`, `syncFailed`,
  ///   `fileRemoved`, `system`.
  ///   After an error nothing is open or locked.
  /// - Complexity: independent of the topic's size. A topic that was not closed is read from the
  ///   last slab that is certainly durable on, about one slab; a version 1 topic once from its
  ///   start.
  public convenience init(topic: Topic, options: Options = .init()) throws(QueueError) {
    try self.init(topic: topic, options: options, environment: .system)
  }

  package convenience init(
    topic: Topic, options: Options, environment: Environment
  ) throws(QueueError) {
    try self.init(topic: topic, options: options, environment: environment, events: nil)
  }

  /// - Parameter events: where to note what happens, for who tells it; nil: it is told by the writer.
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
    core.events?.tell()
  }

  deinit { core.abandon() }

  // MARK: Appending

  /// Appends one record. Level reached: `buffered`.
  ///
  /// - Returns: the record's address, its name for ever.
  /// - Throws: `payloadTooLarge`, before anything is written; `noSpace` and `system`, where the
  ///   buffer was full and could not be written: this record is then not in the log, those before
  ///   it are, and appending goes on when there is room; `syncFailed`, `fileRemoved` and `closed` for good. Where
  ///   ``Options-swift.struct/syncEvery`` was due and failed, ``QueueError/appended`` is 1: the record
  ///   is in the log, at ``QueueError/address``.
  /// - Complexity: O(payload), no allocation; once in a buffer a write, and where
  ///   ``Options-swift.struct/syncEvery`` is due, a sync.
  @discardableResult
  public func append(_ payload: RawSpan) throws(QueueError) -> Address {
    try core.append(payload)
  }

  /// Appends one record. Level reached: `buffered`.
  ///
  /// - Returns: the record's address, its name for ever.
  /// - Throws: as ``append(_:)-(RawSpan)``.
  /// - Complexity: as ``append(_:)-(RawSpan)``.
  @discardableResult
  @inlinable
  public func append(_ payload: Span<UInt8>) throws(QueueError) -> Address {
    // Safe: a span of bytes is its bytes.
    unsafe try append(payload.bytes)
  }

  /// Appends one record: `[UInt8]`, `Data`, a slice, any collection of bytes. Contiguous bytes are
  /// copied once, into the buffer; others need an array on the way. Level reached: `buffered`.
  ///
  /// - Returns: the record's address, its name for ever.
  /// - Throws: as ``append(_:)-(RawSpan)``.
  /// - Complexity: as ``append(_:)-(RawSpan)``.
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

  /// Appends one record: the text's UTF-8. Level reached: `buffered`.
  ///
  /// - Returns: the record's address, its name for ever.
  /// - Throws: as ``append(_:)-(RawSpan)``.
  /// - Complexity: as ``append(_:)-(RawSpan)``.
  @discardableResult
  @inlinable
  public func append(_ text: some StringProtocol) throws(QueueError) -> Address {
    try append(text.utf8)
  }

  /// Appends a batch in its order. Records of other threads may come to lie between. Level reached:
  /// `buffered`.
  ///
  /// - Returns: from the first record's address to behind the last record; empty for no records.
  /// - Throws: as `append`; ``QueueError/appended`` then says how many of the batch landed.
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

  /// A batch whose bytes are had without running anybody's code: it takes the lock once for many.
  @usableFromInline
  func append(batch: Span<[UInt8]>) throws(QueueError) -> Range<Address> {
    try core.append(batch)
  }

  /// Appends a batch of texts in its order: see ``append(contentsOf:)-(Payloads)``. Level reached:
  /// `buffered`.
  ///
  /// - Returns: from the first record's address to behind the last record; empty for no records.
  /// - Throws: as ``append(contentsOf:)-(Payloads)``.
  @discardableResult
  @inlinable
  public func append<Texts: Sequence>(
    contentsOf texts: Texts
  ) throws(QueueError) -> Range<Address> where Texts.Element: StringProtocol {
    try append(contentsOf: texts.lazy.map(\.utf8))
  }

  /// How far a batch has come.
  @usableFromInline
  struct Batch {
    @usableFromInline var first: Address?
    /// The address behind the last record.
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

  /// Where the next record will stand, or a mark before it.
  public var position: Address { Address(rawValue: core.position) }

  // MARK: Durability

  /// Hands everything appended so far to the system. Level reached: `flushed`.
  ///
  /// - Throws: `noSpace` and `system`: what was not written stays in the buffer, in order, and the
  ///   next `flush` goes on there; `syncFailed`, `fileRemoved` and `closed`.
  /// - Complexity: a write of what is in the buffer.
  public func flush() throws(QueueError) { try core.flush() }

  /// Puts everything appended so far on stable storage. Level reached: `synced`.
  ///
  /// Appending goes on meanwhile. Calls at the same time share a sync.
  ///
  /// - Throws: as `flush`; `syncFailed` and `fileRemoved` are final for this writer, and mean that
  ///   records from the last sync on may be lost: close it, and open a new one, which says what was
  ///   kept.
  /// - Complexity: as `flush`, and a sync of what was written since the last one; none where that is
  ///   nothing. One fstatat(2) for the lock and for each slab that was synced.
  public func sync() throws(QueueError) { try core.sync() }

  /// Puts everything on stable storage, marks the topic as cleanly closed, and gives up the lock.
  /// Level reached: `synced`. Closing a closed writer does nothing, or throws again what ended it.
  ///
  /// - Throws: `noSpace` and `system` where the end could not be written: the writer stays open, and
  ///   `close` may be asked again when there is room. `syncFailed` and `fileRemoved`: the writer is
  ///   closed, and the next one recovers the topic.
  /// - Complexity: as `sync`, and the closing mark's write and sync.
  public func close() throws(QueueError) {
    try core.close()
    core.stopThread()
  }

  /// As the other `flush`: a write to the system's cache, by this task, which is not suspended.
  ///
  /// - Throws: as the other `flush`.
  public func flush() async throws(QueueError) { try core.flush() }

  /// As the other `sync`, without blocking the caller's thread. Calls at the same time, also of
  /// `append(_:ensuring:)`, share a sync.
  ///
  /// - Throws: also `cancelled`, at once where the task is; what it waited for may still be done.
  public func sync() async throws(QueueError) {
    try await core.syncAll()
  }

  /// As the other `close`, without blocking the caller's thread.
  ///
  /// - Throws: as the other `close`.
  public func close() async throws(QueueError) {
    try await core.onThread { core throws(QueueError) in try core.close() }
    core.stopThread()
  }

  /// Has `body` called once, with what ends the writer for good, if something does; at once where it
  /// has. It may be called with a lock held, and must not call the writer.
  package func onFailure(_ body: @escaping @Sendable (QueueError) -> Void) {
    core.onFailure(body)
  }

  // MARK: For tests

  /// Does what the background thread would do now.
  package func syncSlabsLeftBehind() throws(QueueError) { try core.syncSlabsLeftBehind() }

  /// Does what times were set for that have come, by the environment's clock.
  package func doWhatIsTimed() { core.doWhatIsTimed() }

  /// Ends as the death of the process would: nothing more is written, the lock is gone.
  package func dieForTesting() { core.die() }
}

extension QueueError {
  /// This error, where it ended a batch.
  @usableFromInline
  func after(_ batch: QueueWriter.Batch) -> QueueError { after(batch.count + appended) }

  /// This error, behind so many records of a batch that landed.
  func after(_ appended: Int) -> QueueError {
    var error = self
    error.appended = appended
    return error
  }
}
