// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue
public import ServiceLifecycle

/// Closes a channel when the program ends. Ends the program's group if the channel fails.
///
/// Messages that were sent and not acknowledged stay on the disk. The program's next run receives
/// them first.
///
/// Put this service before the services that send and receive, as with a ``WriterService``. Receive
/// in ``ReceiverService``s. A plain loop over the channel ends only when the channel is closed, and
/// it would keep this service from closing it.
public struct ChannelService: Service, CustomStringConvertible {
  private let channel: DiskChannel

  /// Makes the service of an open channel.
  ///
  /// - Parameter channel: An open channel. From now on this service closes it.
  public init(_ channel: DiskChannel) { self.channel = channel }

  /// The service and its topic, as a group logs it.
  public var description: String { "ChannelService: \(channel)" }

  /// Waits for the shutdown, and closes the channel.
  ///
  /// When this returns, all acknowledgements and all sent messages are on stable storage. A task
  /// that still sends or receives gets the error `closed`. If this throws, the channel is closed as
  /// far as possible.
  ///
  /// - Throws: `syncFailed` or another error that permanently ends the channel's writer,
  ///   immediately. The errors of `DiskChannel.close()`.
  public func run() async throws {
    let failure = await untilShutdown(orFailureOf: channel.writer)
    try await close(after: failure) { try await channel.close() }
  }
}
