// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

package import DiskQueue
internal import Synchronization

/// A topic whose syncs wait at a gate, which counts them.
package final class GatedStorage: TopicStorage {
  /// Lets syncs pass, or holds them.
  package final class Gate: Sendable {
    private struct State {
      var isOpen = true
      var error: SystemError?
      var syncs = 0
      var watchers: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
    }
    private let state = Mutex(State())
    private let condition = ThreadSignal()

    package init() {}

    /// How many syncs have reached the gate.
    package var syncs: Int { state.withLock { $0.syncs } }

    package func close() { state.withLock { $0.isOpen = false } }

    package func open() {
      state.withLock { $0.isOpen = true }
      condition.signal()
    }

    /// Makes every sync that passes from now on fail with `error`.
    package func fail(_ error: SystemError) { state.withLock { $0.error = error } }

    /// Waits until `count` syncs have reached the gate.
    package func waitForSyncs(_ count: Int) async {
      await withCheckedContinuation { continuation in
        let isThere = state.withLock { state in
          if state.syncs >= count { return true }
          state.watchers.append((count, continuation))
          return false
        }
        if isThere { continuation.resume() }
      }
    }

    func pass() throws(SystemError) {
      let woken = state.withLock { state in
        state.syncs += 1
        let count = state.syncs
        let woken = state.watchers.filter { $0.count <= count }
        state.watchers.removeAll { $0.count <= count }
        return woken
      }
      for watcher in woken { watcher.continuation.resume() }
      condition.wait { state.withLock { $0.isOpen } }
      if let error = state.withLock({ $0.error }) { throw error }
    }
  }

  package let gate = Gate()
  private let base: any TopicStorage

  package init(_ base: any TopicStorage) { self.base = base }

  package var path: String { base.path }

  package func forEachName(_ body: (String) -> Void) throws(SystemError) {
    try base.forEachName(body)
  }

  package func open(_ name: String, writable: Bool) throws(SystemError) -> any StorageFile {
    File(try base.open(name, writable: writable), gate)
  }

  package func create(_ name: String) throws(SystemError) -> any StorageFile {
    File(try base.create(name), gate)
  }

  package func remove(_ name: String) throws(SystemError) { try base.remove(name) }
  package func rename(_ name: String, to new: String) throws(SystemError) {
    try base.rename(name, to: new)
  }
  package func identity(of name: String) throws(SystemError) -> FileIdentity? {
    try base.identity(of: name)
  }
  package func namesStamp() throws(SystemError) -> NamesStamp? { try base.namesStamp() }
  package func syncDirectory() throws(SystemError) { try base.syncDirectory() }
  package func syncParent() throws(SystemError) { try base.syncParent() }
  package func lock() throws(SystemError) -> any StorageLock { try base.lock() }
  package func lockHolder() -> Int32? { base.lockHolder() }

  package func lock(_ name: String, creating: Bool) throws(SystemError) -> any StorageLock {
    try base.lock(name, creating: creating)
  }

  package func consumers(creating: Bool) throws(SystemError) -> any StorageDirectory {
    try base.consumers(creating: creating)
  }

  package func watch(
    _ onChange: @escaping @Sendable () -> Void
  ) throws(SystemError) -> any StorageWatch { try base.watch(onChange) }

  private final class File: StorageFile {
    private let base: any StorageFile
    private let gate: Gate

    init(_ base: any StorageFile, _ gate: Gate) {
      self.base = base
      self.gate = gate
    }

    func read(
      into target: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) throws(SystemError) -> Int { try base.read(into: target, at: offset) }

    func write(_ bytes: RawSpan, at offset: UInt64) throws(SystemError) -> Int {
      try base.write(bytes, at: offset)
    }

    func sync() throws(SystemError) {
      try gate.pass()
      try base.sync()
    }

    func truncate(to count: UInt64) throws(SystemError) { try base.truncate(to: count) }
    func size() throws(SystemError) -> UInt64 { try base.size() }
    func identity() throws(SystemError) -> FileIdentity { try base.identity() }
    func reserve(_ count: UInt64, at offset: UInt64) -> Bool { base.reserve(count, at: offset) }
    func dropCache() { base.dropCache() }
  }
}
