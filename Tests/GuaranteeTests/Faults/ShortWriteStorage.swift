// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Synchronization

/// A topic in which a chosen write stops halfway. Then a later call may fail.
final class ShortWriteStorage: TopicStorage {
  private struct State {
    var countdown = 0
    var hits = 0
    var then: (@Sendable () -> Void)?
  }

  private let base: SimulatedStorage
  private let state = Mutex(State())

  init(_ base: SimulatedStorage) { self.base = base }

  /// Cuts the write with this number short, counted from 1, and calls `then`.
  func cut(write number: Int, then: (@Sendable () -> Void)?) {
    state.withLock { $0 = State(countdown: number, hits: 0, then: then) }
  }

  /// How many writes were cut.
  var hits: Int { state.withLock { $0.hits } }

  fileprivate func isNext() -> Bool {
    let (isNext, then) = state.withLock { state in
      state.countdown -= 1
      guard state.countdown == 0 else { return (false, nil as (@Sendable () -> Void)?) }
      state.hits += 1
      return (true, state.then)
    }
    then?()
    return isNext
  }

  var path: String { base.path }

  func forEachName(_ body: (String) -> Void) throws(SystemError) { try base.forEachName(body) }

  func open(_ name: String, writable: Bool) throws(SystemError) -> any StorageFile {
    File(try base.open(name, writable: writable), self)
  }

  func create(_ name: String) throws(SystemError) -> any StorageFile {
    File(try base.create(name), self)
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
    Lock(try base.lock(name, creating: creating), self)
  }

  func consumers(creating: Bool) throws(SystemError) -> any StorageDirectory {
    Directory(try base.consumers(creating: creating), self)
  }

  func watch(_ onChange: @escaping @Sendable () -> Void) throws(SystemError) -> any StorageWatch {
    try base.watch(onChange)
  }

  private final class File: StorageFile {
    private let base: any StorageFile
    private let storage: ShortWriteStorage

    init(_ base: any StorageFile, _ storage: ShortWriteStorage) {
      self.base = base
      self.storage = storage
    }

    func read(
      into target: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) throws(SystemError) -> Int { try base.read(into: target, at: offset) }

    func write(_ bytes: RawSpan, at offset: UInt64) throws(SystemError) -> Int {
      guard storage.isNext() else { return try base.write(bytes, at: offset) }
      // This goes to `base` at once, so that the fault armed by `then` sees this half first.
      return try base.write(bytes.extracting(first: max(1, bytes.byteCount / 2)), at: offset)
    }

    func sync() throws(SystemError) { try base.sync() }
    func truncate(to count: UInt64) throws(SystemError) { try base.truncate(to: count) }
    func size() throws(SystemError) -> UInt64 { try base.size() }
    func identity() throws(SystemError) -> FileIdentity { try base.identity() }
    func reserve(_ count: UInt64, at offset: UInt64) -> Bool { base.reserve(count, at: offset) }
    func dropCache() { base.dropCache() }
  }

  private final class Lock: StorageLock {
    let file: any StorageFile
    private let base: any StorageLock

    init(_ base: any StorageLock, _ storage: ShortWriteStorage) {
      self.base = base
      file = File(base.file, storage)
    }

    func release() { base.release() }
  }

  /// The directory of the consumers.
  private final class Directory: StorageDirectory {
    private let base: any StorageDirectory
    private let storage: ShortWriteStorage

    init(_ base: any StorageDirectory, _ storage: ShortWriteStorage) {
      self.base = base
      self.storage = storage
    }

    var path: String { base.path }

    func forEachName(_ body: (String) -> Void) throws(SystemError) {
      try base.forEachName(body)
    }

    func open(_ name: String, writable: Bool) throws(SystemError) -> any StorageFile {
      File(try base.open(name, writable: writable), storage)
    }

    func create(_ name: String) throws(SystemError) -> any StorageFile {
      File(try base.create(name), storage)
    }

    func remove(_ name: String) throws(SystemError) { try base.remove(name) }

    func lock(_ name: String, creating: Bool) throws(SystemError) -> any StorageLock {
      Lock(try base.lock(name, creating: creating), storage)
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

    func watch(
      _ onChange: @escaping @Sendable () -> Void
    ) throws(SystemError) -> any StorageWatch { try base.watch(onChange) }
  }
}
