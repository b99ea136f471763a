// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Tells of changes in directories, made by whatever process: one descriptor and one thread for all
/// watches of this process, since a system gives few (128 inotify instances a user).
///
/// What this process itself writes is told by `changed`, in the call that writes: the way over the
/// kernel wakes this thread first, which costs a waiting task more than all the rest. The kernel
/// tells of the same change once more, which ends in one look too many.
///
/// Both are made with the first watch and kept to the end of the process: the thread sleeps in the
/// kernel, without a timeout, and costs nothing there. To end it with the last watch would need a
/// way to wake it, and a rule for a watch that comes meanwhile.
///
/// No wake-up is lost whatever the kernel's numbers do: a number is looked up at the time of the
/// event, and one that stands for another directory by then, or was taken back (IN_IGNORED) and
/// given out again, wakes somebody who looks once too often. What the kernel says of a number never
/// takes a watch away; only its last reference does.
///
/// A watch is a hint. If the system has none to give (its limits, a sandbox), the watch reports every
/// 250 ms that there may have been a change, and `refusal` says why.
final class DirectoryWatcher: Sendable {
  static let shared = DirectoryWatcher()

  /// How long a change may go unnoticed that the system does not report, in nanoseconds.
  static let pollingInterval: UInt64 = 250_000_000

  private let makeSource: @Sendable () throws(SystemError) -> ChangeSource
  private let later: (@Sendable (@escaping @Sendable () -> Void) -> Void)?
  private let thread = BackgroundThread()

  /// - Parameters:
  ///   - makeSource: the kernel's side.
  ///   - later: runs a job once, after the interval. Nil: on a thread of this watcher's.
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
    /// Who wants to know of a directory, by the source's number for it and an id of their own.
    var watching: [Int32: [UInt64: @Sendable () -> Void]] = [:]
    /// The same, by what the directory is. The numbers of one that is gone may be another's: that
    /// costs one look too many.
    var inDirectory: [FileIdentity: [UInt64: @Sendable () -> Void]] = [:]
    /// Those that the kernel tells nothing, by their ids.
    var polled: [UInt64: @Sendable () -> Void] = [:]
    var isPolling = false
  }
  // Held for the calls that begin and end a watch, so that the numbers are those of the table;
  // never while somebody is told.
  private let state = Mutex(State())
  /// How many watches there are, for who writes to find out cheaply that nobody wants to know.
  // Relaxed: a watch that begins while somebody writes has the kernel to tell it.
  private let count = Atomic<Int>(0)

  /// Calls `onChange` after every change, from now on until the watch goes; a call that is under way
  /// then comes to its end. It is called on this watcher's thread, and on those that say `changed`,
  /// so perhaps on several at once.
  ///
  /// - Parameters:
  ///   - directory: an open descriptor of it, good for the length of the call.
  ///   - path: the way to it where the system cannot go by the descriptor.
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
        // Kept also where the next call fails: its thread runs.
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
      return Watch(self, identity, key, id, refusal)
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

  /// Has those look that the kernel tells nothing, and again after the interval.
  private func poll() {
    for onChange in state.withLock({ Array($0.polled.values) }) { onChange() }
    state.withLock { state in
      state.isPolling = false
      guard !state.polled.isEmpty else { return }
      // The thread is there: this runs on it.
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

  /// The thread.
  private func run(_ queue: Int32) {
    var reader = ChangeReader(queue)
    do throws(SystemError) {
      while true { tell(try reader.next()) }
    } catch {
      // Only of a descriptor that something else in this process has closed, whose number may be
      // another file's now. The next watch begins anew; those there are look once more, and poll
      // from now on.
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

  /// Tells the watches of a directory that something was written or named in it, before it returns.
  ///
  /// For who did that, whatever locks that holds: the calls only take note.
  func changed(in directory: FileIdentity) {
    guard count.load(ordering: .relaxed) > 0 else { return }
    let told = state.withLock { $0.inDirectory[directory].map { Array($0.values) } }
    guard let told else { return }
    for onChange in told { onChange() }
  }

  /// How many watches a directory has.
  func watchCount(of directory: FileIdentity) -> Int {
    state.withLock { $0.inDirectory[directory]?.count ?? 0 }
  }

  func tell(_ changes: DirectoryChanges) {
    let told = state.withLock { state -> [@Sendable () -> Void] in
      var told: [@Sendable () -> Void] = []
      for changed in changes.directories {
        let key = state.source?.directory(of: changed) ?? changed
        guard let watching = state.watching[key] else { continue }
        // First the source, then who looks: what it does not report by now, they will see.
        if key == changed { state.source?.settle(key) }
        told += watching.values
      }
      return changes.areIncomplete ? state.watching.values.flatMap(\.values) : told
    }
    for onChange in told { onChange() }
  }

  private final class Watch: StorageWatch {
    private let watcher: DirectoryWatcher
    private let identity: FileIdentity
    /// Nil: it polls.
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

/// Where something changed, by the source's numbers.
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

    /// By its descriptor, whatever path leads there now; by its path where there is no /proc.
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

    // A watch covers all files of its directory, whatever they are called.
    func directory(of changed: Int32) -> Int32 { changed }
    func settle(_ key: Int32) {}
  }

  /// Waits for events and takes them apart.
  struct ChangeReader {
    private let queue: Int32
    /// Many events at a time; one takes 272 bytes at most.
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
      // Safe: a span of bytes is its bytes.
      return DirectoryChanges(unsafe buffer.span.bytes.extracting(first: max(0, count)))
    }
  }

  extension DirectoryChanges {
    /// Reads what inotify wrote. Nothing about the bytes is taken for granted: where they make no
    /// sense, anything may have changed.
    init(_ bytes: RawSpan) {
      typealias Event = Syscalls.ChangeEvent
      var offset = 0
      while offset < bytes.byteCount {
        guard bytes.byteCount - offset >= Event.byteCount else {
          areIncomplete = true
          return
        }
        let watch = Int32(bitPattern: UInt32(native: bytes.u32(offset + Event.watch)))
        let mask = UInt32(native: bytes.u32(offset + Event.mask))
        let nameByteCount = Int(UInt32(native: bytes.u32(offset + Event.nameByteCount)))
        if mask & Event.overflow != 0 { areIncomplete = true } else { directories.insert(watch) }
        guard nameByteCount <= bytes.byteCount - offset - Event.byteCount else {
          areIncomplete = true
          return
        }
        offset += Event.byteCount + nameByteCount
      }
    }
  }

  extension UInt32 {
    /// What was loaded as little-endian, in the machine's own order.
    fileprivate init(native loaded: UInt32) { self = loaded.littleEndian }
  }
#endif
