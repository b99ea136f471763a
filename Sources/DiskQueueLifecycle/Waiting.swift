// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import DiskQueue
internal import ServiceLifecycle

/// Waits until the group shuts down, or the task is cancelled.
///
/// - Parameter writer: what it returns for as well, with the error, where this one has failed for good.
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

/// Closes what a service holds, also behind a failure: that came first, and is what is thrown.
func close(
  behind failure: (any Error)?, _ body: () async throws -> Void
) async throws {
  do {
    try await body()
  } catch {
    throw failure ?? error
  }
  if let failure { throw failure }
}

/// The next of what is delivered until it is acknowledged; nil also where the group shuts down, or the
/// task is cancelled. What comes together with that is not begun: it is delivered again.
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

/// Whether the group shuts down, or the task is cancelled.
var isEnding: Bool { Task.isShuttingDownGracefully || Task.isCancelled }
