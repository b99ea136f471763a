// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The outcome of a run of the built program.
struct Outcome {
  /// The status as a shell shows it. If a signal ended the process, it is 128 and the signal's
  /// number.
  var status: Int32
  var output: [UInt8]
  var errors: String

  var text: String { String(decoding: output, as: UTF8.self) }
  /// The lines of standard output.
  var lines: [String] { lined(text) }
  /// The lines of standard error.
  var errorLines: [String] { lined(errors) }

  private func lined(_ text: String) -> [String] {
    text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
  }
}

extension Process {
  fileprivate var shellStatus: Int32 {
    terminationReason == .exit ? terminationStatus : 128 + terminationStatus
  }
}

/// The program as a user runs it.
enum Diskq {
  /// The built program is next to the test bundle.
  static let path: String = {
    #if os(macOS)
      let bundle = Bundle.allBundles.first { $0.bundlePath.hasSuffix(".xctest") }
      let tests = bundle?.bundleURL ?? Bundle.main.bundleURL
    #else
      let tests = URL(fileURLWithPath: CommandLine.arguments[0])
    #endif
    return tests.deletingLastPathComponent().appendingPathComponent("diskq").path
  }()

  /// Runs the program to its end.
  ///
  /// - Parameter input: the bytes of standard input.
  static func run(_ arguments: [String], input: [UInt8] = []) throws -> Outcome {
    try run(program: path, arguments, input: input)
  }

  static func run(_ arguments: String..., input: String) throws -> Outcome {
    try run(arguments, input: Array(input.utf8))
  }

  static func run(_ arguments: String...) throws -> Outcome { try run(arguments) }

  /// Runs a line of shell, in which `$0` is the program and `$1` … are the arguments.
  static func shell(_ script: String, _ arguments: String...) throws -> Outcome {
    try run(program: "/bin/sh", ["-c", script, path] + arguments, input: [])
  }

  /// Uses files instead of pipes, so the program can write any amount before the output is read.
  private static func run(
    program: String, _ arguments: [String], input: [UInt8]
  ) throws -> Outcome {
    let files = FileManager.default.temporaryDirectory
      .appendingPathComponent("diskq-run-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: files, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: files) }
    let (input_, output, errors) = (
      files.appendingPathComponent("in"), files.appendingPathComponent("out"),
      files.appendingPathComponent("err")
    )
    try Data(input).write(to: input_)
    try Data().write(to: output)
    try Data().write(to: errors)

    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.standardInput = try FileHandle(forReadingFrom: input_)
    process.standardOutput = try FileHandle(forWritingTo: output)
    process.standardError = try FileHandle(forWritingTo: errors)
    try process.run()
    process.waitUntilExit()
    return Outcome(
      status: process.shellStatus,
      output: Array(try Data(contentsOf: output)),
      errors: String(decoding: try Data(contentsOf: errors), as: UTF8.self))
  }
}

/// A run of the program to which a test can write, and from which it can read, while it lasts.
final class RunningDiskq {
  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()
  private let errors = Pipe()
  private var unread: [UInt8] = []
  private var isOutputClosed = false

  convenience init(_ arguments: String...) throws { try self.init(arguments) }

  /// - Parameters:
  ///   - program: the program to run instead of `diskq`.
  ///   - path: a file for standard input.
  init(_ arguments: [String], program: String = Diskq.path, input path: String? = nil) throws {
    for pipe in [input, output, errors] {
      // Processes that other tests start meanwhile must not hold these open.
      for handle in [pipe.fileHandleForReading, pipe.fileHandleForWriting] {
        _ = fcntl(handle.fileDescriptor, F_SETFD, FD_CLOEXEC)
      }
    }
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.standardInput =
      try path.map {
        try FileHandle(forReadingFrom: URL(fileURLWithPath: $0))
      } ?? input
    process.standardOutput = output
    process.standardError = errors
    // If a script runs the tests in the background, these signals are ignored, and a child inherits
    // that.
    for number in [SIGINT, SIGHUP] { signal(number, SIG_DFL) }
    try process.run()
  }

  func write(_ text: String) throws {
    try input.fileHandleForWriting.write(contentsOf: Data(text.utf8))
  }

  /// Waits for a whole line. Returns nil at the end.
  func readLine() throws -> String? {
    while true {
      if let end = unread.firstIndex(of: UInt8(ascii: "\n")) {
        defer { unread.removeFirst(end + 1) }
        return String(decoding: unread[..<end], as: UTF8.self)
      }
      let more = output.fileHandleForReading.availableData
      if more.isEmpty { return nil }
      unread += more
    }
  }

  /// Waits for a whole line of standard error, and returns nil at the end. The outcome does not
  /// contain the line.
  func readErrorLine() throws -> String? {
    var line: [UInt8] = []
    while let byte = try errors.fileHandleForReading.read(upToCount: 1)?.first {
      if byte == UInt8(ascii: "\n") { return String(decoding: line, as: UTF8.self) }
      line.append(byte)
    }
    return nil
  }

  /// Stops reading. If the program then writes to standard output, the pipe has no reader.
  func closeOutput() throws {
    try output.fileHandleForReading.close()
    isOutputClosed = true
  }

  var isRunning: Bool { process.isRunning }

  var processID: Int { Int(process.processIdentifier) }

  func closeInput() throws { try input.fileHandleForWriting.close() }

  func send(_ number: Int32) { kill(process.processIdentifier, number) }

  #if os(Linux)
    /// Sends a signal to the one process that the program has started.
    func sendToChild(_ number: Int32) throws {
      let id = process.processIdentifier
      let children = try String(contentsOfFile: "/proc/\(id)/task/\(id)/children", encoding: .utf8)
      kill(try #require(pid_t(children.split(separator: " ").first ?? "")), number)
    }
  #endif

  /// Waits for the program's end.
  func outcome() throws -> Outcome {
    let more = isOutputClosed ? nil : try output.fileHandleForReading.readToEnd()
    let rest = unread + (more ?? Data())
    let said = try errors.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return Outcome(
      status: process.shellStatus, output: rest,
      errors: String(decoding: said, as: UTF8.self))
  }
}
