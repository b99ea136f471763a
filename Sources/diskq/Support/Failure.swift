// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// What `diskq` leaves with, if no signal ends it.
enum Status {
  static let done: Int32 = 0
  /// Damage or loss was found.
  static let damage: Int32 = 1
  /// It could not be done.
  static let failed: Int32 = 2
  /// Wrong usage; the argument parser leaves with it as well.
  static let usage: Int32 = 64
}

/// Why something could not be done, where it is not the queue that says so.
struct Failure: Error, CustomStringConvertible {
  /// A sentence, and the path it is about.
  let description: String
  /// Whether standard output was closed by who read it: nothing to complain of.
  let isClosedOutput: Bool

  init(_ message: String, path: String? = nil, isClosedOutput: Bool = false) {
    description = path.map { "\(message) [\($0)]" } ?? message
    self.isClosedOutput = isClosedOutput
  }

  /// The system call that just failed.
  static func system(_ doing: String, _ path: String?) -> Failure {
    Failure("\(doing) failed: \(System.lastError())", path: path)
  }

  static let outputClosed = Failure(
    "standard output was closed before all was printed", isClosedOutput: true)
}

extension ParsableCommand {
  /// Leaves with 1: it was done, and something is lost or damaged.
  func leaveDamaged() -> any Error { ExitCode(Status.damage) }
}
