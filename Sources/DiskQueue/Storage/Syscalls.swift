// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// The only file that imports the C library. Each call has one function, which retries an
// interrupted call and turns -1 into `SystemError`. The manual page named in each error describes
// the call and its failures.

#if canImport(Glibc)
  @preconcurrency @unsafe internal import Glibc
  internal import CLinux
#elseif canImport(Musl)
  @preconcurrency @unsafe internal import Musl
  internal import CLinux
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Errno values that the engine distinguishes.
package enum Errno {
  package static let noEntry = ENOENT
  package static let io = EIO
  package static let again = EAGAIN
  package static let access = EACCES
  package static let notPermitted = EPERM
  package static let exists = EEXIST
  package static let notDirectory = ENOTDIR
  package static let invalid = EINVAL
  package static let noSpace = ENOSPC
  package static let quota = EDQUOT
  package static let tooManyLinks = ELOOP
  package static let notSupported = ENOTSUP
  package static let readOnly = EROFS
  package static let noMemory = ENOMEM
  package static let cancelled = ECANCELED
  package static let badDescriptor = EBADF
  package static let tooManyFiles = EMFILE
}

enum Syscalls {
  /// Runs a call until it is not interrupted. Turns -1 into an error.
  @inline(__always)
  private static func check<T: SignedInteger>(
    _ call: StaticString, _ body: () -> T
  ) throws(SystemError) -> T {
    while true {
      let result = body()
      guard result == -1 else { return result }
      let code = errno
      guard code == EINTR else { throw SystemError(errno: code, call: call) }
    }
  }

  /// Refuses a path with a zero byte in it: the C library would end the path there.
  private static func checkPath(_ path: String, _ call: StaticString) throws(SystemError) {
    var path = path
    // Safe: reads only the bytes of the string.
    let hasZero = path.withUTF8 { bytes in
      unsafe bytes.baseAddress.map { unsafe memchr($0, 0, bytes.count) != nil } ?? false
    }
    guard !hasZero else { throw SystemError(errno: EINVAL, call: call) }
  }

  // MARK: Descriptors

  /// The lowest number that a descriptor of this library has. The numbers below it are standard
  /// input, output and error, whether they are open or not.
  private static let lowestDescriptor: Int32 = 3

  /// Makes a descriptor, and moves it to 3 or above. Every descriptor that the library holds comes
  /// from here.
  ///
  /// The system gives out the lowest free number. A program that has closed its standard output
  /// gets 1 for the next file, and `print` then writes to that file.
  ///
  /// - Parameter open: a call that returns a new descriptor, or -1.
  private static func makeDescriptor(
    _ call: StaticString, _ open: () -> Int32
  ) throws(SystemError) -> Int32 {
    let made = try check(call, open)
    guard made < lowestDescriptor else { return made }
    defer { close(made) }
    return try check("fcntl(F_DUPFD_CLOEXEC)") { fcntl(made, F_DUPFD_CLOEXEC, lowestDescriptor) }
  }

  static func closeFile(_ descriptor: Int32) { close(descriptor) }

  // MARK: Directories

  static func openDirectory(_ path: String) throws(SystemError) -> Int32 {
    try checkPath(path, "open")
    return try makeDescriptor("open") {
      unsafe open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    }
  }

