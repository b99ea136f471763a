// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// The exit statuses of `diskq`, if no signal ends it.
enum Status {
  static let done: Int32 = 0
  /// Damage or loss was found.
  static let damage: Int32 = 1
  /// The command failed.
  static let failed: Int32 = 2
  /// Wrong usage. The argument parser ends with this status too.
  static let usage: Int32 = 64
}

/// An error of the command itself. The library's errors are `QueueError`.
struct Failure: Error, CustomStringConvertible {
  /// A sentence, and the path it is about.
  let description: String
  /// Whether the reader of standard output closed it, which is not worth a message.
  let isClosedOutput: Bool

  init(_ message: String, path: String? = nil, isClosedOutput: Bool = false) {
    description = path.map { "\(message) [\($0)]" } ?? message
    self.isClosedOutput = isClosedOutput
  }

  /// The failure of the last system call, from `errno`.
  static func system(_ doing: String, _ path: String?) -> Failure {
    Failure("\(doing) failed: \(System.lastError())", path: path)
  }

  static let outputClosed = Failure(
    "standard output was closed before all was printed", isClosedOutput: true)
}

extension ParsableCommand {
  /// The exit with status 1: the work is done, and something is lost or damaged.
  func leaveDamaged() -> any Error { ExitCode(Status.damage) }
}
