// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// An asynchronous sequence on disk.
///
/// One task sends messages, and another receives them in order, also in the next run of the
/// program.
///
/// ```swift
/// let channel = try DiskChannel(topic: "work")
/// try await channel.send(reading)
/// for try await message in channel {
///   try await handle(message.payload)
///   try message.acknowledge()
/// }
/// ```
///
/// A channel consists of a ``QueueWriter``, a ``QueueConsumer`` named `channel`, and a cleaner. The
/// cleaner removes the slabs that all consumers of the topic have acknowledged.
///
/// - Every message is delivered at least once. Messages that were not acknowledged when the program
///   ended are delivered first in the next run.
/// - Memory is bounded by the buffers and one batch, regardless of the number of messages on the
///   disk.
/// - Any number of tasks may send and receive. Each message goes to one receiver.
/// - In all processes together, one channel at a time has a topic open.
public final class DiskChannel: AsyncSequence, Sendable {
  /// The sequence consists of messages.
  public typealias Element = Message
  /// Every error of a channel is a ``QueueError``.
  public typealias Failure = QueueError

  /// The name of the channel's consumer.
  public static let consumerName = "channel"

  /// How a channel writes and reads.
  ///
  /// ``DiskChannel/init(topic:options:onLoss:)`` refuses a value that is out of its bounds with
  /// `invalidOption`.
  public struct Options: Sendable {
    /// The options of the channel's writer. The defaults are a writer's own, with these exceptions:
    ///
    /// - `maximumBytes` is 1 GiB, and `whenFull` is `wait`: at the cap, `send` waits until messages
    ///   are acknowledged.
    /// - `slabSize`, if it is nil, is at most 16 MiB rather than 64 MiB. That amount must be
    ///   acknowledged before room comes back. Under a cap of less than 256 MiB it is a sixteenth of
    ///   the cap.
    /// - `flushEvery` is `never`, because ``ensuring`` determines when messages are flushed.
    public var writer: QueueWriter.Options

    /// The options of the channel's consumer.
    ///
    /// The defaults are a consumer's own, except that a batch is at most 256 KiB. That bounds the
    /// messages that the channel holds in memory. A larger message is a batch by itself.
    public var consumer: QueueConsumer.Options

    /// The level that a message has reached when `send` returns. ``Durability/flushed`` by default.
    ///
    /// - ``Durability/flushed`` survives the end of the program.
    /// - ``Durability/synced`` survives a power cut as well. Senders at the same time share a sync.
    /// - ``Durability/buffered`` is for messages that may be lost with the program.
    public var ensuring: Durability

    /// The longest time until an acknowledgement is durable. 100 ms by default.
    ///
    /// It must be at least a microsecond. All acknowledgements during this time share one write. So
    /// the default causes at most ten writes a second. After a crash, the messages acknowledged in
    /// the last 100 ms are delivered again.
    ///
    /// An acknowledgement out of order stays in memory until all messages before it are
    /// acknowledged. The delay begins then.
    public var acknowledgementDelay: Duration

    /// Makes options. Every parameter has its default.
    ///
    /// ``writer`` and ``consumer`` differ from the defaults of a writer and of a consumer. So
    /// change their properties, rather than replace them:
    ///
    /// ```swift
    /// var options = DiskChannel.Options(ensuring: .synced)
    /// options.writer.maximumBytes = .mebibytes(10)
    /// ```
    ///
    /// - Parameters:
    ///   - writer: The options of the channel's writer. nil: those that ``writer`` lists.
    ///   - consumer: The options of the channel's consumer. nil: those that ``consumer`` lists.
    ///   - ensuring: The level that a message has reached when `send` returns.
    ///   - acknowledgementDelay: The longest time until an acknowledgement is durable. 100 ms by
    ///     default.
    public init(
      writer: QueueWriter.Options? = nil, consumer: QueueConsumer.Options? = nil,
      ensuring: Durability = .flushed, acknowledgementDelay: Duration = .milliseconds(100)
    ) {
      self.writer =
        writer
        ?? QueueWriter.Options(
          flushEvery: .never, maximumBytes: .gibibytes(1), whenFull: .wait)
      self.consumer = consumer ?? QueueConsumer.Options(maximumBatchBytes: .kibibytes(256))
      self.ensuring = ensuring
      self.acknowledgementDelay = acknowledgementDelay
    }

