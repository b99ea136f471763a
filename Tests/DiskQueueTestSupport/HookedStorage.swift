// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

package import DiskQueue
internal import Synchronization

/// A topic that calls a hook after each listing and each removal in it. The hook does what another
/// process may do between two calls of this one.
package final class HookedStorage: TopicStorage {
  package enum Moment: Sendable {
    case listed
    case removed
  }

  private let base: any TopicStorage
  private let hook = Mutex<(@Sendable (Moment) -> Void)?>(nil)

  package init(_ base: any TopicStorage) { self.base = base }

  /// Calls `body` once, at the next moment of this kind.
  package func atNext(_ moment: Moment, _ body: @escaping @Sendable () -> Void) {
    hook.withLock { hook in
      hook = { [weak self] now in
        guard now == moment else { return }
        self?.hook.withLock { $0 = nil }
        body()
      }
    }
  }

  /// Calls `body` at each moment of this kind.
  package func atEach(_ moment: Moment, _ body: @escaping @Sendable () -> Void) {
    hook.withLock { $0 = { if $0 == moment { body() } } }
  }

  private func pass(_ moment: Moment) { hook.withLock { $0 }?(moment) }

  package var path: String { base.path }

  package func forEachName(_ body: (String) -> Void) throws(SystemError) {
    try base.forEachName(body)
    pass(.listed)
  }

  package func remove(_ name: String) throws(SystemError) {
    try base.remove(name)
    pass(.removed)
  }

  package func open(_ name: String, writable: Bool) throws(SystemError) -> any StorageFile {
    try base.open(name, writable: writable)
  }

  package func create(_ name: String) throws(SystemError) -> any StorageFile {
    try base.create(name)
  }

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
}
