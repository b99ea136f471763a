// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// What a reader that waits at the end of the log needs: a watch, made when it first waits, and how
/// many changes there had been before it last looked in vain.
///
/// A change after that number was asked for may have been seen, or not; so it ends the wait.
final class Follower {
  private let index: TopicIndex
  private var watch: TopicWatch?
  private var seen: UInt64?

  /// What is waited for.
  struct Wait: Sendable {
    let watch: TopicWatch
    let seen: UInt64

    func change() async throws(QueueError) { try await watch.change(since: seen) }
    func changeBlocking() throws(QueueError) { try watch.changeBlocking(since: seen) }

    /// As `TopicWatch.whenChanged`.
    func whenChanged(_ call: @escaping @Sendable (Result<Void, QueueError>) -> Void) {
      watch.whenChanged(since: seen, call)
    }
  }

  init(_ index: TopicIndex) { self.index = index }

  /// How many changes there were, to be asked before a look; nil while nobody counts them.
  var changes: UInt64? { watch?.generation }

  /// Takes note of a look in vain, before which `changes` was asked.
  func foundNothing(at changes: UInt64?) { seen = changes }

  /// What to wait for at the end of the log; nil: nothing yet, as nobody looked since the watch was
  /// made.
  ///
  /// - Throws: `noSuchTopic` where the topic was removed; `system` where the system has no more
  ///   watches to give.
  func wait() throws(QueueError) -> Wait? {
    guard !index.isRemoved else { throw .topicRemoved(path: index.storage.path) }
    let watch = try existingOrNewWatch()
    return seen.map { Wait(watch: watch, seen: $0) }
  }

  func existingOrNewWatch() throws(QueueError) -> TopicWatch {
    if let watch { return watch }
    let new = try TopicWatch(index.storage)
    watch = new
    return new
  }
}

extension QueueError {
  static func topicRemoved(path: String) -> QueueError {
    QueueError(
      .noSuchTopic, "the topic was removed while it was followed: nothing comes any more",
      path: path)
  }
}
