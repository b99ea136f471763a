// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Harness

@main
struct FloorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "floor",
    abstract: "Measures DiskQueue against the least that any queue must do.",
    subcommands: [Measure.self, Prepare.self, Once.self],
    defaultSubcommand: Measure.self)
}

/// Runs both contestants in turn, several times, and prints the time of DiskQueue divided by that
/// of the floor.
struct Measure: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Times both contestants. This is the default command.")

  @Argument(help: "The directory to write in. (default: the system's temporary directory)")
  var directory: String?

  @Option(help: "How many records a case has.")
  var records = 2_000_000

  @Option(help: "How many times each contestant runs. The medians are shown.")
  var repeats = 9

  @Option(help: "Measure only these cases.")
  var only: [Case] = []

  @Flag(help: "Exit with 1 if a ratio is above its bound.")
  var check = false

  func validate() throws {
    guard records > 0, records % 800 == 0 else {
      throw ValidationError("--records must be a multiple of 800: of eight threads, and of 100")
    }
    guard repeats > 0 else { throw ValidationError("--repeats must be above 0") }
  }

  func run() throws {
    let scratch = try Scratch(in: directory)
    defer { scratch.remove() }
    print(Machine.description(directory: scratch.path))
    print("\(records) records a case, \(repeats) repeats, medians\n")
    print("| case | floor, ns | DiskQueue, ns | ratio | min ... max | bound |")
    print("|---|--:|--:|--:|--:|--:|")
    var passed: [String] = []
    for row in only.isEmpty ? Case.timed : only {
      let result = try measure(row, in: scratch)
      print(result.line)
      if let bound = row.bound, result.ratio > bound { passed.append(row.title) }
    }
    if check, !passed.isEmpty {
      print("\nAbove the bound: \(passed.joined(separator: "; "))")
      throw ExitCode(1)
    }
  }

  private func measure(_ row: Case, in scratch: Scratch) throws -> Result {
    try row.prepare(records: records, in: scratch)
    let steps = Double(row.steps(records: records))
    var floors: [Double] = []
    var libraries: [Double] = []
    // The first round warms caches and allocators, and is not counted.
    for round in 0...repeats {
      let floor = try row.floor(records: records, in: scratch)
      let library = try row.library(records: records, in: scratch)
      guard round > 0 else { continue }
      floors.append(floor * 1e9 / steps)
      libraries.append(library * 1e9 / steps)
    }
    _ = try scratch.fresh("floor")
    _ = try scratch.fresh("diskqueue")
    return Result(row: row, floors: floors, libraries: libraries)
  }

  private struct Result {
    var row: Case
    var floors: [Double]
    var libraries: [Double]

    private var ratios: [Double] { zip(libraries, floors).map { $0 / $1 } }

    /// The median of the rounds' own ratios, because both ran at nearly the same moment.
    var ratio: Double { ratios.median }

    var line: String {
      let ratios = ratios
      let range = format(ratios.min() ?? 0) + " ... " + format(ratios.max() ?? 0)
      let bound = row.bound.map(format) ?? ""
      return "| \(row.title) | \(format(floors.median)) | \(format(libraries.median))"
        + " | \(format(ratio)) | \(range) | \(bound) |"
    }

    private func format(_ number: Double) -> String { String(format: "%.2f", number) }
  }
}
