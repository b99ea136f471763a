// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Reads a topic from a durable position with a name.
///
/// It delivers every record at least once, across restarts, crashes and power cuts.
///
/// ```swift
/// let uploader = try QueueConsumer(topic: "sensors", name: "uploader") { print($0) }
/// for try await batch in uploader.batches(upTo: 500, following: true) {
///   try await upload(batch)
///   try await batch.acknowledge()
/// }
/// ```
///
/// - The records up to the first unacknowledged one are not delivered again, once the acknowledging
///   call has returned.
/// - The next holder of the name begins at the first unacknowledged record. It also receives the
///   records after it that were acknowledged out of order.
///   ``Options-swift.struct/maximumUnacknowledgedRecords`` bounds their number.
/// - The cursor never runs ahead of durable records: the records before it are synced first.
/// - If records were cleaned or discarded before the consumer reached them, it reports a loss with
///   their number and continues.
///
/// In all processes together, one consumer at a time holds a name. You can share it among tasks and
/// threads: each record goes to one of its iterators. Its asynchronous calls do their disk work on
/// the consumer's own thread.
public final class QueueConsumer: Sendable {
  /// The bounds of memory, the permissions, and the topic for dead letters of a consumer.
  ///
  /// ``QueueConsumer/init(topic:name:from:options:onLoss:)`` refuses a value that is out of its
  /// bounds with `invalidOption`.
  public struct Options: Sendable {
    /// The largest payload that the consumer holds in memory. 16 MiB by default, as the writer's.
    ///
    /// It must be 0 bytes to 4 GiB less 17 bytes. The consumer stops before a record with a larger
    /// payload, and never acknowledges it undelivered. Every call for the next batch then throws
    /// `payloadTooLarge`, until one of these happens:
    ///
    /// - ``QueueConsumer/deadLetterOversized(at:upTo:reason:)`` puts the record aside.
    /// - You open the consumer with a higher limit.
    public var maximumPayload: ByteCount

    /// The number of bytes that the consumer reads at a time. 256 KiB by default, as the reader's.
    ///
    /// It must be 4 KiB to 1 GiB. The buffer grows to the largest record that was read.
    public var bufferSize: ByteCount

    /// The largest size of a batch: its records, with 8 bytes each for their headers.
    ///
    /// 4 MiB by default. It must be 1 byte to 1 GiB. A larger record is a batch by itself. A batch
    /// of the default size is worth a request over a network, and needs little memory.
    public var maximumBatchBytes: ByteCount

    /// The number of ranges that may be acknowledged out of order.
    ///
    /// A range is a run of adjacent acknowledged records after an unacknowledged one. The
    /// consumer holds it in memory.
    ///
    /// 4,096 by default, which takes 100 KiB of memory. It must be 1 to 1,048,576. At the limit no
    /// more batches are delivered until the cursor moves. An acknowledgement is never refused.
    public var maximumOutOfOrderRanges: Int

    /// The number of delivered records from the first unacknowledged one on.
    ///
    /// This is the largest number of records that a stop repeats: with several workers, everything
    /// from the slowest worker's batch on. A crash also repeats the records whose acknowledgement
    /// was not durable yet. Records that were lost in between count as well.
    ///
    /// nil by default: no bound. It must be at least 1. A batch is cut so that it does not pass the
    /// bound. At the bound no more batches are delivered until the cursor moves, so a program that
    /// never acknowledges then waits for ever. Set it to several times the records that all workers
    /// process at a time, so that they seldom wait for the slowest one.
    public var maximumUnacknowledgedRecords: UInt64?

    /// The permissions of files and directories that the consumer creates.
    ///
    /// ``TopicPermissions/ownerOnly`` by default: payloads are private. They apply to two things:
    ///
    /// - The cursor's file in a topic without slabs. In a topic with slabs, it gets the permission
    ///   bits of the newest slab. The directory of the consumers gets those of the topic's
    ///   directory.
    /// - A new topic for dead letters, unless it is made beside this topic. It then gets this
    ///   topic's permissions.
    public var permissions: TopicPermissions

