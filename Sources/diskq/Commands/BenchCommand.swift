// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measures a disk: appends, reads and syncs beside raw ones, and what that means.",
    discussion: """
      bench works in a new directory, diskq-bench-…, below the one that you name. It removes the \
      new directory at the end, also after an error, Ctrl-C, SIGTERM or SIGHUP. After a signal it \
      prints no figures, and ends by that signal. A second signal, a second later or more, ends it \
      at once, and the directory is left. bench needs \(HumanSize.text(BenchScratch.mostBytes)) of \
      free space, and touches nothing else.

      bench measures all rows in turn, in \(BenchRun.rounds) rounds. At most 64 MiB at a time go \
      through the system's cache, and most of that is removed before it reaches the disk. The \
      syncs are real. They slow down other work on the same disk, and that work slows them down. \
      In 20 seconds they write one or two GiB to a fast disk.
      """
        + Examples.section([
          "Measure the disk of the working directory for 20 seconds.":
            "diskq bench",
          "Measure another disk for a minute.":
            "diskq bench /mnt/data --seconds 60",
          "Measure with records of 4 KiB.":
            "diskq bench --payload 4KiB",
          "Store the figures.":
            "diskq bench --json > disk.json",
        ]))

  @Argument(help: "A directory on the disk to measure.", completion: .directory)
  var directory = "."

  @Option(help: "How long bench measures, in seconds: 0.1 to 3600.")
  var seconds: Double = 20

  @Option(
    help: ArgumentHelp(
      "The payload of a record, from 1 byte to 1MiB. (default: 100B)", valueName: "size"),
    transform: Size.parsed)
  var payload = Size(.bytes(100))

  @Flag(help: "Print one JSON object on one line.")
  var json = false

  func validate() throws {
    // NaN is in no range, so it is refused too.
    guard (0.1...3600).contains(seconds) else {
      throw ValidationError("--seconds must be from 0.1 to 3600")
    }
    guard (.bytes(1) ... .mebibytes(1)).contains(payload.count) else {
      throw ValidationError("--payload must be from 1 byte to 1MiB")
    }
  }

  func run() throws {
    let stop = try StopSignals.caught()
    let scratch = try BenchScratch(in: directory)
    let measured = Result { try measure(in: scratch, stop) }
    do {
      try scratch.remove()
    } catch {
      // Print the results even so, or report the first error.
      switch measured {
      case .success(let (results, fileSystem)): try print(results, fileSystem)
      case .failure(let error): Messages.say(error)
      }
      throw error
    }
    if case .failure(let interrupted as Interrupted) = measured {
      Messages.say("\(interrupted): nothing was measured")
    }
    let (results, fileSystem) = try measured.get()
    try print(results, fileSystem)
  }

  private func measure(
    in scratch: BenchScratch, _ stop: StopSignals
  ) throws -> (BenchResults, fileSystem: String?) {
    let fileSystem = System.fileSystem(of: scratch.path)
    if !json {
      var output = Output()
      output.put(Messages.onOneLine(heading(fileSystem)) + "\n")
      // Show the heading before the wait for the table.
      output.drain()
    }
    #if DEBUG
      Messages.say(
        "this is a debug build: work that does not wait for the disk takes several times as long as"
          + " in a release build")
    #endif
    let budget = Duration.seconds(seconds)
    let progress = ProgressBar(total: UInt64(seconds * 1_000), called: duration)
    defer { progress.clear() }
    var run = BenchRun(
      payloadBytes: Int(payload.count.bytes), budget: budget, scratch: scratch, stop: stop)
    let results = try run.run { progress.update(UInt64($0 / .milliseconds(1))) }
    return (results, fileSystem)
  }

  private func print(_ results: BenchResults, _ fileSystem: String?) throws {
    guard let meaning = BenchMeaning(results, fileSystem: fileSystem) else { return }
    var output = Output()
    if json {
      output.putLine(object(results, meaning))
    } else {
      output.put("\n" + BenchTable.text(results.figures) + "\n" + BenchTable.legend + "\n\n")
      output.put(meaning.text)
    }
    try output.finish()
  }

  // MARK: Text

  private func heading(_ fileSystem: String?) -> String {
    let place = fileSystem.map { "\(directory) (\($0))" } ?? directory
    return "\(place): records of \(payload.count), \(BenchRun.rounds) rounds in \(duration)"
  }

  private var duration: String {
    "\(seconds == seconds.rounded() ? "\(Int(seconds))" : "\(seconds)") s"
  }

  // MARK: JSON

  private func object(_ results: BenchResults, _ meaning: BenchMeaning) -> JSONValue {
    .object([
      "directory": .text(directory),
      "fileSystem": .text(meaning.fileSystem),
      "payloadBytes": .number(UInt64(payload.count.bytes)),
      "seconds": .decimal(seconds),
      "rounds": .number(UInt64(BenchRun.rounds)),
      "syncIsSuspect": .bool(meaning.syncIsSuspect),
      "rows": .array(results.figures.map(object)),
    ])
  }

  private func object(_ figures: BenchFigures) -> JSONValue {
    .object([
      "row": .text(figures.row.rawValue),
      "nanoseconds": .decimal(figures.time.median),
      "leastNanoseconds": .decimal(figures.time.least),
      "mostNanoseconds": .decimal(figures.time.most),
      "recordsPerSecond": .decimal(figures.recordsASecond),
      "reference": .text(figures.row.reference?.rawValue),
      "ratio": .decimal(figures.ratio?.median),
      "leastRatio": .decimal(figures.ratio?.least),
      "mostRatio": .decimal(figures.ratio?.most),
      "syncsPerSecond": .decimal(figures.syncsASecond),
      "recordsPerSync": .decimal(figures.recordsASync),
    ])
  }
}
