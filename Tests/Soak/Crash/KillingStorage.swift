// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Synchronization

/// Kills this process when it reaches a point for the n-th time.
final class Trap: Sendable {
  private let point: CrashPoint?
  private let left: Atomic<Int>

  /// - Parameter point: nil for none.
  init(_ point: CrashPoint?, occurrence: Int) {
    self.point = point
    left = Atomic(occurrence)
  }

  /// Whether only a writer with a cap reaches the point.
  var isAtTheCap: Bool { point?.call == .removeByWriter }

  func reach(_ moment: CrashPoint.Moment, _ call: CrashCall) {
    if isDue(moment, call) { spring() }
  }

  func isDue(_ moment: CrashPoint.Moment, _ call: CrashCall) -> Bool {
    guard let point, point.call == call, point.moment == moment else { return false }
    return left.subtract(1, ordering: .relaxed).newValue == 0
  }

  func spring() -> Never {
    Posix.say("at the point")
    Posix.killSelf()
  }

  func around<R>(
    _ call: CrashCall, _ body: () throws(SystemError) -> R
  ) throws(SystemError) -> R {
    reach(.before, call)
    let result = try body()
    reach(.after, call)
    return result
  }
}

/// The storage of one writer, consumer or cleaner. It reports the purpose of each call to the trap,
/// and passes each call on to a real disk.
final class KillingStorage: TopicStorage {
  enum Owner: Sendable { case writer, consumer, cleaner }

  fileprivate struct State {
    var isOpening = true
    var isClosing = false
    /// Used while the owner is being opened.
    var hasMadeSlab = false
    var hasLocked = false
    /// The slab that is written now.
    var current: UInt64 = 0
    var hasUnsyncedName = false
    var hasWrittenClosingMark = false
    var hasRemoved = false
  }

  private let base: any TopicStorage
  private let owner: Owner
  private let trap: Trap
  private let state = Mutex(State())

  init(_ topic: String, _ owner: Owner, _ trap: Trap) throws(QueueError) {
    base = try Topic(topic).openForReading()
    self.owner = owner
    self.trap = trap
  }

  /// Notes that the owner is open.
  func didOpen() { state.withLock { $0.isOpening = false } }

  /// Notes that the owner is being closed.
  func willClose() { state.withLock { $0.isClosing = true } }

  var path: String { base.path }

  func forEachName(_ body: (String) -> Void) throws(SystemError) { try base.forEachName(body) }

  func open(_ name: String, writable: Bool) throws(SystemError) -> any StorageFile {
    let file = try base.open(name, writable: writable)
    guard let slab = SlabName.parse(name) else { return file }
    // A writer continues after a clean end.
    if writable { state.withLock { $0.current = slab } }
    return KillingSlab(file, slab, writable ? .resumed : .read, owner, self, trap)
  }

  func create(_ name: String) throws(SystemError) -> any StorageFile {
    let slab = SlabName.parse(name) ?? 0
    let isOpening = state.withLock { $0.isOpening }
    let call: CrashCall =
      !isOpening ? .createNextSlab : slab == 0 ? .createFirstSlab : .createEpochSlab
    return try trap.around(call) { () throws(SystemError) in
      let file = try base.create(name)
      state.withLock {
        $0.current = slab
        $0.hasMadeSlab = true
        $0.hasUnsyncedName = true
      }
      return KillingSlab(file, slab, .made, owner, self, trap)
    }
  }

  func remove(_ name: String) throws(SystemError) {
    try trap.around(owner == .cleaner ? .removeByCleaner : .removeByWriter) {
      () throws(SystemError) in
      try base.remove(name)
    }
    state.withLock { $0.hasRemoved = true }
  }

  func rename(_ name: String, to new: String) throws(SystemError) {
    try base.rename(name, to: new)
  }
  func identity(of name: String) throws(SystemError) -> FileIdentity? {
    try base.identity(of: name)
  }
  func namesStamp() throws(SystemError) -> NamesStamp? { try base.namesStamp() }
  func syncDirectory() throws(SystemError) {
    let call = state.withLock { state -> CrashCall in
      defer { state.hasUnsyncedName = false }
      switch owner {
      case .cleaner: return state.hasRemoved ? .syncRemoval : .syncNamesByCleaner
      case .consumer: return state.isOpening ? .syncCursorName : .syncNamesUnderCursor
      case .writer where !state.isOpening:
        return state.hasUnsyncedName ? .syncNextName : .syncNamesByWriter
      case .writer where !state.hasMadeSlab: return .syncOldNames
      case .writer: return state.current == 0 ? .syncFirstName : .syncEpochName
      }
    }
    try trap.around(call) { () throws(SystemError) in try base.syncDirectory() }
  }

