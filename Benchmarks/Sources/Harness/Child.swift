// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A process of another program from the same build folder.
package final class Child {
  private let process: pid_t
  private let output: FileHandle
  private let program: String

  /// Starts the program.
  package init(_ program: String, _ arguments: [String]) throws {
    self.program = program
    let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let path = URL(fileURLWithPath: own).deletingLastPathComponent().path + "/" + program
    guard FileManager.default.isExecutableFile(atPath: path) else {
      throw Failure("\(program) is missing: swift build -c release --product \(program)")
    }
    let pipe = Pipe()
    output = pipe.fileHandleForReading
    let written = pipe.fileHandleForWriting
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, written.fileDescriptor, 1)
    var strings: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
    defer { for string in strings { free(string) } }
    var process = pid_t()
    let error = posix_spawn(&process, path, &actions, nil, &strings, environ)
    try written.close()
    guard error == 0 else { throw Failure("\(program) did not start: errno \(error)") }
    self.process = process
  }

  /// Waits for its first output.
  package func waitForOutput() throws {
    guard !output.availableData.isEmpty else { throw Failure("\(program) ended too early") }
  }

  /// Kills the process, as a crash would.
  package func kill() {
    Foundation.kill(process, SIGKILL)
    var status: Int32 = 0
    waitpid(process, &status, 0)
  }

  /// Waits for its end, and returns its output. Throws if it failed.
  package func wait() throws -> String {
    let said = try output.readToEnd() ?? Data()
    var status: Int32 = 0
    waitpid(process, &status, 0)
    guard status == 0 else { throw Failure("\(program) failed with status \(status)") }
    return String(decoding: said, as: UTF8.self)
  }
}
