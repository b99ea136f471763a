// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Harness

// Commands for a caller that counts the work of a process, not its time.

enum Contestant: String, CaseIterable, ExpressibleByArgument {
  case floor
  case library
}

struct WhatToRun: ParsableArguments {
  @Argument(help: "The case.")
  var row: Case

  @Argument(help: "An empty directory, or the one in which the case was prepared.")
  var directory: String

  @Option(help: "How many records to handle. Lookups and syncs are a fortieth of that.")
  var records: Int

  func validate() throws {
    guard records > 0, records % 800 == 0 else {
      throw ValidationError("--records must be a multiple of 800: of eight threads, and of 100")
    }
  }
}

/// Prepares a case. It is separate from `Once`, so that `Once` only reads.
struct Prepare: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Writes the records for a case that reads, and leaves them there.")

  @OptionGroup var what: WhatToRun

  func run() throws {
    try what.row.prepare(records: what.records, in: Scratch(at: what.directory))
  }
}

struct Once: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Runs one contestant once, and nothing else. Prints nothing.")

  @Argument(help: "Which of the two contestants.")
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
