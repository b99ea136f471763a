// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A topic, or its consumers, in a directory of the file system.
final class PosixStorage: TopicStorage {
  let path: String
  private let directory: Descriptor
  /// Makes the new files and directories.
  private let maker: FileMaker
  /// Identifies the directory to the watches of this process, which are called after changes made
  /// here.
  let identity: FileIdentity
  private let watcher: DirectoryWatcher
  private let stamps = Mutex(NamesStampSource())
  private let monotonic: @Sendable () -> UInt64

  private init(
    path: String, directory: Descriptor, maker: FileMaker,
    watcher: DirectoryWatcher = .shared,
    monotonic: @escaping @Sendable () -> UInt64 = { Syscalls.monotonicClock() }
  ) throws(SystemError) {
    self.path = path
    self.watcher = watcher
    self.monotonic = monotonic
    self.directory = directory
    self.maker = maker
    identity = try Syscalls.identity(of: directory.number)
  }

  /// Opens an existing directory. ENOENT: there is none. ENOTDIR: it is a file, or a link.
  ///
  /// - Parameters:
  ///   - permissions: of new files and directories in it.
  ///   - watcher: reports changes in it.
  ///   - monotonic: the clock, in nanoseconds.
  convenience init(
    path: String, permissions: TopicPermissions = .init(), watcher: DirectoryWatcher = .shared,
    monotonic: @escaping @Sendable () -> UInt64 = { Syscalls.monotonicClock() }
  ) throws(SystemError) {
    let directory = Descriptor(try Syscalls.openDirectory(path))
    try self.init(
      path: path, directory: directory, maker: FileMaker(path, directory, permissions),
      watcher: watcher, monotonic: monotonic)
  }

  /// Opens a directory. If it is missing, it is made, with the missing directories on the way to
  /// it.
  ///
  /// Order: each new directory is made in one that is durable itself. It is made durable there
  /// before anything is put into it. An existing directory may be one that a crash left between its
  /// making and its sync. So the directory that holds it is synced as well.
  convenience init(
    creating path: String, permissions: TopicPermissions,
    monotonic: @escaping @Sendable () -> UInt64 = { Syscalls.monotonicClock() }
  ) throws(SystemError) {
    let directory: Descriptor
    do throws(SystemError) {
      directory = Descriptor(try Syscalls.openDirectory(path))
    } catch  where error.errno == Errno.noEntry && !path.isEmpty {
      try PosixStorage.makeDirectories(to: PosixStorage.parent(of: path))
      do throws(SystemError) {
        try FileMaker.makeTopic(path, in: PosixStorage.parent(of: path), permissions)
      } catch {
        // Another writer was faster. The lock decides which of the two goes on.
        guard error.errno == Errno.exists else { throw error }
      }
      directory = Descriptor(try Syscalls.openDirectory(path))
    }
    try self.init(
      path: path, directory: directory, maker: FileMaker(path, directory, permissions),
      monotonic: monotonic)
  }

  /// Removes the directory with its content. After an error, some of the files stay.
  func removeAll() throws(SystemError) {
    let consumers: (any StorageDirectory)?
    do throws(SystemError) {
      consumers = try self.consumers(creating: false)
    } catch  where [Errno.noEntry, Errno.notDirectory].contains(error.errno) {
      // There is none, or it is removed as a file.
      consumers = nil
    }
    if let consumers {
      try PosixStorage.removeFiles(of: consumers)
      try Syscalls.removeDirectory(inDirectory: directory.number, TopicLayout.consumersName)
    }
    try PosixStorage.removeFiles(of: self)
    try Syscalls.removeDirectory(path)
  }

  /// Removes a directory if it is there and empty.
  static func removeEmpty(_ path: String) { try? Syscalls.removeDirectory(path) }

  private static func removeFiles(of directory: any StorageDirectory) throws(SystemError) {
    var names: [String] = []
    try directory.forEachName { names.append($0) }
    for name in names { try directory.remove(name) }
  }

  /// This directory, which has got another name.
  func named(_ path: String) throws(SystemError) -> PosixStorage {
    try PosixStorage(path: path, directory: directory, maker: maker)
  }

  /// Gives the directory another name, if nothing has it. Durable after `syncParent`.
  func moveName(to path: String) throws(SystemError) { try Syscalls.move(self.path, to: path) }

  /// Exchanges the names of this directory and another one. Durable after `syncParent`.
  ///
  /// Takes one step, if the system and the file system can do that. Otherwise it takes two: the
  /// other directory is moved aside first, and between the two its name leads nowhere.
  ///
  /// - Returns: the path of the other directory afterwards.
  func exchangeName(with other: String) throws(SystemError) -> String {
    if try Syscalls.exchange(path, other) { return path }
    return try exchangeNameInTwoSteps(with: other)
  }

