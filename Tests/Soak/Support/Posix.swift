// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Besides Syncs.swift, this is the only file of the checks that imports the C library.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

enum Posix {
  static func leave(_ status: Int32) -> Never { exit(status) }

  static func ignoreClosedPipes() { signal(SIGPIPE, SIG_IGN) }

  /// Prints a line on standard output, in one call. The reader has it even if this process is
  /// killed at the next instruction.
  static func say(_ line: String) { write(line + "\n", to: 1) }

  static func complain(_ line: String) { write("soak: " + line + "\n", to: 2) }

  static func write(_ text: String, to descriptor: Int32) {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes { buffer in
        #if canImport(Glibc)
          Glibc.write(descriptor, buffer.baseAddress, buffer.count)
        #elseif canImport(Musl)
          Musl.write(descriptor, buffer.baseAddress, buffer.count)
        #else
          Darwin.write(descriptor, buffer.baseAddress, buffer.count)
        #endif
      }
      if count >= 0 {
        bytes = bytes.dropFirst(count)
      } else if errno != EINTR {
        // The reader has closed its end.
        return
      }
    }
  }

  // MARK: Time

  /// Nanoseconds on a clock that does not jump.
  static func now() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }

  static func sleep(microseconds: Int) {
    var time = timespec(
      tv_sec: microseconds / 1_000_000, tv_nsec: microseconds % 1_000_000 * 1_000)
    var left = timespec()
    while nanosleep(&time, &left) == -1, errno == EINTR { time = left }
  }

  // MARK: Files

  /// The total size of a topic's slabs at one moment. Nil if slabs were made or removed during the
  /// count.
  ///
  /// A slab only grows, and a name never comes back. So if the names are the same before and after,
  /// the sum is at most the total at the end.
  static func slabBytes(_ topic: String) throws(Broken) -> UInt64? {
    let names = try slabNames(topic)
    var sum: UInt64 = 0
    for name in names {
      var status = stat()
      guard stat(topic + "/" + name, &status) == 0 else { return nil }
      sum += UInt64(status.st_size)
    }
    return try slabNames(topic) == names ? sum : nil
  }

  static func slabNames(_ topic: String) throws(Broken) -> [String] {
    guard let names = try names(topic) else { throw Broken("there is no directory \(topic)") }
    return names.filter { $0.hasSuffix(".slab") }
  }

  /// The free bytes of a file system.
  static func freeBytes(_ path: String) throws(Broken) -> UInt64 {
    var status = statvfs()
    guard statvfs(path, &status) == 0 else { throw .system("asking for the room at \(path)") }
    return UInt64(status.f_bavail) * UInt64(status.f_frsize)
  }

  /// All bytes of a file system.
  static func allBytes(_ path: String) throws(Broken) -> UInt64 {
    var status = statvfs()
    guard statvfs(path, &status) == 0 else { throw .system("asking for the room at \(path)") }
    return UInt64(status.f_blocks) * UInt64(status.f_frsize)
  }

  /// Fills the free space of a file system with a file, to the last byte.
  static func fill(_ path: String) throws(Broken) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      // There is no space even for the file's name.
      if errno == ENOSPC { return }
      throw .system("making \(path)")
    }
    defer { close(descriptor) }
    let block = [UInt8](repeating: 0x5A, count: 4096)
    var count = block.count
    while count > 0 {
      #if canImport(Glibc)
        let written = Glibc.write(descriptor, block, count)
      #elseif canImport(Musl)
        let written = Musl.write(descriptor, block, count)
      #else
        let written = Darwin.write(descriptor, block, count)
      #endif
      if written < 0 {
        guard errno == ENOSPC else { throw .system("filling \(path)") }
        count /= 2
      }
    }
  }

  static func remove(_ path: String) { unlink(path) }

  static func makeDirectory(_ path: String) throws(Broken) {
    guard mkdir(path, 0o700) == 0 else { throw .system("making \(path)") }
  }

  /// The names in a directory, sorted. Nil if there is no such directory.
  static func names(_ path: String) throws(Broken) -> [String]? {
    guard let stream = opendir(path) else {
      guard errno == ENOENT else { throw .system("listing \(path)") }
      return nil
    }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { name in
        name.withMemoryRebound(
          to: CChar.self, capacity: MemoryLayout.size(ofValue: name.pointee)
        ) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  /// All bytes of a file.
  static func contents(_ path: String) throws(Broken) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .system("opening \(path)") }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw .system("asking for the size of \(path)") }
    var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeMutableBytes { buffer in
        pread(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done, off_t(done))
      }
      if count == 0 { break }
      guard count > 0 else { throw .system("reading \(path)") }
      done += count
    }
    return Array(bytes[..<done])
  }

  /// Makes a file of these bytes.
  static func makeFile(_ path: String, _ bytes: [UInt8]) throws(Broken) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw .system("making \(path)") }
    defer { close(descriptor) }
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes { buffer in
        pwrite(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done, off_t(done))
      }
      guard count > 0 else { throw .system("writing \(path)") }
      done += count
    }
  }

  /// Removes a directory and everything in it. Does nothing if there is none.
  static func removeTree(_ path: String) throws(Broken) {
    guard let names = try names(path) else { return }
    for name in names {
      let inner = path + "/" + name
      if try isDirectory(inner) {
        try removeTree(inner)
      } else if unlink(inner) != 0 {
        throw .system("removing \(inner)")
      }
    }
    guard rmdir(path) == 0 else { throw .system("removing \(path)") }
  }

  /// Copies a directory and everything in it to a path that does not exist yet.
  static func copyTree(_ path: String, to target: String) throws(Broken) {
    try makeDirectory(target)
    for name in try names(path) ?? [] {
      let (inner, copy) = (path + "/" + name, target + "/" + name)
      if try isDirectory(inner) {
        try copyTree(inner, to: copy)
      } else {
        try makeFile(copy, try contents(inner))
      }
    }
  }

  /// The contents of all files in a directory and below, by their paths from there. A directory has
  /// no contents. Nil if there is no such directory.
  static func tree(_ path: String) throws(Broken) -> [String: [UInt8]]? {
    guard let names = try names(path) else { return nil }
    var tree: [String: [UInt8]] = [:]
    for name in names {
      let inner = path + "/" + name
      if try isDirectory(inner) {
        tree[name] = []
        for (rest, bytes) in try Self.tree(inner) ?? [:] { tree[name + "/" + rest] = bytes }
      } else {
        tree[name] = try contents(inner)
      }
    }
    return tree
  }

  private static func isDirectory(_ path: String) throws(Broken) -> Bool {
    var status = stat()
    guard lstat(path, &status) == 0 else { throw .system("looking at \(path)") }
    return status.st_mode & S_IFMT == S_IFDIR
  }

  // MARK: This process

  /// Ends this process as the kernel would: no instruction after this one runs.
  static func killSelf() -> Never {
    kill(getpid(), SIGKILL)
    // Any thread may take the signal. It does so when the call returns.
    while true { pause() }
  }

  private static let childVariable = "SOAK_CHILD"

  /// The environment entry that marks a process as a child.
  fileprivate static let childEntry = childVariable + "=1"

  /// If this process is a child, ends it once its parent is gone, in whatever way the parent ended.
  /// Then no process holds the other end of standard input.
  static func dieWithParent() throws(Broken) {
    guard getenv(childVariable) != nil else { return }
    Syncs.reportToParent()
    #if canImport(Darwin)
      var thread: pthread_t?
    #else
      var thread = pthread_t()
    #endif
    let code = pthread_create(
      &thread, nil,
      { _ in
        while true {
          // Requests no event. poll(2) reports a hang-up without a request.
          var polled = pollfd(fd: 0, events: 0, revents: 0)
          if poll(&polled, 1, -1) > 0 { _exit(1) }
        }
      }, nil)
    guard code == 0 else { throw Broken("starting a thread failed with error \(code)") }
  }

  /// A pipe whose ends never block. Nil if there are no descriptors left.
  static func makeNonblockingPipe() -> (reading: Int32, writing: Int32)? {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { return nil }
    for end in ends {
      _ = fcntl(end, F_SETFD, FD_CLOEXEC)
      _ = fcntl(end, F_SETFL, O_NONBLOCK)
    }
    return (ends[0], ends[1])
  }

  /// The program that prints the threads of a process. Nil if no script started the check.
  static var threadsProgram: String? { getenv("SOAK_THREADS").map { String(cString: $0) } }

  /// The most memory that this process ever held, in bytes: VmHWM of /proc/self/status.
  static func peakMemory() throws(Broken) -> UInt64 {
    guard let file = fopen("/proc/self/status", "r") else {
      throw .system("opening /proc/self/status")
    }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    while fgets(&line, Int32(line.count), file) != nil {
      let text = String(
        decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
      guard text.hasPrefix("VmHWM:") else { continue }
      let digits = text.filter(\.isNumber)
      if let kibibytes = UInt64(digits) { return kibibytes << 10 }
    }
    throw Broken("/proc/self/status has no VmHWM")
  }
}

