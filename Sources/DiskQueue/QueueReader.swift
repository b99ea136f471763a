// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Walks a topic record by record and verifies every checksum.
///
/// ```swift
/// var reader = try QueueReader(topic: "sensors")
/// while let record = try reader.next() { parse(record.payload) }
/// ```
///
/// - A reader needs no lock and no write permission. Any number of readers, in any process, can
///   read while a writer writes and rolls and a cleaner removes slabs.
/// - A reader sees everything that was flushed. After a crash, until a writer has recovered the
///   topic, it may see records that recovery will discard. It then reports them as a loss.
/// - Memory does not grow with the topic. A reader holds one slab open and one buffer.
///   ``record(at:)`` holds up to 16 more slabs open, a second buffer, and 128 KiB.
/// - A reader has one owner, and its scope closes it. The owner may pass it to another task.
///   ``records(following:)`` and ``batches(upTo:following:)`` make sequences of it that tasks can
///   share.
// Sendable: the index, the buffer, the damage and the follower are changed without a lock. Each of
// them belongs to this reader alone, and every method that changes one has exclusive access to the
// reader.
public struct QueueReader: ~Copyable, @unchecked Sendable {
  /// The bounds of a reader's memory.
  ///
  /// ``QueueReader/init(topic:from:options:onLoss:)`` refuses a value that is out of its bounds
  /// with `invalidOption`.
  public struct Options: Sendable {
    /// The largest payload that the reader returns.
    ///
    /// It bounds the buffer. 16 MiB by default, as the writer's. It must be 0 bytes to 4 GiB less
    /// 17 bytes. A record with a larger payload is verified, reported once with `payloadTooLarge`,
    /// and skipped.
    public var maximumPayload: ByteCount

    /// The number of bytes that the reader reads at a time.
    ///
    /// 256 KiB by default. A larger buffer gains nothing when the page cache has the data. It must
    /// be 4 KiB to 1 GiB. The buffer grows to the largest record that was read.
    public var bufferSize: ByteCount

    /// Makes options. Every parameter has its default.
    ///
    /// - Parameters:
    ///   - maximumPayload: The largest payload that the reader returns. 16 MiB by default.
    ///   - bufferSize: The number of bytes that the reader reads at a time. 256 KiB by default.
    public init(
      maximumPayload: ByteCount = .mebibytes(16), bufferSize: ByteCount = .kibibytes(256)
    ) {
      self.maximumPayload = maximumPayload
      self.bufferSize = bufferSize
    }

    /// Checks that all values are within their bounds.
    ///
    /// - Throws: `invalidOption`, with the bounds.
    public func validate() throws(QueueError) {
      try Limits.check(maximumPayload, Limits.maximumPayload, "maximumPayload")
      try Limits.check(bufferSize, Limits.bufferSize, "bufferSize")
    }
  }

  /// The topic that this reader reads.
  public let topic: Topic
  @usableFromInline var walker: LogWalker
  var onLoss: (@Sendable (Loss) -> Void)?
  private let options: Options
  private let environment: Environment
  /// The lookup of `record(at:)`, which does not move the reader's position.
  var lookup: RecordLookup?
  /// Waits at the end of the log.
  let follower: Follower

  /// Opens a topic for reading.
  ///
  /// - Parameters:
  ///   - topic: The topic to read. It must exist: see ``Topic/waitUntilCreated()``.
  ///   - start: The position at which reading begins. The earliest record by default.
  ///   - options: The bounds of memory.
  ///   - onLoss: Receives every loss, and reading continues. Without it, each loss is thrown once
  ///     as ``QueueError/loss``, and the next call continues after it.
  /// - Throws: One of these codes:
  ///   - `beyondLatest` or `notARecord` if `start` is not a valid position.
  ///   - `noSuchTopic`, `notATopic`, `unsupportedFormat`, `invalidOption` or `system`.
  /// - Complexity: One listing of the directory and a few reads for `earliest`. Other positions add
  ///   a search of O(log slabs) reads, and a walk from the last mark before the position.
  public init(
    topic: Topic, from start: Topic.Position = .earliest, options: Options = .init(),
    onLoss: (@Sendable (Loss) -> Void)? = nil
  ) throws(QueueError) {
    try self.init(
      topic: topic, from: start, options: options, environment: .system, onLoss: onLoss)
  }

  package init(
    topic: Topic, from start: Topic.Position, options: Options, environment: Environment,
    onLoss: (@Sendable (Loss) -> Void)?
  ) throws(QueueError) {
    try options.validate()
    var walker = LogWalker(
      TopicIndex(try topic.openForReading()),
      payloadLimit: UInt32(clamping: options.maximumPayload.bytes),
      bufferSize: Int(options.bufferSize.bytes))
    try walker.seek(to: start, now: environment.now)
    follower = Follower(walker.index)
    self.walker = walker
    self.topic = topic
    self.options = options
    self.environment = environment
    self.onLoss = onLoss
  }

  /// The address at which the next call reads: that of the next record, or of a mark before it.
  public var position: Address { Address(rawValue: walker.position) }

