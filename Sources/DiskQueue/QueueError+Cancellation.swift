// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueError {
  /// A `CancellationError` in the place of this error, if the code is `cancelled`. Otherwise nil.
  ///
  /// The functions of this library throw only ``QueueError``, so they report the cancellation of a
  /// task as a code. ``withCancellationError(isolation:_:)`` converts the errors of a whole block.
  public var cancellation: CancellationError? { code == .cancelled ? CancellationError() : nil }
}

/// Runs a closure, and throws `CancellationError` if the closure throws ``QueueError`` with the
/// code `cancelled`.
///
/// Use it between this library and code that expects `CancellationError`:
///
/// ```swift
/// do {
///   try await withCancellationError {
///     for try await batch in consumer.batches(upTo: 500, following: true) {
///       try await upload(batch)
///       try await batch.acknowledge()
///     }
///   }
/// } catch is CancellationError {
///   print("stopped")
/// }
/// ```
///
/// A `CancellationError` has no ``QueueError/appended``. If an append must not be repeated, catch
/// ``QueueError`` instead.
///
/// - Parameters:
///   - isolation: The actor on which the closure runs. By default that of the caller.
///   - body: The closure. It runs once, in the current task.
/// - Returns: The result of the closure.
/// - Throws: `CancellationError` instead of `cancelled`. Otherwise the errors of the closure.
public func withCancellationError<Result>(
  isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Result
) async throws -> Result {
  do {
    return try await body()
  } catch let error as QueueError {
    throw error.cancellation ?? error
  }
}
