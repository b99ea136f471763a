// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Wakes whoever waits for a change of a topic's files, made by whatever process.
///
/// None is missed by whoever asks for `generation` first, then looks, and then waits for a change
/// since:
///
///     let seen = watch.generation
///     guard !(try look()) else { return }
///     try await watch.change(since: seen)
final class TopicWatch: Sendable {
  private let changes = Progress()
  private let watch: any StorageWatch

  /// Why changes are looked for a few times a second. Nil if the system reports them.
  var polling: QueueError? { watch.refusal.map { .polling($0, path: path) } }
  private let path: String

  /// - Throws: `system`, if the directory cannot be watched, and there is no thread to look for changes.
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

  /// Suspends the task until there was a change since; also when something else said `wake`.
  ///
  /// - Throws: `cancelled` at once where the task is; what `end` says.
  func change(since generation: UInt64) async throws(QueueError) {
    watch.expectChange()
    try await changes.wait(for: generation + 1)
  }

  /// As `change`, and blocks the thread.
  func changeBlocking(since generation: UInt64) throws(QueueError) {
    watch.expectChange()
    try changes.waitBlocking(for: generation + 1)
  }

  /// Calls `call` once, when there was a change since or something said `wake`, or with what `end`
  /// says: on the thread that made the change, or tells of it; on this one, before it returns, where
  /// that has been. It may hold the locks of who writes: it takes note, wakes somebody, and returns.
  func whenChanged(
    since generation: UInt64, _ call: @escaping @Sendable (Result<Void, QueueError>) -> Void
  ) {
    watch.expectChange()
    changes.call(whenAt: generation + 1, call)
  }

  /// Wakes whoever waits, to look again.
  func wake() { changes.advance() }

  /// Wakes whoever waits, and whoever will, with an error.
  func end(_ error: QueueError) { changes.end(error) }
}
