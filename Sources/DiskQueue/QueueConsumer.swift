// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Reads a topic from a durable position with a name: every record at least once, across restarts,
/// crashes and power cuts.
///
/// ```swift
/// let uploader = try QueueConsumer(topic: "sensors", name: "uploader") { print($0) }
/// for try await batch in uploader.batches(upTo: 500) {
///   try await upload(batch)
///   try await batch.acknowledge()
/// }
/// ```
///
/// What was acknowledged is not delivered again once the call returned; what was not is delivered
/// again to the next holder of the name. The cursor is never durable before the records behind it.
/// A consumer that was overtaken, because records were cleaned or discarded before it came to them,
/// is told so with their number, and goes on.
///
/// One consumer holds a name at a time, in all processes; it may be shared among tasks and threads,
/// and each record goes to one of its iterators. All disk work runs on a thread of its own.
public final class QueueConsumer: Sendable {
  /// Bounds of memory, permissions, and where to put what cannot be processed. Each default says why
  /// it is one; a value out of its bounds is refused by `init` with `invalidOption`.
  public struct Options: Sendable {
    /// The largest payload that is held in memory. The consumer stops before a record with a larger
    /// one, which is never acknowledged undelivered: every call for more throws `payloadTooLarge`,
    /// until ``QueueConsumer/deadLetterOversized(at:upTo:reason:)`` puts the record aside, or the
    /// consumer is opened with a higher limit. 0 bytes to 4 GiB less 17 bytes; 16 MiB by default, as the writer's.
    public var maximumPayload: ByteCount = .bytes(Int64(Limits.defaultMaximumPayload))

    /// How much is read at once. 4 KiB to 1 GiB; 256 KiB by default, as the reader's. Grows to the
    /// largest record met.
    public var bufferSize: ByteCount = .kibibytes(256)

    /// A batch ends before its records, with 8 bytes each for their headers, would exceed this; a
    /// larger record is a batch by itself. 1 byte to 1 GiB; 4 MiB by default: enough to be worth a
    /// request over a network, and little to hold in memory.
    public var maximumBatchBytes: ByteCount = .mebibytes(4)

    /// How many stretches of records that are acknowledged may be held behind one that is not. At
    /// the bound no more batches are delivered until the cursor moves; an acknowledgement is never
    /// refused. 1 to 1,048,576; 4,096 by default, 100 KiB of memory.
    public var maximumOutOfOrder = 4096

    /// Permission bits of the directory of a topic that is made for records put aside, unless it takes
    /// after the topic. 0700 by default. The consumers' directory has those of the topic's directory.
    public var directoryPermissions: UInt16 = 0o700

    /// Permission bits of the cursor's file, if it is made in a topic without slabs. 0600 by default.
    /// Otherwise it has those of the newest slab.
    public var filePermissions: UInt16 = 0o600

    /// The topic that records are put aside to; nil, the default, for one beside the topic, whose
    /// name is the topic's with `.dead` behind it. It cannot be the topic itself, and has to be set
    /// where the topic is in memory, or its path ends in `.` or `..`.
    public var deadLetters: Topic?

    /// The defaults.
    public init() {}

    /// - Throws: `invalidOption`, with the bounds.
    public func validate() throws(QueueError) {
      try Limits.check(maximumPayload, Limits.maximumPayload, "maximumPayload")
      try Limits.check(bufferSize, Limits.bufferSize, "bufferSize")
      try Limits.check(maximumBatchBytes, Limits.batchBytes, "maximumBatchBytes")
      guard Limits.outOfOrder.contains(maximumOutOfOrder) else {
        throw .invalidOption(
          "maximumOutOfOrder is \(maximumOutOfOrder), and must be from"
            + " \(Limits.outOfOrder.lowerBound) to \(Limits.outOfOrder.upperBound)")
      }
      guard directoryPermissions <= 0o777, filePermissions <= 0o777 else {
        throw .invalidOption("permissions are bits from 0 to 0o777")
      }
    }

    var permissions: FilePermissions {
      FilePermissions(directories: directoryPermissions, files: filePermissions)
    }
  }

