// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@testable import diskq

/// Runs the program while it measures. The tests do not check its figures.
@Suite("diskq bench")
struct BenchTests {
  /// A directory with one file, which must be its only content in the end.
  private struct Place {
    let directory: TemporaryDirectory
    var path: String { directory.path }

    init() throws {
      directory = try TemporaryDirectory()
      try writeFile(directory.at("mine"), [1, 2, 3])
    }

    func names() throws -> [String] {
      try FileManager.default.contentsOfDirectory(atPath: path).sorted()
    }

    func isAsItWas() throws -> Bool {
      try names() == ["mine"] && readFile(directory.at("mine")) == [1, 2, 3]
    }
  }

  @Test("a table of all rows is printed, with what it means, and the directory is left as it was")
  func table() throws {
    let place = try Place()
    let outcome = try Diskq.run("bench", place.path, "--seconds", "0.5", "--payload", "20")
    #expect(outcome.status == 0, "\(outcome.errors)")
    let lines = outcome.lines
    #expect(lines.first?.hasPrefix(place.path) == true)
    #expect(lines.first?.hasSuffix(": records of 20B, 7 rounds in 0.5 s") == true)
    for row in BenchRow.allCases {
      let found = lines.filter { $0.hasPrefix("  \(row.title)  ") }
      #expect(found.count == 1, "\(row.title)")
    }
    #expect(lines.contains("What that means:"))
    #expect(lines.dropFirst().allSatisfy { $0.count <= 79 }, "\(outcome.text)")
    // Without a terminal, there is no progress bar.
    #expect(!outcome.errors.contains("\r"))
    #expect(try place.isAsItWas())
  }

  @Test("JSON is one object, with a row each, and what it is compared with")
  func json() throws {
    let place = try Place()
    let outcome = try Diskq.run(
      "bench", place.path, "--seconds", "0.1", "--payload", "1KiB", "--json")
    #expect(outcome.status == 0, "\(outcome.errors)")
    #expect(outcome.lines.count == 1)
    let object = try object(outcome.text)
    #expect(
      Set(object.keys) == [
        "directory", "fileSystem", "payloadBytes", "seconds", "rounds", "syncIsSuspect", "rows",
      ])
    #expect(object["directory"] as? String == place.path)
    #expect(object["payloadBytes"] as? Int == 1024)
    #expect(object["seconds"] as? Double == 0.1)
    #expect(object["rounds"] as? Int == 7)
    #expect(object["syncIsSuspect"] is Bool)
    let rows = object["rows"] as? [[String: Any]] ?? []
    #expect(rows.map { $0["row"] as? String } == BenchRow.allCases.map(\.rawValue))
    for (row, figures) in zip(BenchRow.allCases, rows) {
      #expect(
        Set(figures.keys) == [
          "row", "nanoseconds", "leastNanoseconds", "mostNanoseconds", "recordsPerSecond",
          "reference", "ratio", "leastRatio", "mostRatio", "syncsPerSecond", "recordsPerSync",
        ])
      let time = figures["nanoseconds"] as? Double ?? 0
      #expect(time > 0, "\(row)")
      #expect(figures["reference"] as? String == row.reference?.rawValue)
      let hasRatio = figures["ratio"] is Double
      #expect(hasRatio == (row.reference != nil), "\(row)")
      let hasSyncs = figures["syncsPerSecond"] is Double
      #expect(
        hasSyncs == [.appendSync, .appendSyncedByTasks, .appendSyncEvery].contains(row), "\(row)")
    }
    let alone = rows.first { $0["row"] as? String == "append-sync" }
    #expect(alone?["recordsPerSync"] as? Double == 1)
    #expect(try place.isAsItWas())
  }

  @Test("without a directory, it is the current one")
  func currentDirectory() throws {
    let place = try Place()
    let outcome = try Diskq.shell(
      "cd \"$1\" && exec \"$0\" bench --seconds 0.1 --json", place.path)
    #expect(outcome.status == 0, "\(outcome.errors)")
    #expect(try object(outcome.text)["directory"] as? String == ".")
    #expect(try place.isAsItWas())
  }

  @Test("a signal ends it, and it takes away what it wrote", arguments: [SIGTERM, SIGINT, SIGHUP])
  func signal(number: Int32) throws {
    let place = try Place()
    let program = try RunningDiskq("bench", place.path, "--seconds", "600")
    // When the program has printed the heading, it has begun to measure.
    let heading = try program.readLine()
    #expect(heading?.hasSuffix("7 rounds in 600 s") == true)
    #expect(try place.names().contains { $0.hasPrefix("diskq-bench-") })
    program.send(number)
    let outcome = try program.outcome()
    #expect(outcome.status == 128 + number)
    #expect(outcome.output.isEmpty)
    #expect(outcome.errors.contains(": nothing was measured\n"))
    #expect(try place.isAsItWas())
  }

  @Test("where there is no directory, it says so, and makes none")
  func noDirectory() throws {
    let place = try Place()
    let missing = try Diskq.run("bench", place.directory.at("missing"))
    #expect(missing.status == 2)
    #expect(
      missing.errorLines == [
        "diskq: there is no directory at this path: make it, or name one on the disk to measure"
          + " [\(place.directory.at("missing"))]"
      ])
    let file = try Diskq.run("bench", place.directory.at("mine"))
    #expect(file.status == 2)
    #expect(
      file.errorLines == [
        "diskq: this is no directory that diskq can enter: name one on the disk to measure"
          + " [\(place.directory.at("mine"))]"
      ])
    #expect(missing.output.isEmpty && file.output.isEmpty)
    #expect(try place.isAsItWas())
  }

  @Test("a directory that cannot be written to is refused")
  func unwritable() throws {
    #if os(Linux)
      // No user can make a directory here, not even root.
      let path = "/proc"
    #else
      let path = "/"
    #endif
    let outcome = try Diskq.run("bench", path)
    #expect(outcome.status == 2)
    #expect(outcome.output.isEmpty)
    #expect(outcome.errorLines.count == 1)
    #expect(outcome.errors.hasPrefix("diskq: making a directory here failed: "))
    #expect(outcome.errors.hasSuffix(" [\(path)]\n"))
  }

  @Test("an error while it measures is told, and it takes away what it wrote")
  func failure() throws {
    let place = try Place()
    // As for append, ThreadSanitizer would begin with a file of its own.
    let outcome = try Diskq.shell(
      "ulimit -f 64; export TMPDIR=/dev/null; exec \"$0\" bench \"$1\" --seconds 2", place.path)
    #expect(outcome.status == 2)
    #expect(outcome.errorLines.last?.hasPrefix("diskq: writing failed: File too large") == true)
    #expect(try place.isAsItWas())
  }

  #if os(Linux)
    @Test("a disk without room is refused before anything is measured")
    func noRoom() throws {
      let disk = try SmallDisk()
      let outcome = try disk.run("bench", disk.at(""))
      #expect(outcome.status == 2)
      #expect(outcome.output.isEmpty)
      #expect(
        outcome.errors.hasPrefix(
          "diskq: measuring needs 192.0 MiB of free space on the disk, and 1.0 MiB are free: free"))
      #expect(try disk.names() == [])
    }
  #endif
}
