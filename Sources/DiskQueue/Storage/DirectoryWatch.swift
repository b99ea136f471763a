// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Reports changes in directories, made by any process. One descriptor and one thread serve all
/// watches of this process, since a system gives few (128 inotify instances a user).
///
/// `changed` reports the writes of this process itself, in the call that writes. The way through
/// the kernel would wake this thread first, which costs a waiting task more than all the rest. The
/// kernel reports the same change once more, which costs one needless look.
///
/// The descriptor and the thread are made with the first watch, and last until the process ends.
/// The thread sleeps in the kernel without a timeout, and costs nothing there. To end it with the
/// last watch would need a way to wake it, and a rule for a watch that begins meanwhile.
///
/// No wake-up is lost, whatever numbers the kernel gives to the watches:
///
/// - A number is looked up at the time of the event. By then it may mean another directory. It may
///   also have been taken back (IN_IGNORED) and given out again. Both cause one needless look.
/// - A report of the kernel about a number never ends a watch. A watch ends only with its last
///   reference.
///
/// A watch is a hint. If the system has none to give (its limits, a sandbox), the watch reports
/// every 250 ms that there may have been a change. `refusal` then says why.
final class DirectoryWatcher: Sendable {
  static let shared = DirectoryWatcher()

  /// How long a change may go unnoticed if the system does not report it, in nanoseconds.
  static let pollingInterval: UInt64 = 250_000_000

  private let makeSource: @Sendable () throws(SystemError) -> ChangeSource
  private let later: (@Sendable (@escaping @Sendable () -> Void) -> Void)?
  private let thread = BackgroundThread()

  /// - Parameters:
  ///   - makeSource: makes the kernel's side.
  ///   - later: runs a job once, after the interval. Nil: a thread of this watcher runs it.
  init(
    makeSource: @escaping @Sendable () throws(SystemError) -> ChangeSource = {
      () throws(SystemError) in try ChangeSource()
    },
    later: (@Sendable (@escaping @Sendable () -> Void) -> Void)? = nil
  ) {
    self.makeSource = makeSource
    self.later = later
  }

  private struct State {
    var source: ChangeSource?
    var lastID: UInt64 = 0
    /// The callbacks for a directory, by the source's number for it and by the id of each watch.
    var watching: [Int32: [UInt64: @Sendable () -> Void]] = [:]
    /// The same callbacks, by the identity of the directory. If a directory is gone, another one
    /// may have its identity. That costs one needless look.
    var inDirectory: [FileIdentity: [UInt64: @Sendable () -> Void]] = [:]
    /// The callbacks of the watches that the kernel does not serve, by their ids.
    var polled: [UInt64: @Sendable () -> Void] = [:]
    var isPolling = false
  }
  // Held during the calls that begin and end a watch, so that the kernel's numbers match the table.
  // Never held while a callback runs.
  private let state = Mutex(State())
  /// How many watches there are. A write reads this to find out cheaply that there are none.
  // Relaxed: if a watch begins during a write, the kernel reports that write to it.
  private let count = Atomic<Int>(0)

  /// Calls `onChange` after every change, from now on until the watch is released. A call that is
  /// running then comes to its end.
  ///
  /// The calls come on this watcher's thread, and on threads that call `changed`. So several may
  /// come at once.
  ///
  /// - Parameters:
  ///   - directory: an open descriptor of it, valid during the call.
  ///   - path: its path, used if the system cannot go by the descriptor.
  func watch(
    _ directory: Int32, path: String, _ onChange: @escaping @Sendable () -> Void
  ) throws(SystemError) -> any StorageWatch {
    try state.withLock { state throws(SystemError) in
      let identity = try Syscalls.identity(of: directory)
      state.lastID += 1
      let id = state.lastID
      var key: Int32?
      var refusal: SystemError?
      do throws(SystemError) {
        // The source stays even if the next call fails: its thread runs.
        if state.source == nil { state.source = try start() }
        let added = try state.source!.add(directory, path: path)
        state.watching[added, default: [:]][id] = onChange
        key = added
      } catch {
        state.polled[id] = onChange
        do throws(SystemError) {
          try startPolling(&state)
        } catch {
          state.polled[id] = nil
          throw error
        }
        refusal = error
      }
      state.inDirectory[identity, default: [:]][id] = onChange
      count.add(1, ordering: .relaxed)
      return DirectoryWatch(self, identity, key, id, refusal)
    }
  }

