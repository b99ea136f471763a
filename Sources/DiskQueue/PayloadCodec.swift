// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Turns values into payloads and back.
///
/// `DiskQueueJSON`, a product of its own that brings Foundation, has one for `Codable` values.
public protocol PayloadCodec<Value>: Sendable {
  /// What is sent and received.
  associatedtype Value

  /// The bytes of a value. May be called by several tasks at once.
  ///
  /// - Throws: anything; the channel throws it on as `notCoded`, and sends nothing.
  func encode(_ value: Value) throws -> [UInt8]

  /// The value of such bytes. They may have been written by an older or a newer program. May be
  /// called by several tasks at once.
  ///
  /// - Throws: anything; ``ValueChannel/Message/value()`` throws it on as `notCoded`.
  func decode(_ payload: [UInt8]) throws -> Value
}

/// A ``DiskChannel`` of values: see ``DiskChannel/values(_:)``. Any number of tasks may send and
/// receive.
public struct ValueChannel<Codec: PayloadCodec>: AsyncSequence, Sendable {
  public typealias Failure = QueueError

  /// What carries the payloads.
  public let channel: DiskChannel
  private let codec: Codec

  init(channel: DiskChannel, codec: Codec) {
    self.channel = channel
    self.codec = codec
  }

  /// Sends one value: as ``DiskChannel/send(_:)-(RawSpan)``.
  ///
  /// - Throws: also `notCoded`, where the codec refuses the value: nothing was sent.
  public func send(_ value: Codec.Value) async throws(QueueError) {
    try await channel.send(bytes: try encoded(value))
  }

  private func encoded(_ value: Codec.Value) throws(QueueError) -> [UInt8] {
    do {
      return try codec.encode(value)
    } catch {
      throw QueueError(
        .notCoded, "a value cannot be made into a payload: \(error)",
        path: channel.topic.description)
    }
  }

  /// A message: a value on its way, to be acknowledged.
  public struct Message: Sendable {
    /// The message as it was sent.
    public let raw: DiskChannel.Message
    fileprivate let codec: Codec
    fileprivate let path: String

    /// The record that carried it.
    public var record: QueueRecord { raw.record }

    /// The value. Decoded by each call.
    ///
    /// - Throws: `notCoded`, with the record's address, where the codec refuses the payload: the
    ///   message stays, to be put aside, acknowledged, or delivered again to a newer program.
    public func value() throws(QueueError) -> Codec.Value {
      do {
        return try codec.decode(raw.payload)
      } catch {
        throw QueueError(
          .notCoded,
          "a payload cannot be made into a value: \(error); put the message aside, or acknowledge"
            + " it to pass it",
          path: path, address: record.address.rawValue)
      }
    }

    /// See ``DiskChannel/Message/acknowledge()``.
    ///
    /// - Throws: as ``DiskChannel/Message/acknowledge()``.
    public func acknowledge() async throws(QueueError) { try await raw.acknowledge() }

    /// See ``DiskChannel/Message/deadLetter(reason:)``.
    ///
    /// - Parameter reason: for people; cut where it is longer than 65,535 bytes.
    /// - Returns: the address it has there.
    /// - Throws: as ``DiskChannel/Message/deadLetter(reason:)``.
    @discardableResult
    public func deadLetter(reason: String) async throws(QueueError) -> Address {
      try await raw.deadLetter(reason: reason)
    }
  }

  public func makeAsyncIterator() -> AsyncIterator {
    AsyncIterator(
      base: channel.makeAsyncIterator(), codec: codec, path: channel.topic.description)
  }

  public struct AsyncIterator: AsyncIteratorProtocol {
    fileprivate var base: DiskChannel.AsyncIterator
    fileprivate let codec: Codec
    fileprivate let path: String

    /// The next message; see ``DiskChannel/AsyncIterator/next(isolation:)``. Nothing is decoded yet.
    ///
    /// - Throws: as ``DiskChannel/AsyncIterator/next(isolation:)``.
    public mutating func next(
      isolation actor: isolated (any Actor)? = #isolation
    ) async throws(QueueError) -> Message? {
      guard let message = try await base.next(isolation: actor) else { return nil }
      return Message(raw: message, codec: codec, path: path)
    }
  }
}

extension DiskChannel {
  /// The channel, with values in place of payloads. Several may share a channel.
  public func values<Codec: PayloadCodec>(_ codec: Codec) -> ValueChannel<Codec> {
    ValueChannel(channel: self, codec: codec)
  }
}
