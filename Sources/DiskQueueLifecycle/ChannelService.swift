// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue
public import ServiceLifecycle

/// Closes a channel when the program ends, and ends the program's group where the channel fails.
///
/// Messages that were sent and not acknowledged stay on the disk, and come first in the program's next
/// run. As a ``WriterService``, it goes before the services that send and receive. Those that receive are
/// ``ReceiverService``s: a loop over the channel alone ends only when the channel is closed, which it
/// would keep from being closed.
public struct ChannelService: Service {
  private let channel: DiskChannel

  /// - Parameter channel: an open one. It belongs to this service from now on, as far as its end goes.
  public init(_ channel: DiskChannel) { self.channel = channel }

  /// Waits for the shutdown, and closes the channel: what was acknowledged, and all that was sent, is on
  /// stable storage when this returns. Who still sends or receives is told `closed`. It is closed also
  /// where this throws, as far as it can be.
  ///
  /// - Throws: at once, what ends the channel's writer for good: `syncFailed`. What
  ///   `DiskChannel.close()` throws.
  public func run() async throws {
    let failure = await untilShutdown(orFailureOf: channel.writer)
    try await close(behind: failure) { try await channel.close() }
  }
}