  // MARK: Polling

  private func startPolling(_ state: inout State) throws(SystemError) {
    guard !state.isPolling else { return }
    if let later {
      later { [self] in poll() }
    } else {
      try thread.submit(after: Self.pollingInterval) { [self] in poll() }
    }
    state.isPolling = true
  }

  /// Calls the watches that the kernel does not serve, and again after the interval.
  private func poll() {
    for onChange in state.withLock({ Array($0.polled.values) }) { onChange() }
    state.withLock { state in
      state.isPolling = false
      guard !state.polled.isEmpty else { return }
      // The thread exists: this code runs on it.
      try? startPolling(&state)
    }
  }

  private func start() throws(SystemError) -> ChangeSource {
    let source = try makeSource()
    do throws(SystemError) {
      try Syscalls.startThread { [self, queue = source.queue] in run(queue) }.detach()
    } catch {
      Syscalls.closeFile(source.queue)
      throw error
    }
    return source
  }

  private func unwatch(_ identity: FileIdentity, _ key: Int32?, _ id: UInt64) {
    let dropped = state.withLock { state in
      var dropped = state.polled.removeValue(forKey: id)
      if let key, let watching = state.watching[key]?.removeValue(forKey: id) {
        dropped = watching
        if state.watching[key]?.isEmpty == true {
          state.watching[key] = nil
          state.source?.remove(key)
        }
      }
      let alike = state.inDirectory[identity]?.removeValue(forKey: id)
      if state.inDirectory[identity]?.isEmpty == true { state.inDirectory[identity] = nil }
      return (dropped, alike)
    }
    count.subtract(1, ordering: .relaxed)
    // Dropped outside the lock: it may hold the last reference to another watch.
    _ = dropped
  }

  /// The body of the thread.
  private func run(_ queue: Int32) {
    var reader = ChangeReader(queue)
    do throws(SystemError) {
      while true { report(try reader.next()) }
    } catch {
      // This fails only if other code in this process has closed the descriptor. Its number may be
      // another file's now. The next watch makes a new source. The existing watches look once more
      // now, and poll from now on.
      let all = state.withLock { state in
        defer { state.watching = [:] }
        state.source = nil
        for watching in state.watching.values { state.polled.merge(watching) { $1 } }
        try? startPolling(&state)
        return state.watching.values.flatMap(\.values)
      }
      for onChange in all { onChange() }
    }
  }

  /// Reports to the watches of a directory that bytes or names in it have changed, before it
  /// returns.
  ///
  /// The code that made the change calls this. It may hold any lock: the callbacks only take note.
  func changed(in directory: FileIdentity) {
    guard count.load(ordering: .relaxed) > 0 else { return }
    let callbacks = state.withLock { $0.inDirectory[directory].map { Array($0.values) } }
    guard let callbacks else { return }
    for onChange in callbacks { onChange() }
  }

  /// How many watches a directory has.
  func watchCount(of directory: FileIdentity) -> Int {
    state.withLock { $0.inDirectory[directory]?.count ?? 0 }
  }

  func report(_ changes: DirectoryChanges) {
    let callbacks = state.withLock { state -> [@Sendable () -> Void] in
      var callbacks: [@Sendable () -> Void] = []
      for changed in changes.directories {
        let key = state.source?.directory(of: changed) ?? changed
        guard let watching = state.watching[key] else { continue }
        // First settle the source, then call the watches. They see any change that the source
        // misses.
        if key == changed { state.source?.settle(key) }
        callbacks += watching.values
      }
      return changes.areIncomplete ? state.watching.values.flatMap(\.values) : callbacks
    }
    for onChange in callbacks { onChange() }
  }

