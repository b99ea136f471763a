// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A system call that failed: its name, and the errno.
package struct SystemError: Error, Equatable {
  package var errno: Int32
  /// The call as its manual page names it.
  package var call: StaticString

  package init(errno: Int32, call: StaticString) {
    self.errno = errno
    self.call = call
  }

  package static func == (left: SystemError, right: SystemError) -> Bool {
    left.errno == right.errno
  }
}

/// Identifies a file or directory, whatever name or descriptor leads to it.
///
/// Two are the same exactly if these are equal, for as long as one of them is open. After that, the
/// system may give the numbers to another file.
package struct FileIdentity: Hashable, Sendable {
  package var device: UInt64
  package var node: UInt64

  package init(device: UInt64, node: UInt64) {
    self.device = device
    self.node = node
  }
}

/// A directory of plain files.
///
/// Names are plain file names inside it. You may call all methods from any thread at once. Each
/// method states its durability. Nothing else is durable.
package protocol StorageDirectory: AnyObject, Sendable {
  /// Its path, for messages.
  var path: String { get }

  /// Calls `body` with every name in it, in no order. A name that is made or removed meanwhile may
  /// be left out or not.
  func forEachName(_ body: (String) -> Void) throws(SystemError)

  /// Opens an existing file. ENOENT: there is none. Follows no link. Anything that is not a plain
  /// file is refused with ENOTSUP.
  func open(_ name: String, writable: Bool) throws(SystemError) -> any StorageFile

  /// Makes an empty file. The name must be free (EEXIST), and is durable after the next
  /// `syncDirectory`. The bytes are durable after the file's own `sync`.
  func create(_ name: String) throws(SystemError) -> any StorageFile

  /// Removes a name. Files that are open stay readable. Durable after the next `syncDirectory`.
  func remove(_ name: String) throws(SystemError)

  /// Gives a file another name in the directory. Never replaces an existing file (EEXIST). Durable
  /// after the next `syncDirectory`. A crash before that may leave either name, or both.
  func rename(_ name: String, to new: String) throws(SystemError)

  /// The file that a name leads to, without opening it. Nil if there is no such name. A link is not
  /// followed.
  func identity(of name: String) throws(SystemError) -> FileIdentity?

  /// A stamp of the names in it. Nil if a change right after this call might leave no trace, or if
  /// the storage has no stamps.
  func namesStamp() throws(SystemError) -> NamesStamp?

  /// Makes the names in it durable: those that were made, and those that were removed.
  func syncDirectory() throws(SystemError)

  /// Makes the directory's own name durable, in the directory that holds it.
  func syncParent() throws(SystemError)

  /// Opens a file and acquires its lock. If the file is missing, it is made if `creating`.
  ///
  /// Fails with EAGAIN while another holder has the lock, in this process or in any other. The name
  /// led to the file when the lock was acquired: only the holder of its lock removes a file. The
  /// kernel releases the lock when the holder is gone.
  func lock(_ name: String, creating: Bool) throws(SystemError) -> any StorageLock

  /// The known facts about the holder of a lock. Acquires nothing.
  func lockState(of name: String) -> LockState

  /// Calls `onChange` after bytes or names in it may have changed, by any process, from now on
  /// until the watch is released. Several changes may share a call, and a call may come without
  /// any.
  ///
  /// The calls come on threads that others wait for, which may hold the lock of a writer, and on
  /// several at once. So `onChange` must only take note, wake a waiter, and return.
  func watch(_ onChange: @escaping @Sendable () -> Void) throws(SystemError) -> any StorageWatch
}

extension StorageDirectory {
  package func lockState(of name: String) -> LockState { LockState() }
}

/// The files of one topic: the seam between the queue and the system that stores its bytes.
package protocol TopicStorage: StorageDirectory {
  /// Acquires the lock of the topic's single writer. Otherwise like `lock(_:creating:)`.
  func lock() throws(SystemError) -> any StorageLock

  /// The process that last acquired the writer's lock, for messages.
  func lockHolder() -> Int32?

  /// The known facts about the holder of the writer's lock, for messages.
  func lockState() -> LockState

  /// The directory of the consumers' cursors. If it is missing, it is made if `creating`, and
  /// otherwise this fails with ENOENT. Its name is durable after `syncDirectory`.
  func consumers(creating: Bool) throws(SystemError) -> any StorageDirectory

  /// Whether a call may wait for a disk. If none does, nothing needs a thread of its own.
  var mayBlock: Bool { get }
}

