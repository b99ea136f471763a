// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue
public import ServiceLifecycle

/// Closes a writer when the program ends. Ends the program's group if the writer fails.
///
/// ```swift
/// import DiskQueueLifecycle
/// import ServiceLifecycle
/// import Logging
///
/// let cleaner = try SlabCleaner(topic: "sensors")
/// let group = ServiceGroup(
///   services: [
///     WriterService(writer),
///     CleanerService(cleaner, every: .seconds(3600), keeping: .init(age: .days(7))),
///     ConsumerService(consumer, batchesUpTo: 500) { batch in
///       try await upload(batch)
///       try await batch.acknowledge()
///     },
///   ],
///   gracefulShutdownSignals: [.sigterm, .sigint],
///   logger: Logger(label: "sensors"))
/// try await group.run()
/// ```
///
/// A group shuts down from its last service to its first. So put the writer before the services
/// that append to it: it is closed after all of them have ended. Until then, the writer's own
/// thread flushes and syncs as `QueueWriter.Options.flushEvery` and `QueueWriter.Options.syncEvery`
/// say.
public struct WriterService: Service, CustomStringConvertible {
  private let writer: QueueWriter

  /// Makes the service of an open writer.
  ///
  /// - Parameter writer: An open writer. From now on this service closes it.
  public init(_ writer: QueueWriter) { self.writer = writer }

  /// The service and its topic, as a group logs it.
  public var description: String { "WriterService: \(writer)" }

  /// Waits for the shutdown, and closes the writer.
  ///
  /// If its task is cancelled, it closes the writer at once and in the same way. A group cancels
  /// the tasks of its services after `maximumGracefulShutdownDuration`, or after another service
  /// has failed. Services that still append then get the error `closed`.
  ///
  /// When this returns, all appended records are on stable storage. If this throws, the writer is
  /// closed as far as possible.
  ///
  /// - Throws: `syncFailed` or another error that permanently ends the writer, immediately. The
  ///   errors of `QueueWriter.close()`: with `noSpace`, records that were not flushed are lost.
  public func run() async throws {
    let failure = await untilShutdown(orFailureOf: writer)
    try await close(after: failure) { try await writer.close() }
  }
}