    /// The topic for dead letters.
    ///
    /// nil by default: ``Topic/deadLetters``, a topic beside this one with the suffix `.dead`. It
    /// must not be the consumer's own topic. Set it if the topic is in memory, or if its path ends
    /// in `.` or `..`.
    public var deadLetters: Topic?

    /// Makes options. Every parameter has its default.
    ///
    /// - Parameters:
    ///   - maximumPayload: The largest payload that the consumer delivers. 16 MiB by default.
    ///   - bufferSize: The number of bytes that the consumer reads at a time. 256 KiB by default.
    ///   - maximumBatchBytes: The number of bytes of the payloads in a batch. 4 MiB by default.
    ///   - maximumOutOfOrderRanges: The number of ranges that may be acknowledged out of order.
    ///     4,096 by default.
    ///   - maximumUnacknowledgedRecords: The number of delivered records from the first
    ///     unacknowledged one on. nil: no bound.
    ///   - permissions: The permissions of files and directories that the consumer creates.
    ///   - deadLetters: The topic for dead letters. nil: a topic beside this one, with the suffix
    ///     `.dead`.
    public init(
      maximumPayload: ByteCount = .mebibytes(16), bufferSize: ByteCount = .kibibytes(256),
      maximumBatchBytes: ByteCount = .mebibytes(4), maximumOutOfOrderRanges: Int = 4096,
      maximumUnacknowledgedRecords: UInt64? = nil,
      permissions: TopicPermissions = .ownerOnly, deadLetters: Topic? = nil
    ) {
      self.maximumPayload = maximumPayload
      self.bufferSize = bufferSize
      self.maximumBatchBytes = maximumBatchBytes
      self.maximumOutOfOrderRanges = maximumOutOfOrderRanges
      self.maximumUnacknowledgedRecords = maximumUnacknowledgedRecords
      self.permissions = permissions
      self.deadLetters = deadLetters
    }

    /// Checks that all values are within their bounds.
    ///
    /// - Throws: `invalidOption`, with the bounds.
    public func validate() throws(QueueError) {
      try Limits.check(maximumPayload, Limits.maximumPayload, "maximumPayload")
      try Limits.check(bufferSize, Limits.bufferSize, "bufferSize")
      try Limits.check(maximumBatchBytes, Limits.batchBytes, "maximumBatchBytes")
      guard Limits.outOfOrder.contains(maximumOutOfOrderRanges) else {
        throw .invalidOption(
          "maximumOutOfOrderRanges is \(maximumOutOfOrderRanges), and must be from"
            + " \(Limits.outOfOrder.lowerBound) to \(Limits.outOfOrder.upperBound)")
      }
      guard maximumUnacknowledgedRecords != 0 else {
        throw .invalidOption("maximumUnacknowledgedRecords is 0, and must be 1 or more")
      }
      try permissions.validate()
    }
  }

  /// The topic that this consumer reads.
  public let topic: Topic

  /// The topic and the topic for dead letters, independent of later working directories.
  private let place: Topic
  private let deadLetterPlace: Topic?

  /// The name that this consumer holds.
  public let name: String

  let core: ConsumerCore
  private let options: Options
  private let onLoss: (@Sendable (Loss) -> Void)?

  /// Opens a consumer, or creates it.
  ///
  /// Its cursor is durable before this returns. Blocks the thread for the necessary syncs.
  ///
  /// - Parameters:
  ///   - topic: The topic to consume. It must exist: see ``Topic/waitUntilCreated()``.
  ///   - name: 1 to 64 of `A-Z a-z 0-9 _ - .`, not beginning with a dot.
  ///   - start: The position at which a new consumer begins. The earliest record by default. An
  ///     existing consumer continues at its cursor.
  ///   - options: The bounds of memory, the permissions, and the topic for dead letters.
  ///   - onLoss: Receives every loss, and delivery continues. It is called by the task that asks
  ///     for a batch. Without it, the next batch throws each loss once, as ``QueueError/loss``.
  /// - Throws: One of these codes. After an error nothing is open or locked, and no new file is
  ///   left.
  ///   - `locked` while another consumer holds the name, in this process or another.
  ///   - `damagedCursor`.
  ///   - `unsupportedFormat` if the cursor is a newer version's, or another topic's.
  ///   - `notARecord` or `beyondLatest` if `start` is not a valid position.
  ///   - `invalidOption`, `noSuchTopic`, `notATopic`, `noSpace`, `syncFailed`, `fileRemoved` or
  ///     `system`.
  /// - Complexity: As of a reader that starts at an address.
  public convenience init(
    topic: Topic, name: String, from start: Topic.Position = .earliest,
    options: Options = .init(), onLoss: (@Sendable (Loss) -> Void)? = nil
  ) throws(QueueError) {
    try self.init(
      topic: topic, name: name, from: start, options: options, environment: .system,
      onLoss: onLoss)
  }

