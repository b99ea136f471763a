// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Only this file and System+….swift import the C library in the command.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// System calls of the command. Each is retried if a signal interrupts it.
enum System {
  static let standardInput: Int32 = 0
  static let standardOutput: Int32 = 1
  static let standardError: Int32 = 2

  /// The kind of the file at a path.
  enum Kind {
    case nothing
    case directory
    case other
  }

  /// Opens /dev/null for each standard descriptor that this process was started without, in a mode
  /// that refuses its use.
  ///
  /// Otherwise the next opened file would get that number, and the output would be written into a
  /// slab.
  static func occupyStandardDescriptors() {
    for descriptor in [standardInput, standardOutput, standardError]
    where fcntl(descriptor, F_GETFD) == -1 {
      // open(2) takes the lowest free number, which is this one.
      _ = open("/dev/null", descriptor == standardInput ? O_WRONLY : O_RDONLY)
    }
  }

  // MARK: Files

  static func openForReading(_ path: String) throws(Failure) -> Int32 {
    #if canImport(Darwin)
      let flags = O_RDONLY | O_CLOEXEC
    #else
      // The open must not wait for a writer of a named pipe: `wait` also waits for a stop.
      let flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK
    #endif
    while true {
      let descriptor = open(path, flags)
      if descriptor >= 0 { return descriptor }
      guard errno == EINTR else { throw .system("opening the file", path) }
    }
  }

  static func closeFile(_ descriptor: Int32) { close(descriptor) }

  /// Throws if a file cannot be read, before any work is done. It does not open the file, because
  /// that might wait, or take bytes out of a pipe.
  static func checkReadable(_ path: String) throws(Failure) {
    guard access(path, R_OK) == 0 else { throw .system("opening the file", path) }
    guard kind(path) != .directory else {
      throw Failure("this is a directory, and no file to take records from", path: path)
    }
  }

  /// The kind of the file at a path, with links followed.
  static func kind(_ path: String) -> Kind {
    var status = stat()
    guard stat(path, &status) == 0 else { return errno == ENOENT ? .nothing : .other }
    return status.st_mode & S_IFMT == S_IFDIR ? .directory : .other
  }

  /// Whether a path leads to a directory, with links followed. False also if nothing can be found
  /// at the path: opening it then reports the reason. If the file system fails, the error code.
  static func isDirectory(_ path: String) -> Result<Bool, FileSystemFailure> {
    var status = stat()
    guard stat(path, &status) != 0 else { return .success(status.st_mode & S_IFMT == S_IFDIR) }
    let code = errno
    let isKnown = [ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG].contains(code)
    return isKnown ? .success(false) : .failure(FileSystemFailure(errno: code))
  }

  struct FileSystemFailure: Error { var errno: Int32 }

  static func isPlainFile(_ descriptor: Int32) -> Bool {
    var status = stat()
    return fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
  }

  /// The size of a plain file. Nil for anything else. The path `-` is standard input.
  static func plainFileBytes(_ path: String) -> UInt64? {
    var status = stat()
    let isKnown = path == "-" ? fstat(standardInput, &status) : stat(path, &status)
    guard isKnown == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    return UInt64(max(0, status.st_size))
  }

  static func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

  static func isEmptyDirectory(_ path: String) throws(Failure) -> Bool {
    var isEmpty = true
    try visitNames(in: path) { _ in
      isEmpty = false
      return false
    }
    return isEmpty
  }

  /// Calls `body` with the names in a directory, until it returns false.
  static func visitNames(in path: String, _ body: (String) -> Bool) throws(Failure) {
    guard let stream = opendir(path) else { throw .system("listing the directory", path) }
    defer { closedir(stream) }
    while true {
      errno = 0
      guard let entry = readdir(stream) else {
        guard errno == 0 else { throw .system("listing the directory", path) }
        return
      }
      let name = withUnsafePointer(to: &entry.pointee.d_name) { name in
        name.withMemoryRebound(
          to: CChar.self, capacity: MemoryLayout.size(ofValue: name.pointee)
        ) { String(cString: $0) }
      }
      if name != ".", name != "..", !body(name) { return }
    }
  }

  /// The path without links, or nil if there is no file at it.
  static func resolved(_ path: String) -> String? {
    guard let text = realpath(path, nil) else { return nil }
    defer { free(text) }
    return String(cString: text)
  }

  // MARK: Bytes

  /// Reads some bytes. Returns 0 at the end, and nil if a signal interrupted the read or if there
  /// is nothing to read yet.
  static func read(
    _ descriptor: Int32, into target: UnsafeMutableRawBufferPointer, name: String
  ) throws(Failure) -> Int? {
    #if canImport(Glibc)
      let count = Glibc.read(descriptor, target.baseAddress, target.count)
    #elseif canImport(Musl)
      let count = Musl.read(descriptor, target.baseAddress, target.count)
    #else
      let count = Darwin.read(descriptor, target.baseAddress, target.count)
    #endif
    if count >= 0 { return count }
    switch errno {
    case EINTR, EAGAIN: return nil
    default: throw .system("reading", name)
    }
  }