extension Broken {
  fileprivate static func system(_ what: String) -> Broken {
    Broken("\(what) failed: \(strerror(errno).map { String(cString: $0) } ?? "error \(errno)")")
  }
}

// MARK: - Lines

/// Lines from a descriptor.
struct LineReader {
  private let descriptor: Int32
  private var bytes: [UInt8] = []
  private var start = 0

  init(_ descriptor: Int32) { self.descriptor = descriptor }

  enum Answer: Equatable {
    case line(String)
    case end
    /// The time has passed.
    case none
  }

  /// The next line. If the other side is gone, the rest after the last newline is no line.
  ///
  /// - Parameter milliseconds: how long to wait for it.
  mutating func next(within milliseconds: Int) throws(Broken) -> Answer {
    let deadline = Posix.now() + UInt64(milliseconds) * 1_000_000
    while true {
      if let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
        defer { start = end + 1 }
        return .line(String(decoding: bytes[start..<end], as: UTF8.self))
      }
      bytes.removeFirst(start)
      start = 0
      let now = Posix.now()
      let left = deadline > now ? (deadline - now + 999_999) / 1_000_000 : 0
      var polled = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      let ready = poll(&polled, 1, Int32(left))
      if ready == 0 { return .none }
      guard ready > 0 else {
        guard errno == EINTR else { throw .system("waiting for a line") }
        continue
      }
      var block = [UInt8](repeating: 0, count: 16_384)
      let count = read(descriptor, &block, block.count)
      if count == 0 { return .end }
      guard count > 0 else {
        guard errno == EINTR else { throw .system("reading a line") }
        continue
      }
      bytes += block[..<count]
    }
  }
}