extension TopicStorage {
  package var mayBlock: Bool { true }

  package func lockState() -> LockState { LockState(process: lockHolder()) }
}

/// The known facts about the holder of a lock.
package struct LockState: Sendable {
  /// The process that last acquired it and wrote its number into it.
  package var process: Int32?
  /// Whether a process of that number is running here. Nil if this is not known.
  package var isRunning: Bool?
  /// Whether a writer or a consumer holds the lock. Nil if the system cannot report it.
  package var isHeld: Bool?
  /// Whether only read locks block this process. No writer takes read locks.
  package var isReadLock = false

  /// The message of a writer that finds the lock held.
  ///
  /// - Parameter what: names the locked thing, as in "the topic".
  func message(_ what: StaticString) -> String {
    if isReadLock {
      return
        "a program holds a read lock on the file lock of \(what), and no writer does that: find the"
        + " program (fuser or lsof), end it, and take the permission to read that file from others"
    }
    guard isRunning == false, let process else {
      let number = process.map {
        " (process \($0)\(isRunning == true ? ", which is running" : ""))"
      }
      return
        "another writer\(number ?? "") has \(what) open, and only one can write at a time: close"
        + " it, or wait for it"
    }
    return
      "another process has \(what) open, and only one can write at a time. The file names process"
      + " \(process), which is not running here: a child that it left, or a process of another"
      + " container, holds the lock. Find the holder with fuser or lsof"
  }
}

/// A file of a topic. It is closed when the last reference is released.
package protocol StorageFile: AnyObject, Sendable {
  /// Reads up to `target.count` bytes at `offset`. Reads fewer only at the end of the file.
  func read(into target: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(SystemError)
    -> Int

  /// Like `read`, but only from the cache, without waiting for a disk. May read fewer bytes also
  /// before the end of the file. EAGAIN: none are cached. ENOTSUP: the storage does not know which
  /// are cached.
  func readWithoutWaiting(
    into target: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(SystemError) -> Int

  /// Writes some bytes at `offset`, at least one, and returns how many. The system then has them:
  /// every reader sees them, and they survive the death of this process. They are durable after
  /// `sync`.
  func write(_ bytes: RawSpan, at offset: UInt64) throws(SystemError) -> Int

  /// Makes every byte written so far durable, and the size. A failure is final: the data may be
  /// lost, and a retry would report that it is not.
  func sync() throws(SystemError)

  /// Discards the bytes at `count` and after it. Durable after `sync`. ENOTSUP: the storage cannot.
  func truncate(to count: UInt64) throws(SystemError)

  /// Preallocates blocks for the bytes from `offset` on, so that writing them costs less. Neither
  /// the bytes nor the size change. Returns whether it did. Then `truncate` gives back the blocks
  /// that are not written. A hint, which most storages ignore.
  func reserve(_ count: UInt64, at offset: UInt64) -> Bool

  /// The size in bytes.
  func size() throws(SystemError) -> UInt64

  /// Identifies the file, whatever name leads to it now.
  func identity() throws(SystemError) -> FileIdentity

  /// Discards cached bytes, as far as the system allows, so that the next read goes to the disk.
  func dropCache()
}

extension StorageFile {
  package func readWithoutWaiting(
    into target: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(SystemError) -> Int {
    throw SystemError(errno: Errno.notSupported, call: "preadv2")
  }
}

/// A held lock. `release` releases it, once, and so does the end of the process.
package protocol StorageLock: AnyObject, Sendable {
  /// The file that is locked, to read and write.
  var file: any StorageFile { get }
  func release()
}

/// A watch on a topic. It ends with its last reference.
package protocol StorageWatch: AnyObject, Sendable {
  /// Call this before waiting for a change. A writer that holds back appended records until a
  /// reader looks hands them over now, or else with the next record.
  func expectChange()

  /// Why the system reports no changes. Nil if it does. If it does not, the watch only reports, a
  /// few times a second, that there may have been some.
  var refusal: SystemError? { get }
}

extension StorageWatch {
  package func expectChange() {}
  package var refusal: SystemError? { nil }
}
