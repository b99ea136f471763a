// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension Topic {
  /// Writes a copy of the topic to a directory: an ordinary topic with the same addresses, ordinals
  /// and consumers, for `Topic(path)` or ``memory(loading:capacity:records:)``. It holds all that was
  /// appended before the call if the topic is in memory, and all that was flushed if it is on a disk,
  /// but for slabs that are dropped meanwhile. Level reached: ``Durability/synced``.
  ///
  /// An older snapshot of this topic at the path is replaced, so you can call it again and again. After
  /// a crash at any moment the path leads to the older snapshot or to the new one, whole. Positions that
  /// consumers have acknowledged in the older snapshot are gone with it. Anything else at the path is
  /// refused before a byte is copied, and stays as it is: the snapshot of another topic, other files, and
  /// a snapshot that a writer has opened since, which may hold records of its own.
  ///
  /// A directory beside it, of the same name and `.partial-…`, is filled and synced, and then exchanges
  /// its name with the older one, which is removed. A crash may leave a directory of that name behind:
  /// remove it. If the system or the file system cannot exchange names in one step, the older snapshot
  /// first gets the name `.partial-….old`: a crash between the two steps leaves nothing at the path, and
  /// both snapshots beside it.
  ///
  /// The copy is of the same topic: appending to both gives one address to two records.
  ///
  /// - Parameter path: nothing is there yet, an empty directory, or an older snapshot of this topic.
  ///   Directories on the way are made.
  /// - Throws: `noSuchTopic`; `notATopic` if this topic or something else at the path is none;
  ///   `unsupportedFormat` if the snapshot at the path is of another topic; `locked` if a writer has
  ///   opened it; `system` and `noSpace` as the disk does. The copy is then removed, unless only its name
  ///   could not be made durable.
  /// - Complexity: O(bytes of the topic). Blocks the thread for the disk.
  public func snapshot(to path: some StringProtocol) throws(QueueError) {
    try snapshot(to: path) { _ in }
  }

  /// As `snapshot(to:)`.
  ///
  /// - Parameter onStep: called after each step, for tests.
  func snapshot(
    to path: some StringProtocol, onStep: (SnapshotPlace.Step) -> Void
  ) throws(QueueError) {
    let source = try openForReading()
    let copy = Topic(path)
    guard let path = copy.trimmedPath.map(String.init), !path.isEmpty else {
      throw QueueError(.notATopic, "a snapshot needs a path", path: copy.description)
    }
    let place = try SnapshotPlace(path, forCopyOf: source)
    try place.check()
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
    try place.put(target, onStep: onStep)
  }
}
