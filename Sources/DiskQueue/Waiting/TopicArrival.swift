// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Waits until a topic's directory exists, made by any process.
///
/// It watches the nearest directory above the topic that exists, and goes on to the next one when
/// that is made. If a directory further up is moved away, it notices that with the next change of
/// the watched one.
package final class TopicArrival: Sendable {
  private let path: String
  private let changes = Progress()

  /// - Parameter path: the path of the topic's directory.
  package init(at path: String) { self.path = path }

  /// Blocks the thread until there is a topic, or something else, at the path.
  ///
  /// - Parameter onPolling: called once, if the system refuses to watch, with the reason. The wait
  ///   then polls four times a second.
  /// - Throws: `cancelled` after a call of `end`. `system` if a directory above the topic cannot be
  ///   opened. `notATopic` if the path leads to something else than a directory.
  package func waitBlocking(onPolling: (QueueError) -> Void) throws(QueueError) {
    var isPollingReported = false
    while let parent = try nextWatch() {
      if let polling = parent.polling, !isPollingReported {
        isPollingReported = true
        onPolling(polling)
      }
      try withExtendedLifetime(parent.watch) { () throws(QueueError) in
        try changes.waitBlocking(for: parent.target)
      }
    }
  }

  /// Suspends the task until there is a topic, or something else, at the path. Each look at the
  /// disk runs on a thread of the library. The wait itself takes no thread.
  ///
  /// - Returns: whether the topic was made during the wait.
  /// - Throws: `cancelled`, at once, if the task is cancelled. Otherwise like `waitBlocking`.
  func wait() async throws(QueueError) -> Bool {
    guard !(try await look({ () throws(QueueError) in try self.isThere() })) else { return false }
    while let parent = try await look({ () throws(QueueError) in try self.nextWatch() }) {
      defer { withExtendedLifetime(parent.watch) {} }
      try await changes.wait(for: parent.target)
    }
    return true
  }

  /// Ends every wait, now and later, with `cancelled`. Any thread may call it.
  package func end() { changes.end(.cancelled()) }

  /// A watch on a directory above the topic, until its next change.
  private struct ParentWatch: Sendable {
    let watch: any StorageWatch
    /// The number of changes that ends the wait.
    let target: UInt64
    /// Why the watch polls. Nil if the system reports the changes.
    let polling: QueueError?
  }

  /// Looks for the topic. Nil if it is there. Otherwise a watch until the next look.
  private func nextWatch() throws(QueueError) -> ParentWatch? {
    while !(try isThere()) {
      // Order: read the number of changes, begin to watch, and then look. A change after the look
      // then ends the wait.
      let seen = changes.value
      let directory = nearestDirectory()
      guard let watch = try watch(directory) else { continue }
      guard try !isThere(), nearestDirectory() == directory else { continue }
      watch.expectChange()
      return ParentWatch(
        watch: watch, target: seen + 1,
        polling: watch.refusal.map { .polling($0, path: directory) })
    }
    return nil
  }

  private func look<R: Sendable>(
    _ body: @escaping @Sendable () throws(QueueError) -> R
  ) async throws(QueueError) -> R {
    try await SharedThreads.pages.run(path: path, body)
  }

  private func isThere() throws(QueueError) -> Bool {
    do throws(SystemError) {
      _ = try PosixStorage(path: path)
      return true
    } catch {
      guard error.errno == Errno.noEntry, !path.isEmpty else {
        throw .topicOpeningFailed(error, path: path)
      }
      return false
    }
  }

  /// Begins to watch. Nil if the directory is gone by now.
  private func watch(_ directory: String) throws(QueueError) -> (any StorageWatch)? {
    do throws(SystemError) {
      return try PosixStorage(path: directory).watch { [changes] in changes.advance() }
    } catch {
      guard error.errno != Errno.noEntry else { return nil }
      throw .watchFailed(error, path: directory)
    }
  }

  /// The nearest directory above the topic that exists. Its path ends in `.`, so that it may be
  /// reached through a symbolic link.
  private func nearestDirectory() -> String {
    var path = path[...]
    while path.hasSuffix("/") { path.removeLast() }
    while let slash = path.lastIndex(of: "/") {
      path = path[..<slash]
      let directory = "\(path)/."
      if path.isEmpty || (try? PosixStorage(path: directory)) != nil { return directory }
    }
    return "."
  }
}
