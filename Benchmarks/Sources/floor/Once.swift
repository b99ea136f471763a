// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Harness

// For who counts what a process does, and not its time.

enum Contestant: String, CaseIterable, ExpressibleByArgument {
  case floor
  case library
}

struct WhatToRun: ParsableArguments {
  @Argument(help: "The case.")
  var row: Case

  @Argument(help: "An empty directory, or the one where it was prepared.")
  var directory: String

  @Option(help: "As many of them, or a fortieth as many lookups or syncs.")
  var records: Int

  func validate() throws {
    guard records > 0, records % 800 == 0 else {
      throw ValidationError("--records must be a multiple of 800: of eight threads, and of 100")
    }
  }
}

/// Apart from `Once`, which then only reads.
struct Prepare: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Writes what a case of reading reads, and leaves it there.")

  @OptionGroup var what: WhatToRun

  func run() throws {
    try what.row.prepare(records: what.records, in: Scratch(at: what.directory))
  }
}

struct Once: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Runs one contestant once, and nothing else. Prints nothing.")

  @Argument(help: "Which of the two.")
  var contestant: Contestant

  @OptionGroup var what: WhatToRun

  func run() throws {
    let scratch = Scratch(at: what.directory)
    switch contestant {
    case .floor: _ = try what.row.floor(records: what.records, in: scratch)
    case .library: _ = try what.row.library(records: what.records, in: scratch)
    }
  }
}
