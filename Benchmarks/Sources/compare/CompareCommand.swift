// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Harness

/// Runs every contestant in turn, and prints the table.
@main
struct CompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Measures DiskQueue against the floor and its peers.")

  func run() throws { print(Machine.description(directory: ".")) }
}
