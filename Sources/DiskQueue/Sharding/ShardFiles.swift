// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Shards in a directory: one directory each, beside the file `shards` and the lock of the only
/// writer.
struct ShardFiles: Sendable {
  /// The directory.
  let root: Topic
  /// The topic of a shard.
  let topic: @Sendable (Int) -> Topic

  init(path: String) {
    root = Topic(path)
    topic = { Topic(path + (path.hasSuffix("/") ? "" : "/") + ShardName.string($0)) }
  }

  /// Like `Topic.anchored`.
  func anchored() -> ShardFiles {
    guard let path = root.anchored().directoryPath else { return self }
    return ShardFiles(path: path)
  }

  /// Shards on any storage.
  ///
  /// - Parameters:
  ///   - root: the directory that holds the file `shards` and the lock, and lists the shards that
  ///     were made.
  ///   - topic: the topic of a shard.
  init(root: any TopicStorage, topic: @escaping @Sendable (Int) -> Topic) {
    self.root = Topic(storage: root)
    self.topic = topic
  }

  // MARK: Reading

  /// Whether the directory holds the file `shards`, and no slab of an ordinary topic.
  func areHere() throws(QueueError) -> Bool {
    let names = try Names(in: try root.openForReading())
    return names.hasFile && !names.hasSlabs
  }

  /// Opens the directory, and reads how many shards it has.
  ///
  /// - Throws: `noSuchTopic` if no shards were made. `notATopic`, `unsupportedFormat`, `system`.
  func openForReading() throws(QueueError) -> (root: any TopicStorage, file: ShardsFile) {
    let root = try root.openForReading()
    let names = try Names(in: root)
    guard !names.hasSlabs else { throw names.notShards(root.path) }
    guard let found = try Self.open(root, writable: false) else {
      guard !names.hasOthers, names.shards.isEmpty else { throw names.notShards(root.path) }
      throw QueueError(
        .noSuchTopic, "no shards were made here yet: check the path, or append to make them",
        path: root.path)
    }
    switch try Self.read(found, in: root) {
    case .sound(let file): return (root, file)
    case .unfinished where names.mayBeUnfinished:
      throw QueueError(
        .noSuchTopic,
        "the shards here are not made completely: open them for writing, which finishes it",
        path: root.path)
    case let other: throw Self.refused(other, root)
    }
  }

  /// The shards that were made, of `count` shards, in order.
  static func made(in root: any TopicStorage, of count: Int) throws(QueueError) -> [Int] {
    try Names(in: root).shards.filter { $0 < count }.sorted()
  }

  // MARK: Making

  /// Opens the directory for writing. Makes it if need be.
  ///
  /// Order:
  /// 1. Open or make the directory, as any topic's.
  /// 2. Take its lock.
  /// 3. Look at its content, and sync its own name.
  /// 4. Write and sync the file `shards`.
  /// 5. Sync the directory.
  /// 6. Check the names of the lock and of the file.
  ///
  /// There is no shard until step 5 is done. So if the file is not whole and there is no shard, a
  /// crash has left it, and it is written again. A file that was found whole may be left by a crash
  /// before its sync. It is synced as well, and its content is read as the disk holds it.
  ///
  /// - Parameter wanted: the content to write if there is none.
  /// - Throws: `locked`. `notATopic` for a directory of other files, of a topic's slabs, or of
  ///   shards whose file is gone or damaged. `unsupportedFormat`, `noSpace`, `syncFailed`,
  ///   `system`.
  func openForWriting(
    _ wanted: ShardsFile, permissions: TopicPermissions
  ) throws(QueueError) -> (lock: ShardsLock, file: ShardsFile) {
    let root = try root.openForWriting(permissions: permissions)
    // Check before the lock's file is made: a directory of other files stays as it is.
    try Names(in: root).checkForWriting(root.path)
    if let found = try Self.open(root, writable: false) {
      let reading = try Self.read(found, in: root)
      if case .foreign = reading { throw Self.refused(reading, root) }
    }
    let lock: any StorageLock
    do throws(SystemError) {
      lock = try root.lock()
    } catch {
      throw .shardsLockFailed(error, root)
    }
    do throws(QueueError) {
      let (file, open) = try Self.settle(wanted, in: root)
      let names = try Self.heldNames(lock, open, in: root)
      let held = ShardsLock {
        () throws(QueueError) in
        for name in names { try name.check(in: root) }
      } _: {
        lock.release()
      }
      try held.check()
      return (held, file)
    } catch {
      lock.release()
      throw error
    }
  }