  func syncParent() throws(SystemError) {
    guard owner == .writer else { return try base.syncParent() }
    try trap.around(.syncParent) { () throws(SystemError) in try base.syncParent() }
  }

  func lock(_ name: String, creating: Bool) throws(SystemError) -> any StorageLock {
    try base.lock(name, creating: creating)
  }

  func watch(_ onChange: @escaping @Sendable () -> Void) throws(SystemError) -> any StorageWatch {
    try base.watch(onChange)
  }

  func lock() throws(SystemError) -> any StorageLock {
    try trap.around(.lockTopic) { () throws(SystemError) in
      KillingLock(try base.lock(), file: nil, .unlockTopic, trap)
    }
  }

  func lockHolder() -> Int32? { base.lockHolder() }

  func consumers(creating: Bool) throws(SystemError) -> any StorageDirectory {
    guard owner == .consumer else { return try base.consumers(creating: creating) }
    let directory = KillingDirectory(try base.consumers(creating: creating), trap)
    if creating { trap.reach(.after, .openConsumers) }
    return directory
  }

  // MARK: Slabs

  fileprivate enum Origin: Sendable {
    case made, resumed, read
  }

  fileprivate func callOfSync(_ slab: UInt64, _ origin: Origin) -> CrashCall {
    state.withLock { state in
      switch origin {
      case .read:
        switch owner {
        case .writer: .syncOldSlab
        case .consumer: .syncDataUnderCursor
        case .cleaner: .syncForProof
        }
      case _ where slab != state.current: .syncLeftSlab
      case .resumed where state.isOpening: .syncOpeningMark
      case .made where state.isOpening: slab == 0 ? .syncFirstSlab : .syncEpochSlab
      case _ where state.hasWrittenClosingMark: .syncClosingMark
      default: .syncRecords
      }
    }
  }

  /// - Parameter isPayload: whether the header of a large record was written just before.
  fileprivate func callOfWrite(
    _ slab: UInt64, _ origin: Origin, _ count: Int, at offset: UInt64, isPayload: Bool
  ) -> CrashCall {
    state.withLock { state in
      if state.isOpening {
        if origin == .resumed { return .writeOpeningMark }
        return slab == 0 ? .writeFirstSlab : .writeEpochSlab
      }
      if offset == 0 { return .writeNextSlab }
      if isPayload { return .writeLargePayload }
      if count == 8 { return .writeLargeHeader }
      guard state.isClosing, count == 48 else { return .writeRecords }
      state.hasWrittenClosingMark = true
      return .writeClosingMark
    }
  }
}

private final class KillingSlab: StorageFile {
  private let base: any StorageFile
  private let slab: UInt64
  private let origin: KillingStorage.Origin
  private let owner: KillingStorage.Owner
  private let storage: KillingStorage
  private let trap: Trap
  private let isPayloadNext = Mutex(false)

  init(
    _ base: any StorageFile, _ slab: UInt64, _ origin: KillingStorage.Origin,
    _ owner: KillingStorage.Owner, _ storage: KillingStorage, _ trap: Trap
  ) {
    self.base = base
    self.slab = slab
    self.origin = origin
    self.owner = owner
    self.storage = storage
    self.trap = trap
  }

  func read(
    into target: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(SystemError) -> Int {
    try base.read(into: target, at: offset)
  }

  func write(_ bytes: RawSpan, at offset: UInt64) throws(SystemError) -> Int {
    let isPayload = isPayloadNext.withLock { $0 }
    let call = storage.callOfWrite(
      slab, origin, bytes.byteCount, at: offset, isPayload: isPayload)
    isPayloadNext.withLock { $0 = call == .writeLargeHeader }
    return try trap.write(bytes, at: offset, to: base, call)
  }

  func sync() throws(SystemError) {
    try trap.around(storage.callOfSync(slab, origin)) { () throws(SystemError) in
      try base.sync()
    }
  }

  func truncate(to count: UInt64) throws(SystemError) { try base.truncate(to: count) }

  func size() throws(SystemError) -> UInt64 { try base.size() }

  func identity() throws(SystemError) -> FileIdentity { try base.identity() }

  func reserve(_ count: UInt64, at offset: UInt64) -> Bool { base.reserve(count, at: offset) }

  func dropCache() {
    base.dropCache()
    if owner == .writer { trap.reach(.after, .dropCache) }
  }
}

extension Trap {
  fileprivate func write(
    _ bytes: RawSpan, at offset: UInt64, to file: any StorageFile, _ call: CrashCall
  ) throws(SystemError) -> Int {
    reach(.before, call)
    if isDue(.halfway, call) {
      _ = try file.write(bytes.extracting(first: bytes.byteCount / 2), at: offset)
      spring()
    }
    let written = try file.write(bytes, at: offset)
    reach(.after, call)
    return written
  }
}

// MARK: - Cursors

private final class KillingLock: StorageLock {
  let file: any StorageFile
  private let base: any StorageLock
  private let call: CrashCall
  private let trap: Trap

