// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The path of a snapshot. It may hold an older snapshot.
struct SnapshotPath {
  enum SnapshotStep: CaseIterable {
    case copied, named, nameSynced, olderRemoved
  }

  private let path: String
  /// The id of the topic that is copied. Nil if the topic has no record yet, or if version 1 wrote
  /// it, which has no id.
  private let topicID: UInt64?
  /// Whether an older snapshot is replaced. Otherwise anything at the path is refused.
  private let mayReplace: Bool

  init(
    _ path: String, forCopyOf source: any TopicStorage, mayReplace: Bool = true
  ) throws(QueueError) {
    let index = TopicIndex(source)
    try index.refresh()
    self.path = path
    self.mayReplace = mayReplace
    topicID = index.topicID
  }

  // MARK: The older snapshot

  /// Refuses the path unless it holds an older snapshot of the topic, or nothing.
  func check() throws(QueueError) { _ = try older() }

  /// The older snapshot. Nil if the path holds nothing, or an empty directory, which a rename
  /// replaces.
  private func older() throws(QueueError) -> PosixStorage? {
    let storage: PosixStorage
    do throws(SystemError) {
      storage = try PosixStorage(path: path)
    } catch {
      if error.errno == Errno.noEntry, !path.isEmpty { return nil }
      guard mayReplace || error.errno != Errno.notDirectory else { throw isTaken }
      throw .topicOpeningFailed(error, path: path)
    }
    return try holdsSnapshot(storage) ? storage : nil
  }

  private var isTaken: QueueError {
    QueueError(
      .alreadyExists,
      "there is something at this path, and it is not overwritten: move it away, or choose another"
        + " path", path: path)
  }

  /// Whether a directory holds an older snapshot of the topic. False if it is empty.
  private func holdsSnapshot(_ storage: any TopicStorage) throws(QueueError) -> Bool {
    var isEmpty = true
    var hasLock = false
    var others: String?
    do throws(SystemError) {
      try storage.forEachName { name in
        isEmpty = false
        if name == TopicLayout.lockName {
          hasLock = true
        } else if SlabName.parse(name) == nil, name != TopicLayout.consumersName {
          others = name
        }
      }
    } catch {
      throw .system(error, doing: "listing a snapshot's path", path: path)
    }
    if isEmpty { return false }
    guard mayReplace else { throw isTaken }
    if let others {
      throw QueueError(
        .notATopic,
        "there is something else than a snapshot at this path, and it is not replaced (\(others)):"
          + " choose another path", path: path)
    }
    // Only a writer makes the lock.
    guard !hasLock else {
      throw QueueError(
        .locked,
        "a writer has opened the topic at this path, which may hold records of its own and is not"
          + " replaced: choose another path, or move it away", path: path)
    }
    let index = TopicIndex(storage)
    try index.refresh()
    var isEmptyTopic = true
    var hasOther = false
    for base in index.bases {
      guard let slab = try SlabFile.open(base, in: storage) else { continue }
      isEmptyTopic = false
      if try isOther(slab, of: index) { hasOther = true }
    }
    guard isEmptyTopic || (topicID != nil && index.topicID == topicID && !hasOther) else {
      throw QueueError(
        .unsupportedFormat,
        "the snapshot at this path is not known to be of the same topic, and is not replaced:"
          + " choose another path, or move it away", path: path)
    }
    return true
  }

  /// Whether a slab belongs to another topic, was renamed, or is of a newer version.
  private func isOther(_ slab: SlabFile, of index: TopicIndex) throws(QueueError) -> Bool {
    guard !index.holdsVersion1(slab.base) else { return false }
    return switch try slab.head().header {
    case .sound(let header): header.topicID != index.topicID ?? header.topicID
    case .unsupported: true
    case .unsound: try slab.statedBase() != nil
    }
  }

  // MARK: Replacing it

  /// Gives a copy its name, in place of an older snapshot.
  ///
  /// Order:
  /// 1. The copy is durable (`TopicCopy`).
  /// 2. It gets the name in one step, in exchange with an older one.
  /// 3. The directory that holds both is synced.
  /// 4. Only then is the older one removed.
  ///
  /// So the path leads to a whole snapshot at any moment, also after a power cut.
  ///
  /// - Throws: the copy is removed then, unless it has its name.
  func put(_ copy: PosixStorage, onStep: (SnapshotStep) -> Void) throws(QueueError) {
    let (moved, older): (PosixStorage, PosixStorage?)
    var hasName = false
    do throws(QueueError) {
      (moved, older) = try name(copy, &hasName)
    } catch {
      // The first error is the reason for the removal: report only that one.
      if !hasName { try? copy.removeAll() }
      throw error
    }
    onStep(.named)
    do throws(SystemError) {
      try moved.syncParent()
    } catch {
      let rest = older.map { " (the older one is now \($0.path))" } ?? ""
      throw .system(error, doing: "making a snapshot's name durable\(rest)", path: path)
    }
    onStep(.nameSynced)
    do throws(SystemError) {
      try older?.removeAll()
    } catch {
      throw .system(error, doing: "removing the older snapshot", path: older?.path ?? path)
    }
    onStep(.olderRemoved)
  }

  /// Gives a copy its name. After an error, an older snapshot has its name back, unless a rename
  /// back failed as well.
  ///
  /// - Parameter hasName: whether the path leads to the copy, also after an error.
  private func name(
    _ copy: PosixStorage, _ hasName: inout Bool
  ) throws(QueueError) -> (moved: PosixStorage, older: PosixStorage?) {
    guard try older() != nil else {
      try renaming { () throws(SystemError) in try copy.moveName(to: path) }
      hasName = true
      return (try renaming { () throws(SystemError) in try copy.named(path) }, nil)
    }
    let aside = try renaming { () throws(SystemError) in try copy.exchangeName(with: path) }
    hasName = true
    do throws(QueueError) {
      let (moved, older) = try renaming { () throws(SystemError) in
        (try copy.named(path), try PosixStorage(path: aside))
      }
      // A writer may have opened it meanwhile, or another directory may have got its name.
      _ = try holdsSnapshot(older)
      return (moved, older)
    } catch {
      try renaming { () throws(SystemError) in try copy.returnName(path, to: aside) }
      hasName = false
      throw error
    }
  }

  private func renaming<Value>(
    _ body: () throws(SystemError) -> Value
  ) throws(QueueError) -> Value {
    do throws(SystemError) {
      return try body()
    } catch {
      throw .system(error, doing: "giving a snapshot its name", path: path)
    }
  }
}
