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
  /// Where the reader was when a wait last returned, and how many changes there had been by then.
  private var returned: (position: UInt64, changes: UInt64)?

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
  /// - Parameter position: the reader's. If the last wait returned there as well, the reader has not
  ///   looked since, and only a later change ends this wait.
  /// - Throws: `noSuchTopic` where the topic was removed; `system` where the system has no more
  ///   watches to give.
  func wait(at position: UInt64? = nil) throws(QueueError) -> Wait? {
    guard !index.isRemoved else { throw .topicRemoved(path: index.storage.path) }
    let watch = try existingOrNewWatch()
    var changes = seen
    if let returned, returned.position == position {
      changes = max(changes ?? 0, returned.changes)
    }
    return changes.map { Wait(watch: watch, seen: $0) }
  }

  /// Takes note that a wait returned to a reader at this position. Every change up to now is
  /// reported by that.
  func didReturn(at position: UInt64) {
    returned = watch.map { (position, $0.generation) }
  }

  /// Why changes are looked for. Nil if the system reports them, or nothing was waited for yet.
  var pollingReason: QueueError? { watch?.polling }

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