  package init(
    topic: Topic, name: String, from start: Topic.Position, options: Options,
    environment: Environment, onLoss: (@Sendable (Loss) -> Void)?
  ) throws(QueueError) {
    try options.validate()
    _ = try CursorFile.fileName(name)
    if let deadLetters = options.deadLetters, deadLetters.isSame(as: topic) {
      throw .invalidOption(
        "deadLetters is the consumer's own topic, so dead letters would be delivered again: set it"
          + " to another topic")
    }
    self.topic = topic
    place = topic.anchored()
    deadLetterPlace = options.deadLetters?.anchored()
    self.name = name
    self.options = options
    self.onLoss = onLoss
    core = try ConsumerCore(
      topic.openForReading(permissions: options.permissions), name: name, from: start,
      options: options, environment: environment)
  }

  deinit { core.abandon() }

  /// The error that permanently ended this consumer, or nil while it works.
  ///
  /// Every later call throws it. This property looks at no file.
  public var failure: QueueError? { core.failure }

  // MARK: Position

  /// The position at which the next holder of the name would continue.
  ///
  /// Everything below it is durably acknowledged.
  public var position: Address { Address(rawValue: core.durable.address) }

  /// The number of records that the topic took before ``position``.
  public var ordinal: UInt64 { core.durable.ordinal }

  /// Moves the consumer to another position, durably.
  ///
  /// The position may be before acknowledged records or after unacknowledged ones. All batches that
  /// were delivered before become void: acknowledging them later does nothing. To have the
  /// unacknowledged records delivered again, reset to `.address(position)`.
  ///
  /// - Throws: One of these codes:
  ///   - `notARecord` or `beyondLatest` if the position is not valid. `noSpace` or `system`.
  ///     Nothing has changed then.
  ///   - `syncFailed`, `fileRemoved` or `closed` permanently.
  public func reset(to position: Topic.Position) async throws(QueueError) {
    try await core.onThread { core throws(QueueError) in try core.reset(to: position) }
  }

  // MARK: Batches

  /// Returns the batches from the consumer's position on, as an asynchronous sequence.
  ///
  /// Several iterators, of one sequence or of several, share the records: each record goes to one
  /// of them.
  ///
  /// - Parameters:
  ///   - count: The largest number of records in a batch. At least 1.
  ///   - lingering: How long a batch waits to be filled. Not at all by default. See
  ///     ``nextBatch(upTo:lingering:following:)``.
  ///   - following: Whether to wait at the end of the log for more records, which wake the
  ///     consumer. false by default, as for a reader: the iteration ends there.
  public func batches(
    upTo count: Int, lingering: Duration = .zero, following: Bool = false
  ) -> Batches {
    Batches(consumer: self, count: count, lingering: lingering, following: following)
  }

