// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The file of programs that once broke a promise: `Fixtures/seeds.txt`.
struct SeedBook {
  let path: String

  static let kept = SeedBook(
    path: URL(filePath: #filePath).appending(path: "../../../../Fixtures/seeds.txt")
      .standardizedFileURL.path)

  /// The programs of a suite, in their order.
  func plans(of suite: String) throws -> [ProgramPlan] {
    try String(contentsOfFile: path, encoding: .utf8)
      .split(separator: "\n").compactMap { try ProgramPlan.parse($0) }
      .filter { $0.suite == suite }
  }

  /// Adds a program to the file, unless it is already there.
  ///
  /// - Returns: the result, in words.
  func add(_ plan: ProgramPlan, _ comment: String) -> String {
    do {
      if try plans(of: plan.suite).contains(plan) { return "it is in \(path) already" }
      let file = try FileHandle(forWritingTo: URL(filePath: path))
      defer { try? file.close() }
      try file.seekToEnd()
      let line = "\(plan) # \(comment.split(separator: "\n").first ?? "")\n"
      try file.write(contentsOf: Data(line.utf8))
      return "it was added to \(path)"
    } catch {
      return "it could not be added to \(path), do so by hand: \(error)"
    }
  }
}