  init(_ base: any StorageLock, file: (any StorageFile)?, _ call: CrashCall, _ trap: Trap) {
    self.base = base
    self.file = file ?? base.file
    self.call = call
    self.trap = trap
  }

  func release() {
    base.release()
    trap.reach(.after, call)
  }
}

private final class KillingDirectory: StorageDirectory {
  private let base: any StorageDirectory
  private let trap: Trap

  init(_ base: any StorageDirectory, _ trap: Trap) {
    self.base = base
    self.trap = trap
  }

  var path: String { base.path }

  func forEachName(_ body: (String) -> Void) throws(SystemError) { try base.forEachName(body) }

  func open(_ name: String, writable: Bool) throws(SystemError) -> any StorageFile {
    let file = try base.open(name, writable: writable)
    return writable ? KillingCursor(file, trap) : file
  }

  func create(_ name: String) throws(SystemError) -> any StorageFile {
    let file = KillingCursor(try base.create(name), trap)
    trap.reach(.after, .createCursor)
    return file
  }

  func remove(_ name: String) throws(SystemError) {
    guard CursorName.parse(name) != nil else { return try base.remove(name) }
    try trap.around(.removeCursor) { () throws(SystemError) in try base.remove(name) }
  }

  func rename(_ name: String, to new: String) throws(SystemError) {
    try trap.around(.nameCursor) { () throws(SystemError) in try base.rename(name, to: new) }
  }
  func identity(of name: String) throws(SystemError) -> FileIdentity? {
    try base.identity(of: name)
  }
  func namesStamp() throws(SystemError) -> NamesStamp? { try base.namesStamp() }
  func syncDirectory() throws(SystemError) {
    try trap.around(.syncCursorName) { () throws(SystemError) in try base.syncDirectory() }
  }

  func syncParent() throws(SystemError) { try base.syncParent() }

  func lock(_ name: String, creating: Bool) throws(SystemError) -> any StorageLock {
    let lock = try base.lock(name, creating: creating)
    trap.reach(.after, .lockCursor)
    return KillingLock(lock, file: nil, .unlockCursor, trap)
  }

  func watch(_ onChange: @escaping @Sendable () -> Void) throws(SystemError) -> any StorageWatch {
    try base.watch(onChange)
  }
}

private final class KillingCursor: StorageFile {
  private let base: any StorageFile
  private let trap: Trap
  private let hasWritten = Mutex(false)

  init(_ base: any StorageFile, _ trap: Trap) {
    self.base = base
    self.trap = trap
  }

  func read(
    into target: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(SystemError) -> Int {
    try base.read(into: target, at: offset)
  }

  func write(_ bytes: RawSpan, at offset: UInt64) throws(SystemError) -> Int {
    let isWhole = bytes.byteCount > 4_096
    hasWritten.withLock { $0 = !isWhole }
    return try trap.write(
      bytes, at: offset, to: base, isWhole ? .writeFirstPosition : .writeCursorSlot)
  }

  func sync() throws(SystemError) {
    guard hasWritten.withLock({ $0 }) else { return try base.sync() }
    try trap.around(.syncCursor) { () throws(SystemError) in try base.sync() }
  }

  func truncate(to count: UInt64) throws(SystemError) { try base.truncate(to: count) }

  func size() throws(SystemError) -> UInt64 { try base.size() }

  func identity() throws(SystemError) -> FileIdentity { try base.identity() }

  func reserve(_ count: UInt64, at offset: UInt64) -> Bool { base.reserve(count, at: offset) }

  func dropCache() { base.dropCache() }
}
