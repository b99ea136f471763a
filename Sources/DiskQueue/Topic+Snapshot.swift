// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension Topic {
  /// Writes a copy of the topic to a directory. Level reached: ``Durability/synced``.
  ///
  /// The copy is an ordinary topic with the same addresses, ordinals and consumers. Open it with
  /// `Topic(path)` or with ``memory(loading:capacity:records:)``. The copy of a topic in memory
  /// contains everything that was appended before the call. The copy of a topic on a disk contains
  /// everything that was flushed. Slabs that are dropped during the call may be missing.
  ///
  /// An older snapshot of this topic at the path is replaced, so you can call this function
  /// repeatedly. After a crash at any moment the path leads to the whole older snapshot or to the
  /// whole new one. Positions that consumers have acknowledged in the older snapshot are removed
  /// with it.
  ///
  /// Anything else at the path is refused before a byte is copied, and stays unchanged:
  ///
  /// - the snapshot of another topic
  /// - other files
  /// - a snapshot that a writer has opened since, because it may hold records of its own
  ///
  /// How the replacement works:
  ///
  /// 1. The copy is written to a directory beside the path, named after it with the suffix
  ///    `.partial-…`, and synced.
  /// 2. The new directory exchanges its name with the older snapshot.
  /// 3. The older snapshot is removed.
  ///
  /// A crash may leave a directory with that suffix: remove it. If the system or the file system
  /// cannot exchange names in one step, the older snapshot is first renamed to `.partial-….old`. A
  /// crash between the two renames leaves nothing at the path, and both snapshots beside it.
  ///
  /// The copy has the identity of this topic: appending to both would give one address to two
  /// records.
  ///
  /// - Parameter path: A path at which there is nothing yet, an empty directory, or an older
  ///   snapshot of this topic. Directories on the path are created.
  /// - Throws: One of these codes. After an error the copy is removed. There are two exceptions,
  ///   in which the path leads to the new snapshot. Either its name could not be made durable, or
  ///   the older snapshot could not be removed. The message then has the path of the older one.
  ///   - `noSuchTopic`
  ///   - `notATopic` if this topic, or something else at the path, is not a topic.
  ///   - `unsupportedFormat` if the snapshot at the path is of another topic.
  ///   - `locked` if a writer has opened the snapshot at the path.
  ///   - `system` or `noSpace` if the disk reports an error.
  /// - Complexity: O(bytes of the topic). Blocks the thread for the disk.
  public func snapshot(to path: some StringProtocol) throws(QueueError) {
    try snapshot(to: path) { _ in }
  }

  /// Writes a snapshot until a stop is asked for.
  package func snapshot(
    to path: some StringProtocol, isStopped: () -> Bool
  ) throws(QueueError) {
    try snapshot(to: path, isStopped: isStopped) { _ in }
  }

  /// Writes a snapshot, as the public `snapshot(to:)`.
  ///
  /// - Parameters:
  ///   - isStopped: Asked again and again while the files are copied. If it returns true, the copy
  ///     is removed, and `cancelled` is thrown.
  ///   - onStep: Called after each step, for tests.
  func snapshot(
    to path: some StringProtocol, replacing: Bool = true, isStopped: () -> Bool = { false },
    onStep: (SnapshotPath.SnapshotStep) -> Void
  ) throws(QueueError) {
    let source = try openForReading()
    let copy = Topic(path)
    guard let path = copy.trimmedPath.map(String.init), !path.isEmpty else {
      throw QueueError(
        .notATopic, "a snapshot is a directory: name its path", path: copy.description)
    }
    let snapshot = try SnapshotPath(path, forCopyOf: source, mayReplace: replacing)
    try snapshot.check()
    var random = SystemRandomNumberGenerator()
    let partial = path + ".partial-" + String(random.next(), radix: 16)
    let target: PosixStorage
    do throws(SystemError) {
      target = try PosixStorage(creating: partial, permissions: TopicPermissions())
    } catch {
      // The error may have come after the directory was made.
      PosixStorage.removeEmpty(partial)
      throw .system(error, doing: "making a snapshot", path: partial)
    }
    do throws(QueueError) {
      try TopicCopy.copy(source, to: target, isStopped: isStopped)
      onStep(.copied)
    } catch {
      // The first error is the reason for the removal: report only that one.
      try? target.removeAll()
      throw error
    }
    try snapshot.put(target, onStep: onStep)
  }

  /// Copies a snapshot to this topic, which must not exist yet. Level reached:
  /// ``Durability/synced``.
  ///
  /// ```swift
  /// try Topic("sensors").restore(from: "/backup/sensors")
  /// ```
  ///
  /// The topic gets the addresses, the ordinals, the consumers and the identity of the snapshot.
  /// After a crash at any moment there is nothing at the path of the topic, or the whole copy. A
  /// crash may leave a directory beside it, with the suffix `.partial-…`: remove it.
  ///
  /// Two rules follow from the shared identity:
  ///
  /// - Append only to the restored topic from then on. If a writer also appends to the snapshot, or
  ///   to the old topic, one address names two records.
  /// - Records that the old topic took after the snapshot are not in the restored one. It may give
  ///   their addresses to other records. If a receiver has seen such records and recognizes records
  ///   by their addresses, append the records of the snapshot to a new topic instead.
  ///
  /// For a topic in memory use ``memory(loading:capacity:records:)``.
  ///
  /// - Parameter snapshot: The path of a snapshot, or of any other topic that no writer has open.
  /// - Throws: One of these codes. Nothing is created then, unless only the name of the copy could
  ///   not be made durable.
  ///   - `alreadyExists` if there is a topic or anything else at this topic's path. An empty
  ///     directory counts as nothing.
  ///   - `noSuchTopic` if there is no snapshot at the path.
  ///   - `notATopic` if the snapshot is not a topic, or this topic is not in a directory.
  ///   - `system` or `noSpace` if the disk reports an error.
  /// - Complexity: O(bytes of the snapshot). Blocks the thread for the disk.
  public func restore(from snapshot: some StringProtocol) throws(QueueError) {
    try restore(from: snapshot) { false }
  }

  /// Copies a snapshot to this topic until a stop is asked for, as the public `restore(from:)`.
  package func restore(
    from snapshot: some StringProtocol, isStopped: () -> Bool
  ) throws(QueueError) {
    guard let path = trimmedPath, !path.isEmpty else {
      throw QueueError(
        .notATopic, "a snapshot is restored to a directory: name its path", path: description)
    }
    try Topic(snapshot).snapshot(to: path, replacing: false, isStopped: isStopped) { _ in }
  }
}
