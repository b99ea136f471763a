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
  /// - Throws: One of these codes. After an error the copy is removed, unless only its name could
  ///   not be made durable.
  ///   - `noSuchTopic`
  ///   - `notATopic` if this topic, or something else at the path, is not a topic.
  ///   - `unsupportedFormat` if the snapshot at the path is of another topic.
  ///   - `locked` if a writer has opened the snapshot at the path.
  ///   - `system` or `noSpace` if the disk reports an error.
  /// - Complexity: O(bytes of the topic). Blocks the thread for the disk.
  public func snapshot(to path: some StringProtocol) throws(QueueError) {
    try snapshot(to: path) { _ in }
  }

  /// Writes a snapshot, as the public `snapshot(to:)`.
  ///
  /// - Parameter onStep: Called after each step, for tests.
  func snapshot(
    to path: some StringProtocol, onStep: (SnapshotPath.SnapshotStep) -> Void
  ) throws(QueueError) {
    let source = try openForReading()
    let copy = Topic(path)
    guard let path = copy.trimmedPath.map(String.init), !path.isEmpty else {
      throw QueueError(
        .notATopic, "a snapshot is a directory: name its path", path: copy.description)
    }
    let snapshot = try SnapshotPath(path, forCopyOf: source)
    try snapshot.check()
    var random = SystemRandomNumberGenerator()
    let partial = path + ".partial-" + String(random.next(), radix: 16)
    let target: PosixStorage
    do throws(SystemError) {
      target = try PosixStorage(creating: partial, permissions: FilePermissions())
    } catch {
      throw .system(error, doing: "making a snapshot", path: partial)
    }
    do throws(QueueError) {
      try TopicCopy.copy(source, to: target)
      onStep(.copied)
    } catch {
      target.removeAll()
      throw error
    }
    try snapshot.put(target, onStep: onStep)
  }
}