    /// Checks that all values are within their bounds.
    ///
    /// - Throws: `invalidOption`, with the bounds.
    public func validate() throws(QueueError) {
      try writer.validate()
      try consumer.validate()
      guard acknowledgementDelay >= .microseconds(1) else {
        throw .invalidOption(
          "acknowledgementDelay is \(acknowledgementDelay.words), and must be a microsecond or more"
        )
      }
    }
  }

  /// The topic that stores the messages.
  public let topic: Topic

  /// The state in which opening found the topic, and what recovery did.
  public var recovery: RecoveryReport { core.writer.recovery }

  package var writer: QueueWriter { core.writer }

  /// What the channel's writer has done so far.
  ///
  /// - Complexity: As ``QueueWriter/statistics``.
  public var statistics: QueueWriter.Statistics { core.writer.statistics }

  /// The error that permanently ended the channel's writer or consumer, or nil while both work.
  ///
  /// This property looks at no file.
  public var failure: QueueError? { core.failure }

  let core: ChannelCore

  /// Opens a channel.
  ///
  /// Creates its topic if it does not exist. Blocks the thread for the necessary syncs.
  ///
  /// - Parameters:
  ///   - topic: The topic that stores the messages: a directory, or memory.
  ///   - options: How the channel writes and reads, and the level that `send` reaches.
  ///   - onLoss: Receives every loss, and receiving continues. Without it, each loss is thrown once
  ///     to a receiver, as ``QueueError/loss``.
  /// - Throws: The errors of opening a ``QueueWriter`` and a ``QueueConsumer``. After an error
  ///   nothing is open or locked.
  public convenience init(
    topic: Topic, options: Options = .init(), onLoss: (@Sendable (Loss) -> Void)? = nil
  ) throws(QueueError) {
    try self.init(topic: topic, options: options, environment: .system, onLoss: onLoss)
  }

  package init(
    topic: Topic, options: Options, environment: Environment,
    onLoss: (@Sendable (Loss) -> Void)? = nil
  ) throws(QueueError) {
    try options.validate()
    self.topic = topic
    core = try ChannelCore(
      topic: topic, options: options, environment: environment, onLoss: onLoss)
  }

  // MARK: Sending

  /// Sends one message: a text, `[UInt8]`, a slice or a span.
  ///
  /// ``PayloadBytes`` lists the types. Any other collection of bytes, such as `Data`, is accepted
  /// as well. Suspends the task while the channel is full. Level reached: that of
  /// ``Options-swift.struct/ensuring``.
  ///
  /// - Throws: `closed` after ``finish()`` or ``close()``. Otherwise as
  ///   ``QueueWriter/append(_:ensuring:)-(Payload,_)``, whose ``QueueError/appended`` says whether
  ///   the message is in the channel. If the task is cancelled, the error is `cancelled`: with 0
  ///   while there was no room, and with 1 during the wait for a sync.
  /// - Complexity: As ``QueueWriter/append(_:ensuring:)-(Payload,_)``.
  @inlinable
  public func send<Payload: PayloadBytes & ~Copyable & ~Escapable>(
    _ payload: borrowing Payload
  ) async throws(QueueError) {
    let begun = try payload.withPayloadBytes { bytes throws(QueueError) in
      try beginSending(bytes)
    }
    try await finish(begun)
  }

  /// Sends one message from `Data` or another collection of bytes.
  ///
  /// Level reached: that of ``Options-swift.struct/ensuring``.
  ///
  /// - Throws: As ``send(_:)-(Payload)``.
  /// - Complexity: As ``send(_:)-(Payload)``. Bytes that are not contiguous need a temporary array.
  @inlinable
  @_disfavoredOverload
  public func send(_ payload: some Collection<UInt8>) async throws(QueueError) {
    let begun = try withBytes(of: payload) { bytes throws(QueueError) in try beginSending(bytes) }
    try await finish(begun)
  }

  @usableFromInline
  func beginSending(_ payload: RawSpan) throws(QueueError) -> QueueWriter.BegunAppend {
    try core.beginSending(payload)
  }

  @usableFromInline
  func finish(_ begun: QueueWriter.BegunAppend) async throws(QueueError) {
    try await core.finish(begun)
  }

  /// Ends sending. A receiving loop ends after it has received every message.
  ///
  /// If a `send` is still waiting, its message may be stored after that. The next run of the
  /// program then receives it. The next run can send again.
  public func finish() { core.finish() }

  // MARK: Receiving

  /// A received message: a record that owns its bytes. Acknowledge it after you have processed it.
  public struct Message: Sendable {
    /// The record that carried the message: address, ordinal and bytes.
    public let record: QueueRecord
    let delivery: ChannelCore.MessageInBatch
    let core: ChannelCore

