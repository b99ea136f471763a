// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A topic in memory, for as long as a value names it. "Durable" means nothing more than written.
///
/// Its writer is in this process, and holds appended records in its buffer until a reader looks. A
/// reader that comes to the end of a file makes the writer hand them over first. So a record can be
/// read as soon as it is appended. An append costs no more than one that is written to the system's
/// cache now and then.
final class MemoryStorage: TopicStorage {
  let path: String
  let mayBlock = false

  private struct Contents {
    var files: [String: MemoryFile] = [:]
    /// The files whose locks are held.
    var locked: Set<FileIdentity> = []
    var consumers: MemoryStorage?
  }
  private let contents = Mutex(Contents())
  private let budget: MemoryBudget
  private let watchers = Watchers()
  private let source = MemorySource()

  /// - Parameter capacity: bytes that all files may hold together. A write beyond it fails with
  ///   ENOSPC.
  convenience init(capacity: Int) {
    self.init(path: "memory", budget: MemoryBudget(capacity: capacity))
  }

  /// Attaches the writer that holds back appended records, until `detach`. It is called on threads
  /// that read, which hold none of its locks.
  func attach(_ writer: any MemoryWriter) { source.attach(writer) }

  /// The writer has ended, and holds nothing back.
  func detach(_ writer: any MemoryWriter) { source.detach(writer) }

  private init(path: String, budget: MemoryBudget) {
    self.path = path
    self.budget = budget
  }

  func forEachName(_ body: (String) -> Void) throws(SystemError) {
    for name in contents.withLock({ Array($0.files.keys) }) { body(name) }
  }

  func open(_ name: String, writable: Bool) throws(SystemError) -> any StorageFile {
    guard let file = contents.withLock({ $0.files[name] }) else {
      throw SystemError(errno: Errno.noEntry, call: "openat")
    }
    return file
  }

  func create(_ name: String) throws(SystemError) -> any StorageFile {
    let file = MemoryFile(budget, watchers, source)
    let isNew = contents.withLock { contents in
      guard contents.files[name] == nil else { return false }
      contents.files[name] = file
      return true
    }
    guard isNew else { throw SystemError(errno: Errno.exists, call: "openat") }
    watchers.notify()
    return file
  }

  func remove(_ name: String) throws(SystemError) {
    guard contents.withLock({ $0.files.removeValue(forKey: name) }) != nil else {
      throw SystemError(errno: Errno.noEntry, call: "unlinkat")
    }
    watchers.notify()
  }

  func rename(_ name: String, to new: String) throws(SystemError) {
    let renamed = contents.withLock { contents -> Result<Void, SystemError> in
      guard contents.files[new] == nil else {
        return .failure(SystemError(errno: Errno.exists, call: "renameat2"))
      }
      guard let file = contents.files.removeValue(forKey: name) else {
        return .failure(SystemError(errno: Errno.noEntry, call: "renameat2"))
      }
      contents.files[new] = file
      return .success(())
    }
    try renamed.get()
    watchers.notify()
  }

  func identity(of name: String) throws(SystemError) -> FileIdentity? {
    contents.withLock { $0.files[name] }?.identity()
  }

  func namesStamp() -> NamesStamp? { nil }

  func syncDirectory() throws(SystemError) {}
  func syncParent() throws(SystemError) {}

  func lock() throws(SystemError) -> any StorageLock {
    try lock(TopicLayout.lockName, creating: true)
  }

  func lock(_ name: String, creating: Bool) throws(SystemError) -> any StorageLock {
    let locked = contents.withLock { contents -> Result<MemoryFile, SystemError> in
      guard
        let file = contents.files[name] ?? (creating ? MemoryFile(budget, watchers, source) : nil)
      else { return .failure(SystemError(errno: Errno.noEntry, call: "openat")) }
      guard contents.locked.insert(file.identity()).inserted else {
        return .failure(SystemError(errno: Errno.again, call: "lock"))
      }
      contents.files[name] = file
      return .success(file)
    }
    return MemoryLock(self, try locked.get())
  }

  func lockHolder() -> Int32? { Syscalls.processID }

  func lockState() -> LockState { lockState(of: TopicLayout.lockName) }

