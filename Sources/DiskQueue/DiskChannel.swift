// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A disk-backed asynchronous sequence: what one task sends, another receives, in order, also in the
/// next run of the program.
///
/// ```swift
/// let channel = try DiskChannel(topic: "work")
/// try await channel.send(reading)
/// for try await message in channel {
///   try await handle(message.payload)
///   try await message.acknowledge()
/// }
/// ```
///
/// It is a ``QueueWriter``, a ``QueueConsumer`` named `channel`, and a cleaner of the slabs that all
/// consumers of the topic have acknowledged. Memory is bounded by the buffers and a batch, whatever
/// waits on the disk. Every message is delivered at least once: what was not acknowledged when the
/// program ended is delivered again, first.
///
/// Any number of tasks may send and receive; each message goes to one receiver. One channel at a
/// time has a topic open, in all processes.
public final class DiskChannel: AsyncSequence, Sendable {
  public typealias Element = Message
  public typealias Failure = QueueError

  /// The name of its consumer.
  public static let consumerName = "channel"

  /// How it writes and reads. Each default says why it is one; a value out of its bounds is refused
  /// by `init` with `invalidOption`.
  public struct Options: Sendable {
    /// How messages are written. As a writer's own, but for these: at most 1 GiB, where `send` waits
    /// until something was acknowledged; slabs of 16 MiB, which is how much is acknowledged before
    /// room comes back; and nothing is flushed without being asked for, as ``ensuring`` says.
    public var writer: QueueWriter.Options

    /// How messages are read. As a consumer's own, but for batches of 256 KiB, and so for what is
    /// held in memory.
    public var consumer: QueueConsumer.Options

    /// The level that a message has reached when `send` returns. ``Durability/flushed`` by default:
    /// it survives the end of the program. ``Durability/synced`` survives a power cut as well, and
    /// senders at the same time share a sync; ``Durability/buffered`` is for messages that may be
    /// lost with the program.
    public var ensuring = Durability.flushed

    /// How soon at the latest an acknowledgement is durable: those that come meanwhile share one
    /// write. 100 ms by default: ten writes a second at most, and as much is delivered again after a
    /// crash. From a microsecond.
    public var acknowledgementDelay = Duration.milliseconds(100)

    /// The defaults.
    public init() {
      writer = QueueWriter.Options()
      writer.maximumBytes = .gibibytes(1)
      writer.whenFull = .wait
      writer.slabSize = .mebibytes(16)
      writer.flushEvery = .never
      consumer = QueueConsumer.Options()
      consumer.maximumBatchBytes = .kibibytes(256)
    }

    /// - Throws: `invalidOption`, with the bounds.
    public func validate() throws(QueueError) {
      try writer.validate()
      try consumer.validate()
      guard acknowledgementDelay >= .microseconds(1) else {
        throw .invalidOption(
          "acknowledgementDelay is \(acknowledgementDelay), and must be a microsecond or more")
      }
    }
  }

  /// What it was opened with.
  public let topic: Topic

  /// What opening the topic found, and what became of it.
  public var recovery: RecoveryReport { core.writer.recovery }

  package var writer: QueueWriter { core.writer }

  /// What its writer did so far.
  ///
  /// - Complexity: as ``QueueWriter/statistics``.
  public var statistics: QueueWriter.Statistics { core.writer.statistics }

  let core: ChannelCore

  /// Opens a channel; makes its topic if there is none. Blocks for the syncs that this takes.
  ///
  /// - Parameters:
  ///   - topic: where messages are kept: a directory, or memory.
  ///   - options: how it writes and reads, and the level that `send` reaches.
  ///   - onLoss: with it, every loss is handed to it and receiving goes on; without, it is thrown
  ///     once to a receiver, as ``QueueError/loss``.
  /// - Throws: what opening a ``QueueWriter`` and a ``QueueConsumer`` throws; after an error nothing
  ///   is open or locked.
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

  /// Sends one message; suspends the task while the channel is full. Level reached: that of
  /// ``Options-swift.struct/ensuring``.
  ///
  /// - Throws: `closed` behind `finish` or `close`; as ``QueueWriter/append(_:ensuring:)-(RawSpan,_)``,
  ///   whose ``QueueError/appended`` says whether the message is in the channel: `cancelled` with 0,
  ///   where the task was while there was no room, and with 1 while it waited for a sync.
  public func send(_ payload: RawSpan) async throws(QueueError) {
    try await core.send(payload)
  }