  /// Returns the next batch, or nil at the end of the log unless `following` is true.
  ///
  /// Without `lingering`, a batch has as many records as there are, up to `count`. If records come
  /// one at a time, each is a batch of its own. With `lingering`, the call waits for more of them
  /// at the end of the log. Each flush of a writer wakes it. It returns the batch as soon as one of
  /// these is true:
  ///
  /// - The batch has `count` records, or ``Options-swift.struct/maximumBatchBytes``.
  /// - The time `lingering` has passed since the consumer found the first record of the batch.
  /// - No more records can be added: the next one is above the limit, an error stops the reading,
  ///   or the topic was removed.
  ///
  /// A loss is reported at once. If the wait ends with an error or by cancellation, its records
  /// come with the next call. That call waits for the rest of the time. The records are shared:
  /// another call may take them meanwhile, and need not wait for that.
  ///
  /// - Parameters:
  ///   - count: The largest number of records in a batch. At least 1.
  ///   - lingering: The longest time to wait for a batch to be filled, after its first record was
  ///     found. `.zero` by default, so a record is never delayed.
  ///   - following: Whether to wait at the end of the log for the first record of a batch. false
  ///     by default.
  /// - Throws: One of these codes:
  ///   - A loss, once, if there is no closure for losses. Delivery continues after it.
  ///   - `payloadTooLarge` each time that the next record is above the limit. All records before it
  ///     were delivered. No record after it is delivered until it is put aside.
  ///   - `cancelled`, immediately, if the task is cancelled. No record is lost by that.
  ///   - `system` or `unsupportedFormat` until its cause is gone.
  ///   - `syncFailed`, `fileRemoved` or `closed` permanently, and `noSuchTopic` if the topic was
  ///     removed.
  ///   - `invalidOption` if `count` is below 1.
  ///   - The error of a write of the cursor for which no call waited, once.
  public func nextBatch(
    upTo count: Int, lingering: Duration = .zero, following: Bool = false
  ) async throws(QueueError) -> Batch? {
    try await nextBatch(upTo: count, lingering, following ? .forever : .no)
  }

  /// Returns the next batch, or nil if no record came within a time.
  ///
  /// At the end of the log it waits for the first record of a batch. Otherwise it behaves like
  /// ``nextBatch(upTo:lingering:following:)``.
  ///
  /// - Parameters:
  ///   - count: The largest number of records in a batch. At least 1.
  ///   - lingering: The longest time to wait for a batch to be filled, after its first record was
  ///     found. `.zero` by default. It is not part of `timeout`.
  ///   - timeout: The longest time to wait for the first record of a batch.
  /// - Throws: As ``nextBatch(upTo:lingering:following:)``.
  public func nextBatch(
    upTo count: Int, lingering: Duration = .zero, timeout: Duration
  ) async throws(QueueError) -> Batch? {
    try await nextBatch(upTo: count, lingering, .atMost(timeout))
  }

  private func nextBatch(
    upTo count: Int, _ lingering: Duration, _ following: ConsumerCore.Following
  ) async throws(QueueError) -> Batch? {
    let next = try await core.next(
      upTo: count, lingering: lingering, following: following, onLoss: onLoss)
    return next.map { Batch(consumer: self, $0) }
  }

  /// The batches of a consumer, to iterate over.
  public struct Batches: AsyncSequence, Sendable {
    /// The sequence consists of batches.
    public typealias Element = Batch
    /// Every error of the sequence is a ``QueueError``.
    public typealias Failure = QueueError

    let consumer: QueueConsumer
    fileprivate let count: Int
    fileprivate let lingering: Duration
    fileprivate let following: Bool

    /// Makes an iterator. Several iterators share the records: each record goes to one of them.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(batches: self) }

    /// Iterates over the batches of a consumer.
    public struct AsyncIterator: AsyncIteratorProtocol {
      fileprivate let batches: Batches

      /// Returns the next batch.
      ///
      /// It behaves like ``QueueConsumer/nextBatch(upTo:lingering:following:)``.
      ///
      /// - Throws: As ``QueueConsumer/nextBatch(upTo:lingering:following:)``.
      public mutating func next(
        isolation actor: isolated (any Actor)? = #isolation
      ) async throws(QueueError) -> Batch? {
        try await batches.consumer.nextBatch(
          upTo: batches.count, lingering: batches.lingering, following: batches.following)
      }
    }
  }

  // MARK: Dead letters

  /// The topic to which this consumer puts records aside.
  ///
  /// It is ``Options-swift.struct/deadLetters``, or by default ``Topic/deadLetters`` of the topic.
  /// It may not exist: the consumer creates it for the first dead letter. A relative path was
  /// resolved when the consumer was opened.
  ///
  /// - Throws: `invalidOption` if the option is nil, and the topic is in memory or its path does
  ///   not end in a name.
  public var deadLetters: Topic {
    get throws(QueueError) {
      if let deadLetterPlace { return deadLetterPlace }
      return try place.deadLetters
    }
  }

