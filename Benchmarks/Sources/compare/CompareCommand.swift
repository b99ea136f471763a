// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Harness
import Report

/// Runs every contestant in turn, and prints the table.
@main
struct CompareCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Measures DiskQueue against the floor and its peers.",
    discussion: """
      compare prints the table on standard output and its progress on standard error. It takes \
      less than ten minutes on two cores, and up to 5 GiB below the directory.
      """)

  @Argument(help: "The directory to write in. (default: the system's temporary directory)")
  var directory: String?

  @Option(parsing: .upToNextOption, help: "Measure only these rows. See --list.")
  var only: [Row] = []

  @Flag(help: "List the rows, and measure none.")
  var list = false

  @Option(help: "How many times each contestant runs. (default: until the figures are steady)")
  var repeats: Int?

  @Flag(help: "Also measure the rows of 1 GiB and 10 GiB: ten minutes more, and 15 GiB.")
  var long = false

  @Option(
    help: "The directory to repeat the page cache's rows in. (default: /dev/shm, if it is tmpfs)")
  var tmpfs: String?

  @Flag(help: "Do not repeat the rows of the page cache.")
  var noTmpfs = false

  @Option(help: "The directory for results.json, results.md and results.svg.")
  var output: String?

  @Option(help: "Measure nothing, and make the table and the picture from this results.json.")
  var from: String?

  @Option(help: ArgumentHelp("The compiler's own name and version.", visibility: .hidden))
  var compiler: String?

  func validate() throws {
    if let repeats, repeats < 1 { throw ValidationError("--repeats must be above 0") }
  }

  func run() async throws {
    guard !list else {
      for row in Row.allCases {
        print(row.rawValue.padding(toLength: 10, withPad: " ", startingAt: 0) + row.title)
      }
      return
    }
    if let from {
      let data = try Data(contentsOf: URL(fileURLWithPath: from))
      return try show(JSONDecoder().decode(Results.self, from: data))
    }
    let start = ContinuousClock.now
    let scratch = try Scratch(in: directory)
    defer { scratch.remove() }
    let interrupts = removeWhenInterrupted(scratch)
    defer { interrupts.cancel() }
    if Machine.fileSystem(of: scratch.path) == "tmpfs" {
      say("This directory is in memory, so a sync costs nothing: name one on a disk.")
    }
    let rows = only.isEmpty ? Row.allCases : Row.allCases.filter(only.contains)
    var results = Results(
      machine: Machine(directory: scratch.path, compiler: compiler), isLong: long, minutes: 0,
      peers: Peer.all().map(\.description), lines: [])
    results.lines = try await measure(rows, in: scratch)
    if let memory = try tmpfsScratch(beside: scratch) {
      defer { memory.remove() }
      let interrupts = removeWhenInterrupted(memory, scratch)
      defer { interrupts.cancel() }
      results.lines += try await measure(rows.filter(\.isOfPageCache), in: memory)
    }
    results.minutes = ((ContinuousClock.now - start) / .seconds(60)).rounded(digits: 2)
    try show(results)
  }

  private func show(_ results: Results) throws {
    let markdown = Markdown(results).text
    if let output { try results.write(to: output, markdown: markdown) }
    print(markdown, terminator: "")
  }

  /// Makes Ctrl-C remove the directories too.
  private func removeWhenInterrupted(_ scratches: Scratch...) -> any DispatchSourceSignal {
    signal(SIGINT, SIG_IGN)
    let source = DispatchSource.makeSignalSource(signal: SIGINT)
    source.setEventHandler {
      for scratch in scratches { scratch.remove() }
      Foundation.exit(130)
    }
    source.resume()
    return source
  }

  private func measure(_ rows: [Row], in scratch: Scratch) async throws -> [Line] {
    let context = Context(scratch: scratch, peers: Peer.all(), isLong: long, repeats: repeats)
    var lines: [Line] = []
    for row in rows {
      let start = ContinuousClock.now
      lines += try await row.measure(context)
      let time = (ContinuousClock.now - start) / .seconds(1)
      say(String(format: "%@ on %@: %.0f s", row.rawValue, context.fileSystem, time))
    }
    return lines
  }

  /// The directory in which the rows of the page cache run again, or nil.
  private func tmpfsScratch(beside scratch: Scratch) throws -> Scratch? {
    guard !noTmpfs, Machine.fileSystem(of: scratch.path) != "tmpfs" else { return nil }
    let path = tmpfs ?? "/dev/shm"
    guard Machine.fileSystem(of: path) == "tmpfs" else {
      if tmpfs != nil { throw ValidationError("--tmpfs: this directory is not on a tmpfs") }
      return nil
    }
    let values = try URL(fileURLWithPath: path).resourceValues(forKeys: [
      .volumeAvailableCapacityKey
    ])
    guard values.volumeAvailableCapacity ?? 0 >= 4 << 30 else {
      if tmpfs != nil { throw ValidationError("--tmpfs: it has less than 4 GiB of free space") }
      return nil
    }
    return try Scratch(in: path)
  }
}

extension Results {
  func write(to directory: String, markdown: String) throws {
    try FileManager.default.createDirectory(
      atPath: directory, withIntermediateDirectories: true)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    let json = String(decoding: try encoder.encode(self), as: UTF8.self)
    var files = [
      ("results.json", Data((withEntriesOnALine(json) + "\n").utf8)),
      ("results.md", Data(markdown.utf8)),
    ]
    // There is no picture if it would show none of the measured rows.
    if let chart = Chart(self) { files.append(("results.svg", Data(chart.svg.utf8))) }
    for (name, data) in files {
      try data.write(to: URL(fileURLWithPath: directory + "/" + name))
    }
  }

  /// Writes each object that contains no objects, or only such objects, on one line. So a change in
  /// the figures of one contestant is one line of a diff. No text in the results contains a brace.
  private func withEntriesOnALine(_ json: String) -> String {
    func onALine(_ text: Substring) -> String {
      text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }
    return json.replacing(/\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}/) { onALine($0.output) }
  }
}
