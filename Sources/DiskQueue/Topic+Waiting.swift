// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension Topic {
  /// Waits until the topic exists, created by this process or another one.
  ///
  /// Readers and consumers do not create topics. Call this before you open one, if it may start
  /// before the writer. If the topic is new, begin at `.earliest`: all its records are later than
  /// the start of your program.
  ///
  /// ```swift
  /// let isNew = try await topic.waitUntilCreated()
  /// let reader = try QueueReader(topic: topic, from: isNew ? .earliest : .latest)
  /// ```
  ///
  /// It returns at once if the topic exists, and for every topic in memory. Otherwise a watch on
  /// the nearest existing directory above the topic wakes the task. If the system refuses the
  /// watch, the task looks four times a second. A waiting task takes no thread. Any number of tasks
  /// may wait.
  ///
  /// A writer first makes the directory and then its files. So a directory without files counts as
  /// a topic. A reader opens it as an empty topic. If the reader follows the log, it waits for the
  /// first record. This call looks only at the directory, not at its files.
  ///
  /// - Returns: Whether the topic was created during the wait. false if it was there before.
  /// - Throws: One of these codes:
  ///   - `cancelled`, at once, if the task is cancelled.
  ///   - `notATopic` if the path is a file, or leads through one, now or later.
  ///   - `system` if a directory of the path cannot be opened.
  /// - Complexity: O(the path's length) for each change in the watched directory.
  @discardableResult
  public func waitUntilCreated() async throws(QueueError) -> Bool {
    if Task.isCancelled { throw .cancelled() }
    // The working directory may change while the task waits.
    guard let path = anchored().directoryPath else { return false }
    return try await TopicArrival(at: path).wait()
  }
}
