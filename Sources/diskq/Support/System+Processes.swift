// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// With System.swift and the other System+….swift, the only files of the command that import the C
// library.

// The environment is a variable there: nothing of this program changes it.
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
      case .killed(let signal): "ended by signal \(signal)"
      }
    }
  }

  /// Runs a line of shell with bytes on its standard input, and waits for its end.
  ///
  /// It has this process's standard output and standard error, and no signal blocked. That it does
  /// not read its input is its own affair.
  ///
  /// - Parameter environment: what comes to this process's, as `NAME=value`.
  static func runShell(
    _ line: String, input: [UInt8], environment: [String]
  ) throws(Failure) -> Ending {
    let ends = try makePipe()
    let child: pid_t
    do throws(Failure) {
      child = try spawnShell(line, input: ends.reading, environment: environment)
    } catch {
      closeFile(ends.reading)
      closeFile(ends.writing)
      throw error
    }
    closeFile(ends.reading)
    var failure: Failure?
    input.withUnsafeBytes { bytes in
      do throws(Failure) {
        try write(ends.writing, bytes, name: "the command's standard input")
      } catch {
        if !error.isClosedOutput { failure = error }
      }
    }
    closeFile(ends.writing)
    let ending = try waitForEnd(of: child)
    if let failure { throw failure }
    return ending
  }

  private static func waitForEnd(of child: pid_t) throws(Failure) -> Ending {
    var status: Int32 = 0
    while waitpid(child, &status, 0) != child {
      guard errno == EINTR else { throw .system("waiting for the command", nil) }
    }
    // As the macros of <sys/wait.h>, which Swift does not show.
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
    // Both ends are closed in the child by themselves; its copy is not.
    posix_spawn_file_actions_adddup2(&actions, input, standardInput)
    // This process blocks the stop signals and ignores closed pipes: no shell's child does.
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
      if !environment.contains(where: { hasSameName($0, String(cString: variable)) }) {
        all.append(variable)
      }
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

  /// Whether two texts `NAME=value` are of the same name.
  private static func hasSameName(_ left: String, _ right: String) -> Bool {
    left.prefix { $0 != "=" } == right.prefix { $0 != "=" }
  }
}
