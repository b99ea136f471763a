// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

package import DiskQueue

/// A topic that reports each watch that it makes, and each that ends.
package final class WatchedStorage: TopicStorage {
  private let base: any TopicStorage
  private let onMade: @Sendable () -> Void
  private let onGone: @Sendable () -> Void

  private final class Watch: StorageWatch {
    private let base: any StorageWatch
    private let onGone: @Sendable () -> Void

    init(_ base: any StorageWatch, _ onGone: @escaping @Sendable () -> Void) {
      self.base = base
      self.onGone = onGone
    }

    deinit { onGone() }
  }

  package init(
    _ base: any TopicStorage = SimulatedStorage(), onMade: @escaping @Sendable () -> Void,
    onGone: @escaping @Sendable () -> Void
  ) {
    self.base = base
    self.onMade = onMade
    self.onGone = onGone
  }

  package var path: String { base.path }

  package func forEachName(_ body: (String) -> Void) throws(SystemError) {
    try base.forEachName(body)
  }

  package func remove(_ name: String) throws(SystemError) {
    try base.remove(name)
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
  ) throws(SystemError) -> any StorageWatch {
    let watch = Watch(try base.watch(onChange), onGone)
    onMade()
    return watch
  }
}