// MARK: - Children

/// This program again, as a process of its own. Lines go to its input and come from its output. Its
/// error messages go to the standard error of this process. It is killed when the object is
/// released.
final class Child {
  private let identifier: pid_t
  private let input: Int32
  private let output: Int32
  private var lines: LineReader
  private var isReaped = false
  private let isGroup: Bool

  /// Call this from one thread only, because the ends of pipes must not leak into another child.
  ///
  /// - Parameters:
  ///   - program: another program than this one. It gets a process group of its own.
  ///   - output: a file for its output. Then no lines can be read, only their end.
  ///   - errors: a file for its error messages.
  ///   - withInput: whether this process writes to its input. If not, the input is empty.
  init(
    _ arguments: [String], program: String? = nil, output: String? = nil, errors: String? = nil,
    withInput: Bool = true
  ) throws(Broken) {
    let (inputReading, inputWriting) = try Child.makePipe()
    let (outputReading, outputWriting) = try Child.makePipe()
    #if canImport(Darwin)
      var actions: posix_spawn_file_actions_t?
      var attributes: posix_spawnattr_t?
    #else
      var actions = posix_spawn_file_actions_t()
      var attributes = posix_spawnattr_t()
    #endif
    posix_spawn_file_actions_init(&actions)
    posix_spawnattr_init(&attributes)
    if withInput {
      posix_spawn_file_actions_adddup2(&actions, inputReading, 0)
    } else {
      posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    }
    // Even if the output goes to a file, the child holds the pipe, so that its end is seen.
    posix_spawn_file_actions_adddup2(&actions, outputWriting, output == nil ? 1 : 3)
    if let output {
      posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    }
    if let errors {
      posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    }
    isGroup = program != nil
    if !isGroup {
      posix_spawn_file_actions_adddup2(
        &actions, try Syncs.writingEnd(), Syncs.childDescriptor)
    }
    if isGroup { posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP)) }
    var words: [UnsafeMutablePointer<CChar>?] =
      ([program ?? "soak"] + arguments).map { strdup($0) }
    words.append(nil)
    // The paths of programs and of the runtime's libraries, and the reaction to a crash.
    let variables = ["LD_LIBRARY_PATH", "PATH", "SWIFT_BACKTRACE", "SOAK_THREADS"]
    var environment: [UnsafeMutablePointer<CChar>?] = variables.compactMap {
      name in getenv(name).map { strdup(name + "=" + String(cString: $0)) }
    }
    if !isGroup { environment.append(strdup(Posix.childEntry)) }
    environment.append(nil)
    var identifier: pid_t = 0
    let code = posix_spawnp(
      &identifier, program ?? "/proc/self/exe", &actions, &attributes, words, environment)
    for word in words + environment { free(word) }
    posix_spawn_file_actions_destroy(&actions)
    posix_spawnattr_destroy(&attributes)
    close(inputReading)
    close(outputWriting)
    guard code == 0 else {
      throw Broken("starting \(program ?? "a process") failed with error \(code)")
    }
    self.identifier = identifier
    input = inputWriting
    self.output = outputReading
    lines = LineReader(outputReading)
  }

  deinit {
    if !isReaped { killAndWait() }
    close(output)
    close(input)
  }

  private static func makePipe() throws(Broken) -> (Int32, Int32) {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw .system("making a pipe") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return (ends[0], ends[1])
  }

  func send(_ line: String) { Posix.write(line + "\n", to: input) }

  func nextLine(within milliseconds: Int) throws(Broken) -> LineReader.Answer {
    try lines.next(within: milliseconds)
  }

  /// Sends SIGKILL to the child alone, or to its whole group, and waits for its end. Its last lines
  /// can still be read.
  func killAndWait() {
    send(SIGKILL)
    _ = wait()
  }

  /// Sends SIGKILL. Does not wait for the end.
  func kill() { send(SIGKILL) }

  private func send(_ signal: Int32) {
    #if canImport(Glibc)
      _ = Glibc.kill(isGroup ? -identifier : identifier, signal)
    #elseif canImport(Musl)
      _ = Musl.kill(isGroup ? -identifier : identifier, signal)
    #else
      _ = Darwin.kill(isGroup ? -identifier : identifier, signal)
    #endif
  }

  /// The next line of a child that has to answer.
  ///
  /// - Throws: `Broken` with the sentence, if the child ended, or if the time has passed. In the
  ///   second case, its threads were printed on standard error, and it was killed.
  func answer(
    within milliseconds: Int = 30_000, _ sentence: @autoclosure () -> String
  ) throws(Broken) -> String {
    switch try lines.next(within: milliseconds) {
    case .line(let line): return line
    case .end: throw Broken(sentence() + ": it has ended")
    case .none: throw hangs(sentence())
    }
  }

  /// Prints the child's threads on standard error, and kills it. Returns an error with the
  /// sentence.
  func hangs(_ sentence: String) -> Broken {
    if let program = Posix.threadsProgram {
      do {
        let shower = try Child([String(identifier)], program: program)
        while case .line(let line) = try shower.nextLine(within: 120_000) {
          Posix.write(line + "\n", to: 2)
        }
      } catch {
        Posix.complain("its threads are not shown: \(error)")
      }
    } else {
      // The runtime prints them, as SWIFT_BACKTRACE says.
      send(SIGABRT)
    }
    killAndWait()
    return Broken(sentence + ": nothing came in time")
  }

  /// Waits until the child ends by itself.
  ///
  /// - Throws: `Broken` if it did not exit with 0.
  func finish(_ name: String) throws(Broken) {
    let status = wait()
    try check(status == 0, "\(name) ended with wait status \(status)")
  }

  enum Ending: Equatable {
    case exit(Int32)
    case signal(Int32)

    /// SIGKILL.
    static let killed = Ending.signal(9)
  }

  /// Waits until the child ends, in any way.
  func ending() -> Ending {
    let status = wait()
    return status & 0x7F == 0 ? .exit(status >> 8 & 0xFF) : .signal(status & 0x7F)
  }

  private func wait() -> Int32 {
    var status: Int32 = 0
    while waitpid(identifier, &status, 0) == -1, errno == EINTR {}
    isReaped = true
    // Reads the pipe, so that many children do not fill it.
    _ = Syncs.longest
    return status
  }
}