  /// Returns the next record, in the reader's buffer, or nil at the end of the log.
  ///
  /// After nil, call it again later, or wait with ``waitForMore()``.
  ///
  /// The reader lends the record until its next call. To keep it, use ``nextCopy()``, or
  /// ``BorrowedRecord/copy()``. To keep many, use ``nextBatch(upTo:)``. Without a copy, the
  /// compiler reports one of these errors:
  ///
  /// - *does not conform to protocol 'Escapable'*: an array or another generic type would store the
  ///   record. Store `record.copy()`.
  /// - *requires that 'BorrowedRecord' conform to 'Escapable'*: a method of `Optional` is called.
  ///   Use `if let`, `while let` or `nextCopy()`.
  /// - *overlapping accesses to 'reader'*: the record is used after another call of the reader. Get
  ///   it with `nextCopy()`.
  /// - *lifetime-dependent variable escapes its scope*: a function returns the record, or a closure
  ///   or a task captures it. Use `let kept = record.copy()` there.
  ///
  /// - Throws: One of these codes:
  ///   - A loss, once, if there is no closure for losses. The next call continues after it.
  ///   - `payloadTooLarge`, once, for a record above the reader's limit. The next call continues
  ///     after it.
  ///   - `unsupportedFormat` or `system` until its cause is gone. Nothing is skipped. A read error
  ///     is `system` and not damage.
  /// - Complexity: O(payload). It allocates only if the buffer must grow to a record, or a slab is
  ///   opened.
  // Inlined: a loop in another module then takes a fifth less time per buffered record. There is no
  // stack frame, and the result does not pass through memory.
  @_lifetime(&self)
  @inlinable
  @inline(__always)
  public mutating func next() throws(QueueError) -> BorrowedRecord? {
    if let record = walker.nextBuffered() { return record }
    return try nextSlowly()
  }

  /// The path of `next` if the buffer holds no sound record. It is a separate function, so that it
  /// takes no stack space and no registers in `next`.
  @_lifetime(&self)
  @usableFromInline
  @inline(never)
  mutating func nextSlowly() throws(QueueError) -> BorrowedRecord? {
    let changes = follower.changes
    while true {
      switch try walker.slowStep() {
      case .record(let address, let ordinal, let payload):
        return walker.record(address, ordinal, at: payload.lowerBound, payload.count)
      case .tooLarge(let address, let count):
        throw tooLarge(address, count)
      case .loss(let loss):
        try report(loss)
      case .end:
        follower.foundNothing(at: changes)
        return nil
      }
    }
  }

  /// Returns a copy of the next record, which you can keep. Otherwise it behaves like ``next()``.
  ///
  /// - Throws: As ``next()``.
  /// - Complexity: O(payload), with one allocation.
  public mutating func nextCopy() throws(QueueError) -> QueueRecord? { try next()?.copy() }

  /// Fills the buffer with the bytes after the position that are available without waiting for a
  /// disk. Returns false if the storage cannot report which bytes are available.
  mutating func loadWithoutWaiting() -> Bool { walker.loadWithoutWaiting() }

  /// Returns the record that starts at exactly this address. The reader's position does not move.
  ///
  /// - Throws: One of these codes:
  ///   - `notARecord` if no record starts there. The error's `address` is the start of the record
  ///     that contains the address, if there is one.
  ///   - `cleaned`, `damaged`, `beyondLatest` or `payloadTooLarge`.
  ///   - As ``next()``.
  /// - Complexity: A walk from the last mark before the address, 32 KiB on average.
  ///   - One read if an earlier call found that mark. Otherwise one to three reads and a search. In
  ///     the newest slab also a listing of the directory.
  ///   - The first call allocates a second buffer.
  ///   - The last 16 slabs that were read stay open, even if they are removed, until a call finds
  ///     the directory changed.
  @_lifetime(&self)
  public mutating func record(at address: Address) throws(QueueError) -> BorrowedRecord {
    makeLookup()
    try lookup!.seek(to: address, now: environment.now)
    switch try lookup!.walker.step() {
    case .record(let found, let ordinal, let payload):
      guard found == address.rawValue else { throw notARecord(address) }
      return lookup!.walker.record(found, ordinal, at: payload.lowerBound, payload.count)
    case .tooLarge(let found, let count):
      guard found == address.rawValue else { throw notARecord(address) }
      throw tooLarge(found, count)
    case .loss(let loss):
      throw .loss(loss, path: walker.index.path(of: loss), isLookup: true)
    case .end:
      throw QueueError(
        .beyondLatest,
        "address \(address) is the end of the topic: read it again after the next append",
        path: topic.description, address: lookup!.walker.position)
    }
  }

  mutating func makeLookup() {
    guard lookup == nil else { return }
    lookup = RecordLookup(
      TopicIndex(walker.index.storage), payloadLimit: walker.payloadLimit,
      bufferSize: Int(options.bufferSize.bytes))
  }

  private func report(_ loss: Loss) throws(QueueError) {
    guard let onLoss else { throw .loss(loss, path: walker.index.path(of: loss)) }
    onLoss(loss)
  }

  func tooLarge(_ address: UInt64, _ count: UInt64) -> QueueError {
    QueueError(
      .payloadTooLarge,
      "a record of \(ByteCount.words(count)) is above this reader's limit of"
        + " \(options.maximumPayload) and was skipped: raise maximumPayload to read it",
      path: walker.slab?.path, address: address)
  }

  private func notARecord(_ address: Address) -> QueueError {
    QueueError(
      .notARecord,
      "no record starts at address \(address): use an address that an append or a record gave",
      path: topic.description, address: address.rawValue)
  }
}

extension LogWalker {
  /// A record in the window. It is valid as long as nothing moves the walker.
  @_lifetime(borrow self)
  @inline(__always)
  func record(
    _ address: UInt64, _ ordinal: UInt64, at start: Int, _ length: Int
  ) -> BorrowedRecord {
    let bytes = Span<UInt8>(_bytes: window.bytes(length, at: start))
    return BorrowedRecord(
      address: Address(rawValue: address), ordinal: ordinal, payload: bytes)
  }
}
