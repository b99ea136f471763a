// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A topic in memory, for as long as a value names it. "Durable" means nothing more than written.
final class MemoryStorage: TopicStorage {
  let path: String

  private struct Contents {
    var files: [String: MemoryFile] = [:]
    var locked: Set<String> = []
    var consumers: MemoryStorage?
  }
  private let contents = Mutex(Contents())
  private let budget: Budget
  private let watchers = Watchers()

  /// - Parameter capacity: bytes that all files may hold together; writing more fails with ENOSPC.
  convenience init(capacity: Int) { self.init(path: "memory", budget: Budget(capacity: capacity)) }

  private init(path: String, budget: Budget) {
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
    let file = MemoryFile(budget, watchers)
    let isNew = contents.withLock { contents in
      guard contents.files[name] == nil else { return false }
      contents.files[name] = file
      return true
    }
    guard isNew else { throw SystemError(errno: Errno.exists, call: "openat") }
    watchers.tell()
    return file
  }

  func remove(_ name: String) throws(SystemError) {
    guard contents.withLock({ $0.files.removeValue(forKey: name) }) != nil else {
      throw SystemError(errno: Errno.noEntry, call: "unlinkat")
    }
    watchers.tell()
  }

  func syncDirectory() throws(SystemError) {}
  func syncParent() throws(SystemError) {}

  func lock() throws(SystemError) -> any StorageLock {
    try lock(TopicLayout.lockName, creating: true)
  }

  func lock(_ name: String, creating: Bool) throws(SystemError) -> any StorageLock {
    let locked = contents.withLock { contents -> Result<MemoryFile, SystemError> in
      guard let file = contents.files[name] ?? (creating ? MemoryFile(budget, watchers) : nil)
      else { return .failure(SystemError(errno: Errno.noEntry, call: "openat")) }
      guard contents.locked.insert(name).inserted else {
        return .failure(SystemError(errno: Errno.again, call: "lock"))
      }
      contents.files[name] = file
      return .success(file)
    }
    return MemoryLock(self, name, try locked.get())
  }

  func lockHolder() -> Int32? { Syscalls.processID }

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
    watchers.add(onChange)
  }

  private final class MemoryLock: StorageLock {
    let file: any StorageFile
    private let storage: MemoryStorage
    private let name: String
    private let isHeld = Mutex(true)

    init(_ storage: MemoryStorage, _ name: String, _ file: MemoryFile) {
      self.storage = storage
      self.name = name
      self.file = file
    }

    deinit { release() }

    func release() {
      let wasHeld = isHeld.withLock { isHeld in
        defer { isHeld = false }
        return isHeld
      }
      if wasHeld { storage.contents.withLock { _ = $0.locked.remove(name) } }
    }
  }
}

/// Who wants to know of changes.
package final class Watchers: Sendable {
  private struct State {
    var next: UInt64 = 0
    var callbacks: [UInt64: @Sendable () -> Void] = [:]
  }
  private let state = Mutex(State())

  package init() {}

  package func add(_ onChange: @escaping @Sendable () -> Void) -> any StorageWatch {
    let id = state.withLock { state in
      state.next += 1
      state.callbacks[state.next] = onChange
      return state.next
    }
    return Watch(self, id)
  }

  /// Tells them all.
  package func tell() {
    for callback in state.withLock({ Array($0.callbacks.values) }) { callback() }
  }

  private final class Watch: StorageWatch {
    private let watchers: Watchers
    private let id: UInt64

    init(_ watchers: Watchers, _ id: UInt64) {
      self.watchers = watchers
      self.id = id
    }

    deinit {
      // Dropped outside the lock: a callback may hold the last reference to something with a watch.
      let dropped = watchers.state.withLock { $0.callbacks.removeValue(forKey: id) }
      _ = dropped
    }
  }
}

/// How much all files of a topic may hold together.
private final class Budget: Sendable {
  private let left: Mutex<Int>

  init(capacity: Int) { left = Mutex(capacity) }

  /// Takes as much of `count` as there is.
  func take(_ count: Int) -> Int {
    left.withLock { left in
      let taken = min(count, max(left, 0))
      left -= taken
      return taken
    }
  }

  func giveBack(_ count: Int) { left.withLock { $0 += count } }
}

private final class MemoryFile: StorageFile {
  private let bytes = Mutex<[UInt8]>([])
  private let budget: Budget
  private let watchers: Watchers

  init(_ budget: Budget, _ watchers: Watchers) {
    self.budget = budget
    self.watchers = watchers
  }

  deinit { budget.giveBack(bytes.withLock { $0.count }) }

  func read(
    into target: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(SystemError) -> Int {
    bytes.withLock { bytes in
      guard let start = Int(exactly: offset), start < bytes.count else { return 0 }
      let count = min(target.count, bytes.count - start)
      unsafe target.copyBytes(from: bytes[start..<start + count])
      return count
    }
  }

  func write(_ source: RawSpan, at offset: UInt64) throws(SystemError) -> Int {
    let count = bytes.withLock { bytes -> Int in
      guard let start = Int(exactly: offset) else { return 0 }
      let overwritten = max(0, min(source.byteCount, bytes.count - start))
      // Zeros, as in a file that is written to behind its end.
      let gap = max(0, start - bytes.count)
      let (wanted, overflow) = gap.addingReportingOverflow(source.byteCount - overwritten)
      guard !overflow else { return 0 }
      let taken = budget.take(wanted)
      let added = taken - gap
      guard overwritten > 0 || added > 0 else {
        budget.giveBack(taken)
        return 0
      }
      for index in 0..<overwritten { bytes[start + index] = source.byte(index) }
      bytes.append(contentsOf: repeatElement(0, count: gap))
      unsafe source.extracting(overwritten..<overwritten + added).withUnsafeBytes {
        unsafe bytes.append(contentsOf: $0)
      }
      return overwritten + added
    }
    guard count > 0 else { throw SystemError(errno: Errno.noSpace, call: "pwrite") }
    watchers.tell()
    return count
  }

  func sync() throws(SystemError) {}

  func truncate(to count: UInt64) throws(SystemError) {
    let removed = bytes.withLock { bytes -> Int in
      let removed = max(0, bytes.count - Int(clamping: count))
      bytes.removeLast(removed)
      return removed
    }
    budget.giveBack(removed)
  }

  func size() throws(SystemError) -> UInt64 { UInt64(bytes.withLock { $0.count }) }

  func reserve(_ count: UInt64, at offset: UInt64) -> Bool { false }

  func dropCache() {}
}
