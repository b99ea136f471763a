// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Runs a task, and waits for it on this thread.
///
/// If a stop is asked for, the task is cancelled. With nil, nothing cancels it.
///
/// The library waits for records and for room in tasks, and the command's own thread is not one.
func runTask<Value: Sendable>(
  cancelledBy stop: StopSignals?, _ body: @escaping @Sendable () async throws -> Value
) throws -> Value {
  let ends = try System.makePipe()
  defer {
    System.closeFile(ends.reading)
    System.closeFile(ends.writing)
  }
  let outcome = TaskOutcome<Value>()
  let task = Task.detached {
    do {
      outcome.set(.success(try await body()))
    } catch {
      outcome.set(.failure(error))
    }
    withUnsafeBytes(of: UInt8(0)) {
      // This cannot block: a new pipe takes one byte.
      try? System.write(ends.writing, $0, name: "a pipe")
    }
  }
  stop?.onStop { task.cancel() }
  while true {
    _ = System.wait(for: ends.reading, orFor: nil, milliseconds: -1)
    if let result = outcome.value { return try result.get() }
  }
}

private final class TaskOutcome<Value: Sendable>: Sendable {
  private let result = Mutex<Result<Value, any Error>?>(nil)

  var value: Result<Value, any Error>? { result.withLock { $0 } }

  func set(_ result: Result<Value, any Error>) { self.result.withLock { $0 = result } }
}

extension System {
  /// Runs work that blocks on a thread of its own, so that it holds no thread of tasks.
  static func onThread<Value: Sendable>(
    _ body: @escaping @Sendable () throws(Failure) -> Value
  ) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
      do throws(Failure) {
        try startThread {
          do throws(Failure) {
            continuation.resume(returning: try body())
          } catch {
            continuation.resume(throwing: error)
          }
        }
      } catch {
        continuation.resume(throwing: error)
      }
    }
  }
}
