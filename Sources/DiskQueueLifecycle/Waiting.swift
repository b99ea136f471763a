// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import DiskQueue
internal import ServiceLifecycle

/// Waits until the group shuts down, or the task is cancelled.
///
/// - Parameter writer: If this writer permanently fails, the function returns its error.
func untilShutdown(orFailureOf writer: QueueWriter) async -> QueueError? {
  let (failures, continuation) = AsyncStream<QueueError>.makeStream()
  writer.onFailure { error in
    continuation.yield(error)
    continuation.finish()
  }
  return await withTaskCancellationOrGracefulShutdownHandler {
    await failures.first { _ in true }
  } onCancelOrGracefulShutdown: {
    continuation.finish()
  }
}

/// Closes the object of a service, also after a failure. The failure came first, so it is the error
/// that is thrown. A group expects `CancellationError`, not the code `cancelled`.
func close(
  after failure: (any Error)?, _ body: () async throws -> Void
) async throws {
  try await withCancellationError {
    do {
      try await body()
    } catch {
      throw failure ?? error
    }
    if let failure { throw failure }
  }
}

/// Returns the next element of a delivery, or nil if there is none, the group shuts down, or the
/// task is cancelled.
///
/// An element that arrives together with the shutdown is dropped, because it is delivered again.
func nextUnlessShutDown<Element: Sendable>(
  _ next: @escaping @Sendable () async throws -> Element?
) async throws -> Element? {
  guard !isEnding else { return nil }
  let element: Element?
  do {
    element = try await cancelWhenGracefulShutdown(next)
  } catch let error as QueueError {
    guard error.code == .cancelled else { throw error }
    return nil
  }
  return isEnding ? nil : element
}

/// Does the work that a closure returns, until there is none, the group shuts down, or the task is
/// cancelled.
func doWork(
  of next: @escaping @Sendable () async throws -> (@Sendable () async throws -> Void)?
) async throws {
  while let work = try await nextUnlessShutDown(next) {
    do {
      try await work()
    } catch  where isEndOfWork(error) {
      return
    }
  }
}

/// Whether an error says only that work has stopped early because the group shuts down.
func isEndOfWork(_ error: any Error) -> Bool {
  Task.isShuttingDownGracefully
    && (error is CancellationError || (error as? QueueError)?.code == .cancelled)
}

/// Whether the group shuts down, or the task is cancelled.
var isEnding: Bool { Task.isShuttingDownGracefully || Task.isCancelled }
