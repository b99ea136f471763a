// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A ``DiskChannel`` that sends and receives values instead of payloads.
///
/// Any number of tasks may send and receive. Make one with ``DiskChannel/values(_:)``.
public struct ValueChannel<Codec: PayloadCodec>: AsyncSequence, Sendable {
  /// Every error of a channel is a ``QueueError``.
  public typealias Failure = QueueError

  /// The channel that carries the payloads.
  public let channel: DiskChannel
  private let codec: Codec

  init(channel: DiskChannel, codec: Codec) {
    self.channel = channel
    self.codec = codec
  }

  /// Encodes and sends one value. Otherwise it behaves like ``DiskChannel/send(_:)-(Payload)``.
  ///
  /// - Throws: As ``DiskChannel/send(_:)-(Payload)``. Also `notCoded` if the codec refuses the
  ///   value: nothing was sent.
  public func send(_ value: Codec.Value) async throws(QueueError) {
    try await channel.send(try codec.payload(of: value, for: channel.topic))
  }

  /// A received message: a payload that decodes to a value.
  ///
  /// Acknowledge it after you have processed it.
  public struct Message: Sendable {
    /// The message with its payload as it was sent.
    public let raw: DiskChannel.Message
    fileprivate let codec: Codec
    fileprivate let path: String

    /// The record that carried the message.
    public var record: QueueRecord { raw.record }

    /// Decodes the value. Each call decodes it again.
    ///
    /// - Throws: `notCoded`, with the record's address, if the codec refuses the payload. The
    ///   message stays unacknowledged: you can put it aside, acknowledge it, or leave it to a
    ///   newer program, which receives it again.
    public func value() throws(QueueError) -> Codec.Value {
      try codec.value(of: raw.payload, at: record.address, path: path)
    }

    /// Acknowledges the message. It behaves like ``DiskChannel/Message/acknowledge()``.
    ///
    /// - Throws: As ``DiskChannel/Message/acknowledge()``.
    public func acknowledge() throws(QueueError) { try raw.acknowledge() }

    /// Puts the message aside as a dead letter.
    ///
    /// It behaves like ``DiskChannel/Message/deadLetter(reason:)``.
    ///
    /// - Parameter reason: A text for people. It is cut after 65,535 bytes.
    /// - Returns: The message's address in the topic for dead letters.
    /// - Throws: As ``DiskChannel/Message/deadLetter(reason:)``.
    @discardableResult
    public func deadLetter(reason: String) async throws(QueueError) -> Address {
      try await raw.deadLetter(reason: reason)
    }
  }

  /// Makes an iterator over the messages.
  ///
  /// Several iterators share the messages: each message goes to one of them.
  public func makeAsyncIterator() -> AsyncIterator {
    AsyncIterator(
      base: channel.makeAsyncIterator(), codec: codec, path: channel.topic.description)
  }

  /// Receives the messages of a ``ValueChannel``.
  public struct AsyncIterator: AsyncIteratorProtocol {
    fileprivate var base: DiskChannel.AsyncIterator
    fileprivate let codec: Codec
    fileprivate let path: String

    /// Returns the next message.
    ///
    /// It behaves like ``DiskChannel/AsyncIterator/next(isolation:)`` and decodes nothing yet.
    ///
    /// - Throws: As ``DiskChannel/AsyncIterator/next(isolation:)``.
    public mutating func next(
      isolation actor: isolated (any Actor)? = #isolation
    ) async throws(QueueError) -> Message? {
      guard let message = try await base.next(isolation: actor) else { return nil }
      return Message(raw: message, codec: codec, path: path)
    }
  }
}

extension DiskChannel {
  /// Returns this channel with values instead of payloads.
  ///
  /// Several value channels may share one channel.
  public func values<Codec: PayloadCodec>(_ codec: Codec) -> ValueChannel<Codec> {
    ValueChannel(channel: self, codec: codec)
  }
}
