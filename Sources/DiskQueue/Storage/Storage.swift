// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A system call that failed: which, and with what errno.
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

/// Which file or directory it is, whatever name or descriptor leads to it.
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
/// Names are plain file names inside it. All verbs may be called from any thread at once. What is
/// durable is said with each verb; nothing else is.
package protocol StorageDirectory: AnyObject, Sendable {
  /// Where it lies, for messages.
  var path: String { get }

  /// Calls `body` with every name in it, in no order. A name made or removed meanwhile may be left
  /// out or not.
  func forEachName(_ body: (String) -> Void) throws(SystemError)

  /// Opens an existing file. ENOENT: there is none. Follows no link; anything that is not a plain
  /// file is refused with ENOTSUP.
  func open(_ name: String, writable: Bool) throws(SystemError) -> any StorageFile

  /// Makes an empty file that must not exist yet (EEXIST). Its name is durable after the next
  /// `syncDirectory`, its bytes after its own `sync`.
  func create(_ name: String) throws(SystemError) -> any StorageFile

  /// Removes a name. Files that are open stay readable. Durable after the next `syncDirectory`.
  func remove(_ name: String) throws(SystemError)

  /// Gives a file another name in the directory. An existing file is never replaced (EEXIST).
  /// Durable after the next `syncDirectory`. A crash before that may leave either name, or both.
  func rename(_ name: String, to new: String) throws(SystemError)

  /// The file that a name leads to, without opening it. Nil if there is no such name. A link is not
  /// followed.
  func identity(of name: String) throws(SystemError) -> FileIdentity?

  /// A stamp of the names in it. Nil if a change right after this call might leave no trace, or if
  /// the storage has no stamps.
  func namesStamp() throws(SystemError) -> NamesStamp?

  /// Makes the names in it durable: those made, and those removed.
  func syncDirectory() throws(SystemError)

  /// Makes the directory itself durable under its own name, in the one that holds it.
  func syncParent() throws(SystemError)

  /// Opens a file, made if need be and `creating`, and takes its lock, or fails with EAGAIN while
  /// another holds it, in this process or in any other. The name led to the file when the lock was
  /// had: whoever removes the file holds its lock. The kernel gives it up when the holder is gone.
  func lock(_ name: String, creating: Bool) throws(SystemError) -> any StorageLock

  /// Calls `onChange` after bytes or names in it may have changed, by whatever process, from
  /// now on until the watch goes. Several changes may share a call, and a call may come without any.
  /// It is called on threads that others wait for, which may hold the lock of who wrote, and on
  /// several at once: it takes note, wakes somebody, and returns.
  func watch(_ onChange: @escaping @Sendable () -> Void) throws(SystemError) -> any StorageWatch
}

/// The files of one topic: the seam between the queue and the system that keeps its bytes.
package protocol TopicStorage: StorageDirectory {
  /// Takes the one writer's lock; as `lock(_:creating:)` in all else.
  func lock() throws(SystemError) -> any StorageLock

  /// The process that last took the writer's lock, for messages.
  func lockHolder() -> Int32?

  /// What is known of who holds the writer's lock, for messages.
  func lockState() -> LockState

  /// The directory of the consumers' cursors, made if need be and `creating`; else ENOENT. Its name
  /// is durable after `syncDirectory`.
  func consumers(creating: Bool) throws(SystemError) -> any StorageDirectory

  /// Whether a call may wait for a disk. Where none does, nothing needs a thread of its own.
  var mayBlock: Bool { get }
}

extension TopicStorage {
  package var mayBlock: Bool { true }

  package func lockState() -> LockState {
    LockState(process: lockHolder(), isRunning: nil, isReadLock: false)
  }
}

/// What is known of who holds the writer's lock.
package struct LockState: Sendable {
  /// The process that last took it and wrote its number into it.
  package var process: Int32?
  /// Whether that process is running. Nil if nothing tells.
  package var isRunning: Bool?
  /// Whether only read locks are in the way, which no writer takes.
  package var isReadLock: Bool

  /// The sentence that a writer which finds the lock held throws.
  ///
  /// - Parameter what: is locked, as in "the topic".
  func sentence(_ what: StaticString) -> String {
    if isReadLock {
      return
        "a program holds a read lock on the file lock of \(what), which no writer does: find it"
        + " (fuser or lsof), end it, and take the permission to read that file from others"
    }
    guard isRunning == false, let process else {
      let number = process.map {
        " (process \($0)\(isRunning == true ? ", which is running" : ""))"
      }
      return
        "another writer\(number ?? "") has \(what) open: one writes at a time; close it, or wait"
        + " for it"
    }
    return
      "another process has \(what) open: one writes at a time. The file names process \(process),"
      + " which is not running here: a child that it left, or a process of another container,"
      + " holds the lock (fuser or lsof find it)"
  }
}

/// A file of a topic. Closed when the last reference goes.
package protocol StorageFile: AnyObject, Sendable {
  /// Reads up to `target.count` bytes at `offset`; fewer only at the end of the file.
  func read(into target: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(SystemError)
    -> Int

  /// As `read`, but of bytes that are had without waiting for a disk: fewer also before the end of the
  /// file, or EAGAIN for none. A storage that cannot tell says ENOTSUP.
  func readWithoutWaiting(
    into target: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(SystemError) -> Int

  /// Writes some bytes at `offset` and returns how many, at least one. They are with the system
  /// (visible to every reader, safe from the death of this process) and durable after `sync`.
  func write(_ bytes: RawSpan, at offset: UInt64) throws(SystemError) -> Int

  /// Makes every byte written so far durable, and the size. A failure is final: what it was about
  /// may be lost, and asking again would say it is not.
  func sync() throws(SystemError)

  /// Gives up what lies at `count` and behind. Durable after `sync`. A storage that cannot says
  /// ENOTSUP.
  func truncate(to count: UInt64) throws(SystemError)

  /// Has the disk lay out room for the bytes from `offset` on, whose writing then costs less. Neither
  /// the bytes nor the size change. Returns whether it did: then `truncate` gives back what is not
  /// written. A hint, which most storages take for nothing.
  func reserve(_ count: UInt64, at offset: UInt64) -> Bool

  /// The size in bytes.
  func size() throws(SystemError) -> UInt64

  /// Which file it is, whatever name leads to it now.
  func identity() throws(SystemError) -> FileIdentity

  /// Forgets cached bytes, as far as the system lets it, so that the next read asks the disk.
  func dropCache()
}

extension StorageFile {
  package func readWithoutWaiting(
    into target: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(SystemError) -> Int {
    throw SystemError(errno: Errno.notSupported, call: "preadv2")
  }
}

/// A held lock; `release` gives it up, once, and so does the end of the process.
package protocol StorageLock: AnyObject, Sendable {
  /// The file that is locked, to read and write.
  var file: any StorageFile { get }
  func release()
}

/// A watch on a topic; it ends with its last reference.
package protocol StorageWatch: AnyObject, Sendable {
  /// Somebody is about to wait for a change. A writer that holds back what it was given until
  /// somebody looks hands it over now, or else with the next record.
  func expectChange()

  /// Why the system reports no changes. Nil if it does. The watch then only reports, a few times a
  /// second, that there may have been some.
  var refusal: SystemError? { get }
}

extension StorageWatch {
  package func expectChange() {}
  package var refusal: SystemError? { nil }
}
