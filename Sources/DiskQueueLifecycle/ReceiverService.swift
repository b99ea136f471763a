// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue
public import ServiceLifecycle

/// Hands a channel's messages to a closure, one after the other, until the program ends or the channel
/// is finished. More than one share the messages.
public struct ReceiverService: Service {
  /// What is to be done with the next message; nil: there is none any more.
  private let next: @Sendable () async throws -> (@Sendable () async throws -> Void)?

  /// - Parameters:
  ///   - channel: an open one; a ``ChannelService`` closes it.
  ///   - handle: acknowledges what it has done with. What it does not acknowledge comes again in the
  ///     next run; what it throws ends the service, and so the group.
  public init(
    _ channel: DiskChannel,
    handle: @escaping @Sendable (DiskChannel.Message) async throws -> Void
  ) {
    next = {
      var messages = channel.makeAsyncIterator()
      guard let message = try await messages.next() else { return nil }
      return { try await handle(message) }
    }
  }

  /// As the other one, of a channel of values.
  ///
  /// - Parameters:
  ///   - values: of an open channel.
  ///   - handle: as of the other one.
  public init<Codec: PayloadCodec>(
    _ values: ValueChannel<Codec>,
    handle: @escaping @Sendable (ValueChannel<Codec>.Message) async throws -> Void
  ) {
    next = {
      var messages = values.makeAsyncIterator()
      guard let message = try await messages.next() else { return nil }
      return { try await handle(message) }
    }
  }

  /// Waits for messages by wake-up. At the shutdown the message in hand is finished, and no other one is
  /// begun.
  ///
  /// - Throws: what the closure throws, and what `DiskChannel.AsyncIterator.next()` does: losses as well,
  ///   unless the channel was made with a closure for them.
  public func run() async throws {
    while let work = try await nextUnlessShutDown(next) { try await work() }
  }
}
