// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueReader {
  /// Waits until there may be something to read behind ``position``.
  ///
  /// Whoever flushes, in this process or another, wakes it. It does not poll, and while nothing
  /// happens it makes no system call, unless the system has no watch to give: then it looks four times
  /// a second. Call it when ``next()`` returned nil, and then `next` again,
  /// which may still return nil: other changes wake it, too, and the first wait only begins to watch
  /// the topic and returns at once, so that nothing is missed that came between the look and it.
  /// If you call it twice without `next` in between, the second call waits for a further change.
  ///
  /// ```swift
  /// while true {
  ///   while let record = try reader.next() { parse(record.payload) }
  ///   try await reader.waitForMore()
  /// }
  /// ```
  ///
  /// - Throws: `cancelled` at once where the task is, and the reader goes on as before;
  ///   `noSuchTopic` where the topic was removed; `system` where the system has no more watches to
  ///   give, with the limit to raise.
  public nonisolated(nonsending) borrowing func waitForMore() async throws(QueueError) {
    guard !Task.isCancelled else { throw .cancelled() }
    let position = walker.position
    try await follower.wait(at: position)?.change()
    follower.didReturn(at: position)
  }

  /// Why the wait looks for changes a few times a second. Nil if the system reports them.
  package borrowing func pollingReason() -> QueueError? { follower.pollingReason }

  /// As `waitForMore`, and blocks the thread.
  package borrowing func waitForMoreBlocking() throws(QueueError) {
    let position = walker.position
    try follower.wait(at: position)?.changeBlocking()
    follower.didReturn(at: position)
  }

  /// Returns what ends every wait of this reader, now and later, with `cancelled`; from any thread.
  package borrowing func makeWaitEnder() throws(QueueError) -> @Sendable () -> Void {
    let watch = try follower.existingOrNewWatch()
    return { watch.end(.cancelled()) }
  }
}
