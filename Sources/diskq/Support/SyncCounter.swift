// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Synchronization

/// The storage of a topic in a directory that counts the syncs of its files.
final class SyncCounter: TopicStorage {
  private let base: any TopicStorage
  private let syncs = Atomic<UInt64>(0)

  /// - Parameter path: the path of an existing directory.
  init(_ path: String) throws(QueueError) { base = try Topic(path).openForReading() }

  var count: UInt64 { syncs.load(ordering: .relaxed) }

  fileprivate func countSync() { syncs.add(1, ordering: .relaxed) }

  var path: String { base.path }

  func forEachName(_ body: (String) -> Void) throws(SystemError) { try base.forEachName(body) }

  func open(_ name: String, writable: Bool) throws(SystemError) -> any StorageFile {
    CountedFile(try base.open(name, writable: writable), self)
  }

  func create(_ name: String) throws(SystemError) -> any StorageFile {
    CountedFile(try base.create(name), self)
  }

  func remove(_ name: String) throws(SystemError) { try base.remove(name) }
  func rename(_ name: String, to new: String) throws(SystemError) {
    try base.rename(name, to: new)
  }
  func identity(of name: String) throws(SystemError) -> FileIdentity? {
    try base.identity(of: name)
  }
  func namesStamp() throws(SystemError) -> NamesStamp? { try base.namesStamp() }
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
  ) throws(SystemError) -> any StorageWatch { try base.watch(onChange) }
}

private final class CountedFile: StorageFile {
  private let base: any StorageFile
  private let counter: SyncCounter

  init(_ base: any StorageFile, _ counter: SyncCounter) {
    self.base = base
    self.counter = counter
  }

  func read(
    into target: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(SystemError) -> Int { try base.read(into: target, at: offset) }

  func write(_ bytes: RawSpan, at offset: UInt64) throws(SystemError) -> Int {
    try base.write(bytes, at: offset)
  }

  func sync() throws(SystemError) {
    try base.sync()
    counter.countSync()
  }

  func truncate(to count: UInt64) throws(SystemError) { try base.truncate(to: count) }
  func size() throws(SystemError) -> UInt64 { try base.size() }
  func identity() throws(SystemError) -> FileIdentity { try base.identity() }
  func reserve(_ count: UInt64, at offset: UInt64) -> Bool { base.reserve(count, at: offset) }
  func dropCache() { base.dropCache() }
}
