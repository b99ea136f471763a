// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport

@testable import DiskQueue

/// A topic that counts its watches.
final class WatchedStorage: TopicStorage {
  private let base: any TopicStorage
  /// Counts the watches that were made.
  let made = Progress()
  /// Counts those that are gone.
  let gone = Progress()

  private final class Watch: StorageWatch {
    private let base: any StorageWatch
    private let gone: Progress

    init(_ base: any StorageWatch, _ gone: Progress) {
      self.base = base
      self.gone = gone
    }

    deinit { gone.advance() }
  }

  init(_ base: any TopicStorage = SimulatedStorage()) { self.base = base }

  var path: String { base.path }

  func forEachName(_ body: (String) -> Void) throws(SystemError) {
    try base.forEachName(body)
  }

  func remove(_ name: String) throws(SystemError) {
    try base.remove(name)
  }

  func open(_ name: String, writable: Bool) throws(SystemError) -> any StorageFile {
    try base.open(name, writable: writable)
  }

  func create(_ name: String) throws(SystemError) -> any StorageFile {
    try base.create(name)
  }

  func rename(_ name: String, to new: String) throws(SystemError) {
    try base.rename(name, to: new)
  }
  func identity(of name: String) throws(SystemError) -> FileIdentity? {
    try base.identity(of: name)
  }
  func syncDirectory() throws(SystemError) { try base.syncDirectory() }
  func syncParent() throws(SystemError) { try base.syncParent() }
  func lock() throws(SystemError) -> any StorageLock { try base.lock() }
  func lockHolder() -> Int32? { base.lockHolder() }

  func lock(_ name: String, creating: Bool) throws(SystemError) -> any StorageLock {
    try base.lock(name, creating: creating)
  }

  func consumers(creating: Bool) throws(SystemError) -> any StorageDirectory {
    try base.consumers(creating: creating)
  }

  func watch(
    _ onChange: @escaping @Sendable () -> Void
  ) throws(SystemError) -> any StorageWatch {
    let watch = Watch(try base.watch(onChange), gone)
    made.advance()
    return watch
  }
}