  /// What it was opened with.
  public let topic: Topic

  /// The topic, and that of records put aside, whatever the working directory is later.
  private let place: Topic
  private let deadLetterPlace: Topic?

  /// What it was opened with.
  public let name: String

  let core: ConsumerCore
  private let options: Options
  private let onLoss: (@Sendable (Loss) -> Void)?

  /// Opens a consumer, or makes it: its cursor is durable before this returns. Blocks for the syncs
  /// that this takes.
  ///
  /// - Parameters:
  ///   - topic: what to consume; it has to be there.
  ///   - name: 1 to 64 of `A-Z a-z 0-9 _ - .`, not beginning with a dot.
  ///   - start: where a new consumer begins; the earliest record by default. One that exists goes on
  ///     where it was.
  ///   - options: bounds of memory, permissions, where to put records aside.
  ///   - onLoss: with it, every loss is handed to it and delivery goes on; without, it is thrown once
  ///     by the next batch, as ``QueueError/loss``. It is called by the task that asks for a batch.
  /// - Throws: `locked` while the name is held, in this process or another; `damagedCursor`,
  ///   `unsupportedFormat` (a newer version's, or another topic's cursor), `invalidOption`,
  ///   `noSuchTopic`, `notATopic`, `noSpace`, `syncFailed`, `system`; `notARecord` and
  ///   `beyondLatest` for a position that is none. After an error nothing is open or locked, and no
  ///   new file is left.
  /// - Complexity: as of a reader that starts at an address.
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
        "deadLetters is the consumer's own topic, where what is put aside would be delivered again:"
          + " set it to another one")
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

  // MARK: Position

  /// Where the next holder of the name would go on: everything below it is acknowledged, durably.
  public var position: Address { Address(rawValue: core.durable.address) }

  /// How many records the topic took before `position`.
  public var ordinal: UInt64 { core.durable.ordinal }

  /// Goes elsewhere, durably, also to records that were acknowledged, or past some that were not.
  /// All that was handed out before is void: acknowledging it later does nothing. To have what was
  /// handed out and not acknowledged delivered again, reset to `.address(position)`.
  ///
  /// - Throws: `notARecord` and `beyondLatest` for a position that is none, `noSpace`, `system`:
  ///   nothing has changed then. `syncFailed`, `fileRemoved` and `closed` for good.
  public func reset(to position: Topic.Position) async throws(QueueError) {
    try await core.onThread { core throws(QueueError) in try core.reset(to: position) }
  }

  // MARK: Batches

  /// The batches from where the consumer stands on.
  ///
  /// Several iterators, of one sequence or more, share the records: each goes to one of them.
  ///
  /// - Parameters:
  ///   - count: how many records a batch has at most; at least 1.
  ///   - following: whether to wait for more at the end of the log, by wake-up; else the iteration
  ///     ends there.
  public func batches(upTo count: Int, following: Bool = true) -> Batches {
    Batches(consumer: self, count: count, following: following)
  }

  /// The next batch: of as many records as there are, up to `count`; nil at the end of the log,
  /// where nothing is followed.
  ///
  /// - Throws: a loss once, if no closure takes it; delivery goes on after it. `payloadTooLarge` each
  ///   time the next record is above the limit: all before it were delivered, and none after it are
  ///   until it is put aside. `cancelled` where the task is: no record is lost by
  ///   it. `system` and `unsupportedFormat` until their cause is gone. `closed`, and `syncFailed`
  ///   and `fileRemoved` for good. What failed in writing a cursor that nobody waited for is thrown once.
  public func nextBatch(
    upTo count: Int, following: Bool = true
  ) async throws(QueueError) -> Batch? {
    let next = try await core.next(upTo: count, following: following, onLoss: onLoss)
    return next.map { Batch(consumer: self, $0) }
  }

  /// Batches, to loop over.
  public struct Batches: AsyncSequence, Sendable {
    public typealias Element = Batch
    public typealias Failure = QueueError

    fileprivate let consumer: QueueConsumer
    fileprivate let count: Int
    fileprivate let following: Bool

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(batches: self) }

    public struct AsyncIterator: AsyncIteratorProtocol {
      fileprivate let batches: Batches

      /// The next batch; see ``QueueConsumer/nextBatch(upTo:following:)``.
      ///
      /// - Throws: as ``QueueConsumer/nextBatch(upTo:following:)``.
      public mutating func next(
        isolation actor: isolated (any Actor)? = #isolation
      ) async throws(QueueError) -> Batch? {
        try await batches.consumer.nextBatch(upTo: batches.count, following: batches.following)
      }
    }
  }

  // MARK: Records above the limit

  /// Puts aside the record above ``Options-swift.struct/maximumPayload`` that the consumer stands
  /// before, as ``Batch/deadLetter(_:reason:)-(Int,String)`` does a record that was delivered. It takes the
  /// record's bytes in memory, up to `maximumPayload`, for as long as the call runs.
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
  ///   - address: the record's, as the error `payloadTooLarge` names it.
  ///   - maximumPayload: the most bytes that the record may have.
  ///   - reason: for people; cut where it is longer than 65,535 bytes.
  /// - Returns: the address it has in the topic for records put aside.
  /// - Throws: `payloadTooLarge` if it is above `maximumPayload` as well; `invalidOption` if the
  ///   consumer does not stand before such a record at this address; as
  ///   ``Batch/deadLetter(_:reason:)-(Int,String)``.
  /// - Complexity: O(payload).
  @discardableResult
  public func deadLetterOversized(
    at address: Address, upTo maximumPayload: ByteCount, reason: String
  ) async throws(QueueError) -> Address {
    let topic = try deadLetters()
    let aside = try await core.onThread { core throws(QueueError) in
      try core.putOversizedAside(at: address, upTo: maximumPayload, reason: reason, to: topic)
    }
    try await core.acknowledge([aside.acknowledged], session: aside.session)
    return aside.address
  }

  // MARK: Ending

  /// Makes durable what was acknowledged, and gives the name free. Closing a closed consumer does
  /// nothing, or throws again what ended it. What was handed out and not acknowledged is delivered
  /// to the next holder. Who waits for a batch is told `closed`.
  ///
  /// A consumer that is dropped, with all its batches, gives the name free as well, and loses
  /// nothing that an acknowledgement returned for.
  ///
  /// - Throws: `noSpace` and `system` where the cursor could not be written: the consumer stays
  ///   open, and `close` may be asked again. `syncFailed` and `fileRemoved`: it is closed.
  public func close() throws(QueueError) {
    try core.close()
    core.stopThread()
  }

  /// As the other `close`, without blocking the caller's thread.
  ///
  /// - Throws: as the other `close`.
  public func close() async throws(QueueError) {
    try await core.onThread { core throws(QueueError) in try core.close() }
    core.stopThread()
  }

  // MARK: For what is built upon it

  /// Begins to watch the topic before anything is waited for. Returns why changes are looked for a few
  /// times a second, or nil if the system reports them.
  package func beginWatching() throws(QueueError) -> QueueError? { try core.beginWatching() }

  /// Makes durable what was acknowledged so far.
  package func settle() throws(QueueError) { try core.writeNoted() }

  /// As the other `settle`, without blocking the caller's thread.
  package func settle() async throws(QueueError) {
    try await core.onThread { core throws(QueueError) in try core.writeNoted() }
  }

  /// Where records are put aside to.
  func deadLetters() throws(QueueError) -> Topic {
    if let deadLetterPlace { return deadLetterPlace }
    guard let path = place.trimmedPath else {
      throw .invalidOption(
        "there is no place beside a topic in memory: set deadLetters to the topic that records are"
          + " put aside to")
    }
    let last = path.split(separator: "/").last
    guard last != ".", last != ".." else {
      throw .invalidOption(
        "the topic's path, \(path), does not end in a name, and so there is none for a topic beside"
          + " it: set deadLetters to the topic that records are put aside to")
    }
    return Topic(path + ".dead")
  }
}
