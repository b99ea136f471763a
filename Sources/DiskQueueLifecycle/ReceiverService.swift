// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue
public import ServiceLifecycle

/// Passes a channel's messages to a closure, one after the other.
///
/// It ends when the program ends or the channel is finished. Several services share the messages.
///
/// A graceful shutdown does not cancel tasks. So a closure that waits before it tries again must
/// end its wait itself:
///
/// ```swift
/// import ServiceLifecycle
///
/// try await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(30)) }
/// ```
public struct ReceiverService: Service, CustomStringConvertible {
  /// The service and its topic, as a group logs it.
  public let description: String
  /// Returns the work for the next message, or nil after the last one.
  private let next: @Sendable () async throws -> (@Sendable () async throws -> Void)?

  /// Makes a service that receives messages.
  ///
  /// - Parameters:
  ///   - channel: An open channel. A ``ChannelService`` closes it.
  ///   - handle: Processes a message and acknowledges it. The next run receives an unacknowledged
  ///     message again. An error that the closure throws ends the service and its group. While the
  ///     group shuts down, `CancellationError` and `QueueError` with the code `cancelled` are no
  ///     errors: the message stays unacknowledged, and the service ends.
  public init(
    _ channel: DiskChannel,
    handle: @escaping @Sendable (DiskChannel.Message) async throws -> Void
  ) {
    description = "ReceiverService: \(channel)"
    next = {
      var messages = channel.makeAsyncIterator()
      guard let message = try await messages.next() else { return nil }
      return { try await handle(message) }
    }
  }

  /// Makes a service that receives values. Otherwise it behaves like the service for messages.
  ///
  /// - Parameters:
  ///   - values: The values of an open channel. A ``ChannelService`` closes the channel.
  ///   - handle: Processes a message and acknowledges it. The next run receives an unacknowledged
  ///     message again. An error that the closure throws ends the service and its group. While the
  ///     group shuts down, `CancellationError` and `QueueError` with the code `cancelled` are no
  ///     errors: the message stays unacknowledged, and the service ends.
  public init<Codec: PayloadCodec>(
    _ values: ValueChannel<Codec>,
    handle: @escaping @Sendable (ValueChannel<Codec>.Message) async throws -> Void
  ) {
    description = "ReceiverService: \(values)"
    next = {
      var messages = values.makeAsyncIterator()
      guard let message = try await messages.next() else { return nil }
      return { try await handle(message) }
    }
  }

  /// Passes each message to the closure. Between messages it waits until the next one wakes it.
  ///
  /// At the shutdown it finishes the current message and begins no other one.
  ///
  /// - Throws: The errors of the closure and of `DiskChannel.AsyncIterator.next()`. They include
  ///   losses, unless the channel was made with a closure for them.
  public func run() async throws {
    try await withCancellationError { try await doWork(of: next) }
  }
}
