// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The state of a reader that waits at the end of the log: a watch, and a number of changes. The
/// watch is made at the first wait. The number is the count of changes before the last look that
/// found nothing.
///
/// That look may or may not have seen a change made after the number was read. So such a change
/// ends the wait.
final class Follower {
  private let index: TopicIndex
  private var watch: TopicWatch?
  private var seen: UInt64?
  /// The reader's position when a wait last returned, and the number of changes by then.
  private var returned: (position: UInt64, changes: UInt64)?

  /// A wait for a change after `seen`.
  struct Wait: Sendable {
    let watch: TopicWatch
    let seen: UInt64

    func change() async throws(QueueError) { try await watch.change(since: seen) }
    func changeBlocking() throws(QueueError) { try watch.changeBlocking(since: seen) }

    /// Like `TopicWatch.whenChanged`.
    func whenChanged(_ call: @escaping @Sendable (Result<Void, QueueError>) -> Void) {
      watch.whenChanged(since: seen, call)
    }
  }

  init(_ index: TopicIndex) { self.index = index }

  /// The number of changes so far. Read it before each look. Nil while nothing counts changes.
  var changes: UInt64? { watch?.generation }

  /// Notes that a look found nothing. `changes` must have been read before that look.
  func foundNothing(at changes: UInt64?) { seen = changes }

  /// The wait at the end of the log. Nil if the reader has not looked since the watch was made: it
  /// must look again first.
  ///
  /// - Parameter position: the reader's position. If the last wait returned there as well, the
  ///   reader has not looked since. Only a later change then ends this wait.
  /// - Throws: `noSuchTopic` if the topic was removed. `system` if the topic can be neither
  ///   watched nor polled.
  func wait(at position: UInt64? = nil) throws(QueueError) -> Wait? {
    guard !index.isRemoved else { throw .topicRemoved(path: index.storage.path) }
    let watch = try existingOrNewWatch()
    var changes = seen
    if let returned, returned.position == position {
      changes = max(changes ?? 0, returned.changes)
    }
    return changes.map { Wait(watch: watch, seen: $0) }
  }

  /// Notes that a wait returned to a reader at this position. That return reports every change up
  /// to now.
  func didReturn(at position: UInt64) {
    returned = watch.map { (position, $0.generation) }
  }

  /// Why the watch polls for changes. Nil if the system reports them, or if nothing has waited yet.
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
      .noSuchTopic,
      "the topic was removed while it was followed, so no more records will come: if there is a new"
        + " topic at the path, open that",
      path: path)
  }
}
