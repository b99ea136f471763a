// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension BackgroundThread {
  /// Runs blocking work on the thread, and suspends the task until it is done.
  func run<R: Sendable>(
    path: String, _ body: @escaping @Sendable () throws(QueueError) -> R
  ) async throws(QueueError) -> R {
    let result: Result<R, QueueError> = await withCheckedContinuation { continuation in
      do throws(SystemError) {
        try submit {
          do throws(QueueError) {
            continuation.resume(returning: .success(try body()))
          } catch {
            continuation.resume(returning: .failure(error))
          }
        }
      } catch {
        continuation.resume(
          returning: .failure(.system(error, doing: "starting a thread", path: path)))
      }
    }
    return try result.get()
  }
}