    /// The bytes that were sent, verified against their checksum.
    public var payload: [UInt8] { record.payload }

    /// The payload as text, or nil if it is not valid UTF-8. O(payload).
    public var text: String? { record.text }

    /// Acknowledges the message: it is not delivered again, once the acknowledgement is durable.
    ///
    /// This call does not wait for a disk. If all messages before this one are acknowledged, the
    /// acknowledgement is durable within
    /// ``DiskChannel/Options-swift.struct/acknowledgementDelay``, and when
    /// ``DiskChannel/settle()`` or ``DiskChannel/close()`` returns. You may acknowledge messages in
    /// any order. After a crash, a message is delivered again if one before it was not
    /// acknowledged.
    ///
    /// - Throws: One of these codes:
    ///   - `syncFailed`, `fileRemoved` or `closed` permanently.
    ///   - `noSpace` or `system`, once, if an earlier acknowledgement could not be written. Retry
    ///     this call.
    public func acknowledge() throws(QueueError) { try core.acknowledge(delivery) }

    /// Puts aside a message that cannot be processed, with a reason.
    ///
    /// It behaves like ``QueueConsumer/Batch/deadLetter(_:reason:)-(Int,String)``.
    ///
    /// - Parameter reason: A text for people. It is cut after 65,535 bytes.
    /// - Returns: The message's address in the topic for dead letters.
    /// - Throws: As ``QueueConsumer/Batch/deadLetter(_:reason:)-(Int,String)``.
    @discardableResult
    public func deadLetter(reason: String) async throws(QueueError) -> Address {
      try await core.deadLetter(delivery, reason: reason)
    }
  }

  /// Makes an iterator. Several iterators share the messages: each message goes to one of them.
  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(core: core) }

  /// Receives the messages of a channel.
  public struct AsyncIterator: AsyncIteratorProtocol {
    let core: ChannelCore

    /// Returns the next message. If there is none, the task waits until one wakes it.
    ///
    /// Returns nil after ``DiskChannel/finish()``, when every message was delivered.
    ///
    /// - Throws: One of these codes:
    ///   - A loss, once, if there is no closure for losses. The next call continues after it.
    ///   - `payloadTooLarge` each time that the next message is above the limit of
    ///     ``Options-swift.struct/consumer``, until
    ///     ``DiskChannel/deadLetterOversized(at:upTo:reason:)`` puts it aside.
    ///   - `cancelled`, immediately, if the task is cancelled. No message is lost by that.
    ///   - `noSpace` or `system` until its cause is gone.
    ///   - `syncFailed`, `fileRemoved` or `closed` permanently.
    public mutating func next(
      isolation actor: isolated (any Actor)? = #isolation
    ) async throws(QueueError) -> Message? { try await core.receive() }
  }

  /// Puts aside the next message if it is above the limit of ``Options-swift.struct/consumer``.
  ///
  /// It behaves like ``QueueConsumer/deadLetterOversized(at:upTo:reason:)``.
  ///
  /// - Parameters:
  ///   - address: The message's address, as the error `payloadTooLarge` states it.
  ///   - maximumPayload: The largest number of bytes that the message may have.
  ///   - reason: A text for people. It is cut after 65,535 bytes.
  /// - Returns: The message's address in the topic for dead letters.
  /// - Throws: As ``QueueConsumer/deadLetterOversized(at:upTo:reason:)``.
  @discardableResult
  public func deadLetterOversized(
    at address: Address, upTo maximumPayload: ByteCount, reason: String
  ) async throws(QueueError) -> Address {
    try await core.deadLetterOversized(at: address, upTo: maximumPayload, reason: reason)
  }

  // MARK: Settling and ending

  /// Makes all acknowledgements so far durable.
  ///
  /// ``Message/acknowledge()`` does not wait for a disk. This call waits for all of them. It does
  /// not wait for acknowledgements that follow an unacknowledged message.
  ///
  /// - Throws: As ``QueueConsumer/settle()-19x24``.
  public func settle() async throws(QueueError) { try await core.settle() }

  /// Makes all messages and acknowledgements durable, and closes the topic.
  ///
  /// Level reached: `synced`. A task that sends or receives gets the error `closed`. Unacknowledged
  /// messages are delivered in the next run.
  ///
  /// - Throws: As `close` of a ``QueueWriter`` and of a ``QueueConsumer``. Retry it in the cases in
  ///   which those can be retried.
  public func close() async throws(QueueError) { try await core.close() }
}