  /// Puts aside the record above the limit before which the consumer has stopped.
  ///
  /// The limit is ``Options-swift.struct/maximumPayload``. It does with this record what
  /// ``Batch/deadLetter(_:reason:)-(Int,String)`` does with a delivered one. During the call it
  /// holds the record's bytes in memory, up to `maximumPayload`.
  ///
  /// ```swift
  /// do throws(QueueError) {
  ///   let batch = try await consumer.nextBatch(upTo: 500)
  ///   try await batch?.acknowledge()
  /// } catch {
  ///   guard error.code == .payloadTooLarge, let address = error.address else { throw error }
  ///   try await consumer.deadLetterOversized(at: address, upTo: .gibibytes(1), reason: "large")
  /// }
  /// ```
  ///
  /// - Parameters:
  ///   - address: The record's address, as the error `payloadTooLarge` states it.
  ///   - maximumPayload: The largest number of bytes that the record may have.
  ///   - reason: A text for people. It is cut after 65,535 bytes.
  /// - Returns: The record's address in the topic for dead letters.
  /// - Throws: One of these codes:
  ///   - `payloadTooLarge` if the record is above `maximumPayload` as well.
  ///   - `invalidOption` if the consumer has not stopped before such a record at this address.
  ///   - As ``Batch/deadLetter(_:reason:)-(Int,String)``.
  /// - Complexity: O(payload).
  @discardableResult
  public func deadLetterOversized(
    at address: Address, upTo maximumPayload: ByteCount, reason: String
  ) async throws(QueueError) -> Address {
    let topic = try deadLetters
    let aside = try await core.onThread { core throws(QueueError) in
      try core.putOversizedAside(at: address, upTo: maximumPayload, reason: reason, to: topic)
    }
    try await core.acknowledge([aside.acknowledged], session: aside.session)
    return aside.address
  }

  // MARK: Settling and ending

  /// Makes all acknowledgements so far durable. Blocks the thread for the necessary syncs.
  ///
  /// Use it after ``Batch/acknowledge(within:)``, or after a call of `acknowledge()` that was
  /// cancelled. An acknowledgement out of order stays in memory until the cursor reaches it, and
  /// this call does not wait for that. If nothing is left to write, it does nothing.
  ///
  /// - Throws: One of these codes:
  ///   - `noSpace` or `system` if the cursor could not be written. Retry.
  ///   - `syncFailed`, `fileRemoved` or `closed` permanently.
  /// - Complexity: As `acknowledge()` of a ``Batch``.
  public func settle() throws(QueueError) { try core.writeNoted() }

  /// Makes all acknowledgements so far durable, without blocking the caller's thread.
  ///
  /// - Throws: As the synchronous `settle`.
  public func settle() async throws(QueueError) {
    try await core.onThread { core throws(QueueError) in try core.writeNoted() }
  }

  /// Makes all acknowledgements up to the first unacknowledged record durable, and releases the
  /// name.
  ///
  /// The next holder of the name begins at the first unacknowledged record. The acknowledgements
  /// after that record end with this consumer, so their records are delivered again, too.
  /// ``Options-swift.struct/maximumUnacknowledgedRecords`` bounds their number.
  ///
  /// A task that waits for a batch gets the error `closed`. Closing a closed consumer does nothing.
  /// If an error ended the consumer, it throws that error again.
  ///
  /// A consumer that is dropped, with all its batches, also releases the name. It loses no
  /// acknowledgement that it would keep if it were closed, and whose call has returned.
  ///
  /// - Throws: One of these codes:
  ///   - `noSpace` or `system` if the cursor could not be written. The consumer stays open. Retry
  ///     `close`.
  ///   - `syncFailed` or `fileRemoved`. The consumer is closed.
  public func close() throws(QueueError) {
    try core.close()
    core.stopThread()
  }

  /// Closes the consumer without blocking the caller's thread.
  ///
  /// - Throws: As the synchronous `close`.
  public func close() async throws(QueueError) {
    try await core.onThread { core throws(QueueError) in try core.close() }
    core.stopThread()
  }

  // MARK: For types that are built on this one

  /// Begins to watch the topic before anything waits. Returns the reason for polling, or nil if the
  /// operating system reports changes.
  package func beginWatching() throws(QueueError) -> QueueError? { try core.beginWatching() }
}