  /// Sends one message: `[UInt8]`, `Data`, a slice, any collection of bytes. Level reached: that of
  /// ``Options-swift.struct/ensuring``.
  ///
  /// - Throws: as ``send(_:)-(RawSpan)``.
  /// - Complexity: as ``send(_:)-(RawSpan)``, and an array.
  @inlinable
  public func send(_ payload: some Collection<UInt8>) async throws(QueueError) {
    try await send(bytes: Array(payload))
  }

  /// Sends one message: the text's UTF-8. Level reached: that of ``Options-swift.struct/ensuring``.
  ///
  /// - Throws: as ``send(_:)-(RawSpan)``.
  /// - Complexity: as ``send(_:)-(RawSpan)``, and an array.
  @inlinable
  public func send(_ text: some StringProtocol) async throws(QueueError) {
    try await send(bytes: Array(text.utf8))
  }

  @usableFromInline
  func send(bytes: [UInt8]) async throws(QueueError) {
    // Safe: a span of bytes is its bytes, and the array outlives the call.
    unsafe try await core.send(bytes.span.bytes)
  }

  /// No more is sent: a loop on the other side ends once it has seen everything. What a `send` was
  /// still waiting with comes in the next run of the program, which may send again.
  public func finish() { core.finish() }

  // MARK: Receiving

  /// A message: a record that owns its bytes, to be acknowledged.
  public struct Message: Sendable {
    /// The record that carried it: address, ordinal and bytes.
    public let record: QueueRecord
    let delivery: ChannelCore.Delivery
    let core: ChannelCore

    /// The bytes that were sent, verified against their checksum.
    public var payload: [UInt8] { record.payload }

    /// The payload as text, or nil where it is not UTF-8. O(payload).
    public var text: String? { record.text }

    /// Says that the message was done with: it is not delivered again, once that is durable, which
    /// is within ``DiskChannel/Options-swift.struct/acknowledgementDelay``; `close` sees to it, too.
    /// In any order, whatever was delivered before.
    ///
    /// - Throws: `closed`, and `syncFailed` and `fileRemoved` for good; `noSpace` and `system` where an earlier
    ///   acknowledgement could not be written, once: ask again.
    public func acknowledge() async throws(QueueError) { try core.acknowledge(delivery) }

    /// Puts a message aside that cannot be handled, with the reason: see
    /// ``QueueConsumer/Batch/deadLetter(_:reason:)-(Int,String)``.
    ///
    /// - Parameter reason: for people; cut where it is longer than 65,535 bytes.
    /// - Returns: the address it has there.
    /// - Throws: as ``QueueConsumer/Batch/deadLetter(_:reason:)-(Int,String)``.
    @discardableResult
    public func deadLetter(reason: String) async throws(QueueError) -> Address {
      try await delivery.batch.deadLetter(delivery.index, reason: reason)
    }
  }

  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(core: core) }

  public struct AsyncIterator: AsyncIteratorProtocol {
    let core: ChannelCore

    /// The next message; waits for one, by wake-up. nil: `finish` was called, and all was delivered.
    ///
    /// - Throws: a loss once, if no closure takes it: the next call goes on after it.
    ///   `payloadTooLarge` each time the next message is above the limit of
    ///   ``Options-swift.struct/consumer``, until ``DiskChannel/deadLetterOversized(at:upTo:reason:)``
    ///   puts it aside. `cancelled` at once where the task
    ///   is: no message is lost by it. `closed`; `syncFailed` for good; `system`.
    public mutating func next(
      isolation actor: isolated (any Actor)? = #isolation
    ) async throws(QueueError) -> Message? { try await core.receive() }
  }

  /// Puts aside the message above the limit of ``Options-swift.struct/consumer`` that comes next: see
  /// ``QueueConsumer/deadLetterOversized(at:upTo:reason:)``.
  ///
  /// - Parameters:
  ///   - address: the message's, as the error `payloadTooLarge` names it.
  ///   - maximumPayload: the most bytes that the message may have.
  ///   - reason: for people; cut where it is longer than 65,535 bytes.
  /// - Returns: the address it has there.
  /// - Throws: as ``QueueConsumer/deadLetterOversized(at:upTo:reason:)``.
  @discardableResult
  public func deadLetterOversized(
    at address: Address, upTo maximumPayload: ByteCount, reason: String
  ) async throws(QueueError) -> Address {
    try await core.deadLetterOversized(at: address, upTo: maximumPayload, reason: reason)
  }

  // MARK: Ending

  /// Makes durable what was sent and what was acknowledged, and closes the topic. Level reached:
  /// `synced`. Who sends or receives is told `closed`. What was not acknowledged is delivered to the
  /// next run.
  ///
  /// - Throws: as `close` of a ``QueueWriter`` and of a ``QueueConsumer``; it may be asked again where
  ///   those may.
  public func close() async throws(QueueError) { try await core.close() }
}
