// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A topic in memory, for as long as a value names it. "Durable" means nothing more than written.
final class MemoryStorage: TopicStorage {
  let path = "memory"

  private struct Contents {
    var files: [String: MemoryFile] = [:]
    var isLocked = false
  }
  private let contents = Mutex(Contents())
  private let budget: Budget

  /// - Parameter capacity: bytes that all files may hold together; writing more fails with ENOSPC.
  init(capacity: Int) { budget = Budget(capacity: capacity) }

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
    let file = MemoryFile(budget)
    let isNew = contents.withLock { contents in
      guard contents.files[name] == nil else { return false }
      contents.files[name] = file
      return true
    }
    guard isNew else { throw SystemError(errno: Errno.exists, call: "openat") }
    return file
  }

  func remove(_ name: String) throws(SystemError) {
    guard contents.withLock({ $0.files.removeValue(forKey: name) }) != nil else {
      throw SystemError(errno: Errno.noEntry, call: "unlinkat")
    }
  }

  func syncDirectory() throws(SystemError) {}
  func syncParent() throws(SystemError) {}

  func lock() throws(SystemError) -> any StorageLock {
    let isOurs = contents.withLock { contents in
      defer { contents.isLocked = true }
      return !contents.isLocked
    }
    guard isOurs else { throw SystemError(errno: Errno.again, call: "lock") }
    return MemoryLock(self)
  }

  func lockHolder() -> Int32? { Syscalls.processID }

  private final class MemoryLock: StorageLock {
    private let storage: MemoryStorage
    private let isHeld = Mutex(true)
    init(_ storage: MemoryStorage) { self.storage = storage }
    func release() {
      let wasHeld = isHeld.withLock { isHeld in
        defer { isHeld = false }
        return isHeld
      }
      if wasHeld { storage.contents.withLock { $0.isLocked = false } }
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

  init(_ budget: Budget) { self.budget = budget }

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
      guard let start = Int(exactly: offset), start <= bytes.count else { return 0 }
      let overwritten = min(source.byteCount, bytes.count - start)
      let added = budget.take(source.byteCount - overwritten)
      for index in 0..<overwritten { bytes[start + index] = source.byte(index) }
      unsafe source.extracting(overwritten..<overwritten + added).withUnsafeBytes {
        unsafe bytes.append(contentsOf: $0)
      }
      return overwritten + added
    }
    guard count > 0 else { throw SystemError(errno: Errno.noSpace, call: "pwrite") }
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

  func dropCache() {}
}
