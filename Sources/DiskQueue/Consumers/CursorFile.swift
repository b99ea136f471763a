// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A consumer's cursor file, which stays open, and its lock.
///
/// The file is made whole. Acknowledging then overwrites existing bytes, and needs no room on a
/// full disk.
struct CursorFile: Sendable {
  private let storage: any TopicStorage
  private let directory: any StorageDirectory
  private let consumer: String
  private let lock: any StorageLock
  /// Whether the lock's file did not exist before.
  private let lockIsNew: Bool
  /// Nil if there is none yet.
  private var file: (any StorageFile)?
  /// The names that must lead to the open files: the directory's, the lock's and the file's. In
  /// memory the directory has no name, and its entry is nil.
  private var heldDirectory: HeldName?
  private var heldLock: HeldName?
  private var heldFile: HeldName?
  /// The content as read. After a write, the last slot written.
  private(set) var content: CursorSlots.Content = .never

  /// The lower address of the two slots.
  var lowest: UInt64 { if case .sound(_, let lowest, _) = content { lowest } else { 0 } }

  private var name: String { CursorName.string(consumer) }

  /// For messages.
  var path: String { directory.path + "/" + name }

  // MARK: Names

  /// The file name for a consumer's name.
  ///
  /// - Throws: `invalidOption`: a name is not a path.
  static func fileName(_ consumer: String) throws(QueueError) -> String {
    guard CursorName.isValid(consumer) else { throw .invalidConsumerName(consumer) }
    return CursorName.string(consumer)
  }

  // MARK: Opening

  /// Takes a consumer's lock, and opens its file if there is one. Call `load` to read it.
  ///
  /// Order: the lock comes first, because only its holder makes, changes or removes the cursor's
  /// file. The lock's file is made if need be: a cursor that was copied, or made by an older
  /// version, has none.
  ///
  /// - Throws: `locked` while another consumer holds it. `noSuchConsumer` if it does not exist and
  ///   is not to be made. Nothing is left then.
  static func open(
    _ consumer: String, in storage: any TopicStorage, creating: Bool
  ) throws(QueueError) -> CursorFile {
    let name = try fileName(consumer)
    let place = storage.path + "/" + TopicLayout.consumersName + "/" + name
    let directory: any StorageDirectory
    do throws(SystemError) {
      directory = try storage.consumers(creating: creating)
    } catch {
      guard creating || error.errno != Errno.noEntry else {
        throw .noSuchConsumer(consumer, path: place)
      }
      throw .system(error, doing: "opening the consumers' directory", path: place)
    }
    let lock: any StorageLock
    let lockIsNew: Bool
    do throws(SystemError) {
      // Check before a file is made for nothing.
      if !creating, try directory.identity(of: name) == nil {
        throw SystemError(errno: Errno.noEntry, call: "fstatat")
      }
      let lockName = CursorName.lock(consumer)
      lockIsNew = try directory.identity(of: lockName) == nil
      lock = try directory.lock(lockName, creating: true)
    } catch {
      switch error.errno {
      case Errno.again: throw .consumerLocked(consumer, in: directory, path: place)
      case Errno.noEntry where !creating: throw .noSuchConsumer(consumer, path: place)
      default: throw .system(error, doing: "locking a cursor", path: place)
      }
    }
    var opened = CursorFile(
      storage: storage, directory: directory, consumer: consumer, lock: lock, lockIsNew: lockIsNew)
    do throws(QueueError) {
      try opened.openFile()
      guard creating || opened.file != nil else { throw .noSuchConsumer(consumer, path: place) }
    } catch {
      opened.giveUp()
      throw error
    }
    return opened
  }

  private init(
    storage: any TopicStorage, directory: any StorageDirectory, consumer: String,
    lock: any StorageLock, lockIsNew: Bool
  ) {
    self.storage = storage
    self.directory = directory
    self.consumer = consumer
    self.lock = lock
    self.lockIsNew = lockIsNew
  }