  private final class DirectoryWatch: StorageWatch {
    private let watcher: DirectoryWatcher
    private let identity: FileIdentity
    /// Nil: this watch polls.
    private let key: Int32?
    private let id: UInt64
    let refusal: SystemError?

    init(
      _ watcher: DirectoryWatcher, _ identity: FileIdentity, _ key: Int32?, _ id: UInt64,
      _ refusal: SystemError?
    ) {
      self.watcher = watcher
      self.identity = identity
      self.key = key
      self.id = id
      self.refusal = refusal
    }

    deinit { watcher.unwatch(identity, key, id) }
  }
}

/// The directories that changed, by the source's numbers.
struct DirectoryChanges: Equatable {
  var directories: Set<Int32> = []
  /// Events were dropped, or could not be understood: anything may have changed.
  var areIncomplete = false
}

#if !canImport(Darwin)
  /// The kernel's side of the watches: inotify.
  struct ChangeSource {
    let queue: Int32

    init() throws(SystemError) { queue = try Syscalls.makeChangeQueue() }

    /// Adds a watch by the descriptor, whatever path leads to the directory now. Without /proc, it
    /// goes by the path.
    func add(_ directory: Int32, path: String) throws(SystemError) -> Int32 {
      do throws(SystemError) {
        return try Syscalls.addWatch("/proc/self/fd/\(directory)", to: queue)
      } catch {
        // A relative path may lead elsewhere by now.
        guard [Errno.noEntry, Errno.access, Errno.notDirectory].contains(error.errno),
          path.hasPrefix("/")
        else { throw error }
        return try Syscalls.addWatch(path, to: queue)
      }
    }

    func remove(_ key: Int32) { Syscalls.removeWatch(key, from: queue) }

    // A watch covers all files of its directory, whatever their names.
    func directory(of changed: Int32) -> Int32 { changed }
    func settle(_ key: Int32) {}
  }

  /// Waits for events and decodes them.
  struct ChangeReader {
    private let queue: Int32
    /// Holds many events. One takes 272 bytes at most.
    private var buffer = [UInt8](repeating: 0, count: 16 << 10)

    init(_ queue: Int32) { self.queue = queue }

    mutating func next() throws(SystemError) -> DirectoryChanges {
      let read = unsafe buffer.withUnsafeMutableBytes { target in
        do throws(SystemError) {
          return Result<Int, SystemError>.success(
            unsafe try Syscalls.readChanges(in: queue, into: target))
        } catch {
          return .failure(error)
        }
      }
      let count = min(try read.get(), buffer.count)
      // Safe: the elements of the span are bytes.
      return DirectoryChanges(unsafe buffer.span.bytes.extracting(first: max(0, count)))
    }
  }

  extension DirectoryChanges {
    /// Reads the bytes that inotify wrote, and trusts none of them. If they make no sense, anything
    /// may have changed.
    init(_ bytes: RawSpan) {
      typealias InotifyEvent = Syscalls.ChangeEvent
      var offset = 0
      while offset < bytes.byteCount {
        guard bytes.byteCount - offset >= InotifyEvent.byteCount else {
          areIncomplete = true
          return
        }
        let watch = Int32(bitPattern: UInt32(native: bytes.u32(offset + InotifyEvent.watch)))
        let mask = UInt32(native: bytes.u32(offset + InotifyEvent.mask))
        let nameByteCount = Int(UInt32(native: bytes.u32(offset + InotifyEvent.nameByteCount)))
        if mask & InotifyEvent.overflow != 0 {
          areIncomplete = true
        } else {
          directories.insert(watch)
        }
        guard nameByteCount <= bytes.byteCount - offset - InotifyEvent.byteCount else {
          areIncomplete = true
          return
        }
        offset += InotifyEvent.byteCount + nameByteCount
      }
    }
  }

  extension UInt32 {
    /// Converts a value that was loaded as little-endian to the machine's own order.
    fileprivate init(native loaded: UInt32) { self = loaded.littleEndian }
  }
#endif
