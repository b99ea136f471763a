// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue
public import ServiceLifecycle

/// Passes a consumer's batches to a closure, one after the other, until the program ends.
public struct ConsumerService: Service {
  private let consumer: QueueConsumer
  private let count: Int
  private let lingering: Duration
  private let handle: @Sendable (QueueConsumer.Batch) async throws -> Void

  /// Makes the service of an open consumer.
  ///
  /// - Parameters:
  ///   - consumer: An open consumer. From now on this service closes it.
  ///   - count: The largest number of records in a batch. At least 1.
  ///   - lingering: How long a batch waits to be filled, as in
  ///     `QueueConsumer.nextBatch(upTo:lingering:following:)`. Not at all by default.
  ///   - handle: Processes a batch and acknowledges it with `QueueConsumer.Batch.acknowledge()`.
  ///     The next run receives the unacknowledged records again. An error that the closure throws
  ///     ends the service and its group. Retry inside the closure if you want to retry.
  public init(
    _ consumer: QueueConsumer, batchesUpTo count: Int, lingering: Duration = .zero,
    handle: @escaping @Sendable (QueueConsumer.Batch) async throws -> Void
  ) {
    self.consumer = consumer
    self.count = count
    self.lingering = lingering
    self.handle = handle
  }

  /// Passes each batch to the closure. Between batches it waits until the next one wakes it.
  ///
  /// At the shutdown it finishes the current batch and begins no other one. When this returns, all
  /// acknowledgements are on stable storage.
  ///
  /// - Throws: The errors of the closure and of `QueueConsumer.nextBatch`. They
  ///   include losses, unless the consumer was made with a closure for them. The consumer is closed
  ///   in every case.
  public func run() async throws {
    var failure: (any Error)?
    do {
      while let batch = try await nextUnlessShutDown({ [consumer, count, lingering] in
        try await consumer.nextBatch(upTo: count, lingering: lingering, following: true)
      }) {
        try await handle(batch)
      }
    } catch {
      failure = error
    }
    try await close(after: failure) { try await consumer.close() }
  }
}