  private mutating func openFile() throws(QueueError) {
    do throws(SystemError) {
      heldDirectory = try HeldName(
        TopicLayout.consumersName, leadingTo: directory, in: storage)
      heldLock = try HeldName(CursorName.lock(consumer), leadingTo: lock.file)
      let opened = try directory.open(name, writable: true)
      heldFile = try HeldName(name, leadingTo: opened)
      file = opened
    } catch {
      guard error.errno != Errno.noEntry else { return }
      throw .system(error, doing: "opening a cursor", path: path)
    }
  }

  /// Makes the file durable under its name, and reads its content as the disk holds it.
  ///
  /// Order:
  /// 1. Sync the topic's own name.
  /// 2. Sync the name of the consumers' directory in the topic.
  /// 3. Sync the file's name in that directory.
  /// 4. Sync the file.
  /// 5. Drop the cached content of the file.
  /// 6. Read it.
  ///
  /// Steps 1 to 3 are needed because a crash may have left names between their making and their
  /// sync. Step 5 is needed because the last slot may be what a failed sync left in memory. The
  /// content must be what the disk holds.
  mutating func load() throws(QueueError) {
    do throws(SystemError) {
      try storage.syncParent()
      try storage.syncDirectory()
      try directory.syncDirectory()
    } catch {
      throw .consumerSyncFailed(error, path: directory.path)
    }
    guard let file else { return }
    try sync(file)
    try checkNames()
    file.dropCache()
    content = try Self.read(file, of: consumer, path: path)
  }

