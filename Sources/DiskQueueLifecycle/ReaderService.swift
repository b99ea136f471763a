// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue
public import ServiceLifecycle

/// Passes the records of a reader to a closure, one after the other, until the program ends.
///
/// ```swift
/// import DiskQueueLifecycle
///
/// let records = try QueueReader(topic: "sensors", from: .latest).records(following: true)
/// let service = ReaderService(records) { print($0.text ?? "binary") }
/// ```
///
/// A reader does not store its position. If the next run must continue at the end of this one, use
/// a ``ConsumerService``.
public struct ReaderService: Service, CustomStringConvertible {
  /// The service and its topic, as a group logs it.
  public let description: String
  private let body: @Sendable () async throws -> Void

  /// Makes the service of a reader's records.
  ///
  /// - Parameters:
  ///   - records: The records. The service ends at the end of the log if they do not follow it.
  ///   - handle: Processes a record. An error that the closure throws ends the service and its
  ///     group.
  public init(
    _ records: QueueReader.Records,
    handle: @escaping @Sendable (QueueRecord) async throws -> Void
  ) {
    description = "ReaderService: \(records)"
    body = { try await passOn(records, finish: records.finish, handle) }
  }

  /// Makes the service of a reader's batches.
  ///
  /// - Parameters:
  ///   - batches: The batches. The service ends at the end of the log if they do not follow it.
  ///   - handle: Processes a batch. An error that the closure throws ends the service and its
  ///     group.
  public init(
    _ batches: QueueReader.Batches,
    handle: @escaping @Sendable (RecordBatch) async throws -> Void
  ) {
    description = "ReaderService: \(batches)"
    body = { try await passOn(batches, finish: batches.finish, handle) }
  }

  /// Makes the service of a reader's values.
  ///
  /// - Parameters:
  ///   - values: The values. The service ends at the end of the log if they do not follow it.
  ///   - handle: Processes a record, which is decoded when the closure asks for its value. An error
  ///     that the closure throws ends the service and its group. That includes the error of a
  ///     record that does not decode, unless the closure catches it.
  public init<Codec: PayloadCodec>(
    _ values: ValueRecords<Codec>,
    handle: @escaping @Sendable (ValueRecord<Codec>) async throws -> Void
  ) {
    description = "ReaderService: \(values)"
    body = { try await passOn(values, finish: values.records.finish, handle) }
  }

  /// Makes the service of the records of all shards.
  ///
  /// - Parameters:
  ///   - records: The records. The service ends at the end of all shards if they do not follow
  ///     them.
  ///   - handle: Processes a record. An error that the closure throws ends the service and its
  ///     group.
  public init(
    _ records: ShardedTopic.Records,
    handle: @escaping @Sendable (ShardedRecord) async throws -> Void
  ) {
    description = "ReaderService: \(records)"
    body = { try await passOn(records, finish: records.finish, handle) }
  }

  /// Passes each record or batch to the closure. Between them it waits until the next one wakes it.
  ///
  /// At the shutdown it finishes the current one and begins no other one. It ends at once if it is
  /// waiting. The sequence has ended for all loops then.
  ///
  /// - Throws: The errors of the closure and of `QueueReader.Records.AsyncIterator.next()`. They
  ///   include losses, unless the reader was made with a closure for them. While the group shuts
  ///   down, `CancellationError` and `QueueError` with the code `cancelled` are no errors: the
  ///   closure may throw them to end early.
  public func run() async throws { try await body() }
}

/// Passes the elements of a sequence to a closure, until `finish` ends the sequence.
private func passOn<Elements: AsyncSequence & Sendable>(
  _ elements: Elements, finish: @escaping @Sendable () -> Void,
  _ handle: @Sendable (Elements.Element) async throws -> Void
) async throws {
  do {
    try await withTaskCancellationOrGracefulShutdownHandler {
      for try await element in elements { try await handle(element) }
    } onCancelOrGracefulShutdown: {
      finish()
    }
  } catch let error as QueueError {
    // The sequence reports that the task is cancelled.
    guard error.code == .cancelled, isEnding else { throw error }
  } catch  where isEndOfWork(error) {
    // The closure has stopped early.
  }
}