  /// Like `openDirectory`, for a directory on the way to the topic, which may be a link.
  static func openAncestor(_ path: String) throws(SystemError) -> Int32 {
    try checkPath(path, "open")
    return try makeDescriptor("open") { unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
  }

  /// The directory that holds an open one, whatever path led to it.
  static func openParent(ofDirectory descriptor: Int32) throws(SystemError) -> Int32 {
    try makeDescriptor("openat") {
      unsafe openat(descriptor, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    }
  }

  static func openDirectory(
    inDirectory descriptor: Int32, _ name: String
  ) throws(SystemError) -> Int32 {
    try checkPath(name, "openat")
    return try makeDescriptor("openat") {
      unsafe openat(descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    }
  }

  static func makeDirectory(
    inDirectory descriptor: Int32, _ name: String, permissions: UInt16
  ) throws(SystemError) {
    try checkPath(name, "mkdirat")
    _ = try check("mkdirat") { unsafe mkdirat(descriptor, name, mode_t(permissions)) }
  }

  static func makeDirectory(_ path: String, permissions: UInt16) throws(SystemError) {
    try checkPath(path, "mkdir")
    _ = try check("mkdir") { unsafe mkdir(path, mode_t(permissions)) }
  }

  static func isSymbolicLink(_ path: String) -> Bool {
    var status = stat()
    return unsafe lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
  }

  static func forEachName(
    inDirectory descriptor: Int32, _ body: (String) -> Void
  ) throws(SystemError) {
    // A descriptor of its own: a directory stream owns its descriptor, and its position.
    let own = try makeDescriptor("openat") {
      unsafe openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    }
    guard let stream = unsafe fdopendir(own) else {
      let error = SystemError(errno: errno, call: "fdopendir")
      close(own)
      throw error
    }
    defer { unsafe closedir(stream) }
    while true {
      errno = 0
      guard let entry = unsafe readdir(stream) else {
        guard errno == 0 else { throw SystemError(errno: errno, call: "readdir") }
        return
      }
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { name in
        unsafe name.withMemoryRebound(
          to: CChar.self, capacity: MemoryLayout.size(ofValue: name.pointee)
        ) { unsafe String(cString: $0) }
      }
      if name != ".", name != ".." { body(name) }
    }
  }

  // MARK: Files

  /// Opens a plain file of a directory.
  static func openFile(
    inDirectory descriptor: Int32, _ name: String, writable: Bool
  ) throws(SystemError) -> Int32 {
    try openPlain(inDirectory: descriptor, name, writable ? O_RDWR : O_RDONLY)
  }

  /// Opens a plain file for reading and writing. If it is missing, it is made. `exclusive`: it must
  /// not exist yet.
  static func createFile(
    inDirectory descriptor: Int32, _ name: String, exclusive: Bool, permissions: UInt16
  ) throws(SystemError) -> Int32 {
    try openPlain(
      inDirectory: descriptor, name, O_RDWR | O_CREAT | (exclusive ? O_EXCL : 0),
      permissions: permissions)
  }

  /// Opens a plain file: no link and no pipe. O_NONBLOCK, so that a pipe of that name does not
  /// block.
  private static func openPlain(
    inDirectory descriptor: Int32, _ name: String, _ flags: Int32, permissions: UInt16 = 0
  ) throws(SystemError) -> Int32 {
    try checkPath(name, "openat")
    let file = try makeDescriptor("openat") {
      unsafe openat(
        descriptor, name, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, mode_t(permissions))
    }
    do throws(SystemError) {
      guard try status(file).st_mode & S_IFMT == S_IFREG else {
        throw SystemError(errno: ENOTSUP, call: "openat")
      }
    } catch {
      close(file)
      throw error
    }
    return file
  }

  static func remove(inDirectory descriptor: Int32, _ name: String) throws(SystemError) {
    try checkPath(name, "unlinkat")
    _ = try check("unlinkat") { unsafe unlinkat(descriptor, name, 0) }
  }

  /// Gives a file of a directory another name, which must be free (EEXIST).
  ///
  /// Uses renameat2(2) with RENAME_NOREPLACE, or renameatx_np(2) with RENAME_EXCL. If the system or
  /// the file system has neither, it makes a link under the new name, and then removes the old
  /// name.
  static func renameFile(
    inDirectory descriptor: Int32, _ name: String, to new: String
  ) throws(SystemError) {
    try checkPath(name, "renameat2")
    try checkPath(new, "renameat2")
    do throws(SystemError) {
      _ = try check("renameat2") {
        #if canImport(Darwin)
          unsafe renameatx_np(descriptor, name, descriptor, new, UInt32(RENAME_EXCL))
        #else
          unsafe diskqueue_rename_new(descriptor, name, descriptor, new)
        #endif
      }
    } catch {
      guard [EINVAL, ENOSYS, ENOTSUP].contains(error.errno) else { throw error }
      _ = try check("linkat") { unsafe linkat(descriptor, name, descriptor, new, 0) }
      try remove(inDirectory: descriptor, name)
    }
  }

  static func removeDirectory(inDirectory descriptor: Int32, _ name: String) throws(SystemError) {
    try checkPath(name, "unlinkat")
    _ = try check("unlinkat") { unsafe unlinkat(descriptor, name, AT_REMOVEDIR) }
  }

  static func removeDirectory(_ path: String) throws(SystemError) {
    try checkPath(path, "rmdir")
    _ = try check("rmdir") { unsafe rmdir(path) }
  }

  /// Gives a directory a new name. An empty directory of that name is replaced.
  static func move(_ old: String, to new: String) throws(SystemError) {
    try checkPath(old, "rename")
    try checkPath(new, "rename")
    _ = try check("rename") { unsafe rename(old, new) }
  }

  /// Exchanges two names in one step: renameat2(2) with RENAME_EXCHANGE, or renamex_np(2) with
  /// RENAME_SWAP.
  ///
  /// - Returns: false if the system or the file system cannot. Then nothing was changed.
  static func exchange(_ one: String, _ other: String) throws(SystemError) -> Bool {
    try checkPath(one, "renameat2")
    try checkPath(other, "renameat2")
    do throws(SystemError) {
      _ = try check("renameat2") {
        #if canImport(Darwin)
          unsafe renamex_np(one, other, UInt32(RENAME_SWAP))
        #else
          unsafe diskqueue_rename_exchange(one, other)
        #endif
      }
      return true
    } catch  where [EINVAL, ENOSYS, ENOTSUP].contains(error.errno) {
      return false
    }
  }

  private static func status(_ descriptor: Int32) throws(SystemError) -> stat {
    var status = stat()
    _ = try check("fstat") { unsafe fstat(descriptor, &status) }
    return status
  }

  /// When the content or the attributes of an open file or directory were last changed.
  static func changeTime(of descriptor: Int32) throws(SystemError) -> FileTime {
    let status = try status(descriptor)
    #if canImport(Darwin)
      let time = status.st_ctimespec
    #else
      let time = status.st_ctim
    #endif
    return FileTime(seconds: Int64(time.tv_sec), nanoseconds: UInt64(time.tv_nsec))
  }

  /// Identifies the file or directory that an open descriptor leads to.
  static func identity(of descriptor: Int32) throws(SystemError) -> FileIdentity {
    FileIdentity(try status(descriptor))
  }

  /// The file that a name of a directory leads to. Nil if there is no such name.
  static func identity(
    inDirectory descriptor: Int32, _ name: String
  ) throws(SystemError) -> FileIdentity? {
    try checkPath(name, "fstatat")
    var named = stat()
    do throws(SystemError) {
      _ = try check("fstatat") {
        // Not through the bridge that makes an array of the name: each sync calls this.
        unsafe name.withCString { unsafe fstatat(descriptor, $0, &named, AT_SYMLINK_NOFOLLOW) }
      }
    } catch {
      guard error.errno == ENOENT else { throw error }
      return nil
    }
    return FileIdentity(named)
  }

  // MARK: Owners and permissions

  /// The owner of a file or a directory, and its permission bits.
  struct Ownership: Equatable {
    var user: UInt32
    var group: UInt32
    var permissions: UInt16

    fileprivate init(_ status: stat) {
      user = status.st_uid
      group = status.st_gid
      permissions = UInt16(truncatingIfNeeded: status.st_mode & 0o777)
    }
  }

  static func ownership(of descriptor: Int32) throws(SystemError) -> Ownership {
    Ownership(try status(descriptor))
  }

  /// The ownership of the file that a path leads to from a directory, links followed. Nil if there
  /// is none.
  static func ownership(
    inDirectory descriptor: Int32, _ path: String
  ) throws(SystemError) -> Ownership? {
    try checkPath(path, "fstatat")
    var named = stat()
    do throws(SystemError) {
      _ = try check("fstatat") { unsafe fstatat(descriptor, path, &named, 0) }
    } catch {
      guard error.errno == ENOENT else { throw error }
      return nil
    }
    return Ownership(named)
  }

  /// The user and the group that own the files made by this process.
  static var user: UInt32 { geteuid() }
  static var group: UInt32 { getegid() }

  static func setOwner(
    _ descriptor: Int32, user: UInt32, group: UInt32
  ) throws(SystemError) {
    _ = try check("fchown") { fchown(descriptor, user, group) }
  }

  /// Sets the permission bits, whatever the umask.
  static func setPermissions(_ descriptor: Int32, _ bits: UInt16) throws(SystemError) {
    _ = try check("fchmod") { fchmod(descriptor, mode_t(bits)) }
  }

  /// Makes a file without a name in a directory. `giveName` gives it one. ENOTSUP: the system or
  /// the file system has no such files.
  static func makeUnnamedFile(
    inDirectory descriptor: Int32, permissions: UInt16
  ) throws(SystemError) -> Int32 {
    #if canImport(Darwin)
      throw SystemError(errno: ENOTSUP, call: "openat")
    #else
      do throws(SystemError) {
        return try makeDescriptor("openat") {
          unsafe openat(
            descriptor, ".", O_RDWR | O_CLOEXEC | DISKQUEUE_O_TMPFILE, mode_t(permissions))
        }
      } catch {
        // Given by kernels and file systems that do not know the flag.
        let isUnknown = [EISDIR, EINVAL, ENOENT].contains(error.errno)
        throw isUnknown ? SystemError(errno: ENOTSUP, call: error.call) : error
      }
    #endif
  }

  /// Gives a file without a name a name that must be free (EEXIST). ENOENT if there is no /proc.
  static func giveName(
    _ file: Int32, inDirectory descriptor: Int32, _ name: String
  ) throws(SystemError) {
    try checkPath(name, "linkat")
    _ = try check("linkat") {
      unsafe linkat(AT_FDCWD, "/proc/self/fd/\(file)", descriptor, name, AT_SYMLINK_FOLLOW)
    }
  }

  static func size(_ descriptor: Int32) throws(SystemError) -> UInt64 {
    UInt64(max(0, try status(descriptor).st_size))
  }

  static func read(
    _ descriptor: Int32, into target: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(SystemError) -> Int {
    guard let offset = off_t(exactly: offset) else { return 0 }
    var done = 0
    while done < target.count {
      let count = try check("pread") {
        unsafe pread(
          descriptor, target.baseAddress.map { unsafe $0 + done }, target.count - done,
          offset + off_t(done))
      }
      if count == 0 { break }
      done += count
    }
    return done
  }

  /// Reads the bytes that the system has in its cache. EAGAIN: none. ENOTSUP: the file system
  /// cannot report which.
  static func readWithoutWaiting(
    _ descriptor: Int32, into target: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(SystemError) -> Int {
    #if canImport(Glibc)
      guard let offset = off_t(exactly: offset) else { return 0 }
      var part = unsafe iovec(iov_base: target.baseAddress, iov_len: target.count)
      return try check("preadv2") {
        unsafe preadv2(descriptor, &part, 1, offset, DISKQUEUE_RWF_NOWAIT)
      }
    #else
      throw SystemError(errno: Errno.notSupported, call: "preadv2")
    #endif
  }

  static func write(
    _ descriptor: Int32, _ bytes: RawSpan, at offset: UInt64
  ) throws(SystemError) -> Int {
    guard let offset = off_t(exactly: offset) else {
      throw SystemError(errno: EFBIG, call: "pwrite")
    }
    let count = try check("pwrite") {
      unsafe bytes.withUnsafeBytes {
        unsafe pwrite(descriptor, $0.baseAddress, $0.count, offset)
      }
    }
    // POSIX allows 0 for a file that can take nothing. A retry would be repeated for ever.
    guard count > 0 else { throw SystemError(errno: EIO, call: "pwrite") }
    return count
  }

  static func syncData(_ descriptor: Int32) throws(SystemError) {
    #if canImport(Darwin)
      // fsync(2) on Darwin stops at the drive's own cache.
      _ = try check("fcntl(F_FULLFSYNC)") { fcntl(descriptor, F_FULLFSYNC) }
    #else
      _ = try check("fdatasync") { fdatasync(descriptor) }
    #endif
  }

  static func syncEverything(_ descriptor: Int32) throws(SystemError) {
    #if canImport(Darwin)
      _ = try check("fcntl(F_FULLFSYNC)") { fcntl(descriptor, F_FULLFSYNC) }
    #else
      _ = try check("fsync") { fsync(descriptor) }
    #endif
  }

  static func dropCache(_ descriptor: Int32) {
    #if !canImport(Darwin)
      // Only advice: a system that does not take it serves cached bytes, as it would without it.
      _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED)
    #endif
  }

  // MARK: Locks

  /// Acquires a write lock on the whole file, or fails with EAGAIN. It belongs to the open file
  /// description: a second open in the same process is refused as well.
  static func lock(_ descriptor: Int32) throws(SystemError) {
    #if canImport(Darwin)
      _ = try check("flock") { flock(descriptor, LOCK_EX | LOCK_NB) }
    #else
      do throws(SystemError) {
        try setLock(descriptor, Int16(F_WRLCK))
      } catch {
        // POSIX allows a system to use either code.
        throw error.errno == EACCES ? SystemError(errno: EAGAIN, call: error.call) : error
      }
    #endif
  }

  /// Releases the lock, before the descriptor is closed.
  static func unlock(_ descriptor: Int32) {
    #if canImport(Darwin)
      _ = flock(descriptor, LOCK_UN)
    #else
      // Releasing a held lock does not fail.
      try? setLock(descriptor, Int16(F_UNLCK))
    #endif
  }

  /// The kind of lock that keeps a file's write lock from this process.
  enum BlockingLock { case none, read, write }

  /// Asks the system which lock on a file keeps its write lock from this process. Acquires nothing.
  /// Nil if the system cannot report it.
  static func blockingLock(on descriptor: Int32) -> BlockingLock? {
    #if canImport(Darwin)
      // Reports the locks of flock(2), too.
      let command = F_GETLK
    #else
      let command = DISKQUEUE_F_OFD_GETLK
    #endif
    var request = flock()
    request.l_type = Int16(F_WRLCK)
    request.l_whence = Int16(SEEK_SET)
    guard unsafe fcntl(descriptor, command, &request) == 0 else { return nil }
    return switch Int32(request.l_type) {
    case Int32(F_UNLCK): BlockingLock.none
    case Int32(F_RDLCK): .read
    default: .write
    }
  }

  #if !canImport(Darwin)
    private static func setLock(_ descriptor: Int32, _ type: Int16) throws(SystemError) {
      var request = flock()
      request.l_type = type
      request.l_whence = Int16(SEEK_SET)
      _ = try check("fcntl(F_OFD_SETLK)") {
        unsafe fcntl(descriptor, DISKQUEUE_F_OFD_SETLK, &request)
      }
    }
  #endif

  static func truncate(_ descriptor: Int32, to count: UInt64) throws(SystemError) {
    guard let count = off_t(exactly: count) else {
      throw SystemError(errno: EFBIG, call: "ftruncate")
    }
    _ = try check("ftruncate") { ftruncate(descriptor, count) }
  }

  /// fallocate(2) with FALLOC_FL_KEEP_SIZE. It does nothing if the file system has no such call, is
  /// full, or is in memory, which has no blocks to preallocate.
  static func reserve(_ descriptor: Int32, _ count: UInt64, at offset: UInt64) -> Bool {
    #if os(Linux)
      guard let count = Int(exactly: count), let offset = Int(exactly: offset),
        !isInMemory(descriptor)
      else { return false }
      if fallocate(descriptor, DISKQUEUE_FALLOC_FL_KEEP_SIZE, offset, count) == 0 { return true }
      // Blocks that were preallocated before the disk was full would stay, and others need them.
      // Give them back.
      var status = stat()
      if errno == ENOSPC, unsafe fstat(descriptor, &status) == 0 {
        _ = ftruncate(descriptor, status.st_size)
      }
      return false
    #else
      return false
    #endif
  }

  #if os(Linux)
    /// Whether a file is on tmpfs, by the magic number of statfs(2).
    private static func isInMemory(_ descriptor: Int32) -> Bool {
      var system = statfs()
      return unsafe fstatfs(descriptor, &system) == 0 && system.f_type == 0x0102_1994
    }
  #endif

  // MARK: Changes of directories

  #if canImport(Darwin)
    /// kqueue(2). Close-on-exec: no child inherits it.
    static func makeChangeQueue() throws(SystemError) -> Int32 {
      try makeDescriptor("kqueue") { kqueue() }
    }

    /// Opens a name of a directory only for its events. That does not stop a volume from being
    /// ejected.
    static func openForEvents(
      inDirectory descriptor: Int32, _ name: String
    ) throws(SystemError) -> Int32 {
      try checkPath(name, "openat")
      return try makeDescriptor("openat") {
        unsafe openat(descriptor, name, O_EVTONLY | O_NOFOLLOW | O_CLOEXEC)
      }
    }

    /// Reports writes to an open file, or names made and removed in an open directory, until it is
    /// closed.
    static func watch(_ descriptor: Int32, in queue: Int32) throws(SystemError) {
      let events = NOTE_WRITE | NOTE_EXTEND | NOTE_DELETE | NOTE_RENAME | NOTE_REVOKE
      var change = unsafe kevent(
        ident: UInt(descriptor), filter: Int16(EVFILT_VNODE), flags: UInt16(EV_ADD | EV_CLEAR),
        fflags: UInt32(events), data: 0, udata: nil)
      _ = try check("kevent") { unsafe kevent(queue, &change, 1, nil, 0, nil) }
    }

    /// Waits for the next event, and returns the descriptor that it is about.
    static func nextChange(in queue: Int32) throws(SystemError) -> Int32 {
      var event = unsafe kevent(ident: 0, filter: 0, flags: 0, fflags: 0, data: 0, udata: nil)
      _ = try check("kevent") { unsafe kevent(queue, nil, 0, &event, 1, nil) }
      return unsafe Int32(truncatingIfNeeded: event.ident)
    }
  #else
    /// inotify(7).
    static func makeChangeQueue() throws(SystemError) -> Int32 {
      try makeDescriptor("inotify_init1") { inotify_init1(Int32(IN_CLOEXEC)) }
    }

    /// Reports writes to the files of a directory, and names made, removed and renamed in it. The
    /// same directory gives the same number for as long as it is watched.
    static func addWatch(_ path: String, to queue: Int32) throws(SystemError) -> Int32 {
      try checkPath(path, "inotify_add_watch")
      let events =
        IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE_SELF
        | IN_MOVE_SELF | IN_ONLYDIR
      return try check("inotify_add_watch") {
        unsafe inotify_add_watch(queue, path, UInt32(events))
      }
    }

    /// Fails only if the directory is gone, and the watch with it.
    static func removeWatch(_ watch: Int32, from queue: Int32) {
      _ = inotify_rm_watch(queue, watch)
    }

    /// Waits for events, and returns how many bytes they have.
    static func readChanges(
      in queue: Int32, into target: UnsafeMutableRawBufferPointer
    ) throws(SystemError) -> Int {
      try check("read") {
        #if canImport(Musl)
          unsafe Musl.read(queue, target.baseAddress, target.count)
        #else
          unsafe Glibc.read(queue, target.baseAddress, target.count)
        #endif
      }
    }

    /// The layout of a `struct inotify_event`: an i32, three u32, and as many bytes of name as the
    /// last u32 says. All are in the machine's byte order.
    enum ChangeEvent {
      static let watch = 0
      static let mask = 4
      static let nameByteCount = 12
      static let byteCount = 16
      /// In the mask: events were dropped.
      static let overflow = UInt32(IN_Q_OVERFLOW)
    }
  #endif

  // MARK: Clock, process, threads

  /// The working directory's path. Nil if it was removed.
  static func workingDirectory() -> String? {
    guard let path = unsafe getcwd(nil, 0) else { return nil }
    defer { unsafe free(path) }
    return unsafe String(cString: path)
  }

  static var processID: Int32 { getpid() }

  /// Whether a process of this id exists, as far as this process can see others.
  static func isRunning(_ process: Int32) -> Bool {
    process > 0 && (kill(process, 0) == 0 || errno == EPERM)
  }

  static func wallClock() -> UInt64 { read(CLOCK_REALTIME) }

  static func monotonicClock() -> UInt64 { read(CLOCK_MONOTONIC) }

  private static func read(_ clock: clockid_t) -> UInt64 {
    var time = timespec()
    unsafe clock_gettime(clock, &time)
    return nanoseconds(seconds: Int64(time.tv_sec), and: Int64(time.tv_nsec))
  }

  /// Stamps only order, so times are clamped. A clock before 1970 reads as 1970. One past the year
  /// 2554 reads as the last nanosecond that 64 bits hold.
  static func nanoseconds(seconds: Int64, and rest: Int64) -> UInt64 {
    let (whole, overflow) = UInt64(max(0, seconds))
      .multipliedReportingOverflow(by: 1_000_000_000)
    return overflow ? .max : whole.addingSaturating(UInt64(max(0, rest)))
  }

  /// Yields `times` times to other threads. A yield takes a third of a microsecond if there are
  /// none.
  ///
  /// It is for a thread that polls because its wait is shorter than a sleep and a wake-up. To look
  /// more often would slow down the threads that it waits for: each look takes the cache line from
  /// them.
  static func yield(times: Int = 8) {
    for _ in 0..<times { sched_yield() }
  }

  static func describe(_ code: Int32) -> String {
    unsafe strerror(code).map { unsafe String(cString: $0) } ?? "error \(code)"
  }

  /// Starts a thread that runs `body` once.
  static func startThread(_ body: @escaping @Sendable () -> Void) throws(SystemError) -> Thread {
    let context = unsafe Unmanaged.passRetained(ThreadBody(body))
    #if canImport(Darwin)
      var thread: pthread_t?
    #else
      var thread = pthread_t()
    #endif
    let code = unsafe pthread_create(
      &thread, nil,
      { context in
        #if canImport(Darwin)
          let body = unsafe Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue()
        #else
          guard let context = unsafe context else { return nil }
          let body = unsafe Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue()
        #endif
        body.run()
        return nil
      }, context.toOpaque())
    guard code == 0 else {
      unsafe context.release()
      throw SystemError(errno: code, call: "pthread_create")
    }
    #if canImport(Darwin)
      guard let thread = unsafe thread else {
        throw SystemError(errno: EAGAIN, call: "pthread_create")
      }
    #endif
    return Thread(handle: thread)
  }

  /// A thread that must be joined once.
  @safe
  struct Thread: @unchecked Sendable {
    fileprivate let handle: pthread_t

    func join() { _ = pthread_join(handle, nil) }

    /// Lets the thread end on its own. Call it instead of `join` if the thread would have to wait
    /// for itself.
    func detach() { _ = pthread_detach(handle) }

    var isCurrent: Bool { pthread_equal(handle, pthread_self()) != 0 }
  }

  private final class ThreadBody: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  /// A lock with a condition, for threads that wait.
  @safe
  final class Monitor: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    init() {
      unsafe pthread_mutex_init(mutex, nil)
      #if canImport(Darwin)
        unsafe pthread_cond_init(condition, nil)
      #else
        // Waits are measured on the clock that is never set.
        var attributes = pthread_condattr_t()
        unsafe pthread_condattr_init(&attributes)
        unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        unsafe pthread_cond_init(condition, &attributes)
        unsafe pthread_condattr_destroy(&attributes)
      #endif
    }

    deinit {
      unsafe pthread_cond_destroy(condition)
      unsafe pthread_mutex_destroy(mutex)
      unsafe condition.deallocate()
      unsafe mutex.deallocate()
    }

    func withLock<R>(_ body: () -> R) -> R {
      unsafe pthread_mutex_lock(mutex)
      defer { unsafe pthread_mutex_unlock(mutex) }
      return body()
    }

    /// Waits to be woken. Call it only inside `withLock`, in a loop that checks the condition.
    func wait() { unsafe pthread_cond_wait(condition, mutex) }

    /// Like `wait`, but not beyond a moment of the monotonic clock, in nanoseconds.
    func wait(until deadline: UInt64) {
      #if canImport(Darwin)
        let now = Syscalls.monotonicClock()
        let left = deadline > now ? deadline - now : 0
        var time = timespec()
        time.tv_sec = Int(clamping: left / 1_000_000_000)
        time.tv_nsec = Int(left % 1_000_000_000)
        _ = unsafe pthread_cond_timedwait_relative_np(condition, mutex, &time)
      #else
        var time = timespec()
        time.tv_sec = Int(clamping: deadline / 1_000_000_000)
        time.tv_nsec = Int(deadline % 1_000_000_000)
        _ = unsafe pthread_cond_timedwait(condition, mutex, &time)
      #endif
    }

    func wakeAll() { unsafe pthread_cond_broadcast(condition) }
  }
}

extension FileIdentity {
  fileprivate init(_ status: stat) {
    self.init(
      device: UInt64(truncatingIfNeeded: status.st_dev),
      node: UInt64(truncatingIfNeeded: status.st_ino))
  }
}
