// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import UnixSignals

/// Runs work until it is done or fails, or until SIGTERM or SIGINT. A signal cancels the task of
/// the work, which then ends in its own time.
public func untilStopped(_ work: @escaping @Sendable () async throws -> Void) async throws {
  let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
  try await withThrowingTaskGroup(of: Void.self) { group in
    group.addTask { try await work() }
    group.addTask { for await _ in signals { return } }
    try await group.next()
    group.cancelAll()
    do {
      try await group.waitForAll()
    } catch {
      // Cancellation is not a failure. Any other error is one, also after a signal.
      guard error is CancellationError || (error as? QueueError)?.code == .cancelled else {
        throw error
      }
    }
  }
}
