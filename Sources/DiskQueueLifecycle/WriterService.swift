// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue
public import ServiceLifecycle

/// Closes a writer when the program ends, and ends the program's group where the writer fails.
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
/// A group shuts down from its last service to its first: so the writer goes before whatever appends to
/// it, and is closed when all those have ended. Between the two, what was appended is flushed and synced
/// as the writer's `QueueWriter.Options.flushEvery` and
/// `QueueWriter.Options.syncEvery` say, by its own thread.
public struct WriterService: Service {
  private let writer: QueueWriter

  /// - Parameter writer: an open one. It belongs to this service from now on, as far as its end goes.
  public init(_ writer: QueueWriter) { self.writer = writer }

  /// Waits for the shutdown, and closes the writer: all that was appended is on stable storage when
  /// this returns. It is closed also where this throws, as far as it can be.
  ///
  /// - Throws: at once, what ends the writer for good: `syncFailed`. What
  ///   `QueueWriter.close()` throws: with `noSpace`, what was not flushed is lost.
  public func run() async throws {
    let failure = await untilShutdown(orFailureOf: writer)
    try await close(behind: failure) { try await writer.close() }
  }
}