  private static func heldNames(
    _ lock: any StorageLock, _ file: any StorageFile, in root: any TopicStorage
  ) throws(QueueError) -> [HeldName] {
    do throws(SystemError) {
      return [
        try HeldName(TopicLayout.lockName, leadingTo: lock.file),
        try HeldName(TopicLayout.shardsName, leadingTo: file),
      ]
    } catch {
      throw .system(error, doing: "opening the shards", path: path(root))
    }
  }

  /// With the lock held: reads the file `shards`, or writes it.
  private static func settle(
    _ wanted: ShardsFile, in root: any TopicStorage
  ) throws(QueueError) -> (ShardsFile, any StorageFile) {
    // Check again: this time no other program makes anything.
    let names = try Names(in: root)
    try names.checkForWriting(root.path)
    try sync(root.path) { () throws(SystemError) in try root.syncParent() }
    if let found = try open(root, writable: true) {
      try sync(path(root)) { () throws(SystemError) in try found.sync() }
      try sync(root.path) { () throws(SystemError) in try root.syncDirectory() }
      found.dropCache()
      switch try read(found, in: root) {
      case .sound(let file): return (file, found)
      case .unfinished where names.mayBeUnfinished:
        try write(wanted, to: found, in: root)
        return (wanted, found)
      case let other: throw refused(other, root)
      }
    }
    let new: any StorageFile
    do throws(SystemError) {
      new = try root.create(TopicLayout.shardsName)
    } catch {
      throw .system(error, doing: "making the shards", path: path(root))
    }
    try write(wanted, to: new, in: root)
    return (wanted, new)
  }

  private static func write(
    _ wanted: ShardsFile, to file: any StorageFile, in root: any TopicStorage
  ) throws(QueueError) {
    let bytes = wanted.bytes
    do throws(SystemError) {
      var written = 0
      while written < bytes.count {
        // Safe: the array outlives the call.
        written += unsafe try file.write(
          bytes.span.bytes.extracting(droppingFirst: written), at: UInt64(written))
      }
    } catch {
      throw .system(error, doing: "making the shards", path: path(root))
    }
    try sync(path(root)) { () throws(SystemError) in try file.sync() }
    try sync(root.path) { () throws(SystemError) in try root.syncDirectory() }
  }

  // MARK: The file

  private static func path(_ root: any TopicStorage) -> String {
    root.path + "/" + TopicLayout.shardsName
  }

  private static func open(
    _ root: any TopicStorage, writable: Bool
  ) throws(QueueError) -> (any StorageFile)? {
    do throws(SystemError) {
      return try root.open(TopicLayout.shardsName, writable: writable)
    } catch {
      guard error.errno != Errno.noEntry else { return nil }
      throw .system(error, doing: "opening the shards", path: path(root))
    }
  }

  private static func read(
    _ file: any StorageFile, in root: any TopicStorage
  ) throws(QueueError) -> ShardsFile.ShardsVerdict {
    // One byte more, to see that there are no more.
    var bytes = [UInt8](repeating: 0, count: ShardsFile.byteCount + 1)
    let result: Result<Int, SystemError> = unsafe bytes.withUnsafeMutableBytes { target in
      do throws(SystemError) {
        return .success(unsafe try file.read(into: target, at: 0))
      } catch {
        return .failure(error)
      }
    }
    switch result {
    case .success(let count):
      // Safe: the array outlives the call.
      return unsafe ShardsFile.read(bytes.span.bytes.extracting(first: count))
    case .failure(let error):
      throw .system(error, doing: "reading the shards", path: path(root))
    }
  }

