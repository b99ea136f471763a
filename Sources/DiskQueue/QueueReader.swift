// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Walks a topic record by record and verifies every checksum.
///
/// A reader needs no write permission, blocks nobody and is blocked by nobody: any number, in any
/// process, while a writer writes, rolls and a cleaner removes slabs. It sees what was flushed.
/// Until a writer has recovered the topic after a crash, it may see records that recovery will
/// discard; it then says so. It holds one slab open and one buffer, and ``record(at:)`` up to 16 slabs
/// and another, and 128 KiB; memory does not grow with the topic. It has one owner, and its scope
/// closes it; it is not to be shared among threads.
///
/// ```swift
/// var reader = try QueueReader(topic: "sensors")
/// while let record = try reader.next() { parse(record.payload) }
/// ```
public struct QueueReader: ~Copyable {
  /// Bounds of memory; a value out of its own bounds is refused by `init` with `invalidOption`.
  public struct Options: Sendable {
    /// Records with a larger payload are verified, reported once with `payloadTooLarge`, and
    /// passed. It bounds the buffer. 0 bytes to 4 GiB less 17 bytes; 16 MiB by default, as the
    /// writer's.
    public var maximumPayload: ByteCount = .bytes(Int64(Limits.defaultMaximumPayload))

    /// How much is read at once. 4 KiB to 1 GiB; 256 KiB by default, above which reading from the
    /// page cache gains nothing. Grows to the largest record met.
    public var bufferSize: ByteCount = .kibibytes(256)

    /// The defaults.
    public init() {}

    /// - Throws: `invalidOption`, with the bounds.
    public func validate() throws(QueueError) {
      try Limits.check(maximumPayload, Limits.maximumPayload, "maximumPayload")
      try Limits.check(bufferSize, Limits.bufferSize, "bufferSize")
    }
  }

  /// What it was opened with.
  public let topic: Topic
  @usableFromInline var walker: LogWalker
  var onLoss: ((Loss) -> Void)?
  private let options: Options
  private let environment: Environment
  /// For `record(at:)`, which leaves the position alone.
  var lookup: RecordLookup?
  /// For who waits at the end.
  let follower: Follower

  /// Opens a topic for reading.
  ///
  /// - Parameters:
  ///   - topic: what to read; it has to be there.
  ///   - start: where to begin; the earliest record by default.
  ///   - options: bounds of memory.
  ///   - onLoss: with it, every loss is handed to it and reading goes on; without, it is thrown
  ///     once as ``QueueError/loss``, and the next call goes on behind it.
  /// - Throws: `noSuchTopic`, `notATopic`, `unsupportedFormat`, `invalidOption`, `beyondLatest` and
  ///   `notARecord` for a position that is none, `system`.
  /// - Complexity: one listing of the directory and a few reads for `earliest`; for other positions
  ///   also a search of O(log slabs) reads, and a walk from the last mark before it.
  public init(
    topic: Topic, from start: Topic.Position = .earliest, options: Options = .init(),
    onLoss: ((Loss) -> Void)? = nil
  ) throws(QueueError) {
    try self.init(
      topic: topic, from: start, options: options, environment: .system, onLoss: onLoss)
  }

  package init(
    topic: Topic, from start: Topic.Position, options: Options, environment: Environment,
    onLoss: ((Loss) -> Void)?
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

  /// The address that the next call reads from: that of the next record, or of a mark before it.
  public var position: Address { Address(rawValue: walker.position) }

  /// The next record, in the reader's buffer, or nil at the end of the log: ask again later, or
  /// ``waitForMore()``.
  ///
  /// - Throws: a loss once, where no closure takes it; `payloadTooLarge` once for a record above
  ///   the reader's limit; the next call goes on behind either. `unsupportedFormat` and `system`
  ///   (also for a read error, which is not damage) until their cause is gone; nothing is skipped.
  /// - Complexity: O(payload); no allocation, but where the buffer grows to a record or a slab is
  ///   opened.
  // Inlined, a record that the buffer shows costs a loop in another module a fifth less: no frame on
  // the stack, and no way through memory for what is returned.
  @_lifetime(&self)
  @inlinable
  @inline(__always)
  public mutating func next() throws(QueueError) -> BorrowedRecord? {
    if let record = walker.nextBuffered() { return record }
    return try nextSlowly()
  }

  /// `next` where the buffer shows no sound record. Apart from it, so that it takes neither room on
  /// the stack nor registers there.
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

  /// The next record with its own bytes, to keep; as ``next()`` in all else.
  ///
  /// - Throws: as ``next()``.
  /// - Complexity: O(payload); one allocation.
  public mutating func nextCopy() throws(QueueError) -> QueueRecord? { try next()?.copy() }

  /// The next record where the buffer shows it; nil says nothing about the log.
  mutating func nextBufferedCopy() -> QueueRecord? { walker.nextBuffered()?.copy() }

  /// Has the buffer show what lies behind the position, as far as that is had without waiting for a
  /// disk. False: nobody can tell how far that is.
  mutating func loadWithoutWaiting() -> Bool { walker.loadWithoutWaiting() }

  /// The record that starts at exactly this address; the position does not move.
  ///
  /// - Throws: `notARecord` where none starts there: `address` of the error is that of the record it
  ///   lies in, if any; `beforeEarliest`, `damaged`, `beyondLatest`, `payloadTooLarge`; as `next`.
  /// - Complexity: a walk from the last mark before it, 32 KiB on the average; by one read where an
  ///   earlier call found that mark, else by one to three and a search; in the newest slab also a
  ///   listing of the directory. The first call takes a second buffer. The slabs of the last 16 that were looked into stay open, also if they are
  ///   removed, until a call finds the directory changed.
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
      throw .loss(loss, path: walker.index.path(of: loss))
    case .end:
      throw QueueError(
        .beyondLatest, "address \(address) lies at the end of the topic", path: topic.description,
        address: lookup!.walker.position)
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
      "a record of \(ByteCount.words(count)) is above this reader's limit of \(options.maximumPayload) and was"
        + " passed: raise maximumPayload to read it",
      path: walker.slab?.path, address: address)
  }

  private func notARecord(_ address: Address) -> QueueError {
    QueueError(
      .notARecord, "no record starts at address \(address)", path: topic.description,
      address: address.rawValue)
  }
}

extension LogWalker {
  /// A record in the window, for as long as nothing moves the walker.
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
