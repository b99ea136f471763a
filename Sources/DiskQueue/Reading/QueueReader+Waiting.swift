// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueReader {
  /// Waits until there may be something to read after ``position``.
  ///
  /// - Every flush wakes it, in this process or another. It does not poll, and makes no system call
  ///   while nothing happens. If the operating system refuses to watch the topic, it polls four
  ///   times a second.
  /// - `next` may still return nil after the wait, because other changes wake it, too. The first
  ///   wait only begins to watch the topic and returns immediately. So no record is missed that
  ///   came before the watch.
  /// - If you call it twice without `next` in between, the second call waits for a further change.
  ///
  /// Call it when ``next()`` has returned nil, and then call `next` again:
  ///
  /// ```swift
  /// while true {
  ///   while let record = try reader.next() { parse(record.payload) }
  ///   try await reader.waitForMore()
  /// }
  /// ```
  ///
  /// - Throws: One of these codes:
  ///   - `cancelled`, immediately, if the task is cancelled. The reader is unchanged.
  ///   - `noSuchTopic` if the topic was removed.
  ///   - `system` if the operating system refuses the thread that polls, too.
  public nonisolated(nonsending) mutating func waitForMore() async throws(QueueError) {
    guard !Task.isCancelled else { throw .cancelled() }
    let position = walker.position
    try await follower.wait(at: position)?.change()
    follower.didReturn(at: position)
  }

  /// The reason for polling a few times a second. Nil if the operating system reports changes.
  package borrowing func pollingReason() -> QueueError? { follower.pollingReason }

  /// Waits like `waitForMore`, and blocks the thread.
  package mutating func waitForMoreBlocking() throws(QueueError) {
    let position = walker.position
    try follower.wait(at: position)?.changeBlocking()
    follower.didReturn(at: position)
  }

  /// Returns a closure that ends every wait of this reader, now and later, with `cancelled`. Any
  /// thread may call it.
  package mutating func makeWaitEnder() throws(QueueError) -> @Sendable () -> Void {
    let watch = try follower.existingOrNewWatch()
    return { watch.end(.cancelled()) }
  }
}