  func lockState(of name: String) -> LockState {
    let isHeld = contents.withLock { contents in
      contents.files[name].map { contents.locked.contains($0.identity()) } ?? false
    }
    return LockState(process: Syscalls.processID, isRunning: true, isHeld: isHeld)
  }

  func consumers(creating: Bool) throws(SystemError) -> any StorageDirectory {
    let consumers = contents.withLock { contents in
      if contents.consumers == nil, creating {
        contents.consumers = MemoryStorage(
          path: path + "/" + TopicLayout.consumersName, budget: budget)
      }
      return contents.consumers
    }
    guard let consumers else { throw SystemError(errno: Errno.noEntry, call: "openat") }
    return consumers
  }

  func watch(_ onChange: @escaping @Sendable () -> Void) throws(SystemError) -> any StorageWatch {
    MemoryWatch(watchers.add(onChange), source)
  }

  private final class MemoryWatch: StorageWatch {
    private let watch: any StorageWatch
    private let source: MemorySource

    init(_ watch: any StorageWatch, _ source: MemorySource) {
      self.watch = watch
      self.source = source
    }

    func expectChange() { source.current?.handOverAtOnce() }
  }

  private final class MemoryLock: StorageLock {
    let file: any StorageFile
    private let storage: MemoryStorage
    private let identity: FileIdentity
    private let isHeld = Mutex(true)

    init(_ storage: MemoryStorage, _ file: MemoryFile) {
      self.storage = storage
      self.file = file
      identity = file.identity()
    }

    deinit { release() }

    func release() {
      let wasHeld = isHeld.withLock { isHeld in
        defer { isHeld = false }
        return isHeld
      }
      if wasHeld { storage.contents.withLock { _ = $0.locked.remove(identity) } }
    }
  }
}

/// A writer that holds back appended records until a reader looks.
protocol MemoryWriter: AnyObject, Sendable {
  /// Hands over all appended records. Records that could not be written stay in the buffer, and the
  /// writer's next call meets the error.
  func handOver()

  /// Like `handOver`. If there is nothing to hand over, the next record is handed over at once.
  func handOverAtOnce()
}

/// The writer of a topic in memory, if it has one.
final class MemorySource: Sendable {
  private let writer = Mutex<(any MemoryWriter)?>(nil)

  var current: (any MemoryWriter)? { writer.withLock { $0 } }

  func attach(_ new: any MemoryWriter) { writer.withLock { $0 = new } }

  func detach(_ old: any MemoryWriter) {
    writer.withLock { writer in
      // The next writer may be attached by now.
      if writer === old { writer = nil }
    }
  }
}

/// The callbacks to be called after changes.
package final class Watchers: Sendable {
  private struct State {
    var next: UInt64 = 0
    var callbacks: [UInt64: @Sendable () -> Void] = [:]
  }
  private let state = Mutex(State())
  /// How many there are. `notify` reads it to find out cheaply that there are none.
  // Sequentially consistent, as is the lock that a watching caller takes after it, to look once
  // more.
  private let count = Atomic(0)

  package init() {}

  package func add(_ onChange: @escaping @Sendable () -> Void) -> any StorageWatch {
    let id = state.withLock { state in
      state.next += 1
      state.callbacks[state.next] = onChange
      return state.next
    }
    count.add(1, ordering: .sequentiallyConsistent)
    return ListedWatch(self, id)
  }

  /// Calls them all.
  package func notify() {
    guard count.load(ordering: .sequentiallyConsistent) > 0 else { return }
    for callback in state.withLock({ Array($0.callbacks.values) }) { callback() }
  }

  private final class ListedWatch: StorageWatch {
    private let watchers: Watchers
    private let id: UInt64

    init(_ watchers: Watchers, _ id: UInt64) {
      self.watchers = watchers
      self.id = id
    }

    deinit {
      // Dropped outside the lock: a callback may hold the last reference to an object with a watch.
      let dropped = watchers.state.withLock { $0.callbacks.removeValue(forKey: id) }
      watchers.count.subtract(1, ordering: .sequentiallyConsistent)
      _ = dropped
    }
  }
}
