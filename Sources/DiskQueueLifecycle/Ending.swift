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