  /// Reads a consumer's file. The caller need not hold its lock.
  static func read(
    _ file: any StorageFile, of consumer: String, path: String
  ) throws(QueueError) -> CursorSlots.Content {
    var bytes = [UInt8](repeating: 0, count: CursorSlots.byteCount)
    var count = 0
    do throws(SystemError) {
      while count < bytes.count {
        let result: Result<Int, SystemError> = unsafe bytes.withUnsafeMutableBytes { target in
          do throws(SystemError) {
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: target[count...])
            return .success(unsafe try file.read(into: rest, at: UInt64(count)))
          } catch {
            return .failure(error)
          }
        }
        let read = try result.get()
        guard read > 0 else { break }
        count += read
      }
    } catch {
      throw .system(error, doing: "reading a cursor", path: path)
    }
    // Safe: the array outlives the call.
    return unsafe CursorSlots.read(bytes.span.bytes.extracting(first: count), of: consumer)
  }

  // MARK: Ending

  /// Releases the lock. Nothing is written any more.
  func release() { lock.release() }

  /// Like `release`, after a failed opening. Also removes a lock's file that was made for it.
  func giveUp() {
    if lockIsNew { removeLock() }
    release()
  }

  /// Removes the lock's file while the lock is held. If another program has opened the file by
  /// then, it finds that the name does not lead to it.
  private func removeLock() {
    do throws(SystemError) {
      try directory.remove(CursorName.lock(consumer))
    } catch {
      // A lock's file without a cursor states nothing, and serves the next holder.
    }
  }

  /// Removes the consumer's files, durably. The lock is still held.
  ///
  /// Order:
  /// 1. The cursor, and its sync.
  /// 2. The lock, last, so that no other holder takes the name before.
  func remove() throws(QueueError) {
    do throws(SystemError) {
      try removeIfThere(CursorName.unfinished(consumer))
      try directory.remove(name)
    } catch {
      throw .system(error, doing: "removing a cursor", path: path)
    }
    do throws(SystemError) {
      try directory.syncDirectory()
    } catch {
      throw .consumerSyncFailed(error, path: directory.path)
    }
    removeLock()
  }

  private func removeIfThere(_ name: String) throws(SystemError) {
    do throws(SystemError) {
      try directory.remove(name)
    } catch {
      guard error.errno == Errno.noEntry else { throw error }
    }
  }

  // MARK: Writing

  /// The slot that holds. Nil if none was ever written.
  ///
  /// - Throws: `damagedCursor`. `unsupportedFormat` for a newer version's file.
  func slot() throws(QueueError) -> CursorSlot? {
    switch content {
    case .never: return nil
    // No generation comes after the last one, and no counting reaches it.
    case .sound(let slot, _, _) where slot.generation < .max: return slot
    case .sound, .damaged:
      throw QueueError(
        .damagedCursor,
        "the consumer's cursor is damaged, so its acknowledgements are not known: reset the"
          + " consumer to a position, or delete it",
        path: path)
    case .unsupported(let version):
      throw QueueError(
        .unsupportedFormat,
        "the consumer's cursor has version \(version) of its format, which this program does not"
          + " know: use the program that wrote it, or delete the consumer",
        path: path)
    }
  }

  /// Makes the whole file with a first generation, durable under its name before this returns.
  ///
  /// Order:
  /// 1. The bytes, under another name.
  /// 2. Their sync.
  /// 3. The consumer's name. A file there that was never written is removed before.
  /// 4. The directory's sync.
  ///
  /// Before their sync, the blocks of a new file may hold bytes that other files left there. After
  /// a power cut, a reader could take these for a cursor. With this order, there is nothing under
  /// the consumer's name, or the whole file.
  ///
  /// - Throws: as `advance`. No new file is left then, as far as it can be removed.
  mutating func make(at place: CursorPosition, topicID: UInt64) throws(QueueError) {
    let slot = CursorSlot(
      generation: 1, topicID: topicID, address: place.address, ordinal: place.ordinal)
    let unfinished = CursorName.unfinished(consumer)
    do throws(QueueError) {
      let made = try perform("making a cursor") { () throws(SystemError) in
        try removeIfThere(unfinished)
        return try directory.create(unfinished)
      }
      try write(CursorSlots.first(slot, of: consumer), at: 0, to: made)
      try sync(made)
      if file != nil {
        try perform("removing a cursor") { () throws(SystemError) in try removeIfThere(name) }
        file = nil
      }
      heldFile = try perform("making a cursor") { () throws(SystemError) in
        try HeldName(name, leadingTo: made)
      }
      try perform("naming a cursor") { () throws(SystemError) in
        try directory.rename(unfinished, to: name)
      }
      do throws(SystemError) {
        try directory.syncDirectory()
      } catch {
        throw .consumerSyncFailed(error, path: directory.path)
      }
      try checkNames()
      file = try perform("opening a cursor") { () throws(SystemError) in
        try directory.open(name, writable: true)
      }
    } catch {
      removeMade()
      throw error
    }
    content = .sound(holds: slot, lowest: slot.address, count: 1)
  }

  /// Removes the files of a `make` that could not finish.
  private func removeMade() {
    do throws(SystemError) {
      try removeIfThere(CursorName.unfinished(consumer))
      if file == nil, let made = heldFile, try made.leads(in: directory) {
        try directory.remove(name)
      }
    } catch {
      // It stays. Under the consumer's name it is whole. The next holder removes any other file.
    }
  }

  /// Writes the next generation over the older slot, durable before this returns. The other slot is
  /// not touched: it stays, whatever becomes of this one. In a file of version 1, both slots are
  /// written, one after the other.
  ///
  /// Order:
  /// 1. The slot.
  /// 2. Its sync.
  /// 3. The names are checked, so that no position is called durable in a file that no name leads
  ///    to.
  ///
  /// - Throws: `system` and `noSpace` if the slot could not be written: it may be retried.
  ///   `syncFailed`, and `fileRemoved` if a name leads elsewhere, for good.
  mutating func advance(to place: CursorPosition, topicID: UInt64) throws(QueueError) {
    guard let held = try slot(), let file else {
      return try make(at: place, topicID: topicID)
    }
    let next = CursorSlot(
      generation: held.generation + 1, topicID: topicID, address: place.address,
      ordinal: place.ordinal)
    try write(
      next.bytes(of: consumer), at: CursorSlots.offset(ofGeneration: next.generation), to: file)
    try sync(file)
    try checkNames()
    content = .sound(holds: next, lowest: min(held.address, next.address), count: 2)
    if held.version == 1, next.generation < .max {
      try advance(to: place, topicID: topicID)
    }
  }

  /// Like `advance`, but into both slots, because a cleaner goes by the lower one.
  mutating func advanceBoth(to place: CursorPosition, topicID: UInt64) throws(QueueError) {
    try advance(to: place, topicID: topicID)
    if lowest != place.address { try advance(to: place, topicID: topicID) }
  }

  /// Makes a position durable, whatever the file holds. Advances a sound slot. Replaces anything
  /// else, except the content of a newer version.
  mutating func set(to place: CursorPosition, topicID: UInt64) throws(QueueError) {
    do throws(QueueError) {
      if try slot() != nil { return try advanceBoth(to: place, topicID: topicID) }
    } catch {
      guard error.code == .damagedCursor else { throw error }
      if let file, try size(of: file) >= CursorSlots.byteCount {
        return try overwrite(file, with: place, topicID: topicID)
      }
    }
    try make(at: place, topicID: topicID)
  }

  /// Writes a first generation over a damaged file that is long enough.
  private mutating func overwrite(
    _ file: any StorageFile, with place: CursorPosition, topicID: UInt64
  ) throws(QueueError) {
    let slot = CursorSlot(
      generation: 1, topicID: topicID, address: place.address, ordinal: place.ordinal)
    try write(CursorSlots.first(slot, of: consumer), at: 0, to: file)
    try sync(file)
    try checkNames()
    content = .sound(holds: slot, lowest: slot.address, count: 1)
  }

  private func size(of file: any StorageFile) throws(QueueError) -> UInt64 {
    try perform("reading a cursor") { () throws(SystemError) in try file.size() }
  }

  private func write(
    _ bytes: [UInt8], at offset: UInt64, to file: any StorageFile
  ) throws(QueueError) {
    var written = 0
    while written < bytes.count {
      do throws(SystemError) {
        // Safe: the array outlives the call.
        let rest = unsafe bytes.span.bytes.extracting(droppingFirst: written)
        written += try file.write(rest, at: offset + UInt64(written))
      } catch {
        throw .system(error, doing: "writing a cursor", path: path)
      }
    }
  }

  private func sync(_ file: any StorageFile) throws(QueueError) {
    do throws(SystemError) {
      try file.sync()
    } catch {
      throw .consumerSyncFailed(error, path: path)
    }
  }

  /// Throws if a name does not lead to the file that is open under it. Then no later holder would
  /// find the bytes synced, or another holder has the consumer.
  private func checkNames() throws(QueueError) {
    do throws(QueueError) {
      try heldDirectory?.check(in: storage, heldBy: "consumer")
      try heldLock?.check(in: directory, heldBy: "consumer")
      try heldFile?.check(in: directory, heldBy: "consumer")
    } catch {
      guard error.code == .fileRemoved else { throw error }
      let isTopicThere = try perform("looking for a topic") {
        () throws(SystemError) -> Bool in
        let lock = try storage.identity(of: TopicLayout.lockName)
        let consumers = try storage.identity(of: TopicLayout.consumersName)
        return lock != nil || consumers != nil
      }
      throw isTopicThere ? error : .topicRemoved(path: storage.path)
    }
  }

  private func perform<R>(
    _ doing: String, _ body: () throws(SystemError) -> R
  ) throws(QueueError) -> R {
    do throws(SystemError) {
      return try body()
    } catch {
      throw .system(error, doing: doing, path: path)
    }
  }
}