  /// Reads one byte from a descriptor that is ready. Returns nil at the end.
  static func readByte(_ descriptor: Int32, name: String) throws(Failure) -> UInt8? {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 1, alignment: 1)
    defer { memory.deallocate() }
    while true {
      guard let count = try read(descriptor, into: memory, name: name) else { continue }
      return count == 0 ? nil : memory[0]
    }
  }

  /// Writes all bytes.
  static func write(
    _ descriptor: Int32, _ bytes: UnsafeRawBufferPointer, name: String
  ) throws(Failure) {
    var bytes = bytes
    while !bytes.isEmpty {
      #if canImport(Glibc)
        let count = Glibc.write(descriptor, bytes.baseAddress, bytes.count)
      #elseif canImport(Musl)
        let count = Musl.write(descriptor, bytes.baseAddress, bytes.count)
      #else
        let count = Darwin.write(descriptor, bytes.baseAddress, bytes.count)
      #endif
      if count >= 0 {
        bytes = UnsafeRawBufferPointer(rebasing: bytes[count...])
        continue
      }
      switch errno {
      case EINTR: continue
      case EAGAIN: _ = wait(for: descriptor, toWrite: true, orFor: nil, milliseconds: -1)
      case EPIPE: throw .outputClosed
      default: throw .system("writing", name)
      }
    }
  }

  /// The index of the first `byte` in `bytes`, or nil if there is none.
  static func firstIndex(of byte: UInt8, in bytes: UnsafeRawBufferPointer) -> Int? {
    guard let start = bytes.baseAddress, let found = memchr(start, Int32(byte), bytes.count) else {
      return nil
    }
    return UnsafeRawPointer(found) - start
  }

  // MARK: Waiting

  struct Readiness {
    var isReady: Bool
    /// Whether the other descriptor has something to read.
    var otherIsReady: Bool
  }

  /// Waits until a descriptor, or another one, is ready. An end or an error also makes it ready.
  ///
  /// - Parameter milliseconds: the longest wait, or -1 for no limit.
  static func wait(
    for descriptor: Int32, toWrite: Bool = false, orFor other: Int32?, milliseconds: Int32
  ) -> Readiness {
    var polled = [
      pollfd(fd: descriptor, events: Int16(toWrite ? POLLOUT : POLLIN), revents: 0),
      // poll(2) ignores a negative descriptor.
      pollfd(fd: other ?? -1, events: Int16(POLLIN), revents: 0),
    ]
    while true {
      let count = poll(&polled, nfds_t(polled.count), milliseconds)
      // If poll(2) failed, report the descriptor as ready: the read then reports the error.
      if count >= 0 || errno != EINTR {
        return Readiness(
          isReady: count < 0 || polled[0].revents != 0, otherIsReady: polled[1].revents != 0)
      }
    }
  }

  /// A condition to wait for.
  enum Wish {
    case readable(Int32)
    /// A pipe or a socket whose reader is gone.
    case closed(Int32)

    fileprivate var polled: pollfd {
      switch self {
      case .readable(let descriptor): pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      case .closed(let descriptor): pollfd(fd: descriptor, events: 0, revents: 0)
      }
    }
  }

  /// Waits until one of several conditions is met. Returns the index of the first that is, or nil
  /// if the time came first.
  static func waitForAny(_ wishes: [Wish], until time: ContinuousClock.Instant) -> Int? {
    var polled = wishes.map(\.polled)
    while true {
      let left = max(.zero, ContinuousClock.now.duration(to: time))
      // Wait in parts, because poll(2) cannot wait longer than 24 days.
      let part = min(left, .seconds(3600))
      let milliseconds = Int32((part / .milliseconds(1)).rounded(.up))
      // Repeat an interrupted or failed call while there is time.
      if poll(&polled, nfds_t(polled.count), milliseconds) > 0 {
        return polled.firstIndex { $0.revents != 0 }
      }
      if left == .zero { return nil }
    }
  }

  /// Waits until the last reader of a pipe or a socket is gone. For any other descriptor, it never
  /// returns.
  static func waitUntilClosed(_ descriptor: Int32) {
    while waitForAny([.closed(descriptor)], until: .now + .seconds(3600)) == nil {}
  }

  static func isClosed(_ descriptor: Int32) -> Bool {
    waitForAny([.closed(descriptor)], until: .now) != nil
  }

  /// How many bytes were written to a pipe and not read yet. Returns nil if it is no pipe, or if
  /// the system does not report the number.
  static func unreadBytes(inPipe descriptor: Int32) -> Int? {
    #if os(Linux)
      var status = stat()
      guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFIFO else { return nil }
      var count: Int32 = 0
      return ioctl(descriptor, UInt(FIONREAD), &count) == 0 ? Int(count) : nil
    #else
      // FIONREAD on the writing end of a pipe is not documented there.
      return nil
    #endif
  }

  static func yield() { sched_yield() }

  // MARK: Signals and the end

  /// Turns two signals of a write into errors: those of a closed pipe, and of a file that grows
  /// beyond `ulimit -f`. Without this, they would end the process.
  ///
  /// Also unblocks the stop signals. A parent may start this process on a thread that blocks them,
  /// as Dispatch's threads do, and the process inherits that.
  static func prepareSignals() {
    signal(SIGPIPE, SIG_IGN)
    signal(SIGXFSZ, SIG_IGN)
    var signals = sigset_t()
    sigemptyset(&signals)
    for number in stopSignals.map(\.0) + [SIGQUIT] { sigaddset(&signals, number) }
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
  }

  /// The signals among `numbers` that this process does not ignore. A script starts its background
  /// jobs with some of them ignored.
  static func signalsNotIgnored(_ numbers: [Int32]) -> sigset_t {
    var signals = sigset_t()
    sigemptyset(&signals)
    for number in numbers {
      var action = sigaction()
      sigaction(number, nil, &action)
      #if canImport(Darwin)
        let handler = action.__sigaction_u.__sa_handler
      #else
        let handler = action.__sigaction_handler.sa_handler
      #endif
      if unsafeBitCast(handler, to: Int.self) != unsafeBitCast(SIG_IGN, to: Int.self) {
        sigaddset(&signals, number)
      }
    }
    return signals
  }

  /// The signals that ask for a stop, and their names.
  fileprivate static let stopSignals = [
    (SIGINT, "SIGINT"), (SIGTERM, "SIGTERM"), (SIGHUP, "SIGHUP"),
  ]

  static func signalName(_ number: Int32) -> String {
    stopSignals.first { $0.0 == number }?.1 ?? "signal \(number)"
  }

  /// Turns the first stop signal into a call of `body`, with its number, on a separate thread. A
  /// signal that comes a second later or more ends the process in the usual way. Call this before
  /// any other thread is started.
  static func catchStopSignals(_ body: @escaping @Sendable (Int32) -> Void) throws(Failure) {
    var signals = signalsNotIgnored(stopSignals.map(\.0))
    pthread_sigmask(SIG_BLOCK, &signals, nil)
    let waiter = Waiter(signals, body)
    try startThread { waiter.run() }
  }

  /// Runs `body` on a new thread.
  static func startThread(_ body: @escaping @Sendable () -> Void) throws(Failure) {
    let context = Unmanaged.passRetained(ThreadBody(body))
    #if canImport(Darwin)
      var thread: pthread_t?
    #else
      var thread = pthread_t()
    #endif
    let code = pthread_create(
      &thread, nil,
      { context in
        #if canImport(Darwin)
          Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().run()
        #else
          if let context { Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().run() }
        #endif
        return nil
      }, context.toOpaque())
    guard code == 0 else {
      context.release()
      throw Failure("starting a thread failed: \(describe(code))")
    }
    // Nothing joins it. Without this, its stack would stay until the process ends.
    #if canImport(Darwin)
      if let thread { pthread_detach(thread) }
    #else
      pthread_detach(thread)
    #endif
  }

  private final class ThreadBody: Sendable {
    let run: @Sendable () -> Void

    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  private final class Waiter: Sendable {
    private let signals: sigset_t
    private let body: @Sendable (Int32) -> Void

    init(_ signals: sigset_t, _ body: @escaping @Sendable (Int32) -> Void) {
      self.signals = signals
      self.body = body
    }

    func run() {
      var signals = signals
      var number: Int32 = 0
      guard sigwait(&signals, &number) == 0 else { return }
      body(number)
      // One request may come as several signals: timeout(1) sends its signal to the process, and
      // also to its group.
      sleep(1)
      var pending = sigset_t()
      while sigpending(&pending) == 0,
        System.stopSignals.contains(where: { sigismember(&pending, $0.0) == 1 })
      {
        guard sigwait(&signals, &number) == 0 else { return }
      }
      // From now on the signals have their usual effect on this thread.
      pthread_sigmask(SIG_UNBLOCK, &signals, nil)
      while true { pause() }
    }
  }

  /// Makes a pipe, and returns its two ends.
  static func makePipe() throws(Failure) -> (reading: Int32, writing: Int32) {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw .system("making a pipe", nil) }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return (ends[0], ends[1])
  }

  static func describe(_ code: Int32) -> String {
    strerror(code).map { String(cString: $0) } ?? "error \(code)"
  }

  static func lastError() -> String { describe(errno) }

  /// The wall clock, in the unit of stamps.
  static func nanosecondsSince1970() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    guard time.tv_sec >= 0 else { return 0 }
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }

  static func leave(_ status: Int32) -> Never { exit(status) }

  /// Ends this process by a signal, so that its parent sees it. A shell then also ends its loop.
  static func end(bySignal number: Int32) -> Never {
    signal(number, SIG_DFL)
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, number)
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    raise(number)
    // The first process of a container survives its own signals. Exit with the status that a shell
    // would show.
    exit(128 + number)
  }

  /// Makes stop signals end this process if it is the first one of a container. Such a process has
  /// no default for signals, so without this it could not be stopped while a verb catches none.
  static func endOnSignalsAsFirstProcess() {
    guard getpid() == 1 else { return }
    for (number, _) in stopSignals {
      var signals = signalsNotIgnored([number])
      guard sigismember(&signals, number) == 1 else { continue }
      signal(number) { _exit(128 + $0) }
    }
  }
}