  func exchangeNameInTwoSteps(with other: String) throws(SystemError) -> String {
    let aside = path + ".old"
    try Syscalls.move(other, to: aside)
    do throws(SystemError) {
      try Syscalls.move(path, to: other)
    } catch {
      try Syscalls.move(aside, to: other)
      throw error
    }
    return aside
  }

  /// Undoes `exchangeName`: the other directory gets its name back, and this one its own.
  ///
  /// - Parameter aside: the path that `exchangeName` returned.
  func returnName(_ other: String, to aside: String) throws(SystemError) {
    if aside == path, try Syscalls.exchange(path, other) { return }
    try Syscalls.move(other, to: path)
    try Syscalls.move(aside, to: other)
  }

  private static func makeDirectories(to path: String) throws(SystemError) {
    do throws(SystemError) {
      _ = Descriptor(try Syscalls.openAncestor(path))
    } catch {
      guard error.errno == Errno.noEntry, path != "." else { throw error }
      try makeDirectories(to: parent(of: path))
      do throws(SystemError) {
        // As mkdir -p makes them. Only the topic's own directory is private.
        try Syscalls.makeDirectory(path, permissions: 0o777)
      } catch {
        guard error.errno == Errno.exists else { throw error }
      }
    }
    try syncIfReadable { () throws(SystemError) in
      try Syscalls.openAncestor(parent(of: path))
    }
  }

  private static func syncIfReadable(
    _ open: () throws(SystemError) -> Int32
  ) throws(SystemError) {
    let descriptor: Int32
    do throws(SystemError) {
      descriptor = try open()
    } catch {
      // Other users made a directory that this user may not read, and are responsible for it.
      guard error.errno == Errno.access else { throw error }
      return
    }
    let ancestor = Descriptor(descriptor)
    try Syscalls.syncEverything(ancestor.number)
  }

  /// The directory that holds `path`, by its text: "." for a plain name.
  private static func parent(of path: String) -> String {
    var bytes = path.utf8[...]
    while bytes.count > 1, bytes.last == UInt8(ascii: "/") { bytes.removeLast() }
    guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return "." }
    return slash == bytes.startIndex ? "/" : String(path[..<slash])
  }

  func forEachName(_ body: (String) -> Void) throws(SystemError) {
    try Syscalls.forEachName(inDirectory: directory.number, body)
  }

  func open(_ name: String, writable: Bool) throws(SystemError) -> any StorageFile {
    PosixFile(
      Descriptor(try Syscalls.openFile(inDirectory: directory.number, name, writable: writable)),
      in: identity)
  }

  func create(_ name: String) throws(SystemError) -> any StorageFile {
    let file = Descriptor(try maker.makeFile(name, inDirectory: directory.number))
    watcher.changed(in: identity)
    return PosixFile(file, in: identity)
  }

  func remove(_ name: String) throws(SystemError) {
    try Syscalls.remove(inDirectory: directory.number, name)
    watcher.changed(in: identity)
  }

  func rename(_ name: String, to new: String) throws(SystemError) {
    try Syscalls.renameFile(inDirectory: directory.number, name, to: new)
    watcher.changed(in: identity)
  }

  func identity(of name: String) throws(SystemError) -> FileIdentity? {
    try Syscalls.identity(inDirectory: directory.number, name)
  }

  func namesStamp() throws(SystemError) -> NamesStamp? {
    let changeTime = try Syscalls.changeTime(of: directory.number)
    return stamps.withLock { $0.stamp(changeTime, now: monotonic) }
  }

  func syncDirectory() throws(SystemError) {
    try Syscalls.syncEverything(directory.number)
  }

  func syncParent() throws(SystemError) {
    try PosixStorage.syncIfReadable { () throws(SystemError) in
      try Syscalls.openParent(ofDirectory: directory.number)
    }
  }

  /// How many times to try a name that leads elsewhere again and again.
  private static let mostAttempts = 1000

  func lock(_ name: String, creating: Bool) throws(SystemError) -> any StorageLock {
    for _ in 0..<Self.mostAttempts {
      guard let file = try openForLock(name, creating: creating) else { continue }
      try Syscalls.lock(file.number)
      // Between opening and locking, the previous holder of the lock may have removed the file.
      if try identity(of: name) == Syscalls.identity(of: file.number) {
        let lock = PosixLock(file, in: identity)
        if TopicLayout.isLock(name) {
          try narrow(file)
          LockNote.write(to: lock)
        }
        return lock
      }
    }
    throw SystemError(errno: Errno.again, call: "openat")
  }

  /// Nil: another process or thread made the file or removed it meanwhile.
  private func openForLock(_ name: String, creating: Bool) throws(SystemError) -> Descriptor? {
    do throws(SystemError) {
      return Descriptor(
        try Syscalls.openFile(inDirectory: directory.number, name, writable: true))
    } catch {
      guard creating, error.errno == Errno.noEntry else { throw error }
    }
    do throws(SystemError) {
      return Descriptor(try maker.makeFile(name, inDirectory: directory.number))
    } catch {
      guard error.errno == Errno.exists else { throw error }
      return nil
    }
  }

  /// Takes permissions from a lock of an older version. Any user with permission to read that file
  /// could hold it.
  private func narrow(_ lock: Descriptor) throws(SystemError) {
    let bits = try Syscalls.ownership(of: lock.number).permissions
    let narrowed = bits & TopicPermissions.lock(from: bits)
    guard narrowed != bits else { return }
    do throws(SystemError) {
      try Syscalls.setPermissions(lock.number, narrowed)
    } catch {
      // Only its owner may do this, and not on every file system. The lock is held, and serves as
      // it is.
      guard
        [Errno.notPermitted, Errno.access, Errno.readOnly, Errno.notSupported]
          .contains(error.errno)
      else { throw error }
    }
  }

  func lock() throws(SystemError) -> any StorageLock {
    try lock(TopicLayout.lockName, creating: true)
  }

  func consumers(creating: Bool) throws(SystemError) -> any StorageDirectory {
    let name = TopicLayout.consumersName
    func open() throws(SystemError) -> any StorageDirectory {
      try PosixStorage(
        path: path + "/" + name,
        directory: Descriptor(
          try Syscalls.openDirectory(inDirectory: directory.number, name)), maker: maker,
        watcher: watcher)
    }
    do throws(SystemError) {
      return try open()
    } catch {
      guard error.errno == Errno.noEntry, creating else { throw error }
    }
    do throws(SystemError) {
      try maker.makeDirectory(name, inDirectory: directory.number)
    } catch {
      guard error.errno == Errno.exists else { throw error }
    }
    return try open()
  }

  func watch(_ onChange: @escaping @Sendable () -> Void) throws(SystemError) -> any StorageWatch {
    try watcher.watch(directory.number, path: path, onChange)
  }

  func lockState() -> LockState { lockState(of: TopicLayout.lockName) }

  func lockState(of name: String) -> LockState {
    let file: Descriptor
    do throws(SystemError) {
      file = Descriptor(
        try Syscalls.openFile(inDirectory: directory.number, name, writable: false))
    } catch {
      // Every holder makes the file.
      return LockState(isHeld: error.errno == Errno.noEntry ? false : nil)
    }
    // Order: the note is read after the lock was found, so that it is not an earlier holder's.
    let blocking = Syscalls.blockingLock(on: file.number)
    let process = LockNote.process(in: name, of: self)
    return LockState(
      process: process, isRunning: process.map { Syscalls.isRunning($0) },
      isHeld: blocking.map { $0 == .write }, isReadLock: blocking == .read)
  }

  func lockHolder() -> Int32? { LockNote.process(in: TopicLayout.lockName, of: self) }
}

