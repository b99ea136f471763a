// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Only this file, System.swift and the other System+….swift import the C library in the command.

// The C library declares the environment as a variable. This program never changes it.
import Synchronization

#if canImport(Glibc)
  @preconcurrency import Glibc
#elseif canImport(Musl)
  @preconcurrency import Musl
#elseif canImport(Darwin)
  @preconcurrency import Darwin
#endif

extension System {
  /// How a process ended.
  enum Ending: Equatable, CustomStringConvertible {
    case exited(Int32)
    case killed(signal: Int32)

    var description: String {
      switch self {
      case .exited(let status): "exit status \(status)"
      case .killed(let signal): "signal \(signal)"
      }
    }
  }

  /// Runs a shell command, and waits for its end.
  ///
  /// The command has this process's standard output and standard error, and no signal blocked. It
  /// need not read its input. Several threads may run commands at once.
  ///
  /// - Parameters:
  ///   - environment: variables as `NAME=value`, added to those of this process.
  ///   - writeInput: writes the command's standard input to a descriptor.
  static func runShell(
    _ line: String, environment: [String],
    writeInput: (_ descriptor: Int32) throws(Failure) -> Void
  ) throws(Failure) -> Ending {
    let (child, input) = try startShell(line, environment: environment)
    var failure: Failure?
    do throws(Failure) {
      try writeInput(input)
    } catch {
      failure = error
    }
    closeFile(input)
    let ending = try waitForEnd(of: child)
    if let failure { throw failure }
    return ending
  }

  /// Held while a command's pipe is made and the command is started. Otherwise a command that
  /// another thread starts between the two would inherit the pipe, and hold it open.
  private static let starting = Mutex<Void>(())

  /// Starts a shell command. Returns its process, and the writing end of its standard input.
  private static func startShell(
    _ line: String, environment: [String]
  ) throws(Failure) -> (child: pid_t, input: Int32) {
    try starting.withLock { _ throws(Failure) in
      let ends = try makePipe()
      defer { closeFile(ends.reading) }
      do throws(Failure) {
        return (
          try spawnShell(line, input: ends.reading, environment: environment), ends.writing
        )
      } catch {
        closeFile(ends.writing)
        throw error
      }
    }
  }

  private static func waitForEnd(of child: pid_t) throws(Failure) -> Ending {
    var status: Int32 = 0
    while waitpid(child, &status, 0) != child {
      guard errno == EINTR else { throw .system("waiting for the command", nil) }
    }
    // The same as the macros of <sys/wait.h>, which Swift does not import.
    let signal = status & 0x7F
    return signal == 0 ? .exited(status >> 8 & 0xFF) : .killed(signal: signal)
  }

  private static func spawnShell(
    _ line: String, input: Int32, environment: [String]
  ) throws(Failure) -> pid_t {
    #if canImport(Darwin)
      var actions: posix_spawn_file_actions_t?
      var attributes: posix_spawnattr_t?
    #else
      var actions = posix_spawn_file_actions_t()
      var attributes = posix_spawnattr_t()
    #endif
    posix_spawn_file_actions_init(&actions)
    posix_spawnattr_init(&attributes)
    defer {
      posix_spawn_file_actions_destroy(&actions)
      posix_spawnattr_destroy(&attributes)
    }
    // Both ends of the pipe close in the child on exec. This copy stays open.
    posix_spawn_file_actions_adddup2(&actions, input, standardInput)
    // This process blocks the stop signals and ignores SIGPIPE. A shell's child does neither.
    var mask = sigset_t()
    sigemptyset(&mask)
    posix_spawnattr_setsigmask(&attributes, &mask)
    var defaults = sigset_t()
    sigemptyset(&defaults)
    sigaddset(&defaults, SIGPIPE)
    posix_spawnattr_setsigdefault(&attributes, &defaults)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

    let words = ["sh", "-c", line]
    var arguments = words.map { (word: String) in strdup(word) } + [nil]
    let variables = environment.map { (text: String) in strdup(text) }
    defer { for text in arguments + variables { free(text) } }
    var all = variables
    var inherited = environ
    while let variable = inherited.pointee {
      if !variables.contains(where: { hasSameName($0, variable) }) { all.append(variable) }
      inherited += 1
    }
    all.append(nil)
    var child: pid_t = 0
    let code = posix_spawn(&child, "/bin/sh", &actions, &attributes, &arguments, &all)
    guard code == 0 else {
      throw Failure("starting the command failed: \(describe(code))", path: "/bin/sh")
    }
    return child
  }

  /// Whether two texts `NAME=value` have the same name.
  private static func hasSameName(
    _ left: UnsafePointer<CChar>?, _ right: UnsafePointer<CChar>
  ) -> Bool {
    // Not by Swift's characters, which take longer than the start of the process.
    guard let left, let end = strchr(left, Int32(UInt8(ascii: "="))) else { return false }
    return strncmp(left, right, UnsafePointer(end) - left + 1) == 0
  }
}