extension QueueError {
  static func consumerSyncFailed(
    _ error: SystemError, path: String, fileID: StaticString = #fileID, line: UInt = #line
  ) -> QueueError {
    QueueError(
      .syncFailed,
      "stable storage refused data (\(error.call): \(Syscalls.describe(error.errno))), and this"
        + " consumer has ended: close it, and open a new one, which begins at the durable position",
      path: path, errno: error.errno, fileID: fileID, line: line)
  }

  fileprivate static func noSuchConsumer(
    _ consumer: String, path: String, fileID: StaticString = #fileID, line: UInt = #line
  ) -> QueueError {
    QueueError(
      .noSuchConsumer, "the topic has no consumer \"\(consumer)\": check its name", path: path,
      errno: Errno.noEntry, fileID: fileID, line: line)
  }

  fileprivate static func consumerLocked(
    _ consumer: String, in directory: any StorageDirectory, path: String,
    fileID: StaticString = #fileID, line: UInt = #line
  ) -> QueueError {
    let holder = LockNote.description(of: CursorName.lock(consumer), in: directory)
    return QueueError(
      .locked,
      "another holder has the consumer \"\(consumer)\" open\(holder), and only one may read under a"
        + " name at a time: close it, wait for it, or take another name",
      path: path, errno: Errno.again, fileID: fileID, line: line)
  }
}
