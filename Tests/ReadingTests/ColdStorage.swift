// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Synchronization

@testable import DiskQueue

/// A topic whose files report how much they can read without waiting: in turn nothing, a part, and
/// everything.
final class ColdStorage: TopicStorage {
  private let base: any TopicStorage

  init(_ base: any TopicStorage = SimulatedStorage()) { self.base = base }

  private final class File: StorageFile {
    private let base: any StorageFile
    private let turn = Atomic(0)

    init(_ base: any StorageFile) { self.base = base }

    func readWithoutWaiting(
      into target: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) throws(SystemError) -> Int {
      let turn = turn.add(1, ordering: .relaxed).newValue % 3
      guard turn > 0 else { throw SystemError(errno: Errno.again, call: "preadv2") }
      let count = turn == 1 ? min(target.count, 21) : target.count
      return try base.read(
        into: UnsafeMutableRawBufferPointer(rebasing: target[..<count]), at: offset)
    }

    func read(
      into target: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) throws(SystemError) -> Int {
      try base.read(into: target, at: offset)
    }

    func write(_ bytes: RawSpan, at offset: UInt64) throws(SystemError) -> Int {
      try base.write(bytes, at: offset)
    }

    func sync() throws(SystemError) { try base.sync() }
    func truncate(to count: UInt64) throws(SystemError) { try base.truncate(to: count) }
    func identity() throws(SystemError) -> FileIdentity { try base.identity() }
    func reserve(_ count: UInt64, at offset: UInt64) -> Bool { base.reserve(count, at: offset) }
    func size() throws(SystemError) -> UInt64 { try base.size() }
    func dropCache() { base.dropCache() }
  }

  var path: String { base.path }

  func forEachName(_ body: (String) -> Void) throws(SystemError) { try base.forEachName(body) }

  func remove(_ name: String) throws(SystemError) { try base.remove(name) }

  func open(_ name: String, writable: Bool) throws(SystemError) -> any StorageFile {
    File(try base.open(name, writable: writable))
  }

  func create(_ name: String) throws(SystemError) -> any StorageFile {
    File(try base.create(name))
  }

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
  ) throws(SystemError) -> any StorageWatch {
    try base.watch(onChange)
  }
}