/// An open descriptor. It is closed with its last reference.
final class Descriptor: Sendable {
  let number: Int32
  init(_ number: Int32) { self.number = number }
  deinit { Syscalls.closeFile(number) }
}

private final class PosixFile: StorageFile {
  private let descriptor: Descriptor
  private let directory: FileIdentity

  init(_ descriptor: Descriptor, in directory: FileIdentity) {
    self.descriptor = descriptor
    self.directory = directory
  }

  func read(
    into target: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(SystemError) -> Int {
    unsafe try Syscalls.read(descriptor.number, into: target, at: offset)
  }

  func readWithoutWaiting(
    into target: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(SystemError) -> Int {
    unsafe try Syscalls.readWithoutWaiting(descriptor.number, into: target, at: offset)
  }

  func write(_ bytes: RawSpan, at offset: UInt64) throws(SystemError) -> Int {
    let count = try Syscalls.write(descriptor.number, bytes, at: offset)
    DirectoryWatcher.shared.changed(in: directory)
    return count
  }

  func sync() throws(SystemError) { try Syscalls.syncData(descriptor.number) }

  func truncate(to count: UInt64) throws(SystemError) {
    try Syscalls.truncate(descriptor.number, to: count)
  }

  func reserve(_ count: UInt64, at offset: UInt64) -> Bool {
    Syscalls.reserve(descriptor.number, count, at: offset)
  }

  func size() throws(SystemError) -> UInt64 { try Syscalls.size(descriptor.number) }

  func identity() throws(SystemError) -> FileIdentity {
    try Syscalls.identity(of: descriptor.number)
  }

  func dropCache() { Syscalls.dropCache(descriptor.number) }
}

/// The lock lives as long as the open file description, so this object holds the file open.
private final class PosixLock: StorageLock {
  let file: any StorageFile
  private let descriptor: Descriptor

  init(_ descriptor: Descriptor, in directory: FileIdentity) {
    self.descriptor = descriptor
    file = PosixFile(descriptor, in: directory)
  }

  func release() { Syscalls.unlock(descriptor.number) }
}