  private static func refused(
    _ reading: ShardsFile.ShardsVerdict, _ root: any TopicStorage
  ) -> QueueError {
    switch reading {
    case .unsupported:
      QueueError(
        .unsupportedFormat,
        "the shards were made by a newer version: use the program that made them", path: path(root))
    case .foreign:
      QueueError(
        .notATopic, "the file is not one that says how many shards there are: check the path",
        path: path(root))
    case .damaged, .unfinished, .sound:
      QueueError(
        .notATopic,
        "the file that says how many shards there are is damaged, and the number is not guessed:"
          + " put back a copy of the file, or read each shard beside it as a topic of its own",
        path: path(root))
    }
  }

  private static func sync(
    _ path: String, _ body: () throws(SystemError) -> Void
  ) throws(QueueError) {
    do throws(SystemError) {
      try body()
    } catch {
      throw .syncFailed(error, path: path)
    }
  }
}

/// The content of a directory of shards.
private struct Names {
  var shards: [Int] = []
  var hasSlabs = false
  var hasConsumers = false
  var hasFile = false
  var hasOthers = false

  init(in root: any TopicStorage) throws(QueueError) {
    var found: [String] = []
    do throws(SystemError) {
      try root.forEachName { found.append($0) }
    } catch {
      // The directory was removed while it was open.
      guard error.errno != Errno.noEntry else { throw .topicRemoved(path: root.path) }
      throw .system(error, doing: "listing the shards", path: root.path)
    }
    for name in found {
      if let shard = ShardName.parse(name) {
        shards.append(shard)
      } else if SlabName.parse(name) != nil {
        hasSlabs = true
      } else if name == TopicLayout.consumersName {
        hasConsumers = true
      } else if name == TopicLayout.shardsName {
        hasFile = true
      } else if name != TopicLayout.lockName, !TopicLayout.isNeutral(name) {
        hasOthers = true
      }
    }
    // An ordinary topic, or its consumers, are here.
    if hasConsumers || hasSlabs { hasOthers = true }
  }

  /// Whether there is nothing except the files with which making the shards begins.
  var mayBeUnfinished: Bool { shards.isEmpty && !hasOthers }

  /// Throws if there is something else, or if there are shards whose file is gone. Nothing is made
  /// then.
  func checkForWriting(_ path: String) throws(QueueError) {
    guard !hasSlabs, hasFile || !hasOthers && shards.isEmpty else { throw notShards(path) }
  }

  func notShards(_ path: String) -> QueueError {
    let message =
      if hasSlabs || hasConsumers {
        "the directory holds an ordinary topic, without shards: open it as one, or take another"
          + " path"
      } else if !shards.isEmpty {
        "the directory holds shards, and the file that says how many there are is gone: put back a"
          + " copy of the file, or read each shard as a topic of its own"
      } else {
        "the directory holds other files and no shards: check the path"
      }
    return QueueError(.notATopic, message, path: path)
  }
}

extension QueueError {
  static func invalidShardCount(_ count: Int) -> QueueError {
    .invalidOption(
      "shards is \(count), and must be from \(ShardsFile.counts.lowerBound) to"
        + " \(ShardsFile.counts.upperBound)")
  }

  /// The error if another writer has the shards of a topic.
  static func shardsLocked(by state: LockState, path: String, errno: Int32? = nil) -> QueueError {
    QueueError(.locked, state.message("the shards"), path: path, errno: errno)
  }

  fileprivate static func shardsLockFailed(
    _ error: SystemError, _ root: any TopicStorage
  ) -> QueueError {
    guard error.errno == Errno.again else {
      return .system(
        error, doing: "locking the shards", path: root.path + "/" + TopicLayout.lockName)
    }
    return .shardsLocked(by: root.lockState(), path: root.path, errno: error.errno)
  }
}
