// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

package import DiskQueue
internal import Synchronization

/// A topic on a disk that loses power, runs full, fails and writes fewer bytes than requested.
///
/// It distinguishes durable bytes from bytes that are only cached. All its random choices come from
/// one seed.
package final class SimulatedStorage: TopicStorage {
  package let path = "simulated"

  /// One call that the library made to the storage.
  package enum Call: Hashable, Sendable {
    case list
    case open(String)
    case create(String)
    case remove(String)
    case rename(String, to: String)
    /// The library asked which file a name leads to.
    case identify(String)
    /// The library asked for a stamp of the names.
    case namesStamp
    case read(String)
    case write(String, offset: UInt64, count: Int)
    case truncate(String, to: UInt64)
    case sync(String)
    case size(String)
    case dropCache(String)
    case syncDirectory
    case syncParent
    case lock
    case unlock
    /// The library asked for the directory of the consumers.
    case consumers
    case lockFile(String)
    case unlockFile(String)
    case syncConsumers

    /// Whether the call may change the disk.
    package var changes: Bool {
      switch self {
      case .create, .remove, .rename, .write, .truncate, .sync, .syncDirectory, .syncParent,
        .consumers,
        .lockFile,
        .syncConsumers:
        true
      default: false
      }
    }

    package var isWrite: Bool { if case .write = self { true } else { false } }
    package var isSync: Bool { if case .sync = self { true } else { false } }
  }

  /// A failure, and the call at which it happens.
  package struct Fault: Sendable {
    package enum Effect: Sendable {
      /// The call fails and does nothing. A sync that fails loses data.
      case fail(Int32)
      /// The process dies within the call. Part of the call may be done. No later call does
      /// anything.
      case die
    }

    /// How many of the calls that `concerns` picks are left, including the one that fails.
    var countdown: Int
    var isLasting: Bool
    var effect: Effect
    var concerns: @Sendable (Call) -> Bool

    /// - Parameters:
    ///   - number: the fault strikes at this one of the calls that `concerns` picks, counted from
    ///     1.
    ///   - isLasting: whether all such calls after it fail as well.
    package init(
      _ effect: Effect, at number: Int, isLasting: Bool = false,
      of concerns: @escaping @Sendable (Call) -> Bool = { $0.changes }
    ) {
      countdown = number
      self.isLasting = isLasting
      self.effect = effect
      self.concerns = concerns
    }
  }

  private struct State {
    var disk: SimulatedDisk
    var random: SeededGenerator
    var calls: [Call] = []
    var logsCalls = false
    var fault: Fault?
    var hits = 0
    /// Counts the processes. A file that an earlier process opened no longer writes.
    var process = 0
    var isDead = false
    /// Which process holds the lock on which file, by the file's number.
    var lockHolders: [Int: Int] = [:]
    var capacity = Int.max
    var shortWrites = 0

    func handle(_ storage: SimulatedStorage, _ name: String, _ file: Int) -> File {
      File(storage, name, file, process, failures: disk[file].failures)
    }
  }
  private let state: Mutex<State>
  private let watchers = Watchers()
  private let hook = Mutex<(@Sendable (Call) -> Void)?>(nil)

  /// Whether the disk reports that it preallocates, and can truncate.
  private let laysOutRoom: Bool

  package convenience init(seed: UInt64 = 1, laysOutRoom: Bool = false) {
    self.init(
      disk: SimulatedDisk(), random: SeededGenerator(seed: seed), laysOutRoom: laysOutRoom)
  }

  private init(disk: SimulatedDisk, random: SeededGenerator, laysOutRoom: Bool) {
    self.laysOutRoom = laysOutRoom
    state = Mutex(State(disk: disk, random: random))
  }

  // MARK: Fate

  /// Returns a new storage with the disk's content when the power is back. This storage continues
  /// as if nothing had happened, for code that still uses it.
  package func powerCut(using random: inout SeededGenerator) -> SimulatedStorage {
    let disk = state.withLock { $0.disk.afterPowerCut(using: &random) }
    return SimulatedStorage(
      disk: disk, random: SeededGenerator(seed: random.next()), laysOutRoom: laysOutRoom)
  }

  /// A copy of everything, cached and durable, so that a test can continue in another way.
  package func copy(seed: UInt64 = 1) -> SimulatedStorage {
    SimulatedStorage(
      disk: state.withLock { $0.disk }, random: SeededGenerator(seed: seed),
      laysOutRoom: laysOutRoom)
  }

  /// Ends the writer's process. The written bytes stay, but its lock and its open files are gone.
  package func kill() {
    state.withLock {
      $0.process += 1
      $0.isDead = false
      $0.lockHolders = [:]
      $0.fault = nil
    }
  }

  package func setFault(_ fault: Fault?) {
    state.withLock {
      $0.fault = fault
      $0.hits = 0
    }
  }

  /// Restarts the random choices from another seed.
  package func reseed(_ seed: UInt64) {
    state.withLock { $0.random = SeededGenerator(seed: seed) }
  }

  /// How often the fault struck since it was set.
  package var hits: Int { state.withLock { $0.hits } }

  /// Whether the process died of a fault.
  package var isDead: Bool { state.withLock { $0.isDead } }

  /// Sets how many bytes all files together may hold.
  package func setCapacity(_ bytes: Int?) { state.withLock { $0.capacity = bytes ?? .max } }

  package var used: Int { state.withLock { $0.disk.used } }

  /// Sets how many of a hundred writes stop short.
  package func setShortWrites(percent: Int) { state.withLock { $0.shortWrites = percent } }

  /// Calls `body` before each call, with no lock of this storage held. `body` does what other
  /// processes may do between two calls. The calls that `body` makes do not call it again.
  package func setHook(_ body: (@Sendable (Call) -> Void)?) { hook.withLock { $0 = body } }

  private func tellHook(_ call: Call) {
    // The hook is removed while it runs.
    guard let body = hook.withLock({ $0.take() }) else { return }
    body(call)
    hook.withLock { if $0 == nil { $0 = body } }
  }

  // MARK: Looking

  /// Starts a new log of calls.
  package func logCalls() {
    state.withLock {
      $0.logsCalls = true
      $0.calls = []
    }
  }

  /// The calls since `logCalls`, in order.
  package var calls: [Call] { state.withLock { $0.calls } }

  /// The bytes of every slab by its base, as a reader sees them.
  package var slabs: [UInt64: [UInt8]] { slabs(\.cached) }

  /// The same, if every cache were dropped: without the bytes that a failed sync gave up.
  package var slabsAfterDroppedCache: [UInt64: [UInt8]] { slabs(\.afterDroppedCache) }

  private func slabs(_ bytes: (SimulatedFile) -> [UInt8]) -> [UInt64: [UInt8]] {
    // All of this happens under the lock. A reference count shows when a copy was given up, and
    // ThreadSanitizer does not see that count. Otherwise it would report the next change in place
    // as a race.
    state.withLock { state in
      var slabs: [UInt64: [UInt8]] = [:]
      for (name, file) in state.disk.names {
        if let base = SlabName.parse(name) { slabs[base] = bytes(state.disk[file]) }
      }
      return slabs
    }
  }

  // MARK: Damage

  /// Replaces a slab's bytes durably. If `bytes` is nil, removes the slab.
  package func replace(slab base: UInt64, with bytes: [UInt8]?) {
    let name = SlabName.string(base)
    state.withLock { state in
      guard let bytes else {
        state.disk.change(name, to: nil)
        return state.disk.syncDirectory()
      }
      let file = state.disk.names[name] ?? state.disk.create(name)
      state.disk[file].replaceAll(bytes)
      state.disk.syncDirectory()
      state.disk.syncParent()
    }
  }

  /// Removes a name durably, as another program's `rm` does.
  package func takeAway(_ name: String) {
    state.withLock { state in
      state.disk.change(name, to: nil)
      state.disk.syncDirectory()
      state.disk.syncDirectory(below: TopicLayout.consumersName + "/")
    }
    watchers.notify()
  }

  /// Flips one bit of a slab. Bit 8 is the lowest one of its second byte.
  package func flip(bit: Int, ofSlab base: UInt64) { flip(bit: bit, of: SlabName.string(base)) }

  /// Flips one bit of any file, by its path in the topic. Does nothing if there is no such file.
  package func flip(bit: Int, of name: String) {
    state.withLock { state in
      if let file = state.disk.names[name] { state.disk[file].flip(bit: bit) }
    }
  }

  /// The bytes of any file, as a reader would see them if every cache were dropped.
  package func bytes(of name: String) -> [UInt8]? {
    state.withLock { state in state.disk.names[name].map { state.disk[$0].afterDroppedCache } }
  }

  // MARK: TopicStorage

  /// Runs one call, or the fault that strikes it.
  ///
  /// - Parameters:
  ///   - process: the process that opened the call's file. Nil for a call without a file.
  ///   - half: does the part that a failed or dying call may have done.
  private func perform<R: Sendable>(
    _ call: Call, process: Int? = nil, half: (inout State, _ isDying: Bool) -> Void = { _, _ in },
    body: (inout State) -> Result<R, SystemError>
  ) throws(SystemError) -> R {
    tellHook(call)
    let result = state.withLock { state -> Result<R, SystemError> in
      if call.changes, state.isDead || process.map({ $0 != state.process }) ?? false {
        return .failure(SystemError(errno: Errno.io, call: "dead"))
      }
      if state.logsCalls { state.calls.append(call) }
      guard let fault = state.fault, fault.concerns(call) else { return body(&state) }
      state.fault?.countdown -= 1
      guard fault.countdown == 1 || fault.countdown < 1 && fault.isLasting else {
        return body(&state)
      }
      state.hits += 1
      switch fault.effect {
      case .fail(let errno):
        half(&state, false)
        return .failure(SystemError(errno: errno, call: "simulated"))
      case .die:
        half(&state, true)
        state.isDead = true
        return .failure(SystemError(errno: Errno.io, call: "dying"))
      }
    }
    return try result.get()
  }

  package func forEachName(_ body: (String) -> Void) throws(SystemError) {
    let names: [String] = try perform(.list) { state in
      .success(state.disk.names.keys.filter { !$0.contains("/") }.sorted())
    }
    for name in names { body(name) }
  }

  package func open(_ name: String, writable: Bool) throws(SystemError) -> any StorageFile {
    try perform(.open(name)) { state -> Result<File, SystemError> in
      guard let file = state.disk.names[name] else {
        return .failure(SystemError(errno: Errno.noEntry, call: "openat"))
      }
      return .success(state.handle(self, name, file))
    }
  }

  package func create(_ name: String) throws(SystemError) -> any StorageFile {
    defer { watchers.notify() }
    return try perform(
      .create(name),
      half: { state, isDying in
        guard isDying, state.disk.names[name] == nil, state.random.chance(50) else { return }
        _ = state.disk.create(name)
      },
      body: { state -> Result<File, SystemError> in
        guard state.disk.names[name] == nil else {
          return .failure(SystemError(errno: Errno.exists, call: "openat"))
        }
        return .success(state.handle(self, name, state.disk.create(name)))
      })
  }

  package func remove(_ name: String) throws(SystemError) {
    defer { watchers.notify() }
    try perform(.remove(name)) { state -> Result<Void, SystemError> in
      guard state.disk.names[name] != nil else {
        return .failure(SystemError(errno: Errno.noEntry, call: "unlinkat"))
      }
      return .success(state.disk.change(name, to: nil))
    }
  }

  package func rename(_ name: String, to new: String) throws(SystemError) {
    defer { watchers.notify() }
    try perform(
      .rename(name, to: new),
      half: { state, isDying in
        guard isDying, state.random.chance(50) else { return }
        _ = state.disk.rename(name, to: new)
      },
      body: { state -> Result<Void, SystemError> in
        guard state.disk.names[new] == nil else {
          return .failure(SystemError(errno: Errno.exists, call: "renameat2"))
        }
        guard state.disk.rename(name, to: new) else {
          return .failure(SystemError(errno: Errno.noEntry, call: "renameat2"))
        }
        return .success(())
      })
  }

  package func identity(of name: String) throws(SystemError) -> FileIdentity? {
    try perform(.identify(name)) { state in
      .success(state.disk.names[name].map { FileIdentity(device: 0, node: UInt64($0)) })
    }
  }

  package func namesStamp() throws(SystemError) -> NamesStamp? {
    try perform(.namesStamp) { .success(NamesStamp(rawValue: $0.disk.nameChanges)) }
  }

  package func syncDirectory() throws(SystemError) {
    try perform(
      .syncDirectory,
      half: { state, _ in if state.random.chance(50) { state.disk.syncDirectory() } },
      body: { .success($0.disk.syncDirectory()) })
  }

  package func syncParent() throws(SystemError) {
    try perform(
      .syncParent, half: { state, _ in if state.random.chance(50) { state.disk.syncParent() } },
      body: { .success($0.disk.syncParent()) })
  }

  package func watch(
    _ onChange: @escaping @Sendable () -> Void
  ) throws(SystemError) -> any StorageWatch { watchers.add(onChange) }

  // MARK: Locks

  package func lock() throws(SystemError) -> any StorageLock {
    try lock(TopicLayout.lockName, creating: true, .lock, unlocking: .unlock)
  }

  package func lock(_ name: String, creating: Bool) throws(SystemError) -> any StorageLock {
    try lock(name, creating: creating, .lockFile(name), unlocking: .unlockFile(name))
  }

  private func lock(
    _ name: String, creating: Bool, _ call: Call, unlocking: Call
  ) throws(SystemError) -> any StorageLock {
    try perform(call) { state -> Result<Lock, SystemError> in
      guard let file = state.disk.names[name] ?? (creating ? state.disk.create(name) : nil) else {
        return .failure(SystemError(errno: Errno.noEntry, call: "openat"))
      }
      guard state.lockHolders[file] == nil else {
        return .failure(SystemError(errno: Errno.again, call: "lock"))
      }
      state.lockHolders[file] = state.process
      let opened = state.handle(self, name, file)
      return .success(Lock(self, file, state.process, unlocking, opened))
    }
  }

  package func lockHolder() -> Int32? {
    state.withLock { state in
      state.disk.names[TopicLayout.lockName].flatMap { state.lockHolders[$0] }.map(Int32.init)
    }
  }

  private final class Lock: StorageLock {
    let file: any StorageFile
    private let storage: SimulatedStorage
    private let number: Int
    private let process: Int
    private let unlocking: Call

    init(
      _ storage: SimulatedStorage, _ number: Int, _ process: Int, _ unlocking: Call, _ file: File
    ) {
      self.storage = storage
      self.number = number
      self.process = process
      self.unlocking = unlocking
      self.file = file
    }

    func release() {
      storage.state.withLock { state in
        guard state.process == process, state.lockHolders[number] != nil else { return }
        if state.logsCalls { state.calls.append(unlocking) }
        state.lockHolders[number] = nil
      }
    }
  }

  // MARK: Consumers

  package func consumers(creating: Bool) throws(SystemError) -> any StorageDirectory {
    try perform(.consumers) { state -> Result<Consumers, SystemError> in
      if state.disk.names[TopicLayout.consumersName] == nil {
        guard creating else {
          return .failure(SystemError(errno: Errno.noEntry, call: "openat"))
        }
        _ = state.disk.create(TopicLayout.consumersName)
      }
      return .success(Consumers(self))
    }
  }

  /// The directory of the consumers. The names of its files begin with its own.
  private final class Consumers: StorageDirectory {
    private let storage: SimulatedStorage
    private static let prefix = TopicLayout.consumersName + "/"

    init(_ storage: SimulatedStorage) { self.storage = storage }

    var path: String { storage.path + "/" + TopicLayout.consumersName }

    func forEachName(_ body: (String) -> Void) throws(SystemError) {
      let names: [String] = try storage.perform(.list) { state in
        .success(state.disk.names.keys.filter { $0.hasPrefix(Self.prefix) }.sorted())
      }
      for name in names { body(String(name.dropFirst(Self.prefix.count))) }
    }

    func open(_ name: String, writable: Bool) throws(SystemError) -> any StorageFile {
      try storage.open(Self.prefix + name, writable: writable)
    }

    func create(_ name: String) throws(SystemError) -> any StorageFile {
      try storage.create(Self.prefix + name)
    }

    func remove(_ name: String) throws(SystemError) { try storage.remove(Self.prefix + name) }

    func rename(_ name: String, to new: String) throws(SystemError) {
      try storage.rename(Self.prefix + name, to: Self.prefix + new)
    }

    func identity(of name: String) throws(SystemError) -> FileIdentity? {
      try storage.identity(of: Self.prefix + name)
    }

    func namesStamp() throws(SystemError) -> NamesStamp? { try storage.namesStamp() }

    func lock(_ name: String, creating: Bool) throws(SystemError) -> any StorageLock {
      try storage.lock(Self.prefix + name, creating: creating)
    }

    func syncDirectory() throws(SystemError) {
      try storage.perform(
        .syncConsumers,
        half: { state, _ in
          if state.random.chance(50) { state.disk.syncDirectory(below: Self.prefix) }
        },
        body: { .success($0.disk.syncDirectory(below: Self.prefix)) })
    }

    func syncParent() throws(SystemError) { try storage.syncDirectory() }

    func watch(
      _ onChange: @escaping @Sendable () -> Void
    ) throws(SystemError) -> any StorageWatch { try storage.watch(onChange) }
  }

  // MARK: Files

  private final class File: StorageFile {
    private let storage: SimulatedStorage
    private let name: String
    private let file: Int
    private let process: Int
    /// How many failed syncs of the file this handle has reported, or was opened after.
    private let reported: Mutex<Int>

    init(
      _ storage: SimulatedStorage, _ name: String, _ file: Int, _ process: Int, failures: Int
    ) {
      self.storage = storage
      self.name = name
      self.file = file
      self.process = process
      reported = Mutex(failures)
    }

    func read(
      into target: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) throws(SystemError) -> Int {
      // The pointer is used within the call only.
      nonisolated(unsafe) let target = target
      return try storage.perform(.read(name)) { [file] state in
        let bytes = state.disk[file].cached
        guard let start = Int(exactly: offset), start < bytes.count else { return .success(0) }
        let count = min(target.count, bytes.count - start)
        bytes.withUnsafeBytes { source in
          target.copyMemory(from: UnsafeRawBufferPointer(rebasing: source[start..<start + count]))
        }
        return .success(count)
      }
    }

    func write(_ bytes: RawSpan, at offset: UInt64) throws(SystemError) -> Int {
      let result = bytes.withUnsafeBytes { source -> Result<Int, SystemError> in
        do throws(SystemError) {
          return .success(try write(source, at: Int(clamping: offset)))
        } catch {
          return .failure(error)
        }
      }
      return try result.get()
    }

    private func write(
      _ bytes: UnsafeRawBufferPointer, at offset: Int
    ) throws(SystemError) -> Int {
      nonisolated(unsafe) let bytes = bytes
      defer { storage.watchers.notify() }
      return try storage.perform(
        .write(name, offset: UInt64(offset), count: bytes.count), process: process,
        half: { [file] state, isDying in
          guard isDying else { return }
          let count = state.random.below(bytes.count + 1)
          state.disk[file].write(.init(rebasing: bytes[..<count]), at: offset)
        },
        body: { [file] state in
          let growth = max(0, offset + bytes.count - state.disk[file].size)
          let room = state.capacity == .max ? .max : max(0, state.capacity - state.disk.used)
          var count = bytes.count - max(0, growth - room)
          guard count > 0 else {
            return .failure(SystemError(errno: Errno.noSpace, call: "pwrite"))
          }
          if state.random.chance(state.shortWrites) { count = 1 + state.random.below(count) }
          state.disk[file].write(.init(rebasing: bytes[..<count]), at: offset)
          return .success(count)
        })
    }

    func sync() throws(SystemError) {
      try storage.perform(
        .sync(name), process: process,
        half: { [file] state, isDying in
          var random = state.random
          // A process that dies in its sync loses no data by it. Part of the sync may be done.
          state.disk.failSync(file, using: &random, forgets: !isDying)
          state.random = random
          if !isDying { reported.withLock { $0 = state.disk[file].failures } }
        },
        body: { [file] state -> Result<Void, SystemError> in
          // If a sync failed through another handle, each handle reports that once.
          let failures = state.disk[file].failures
          guard
            reported.withLock({ reported in
              defer { reported = failures }
              return reported == failures
            })
          else { return .failure(SystemError(errno: Errno.io, call: "fdatasync")) }
          return .success(state.disk[file].sync())
        })
    }

    func size() throws(SystemError) -> UInt64 {
      try storage.perform(.size(name)) { [file] in .success(UInt64($0.disk[file].size)) }
    }

    func identity() -> FileIdentity { FileIdentity(device: 0, node: UInt64(file)) }

    /// Fails if this disk does not preallocate. Then the bytes of a refused record stay until they
    /// are overwritten, which is the harder case.
    func truncate(to count: UInt64) throws(SystemError) {
      guard storage.laysOutRoom else {
        throw SystemError(errno: Errno.notSupported, call: "ftruncate")
      }
      try storage.perform(.truncate(name, to: count), process: process) { [file] state in
        .success(state.disk[file].truncate(to: Int(clamping: count)))
      }
    }

    /// Preallocated or not, space is the same to this disk. If it returns true, the caller
    /// continues as after a preallocation.
    func reserve(_ count: UInt64, at offset: UInt64) -> Bool { storage.laysOutRoom }

    func dropCache() {
      storage.state.withLock { [file] state in
        if state.logsCalls { state.calls.append(.dropCache(name)) }
        state.disk[file].dropCache()
      }
    }
  }
}
