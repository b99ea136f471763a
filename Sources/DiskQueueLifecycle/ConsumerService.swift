// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue
public import ServiceLifecycle

/// Hands a consumer's batches to a closure, one after the other, until the program ends.
public struct ConsumerService: Service {
  private let consumer: QueueConsumer
  private let count: Int
  private let handle: @Sendable (QueueConsumer.Batch) async throws -> Void

  /// - Parameters:
  ///   - consumer: an open one. It belongs to this service from now on, as far as its end goes.
  ///   - count: how many records a batch has at most; at least 1.
  ///   - handle: acknowledges what it has done with, by `QueueConsumer.Batch.acknowledge()`. What it
  ///     does not acknowledge comes again in the next run; what it throws ends the service, and so the
  ///     group: whoever wants to try again does so within.
  public init(
    _ consumer: QueueConsumer, batchesUpTo count: Int,
    handle: @escaping @Sendable (QueueConsumer.Batch) async throws -> Void
  ) {
    self.consumer = consumer
    self.count = count
    self.handle = handle
  }

  /// Waits for records by wake-up. At the shutdown the batch in hand is finished, and no other one is
  /// begun; what was acknowledged is on stable storage when this returns.
  ///
  /// - Throws: what the closure throws, and, as
  ///   `QueueConsumer.nextBatch(upTo:following:)`, what cannot be read: losses as well,
  ///   unless the consumer was made with a closure for them. The consumer is closed all the same.
  public func run() async throws {
    var failure: (any Error)?
    do {
      while let batch = try await nextUnlessShutDown({ [consumer, count] in
        try await consumer.nextBatch(upTo: count)
      }) {
        try await handle(batch)
      }
    } catch {
      failure = error
    }
    try await close(behind: failure) { try await consumer.close() }
  }
}
