// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue
public import ServiceLifecycle

/// Passes a consumer's batches to a closure until the program ends, by one worker or several.
///
/// One consumer has one service. Two services of one consumer end each other, because the first one
/// that ends closes the consumer. To process several batches at a time, pass a number of `workers`:
///
/// ```swift
/// import DiskQueueLifecycle
///
/// let service = ConsumerService(consumer, batchesUpTo: 500, workers: 4) { batch in
///   try await upload(batch)
///   try await batch.acknowledge(only: batch.indices)
/// }
/// ```
///
/// With more than one worker, acknowledge with `acknowledge(only: batch.indices)`. A plain
/// `acknowledge()` also acknowledges records that the other workers are still processing.
///
/// A graceful shutdown does not cancel tasks. So a closure that waits before it tries again must
/// end its wait itself:
///
/// ```swift
/// import ServiceLifecycle
///
/// try await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(30)) }
/// ```
public struct ConsumerService: Service, CustomStringConvertible {
  private let consumer: QueueConsumer
  private let workers: Int
  /// Returns the work for the next batch, or nil if there is none.
  private let next: @Sendable () async throws -> (@Sendable () async throws -> Void)?

  /// Makes the service of an open consumer.
  ///
  /// - Parameters:
  ///   - consumer: An open consumer. From now on this service closes it.
  ///   - count: The largest number of records in a batch. At least 1.
  ///   - lingering: How long a batch waits to be filled, as in
  ///     `QueueConsumer.nextBatch(upTo:lingering:following:)`. Not at all by default.
  ///   - workers: The number of tasks that take batches and process them at the same time. At least
  ///     1, which is the default: the batches come one after the other, in the order of the log.
  ///     With several, the next run repeats everything from the first unacknowledged record on.
  ///     `QueueConsumer.Options.maximumUnacknowledgedRecords` bounds that.
  ///   - handle: Processes a batch and acknowledges it, with `QueueConsumer.Batch.acknowledge()`
  ///     or, with several workers, with `acknowledge(only: batch.indices)`. The next run receives
  ///     the unacknowledged records again. An error that the closure throws ends the service and
  ///     its group. Retry inside the closure if you want to retry. While the group shuts down,
  ///     `CancellationError` and `QueueError` with the code `cancelled` are no errors: the batch
  ///     stays unacknowledged, and the service ends.
  public init(
    _ consumer: QueueConsumer, batchesUpTo count: Int, lingering: Duration = .zero,
    workers: Int = 1, handle: @escaping @Sendable (QueueConsumer.Batch) async throws -> Void
  ) {
    self.consumer = consumer
    self.workers = workers
    next = {
      let batch = try await consumer.nextBatch(upTo: count, lingering: lingering, following: true)
      guard let batch else { return nil }
      return { try await handle(batch) }
    }
  }

  /// Makes the service of an open consumer's values. Otherwise it behaves like the service for
  /// batches of records.
  ///
  /// - Parameters:
  ///   - values: The values of an open consumer. From now on this service closes the consumer.
  ///   - count: The largest number of records in a batch. At least 1.
  ///   - lingering: How long a batch waits to be filled. Not at all by default.
  ///   - workers: The number of tasks that take batches and process them at the same time. At least
  ///     1, which is the default.
  ///   - handle: Processes a batch and acknowledges it, with `ValueConsumer.Batch.acknowledge()`
  ///     or, with several workers, with `acknowledge(only: batch.indices)`. An error that the
  ///     closure throws ends the service and its group, also the error of a record that does not
  ///     decode. So put such a record aside in the closure.
  public init<Codec: PayloadCodec>(
    _ values: ValueConsumer<Codec>, batchesUpTo count: Int, lingering: Duration = .zero,
    workers: Int = 1,
    handle: @escaping @Sendable (ValueConsumer<Codec>.Batch) async throws -> Void
  ) {
    consumer = values.consumer
    self.workers = workers
    next = {
      let batch = try await values.nextBatch(upTo: count, lingering: lingering, following: true)
      guard let batch else { return nil }
      return { try await handle(batch) }
    }
  }

  /// The service, its consumer and its topic, as a group logs it.
  public var description: String { "ConsumerService: \(consumer)" }

  /// Passes each batch to the closure. Between batches it waits until the next one wakes it.
  ///
  /// At the shutdown a worker that waits for records, or lingers, ends at once, and loses none. The
  /// others finish their current batch and begin no other one. An error of one worker cancels the
  /// other workers. After all of them have ended, the consumer is closed. When this returns, the
  /// position up to the first unacknowledged record is on stable storage.
  ///
  /// - Throws: The errors of the closure and of `QueueConsumer.nextBatch`, the first one if several
  ///   workers fail. They include losses, unless the consumer was made with a closure for them.
  ///   `invalidOption` if `workers` is below 1. The consumer is closed in every case.
  public func run() async throws {
    var failure: (any Error)?
    do {
      guard workers > 0 else {
        throw QueueError(.invalidOption, "workers is \(workers), and must be 1 or more")
      }
      try await withThrowingTaskGroup(of: Void.self) { group in
        for _ in 0..<workers { group.addTask { [next] in try await doWork(of: next) } }
        // Throws the first error, which cancels the others.
        for try await _ in group {}
      }
    } catch {
      failure = error
    }
    try await close(after: failure) { try await consumer.close() }
  }
}
