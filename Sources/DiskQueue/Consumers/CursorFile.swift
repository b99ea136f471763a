// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A consumer's cursor file, held open and locked.
///
/// The file is made whole, so that acknowledging overwrites bytes that are there: it needs no room
/// on a full disk.
struct CursorFile: Sendable {
  private let directory: any StorageDirectory
  private let lock: any StorageLock
  let name: String
  /// What was found in it; from then on, the last slot that was written.
  private(set) var content: CursorSlots.Content

  /// The lower address of its slots.
  var lowest: UInt64 { if case .sound(_, let lowest, _) = content { lowest } else { 0 } }

  /// For messages.
  var path: String { directory.path + "/" + name }

  // MARK: Names

  /// The file's name for a consumer's.
  ///
  /// - Throws: `invalidOption`: a name is no path.
  static func fileName(_ consumer: String) throws(QueueError) -> String {
    guard CursorName.isValid(consumer) else { throw .invalidConsumerName(consumer) }
    return CursorName.string(consumer)
  }

  // MARK: Opening

  /// Opens and locks a consumer's file; `load` reads it.
  ///
  /// - Throws: `locked` while another consumer holds it; `noSuchConsumer` where it is not there, and
  ///   not to be made.
  static func open(
    _ consumer: String, in storage: any TopicStorage, creating: Bool
  ) throws(QueueError) -> CursorFile {
    let name = try fileName(consumer)
    var place = storage.path + "/" + TopicLayout.consumersName
    let directory: any StorageDirectory
    let lock: any StorageLock
    do throws(SystemError) {
      directory = try storage.consumers(creating: creating)
      place = directory.path + "/" + name
      lock = try directory.lock(name, creating: creating)
    } catch {
      switch error.errno {
      case Errno.again:
        throw QueueError(
          .locked,
          "another holder has the consumer \"\(consumer)\" open: one reads under a name at a time;"
            + " close it, wait for it, or take another name",
          path: place, errno: error.errno)
      case Errno.noEntry where !creating:
        throw QueueError(
          .noSuchConsumer, "the topic has no consumer \"\(consumer)\": check its name", path: place,
          errno: error.errno)
      default:
        throw .system(error, doing: "opening a cursor", path: place)
      }
    }
    return CursorFile(directory: directory, lock: lock, name: name, content: .never)
  }

  /// Makes the file durable under its name, and finds out what the disk holds of it.
  ///
  /// Order: sync the topic's own name, the name of the consumers' directory in it, the file's in
  /// that, and the file; names that were found may be what a crash left between their making and
  /// their sync. Then forget what is cached of the file, so that what is believed is what the disk
  /// holds: the last slot may be what a failed sync left. Read it.
  mutating func load(in storage: any TopicStorage) throws(QueueError) {
    do throws(SystemError) {
      try storage.syncParent()
      try storage.syncDirectory()
      try directory.syncDirectory()
    } catch {
      throw .consumerSyncFailed(error, path: directory.path)
    }
    try sync()
    lock.file.dropCache()
    content = try Self.read(lock.file, path: path)
  }

  /// Reads a file, which need not be locked for it.
  static func read(_ file: any StorageFile, path: String) throws(QueueError) -> CursorSlots.Content
  {
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
    return unsafe CursorSlots.read(bytes.span.bytes.extracting(first: count))
  }

  /// Gives up the lock. Nothing is written any more.
  func release() { lock.release() }

  /// Removes the file, durably. The lock is still held.
  func remove() throws(QueueError) {
    do throws(SystemError) {
      try directory.remove(name)
    } catch {
      throw .system(error, doing: "removing a cursor", path: path)
    }
    do throws(SystemError) {
      try directory.syncDirectory()
    } catch {
      throw .consumerSyncFailed(error, path: directory.path)
    }
  }

  /// Removes a file that holds nothing: left there, it would hold the whole topic.
  func removeIfNeverWritten() {
    do throws(QueueError) {
      guard case .never = try Self.read(lock.file, path: path) else { return }
      try remove()
    } catch {
      // It stays; what went wrong before is what the caller is told.
    }
  }

  // MARK: Writing

  /// What holds, if it was ever written.
  ///
  /// - Throws: `damagedCursor`, and `unsupportedFormat` for a newer version's.
  func slot() throws(QueueError) -> CursorSlot? {
    switch content {
    case .never: return nil
    // The last generation has none behind it, and no counting comes to it.
    case .sound(let slot, _, _) where slot.generation < .max: return slot
    case .sound, .damaged:
      throw QueueError(
        .damagedCursor,
        "the consumer's cursor is damaged, and what it had acknowledged is not known: reset the"
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

  /// Makes the file whole, with a first generation, durable before it returns.
  ///
  /// - Throws: as `advance`.
  mutating func begin(at place: CursorPosition, topicID: UInt64) throws(QueueError) {
    let slot = CursorSlot(
      generation: 1, topicID: topicID, address: place.address, ordinal: place.ordinal)
    try write(CursorSlots.first(slot), at: 0)
    try sync()
    content = .sound(holds: slot, lowest: slot.address, count: 1)
  }

  /// Writes the next generation over the older slot, durable before it returns. The other slot is
  /// not touched: whatever becomes of this one, that one stays.
  ///
  /// - Throws: `system` and `noSpace` where it could not be written: it may be tried again.
  ///   `syncFailed` for good.
  mutating func advance(to place: CursorPosition, topicID: UInt64) throws(QueueError) {
    guard let held = try slot() else { return try begin(at: place, topicID: topicID) }
    let next = CursorSlot(
      generation: held.generation + 1, topicID: topicID, address: place.address,
      ordinal: place.ordinal)
    try write(next.bytes, at: CursorSlots.offset(ofGeneration: next.generation))
    try sync()
    content = .sound(holds: next, lowest: min(held.address, next.address), count: 2)
  }

  /// Makes a place durable whatever is there, but for a newer version's: behind what is sound, else
  /// in its stead.
  mutating func set(to place: CursorPosition, topicID: UInt64) throws(QueueError) {
    do throws(QueueError) {
      if try slot() != nil { return try advance(to: place, topicID: topicID) }
    } catch {
      guard error.code == .damagedCursor else { throw error }
    }
    try begin(at: place, topicID: topicID)
  }

  private func write(_ bytes: [UInt8], at offset: UInt64) throws(QueueError) {
    var written = 0
    while written < bytes.count {
      do throws(SystemError) {
        // Safe: the array outlives the call.
        let rest = unsafe bytes.span.bytes.extracting(droppingFirst: written)
        written += try lock.file.write(rest, at: offset + UInt64(written))
      } catch {
        throw .system(error, doing: "writing a cursor", path: path)
      }
    }
  }

  private func sync() throws(QueueError) {
    do throws(SystemError) {
      try lock.file.sync()
    } catch {
      throw .consumerSyncFailed(error, path: path)
    }
  }
}

extension QueueError {
  static func consumerSyncFailed(
    _ error: SystemError, path: String, fileID: StaticString = #fileID, line: UInt = #line
  ) -> QueueError {
    QueueError(
      .syncFailed,
      "stable storage refused data (\(error.call): \(Syscalls.describe(error.errno))); this consumer"
        + " goes on no more: close it, and open a new one, which begins at what is durable",
      path: path, errno: error.errno, fileID: fileID, line: line)
  }
}
