// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Wakes the callers that wait for a change of a topic's files, made by any process.
///
/// To miss no change, read `generation` first, then look, and then wait for a change since:
///
///     let seen = watch.generation
///     guard !(try look()) else { return }
///     try await watch.change(since: seen)
final class TopicWatch: Sendable {
  private let changes = Progress()
  private let watch: any StorageWatch

  /// Why changes are polled for a few times a second. Nil if the system reports them.
  var polling: QueueError? { watch.refusal.map { .polling($0, path: path) } }
  private let path: String

  /// - Throws: `system`, if the directory cannot be watched, and no thread can be started that
  ///   polls.
  init(_ storage: any TopicStorage) throws(QueueError) {
    path = storage.path
    do throws(SystemError) {
      watch = try storage.watch { [changes] in changes.advance() }
    } catch {
      throw .watchFailed(error, path: storage.path)
    }
  }

  /// Counts the changes so far.
  var generation: UInt64 { changes.value }

  /// How many callers wait.
  var waiterCount: Int { changes.waiterCount }

  /// Suspends the task until there has been a change since `generation`, or a call of `wake`.
  ///
  /// - Throws: `cancelled`, at once, if the task is cancelled. The error of `end`.
  func change(since generation: UInt64) async throws(QueueError) {
    watch.expectChange()
    try await changes.wait(for: generation + 1)
  }

  /// Like `change`, but blocks the thread.
  func changeBlocking(since generation: UInt64) throws(QueueError) {
    watch.expectChange()
    try changes.waitBlocking(for: generation + 1)
  }

  /// Calls `call` once: after a change since `generation`, after `wake`, or with the error of
  /// `end`.
  ///
  /// The call comes on the thread that made the change, or reports it. If there has been a change
  /// already, it comes on this thread, before this returns. The thread may hold the locks of a
  /// writer. So `call` must only take note, wake a waiter, and return.
  func whenChanged(
    since generation: UInt64, _ call: @escaping @Sendable (Result<Void, QueueError>) -> Void
  ) {
    watch.expectChange()
    changes.call(whenAt: generation + 1, call)
  }

  /// Wakes all waiters, to look again.
  func wake() { changes.advance() }

  /// Wakes all waiters, and all that come later, with an error.
  func end(_ error: QueueError) { changes.end(error) }
}
