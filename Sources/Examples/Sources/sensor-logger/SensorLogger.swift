// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue
import Foundation
import Support

/// Logs readings, and survives `kill -9`: the next run continues after the last reading in the
/// topic. The program stores its progress nowhere else, so no other file can be wrong.
@main
struct SensorLogger: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sensor-logger",
    abstract: "Appends each line of a CSV file, except the header, as a record.")

  @Argument(help: "The file with the readings, which replaces a sensor.")
  var csv: String

  @Option(help: "The topic's directory.")
  var topic: String

  @Option(help: "Readings per second.")
  var rate = 1000

  @Option(help: "The most mebibytes of readings to keep. The oldest are dropped first.")
  var keepMebibytes: Int64 = 256

  func validate() throws {
    guard rate > 0 else { throw ValidationError("--rate must be at least 1") }
    guard keepMebibytes > 0 else { throw ValidationError("--keep-mebibytes must be at least 1") }
  }

  func run() async throws {
    let readings = try String(contentsOfFile: csv, encoding: .utf8)
      .split(separator: "\n").dropFirst()

    // With one sync a second, a power cut loses at most one second. Flushed records, by default
    // every 100 ms, survive the death of this process in any case.
    var options = QueueWriter.Options()
    options.syncEvery = .seconds(1)
    // The newest readings are worth more than the oldest. At this cap, and on a full disk, the
    // oldest slab is dropped, and a consumer that had not read it gets the number of records.
    options.maximumBytes = .mebibytes(keepMebibytes)
    options.whenFull = .dropOldest
    options.onEvent = { event in
      if case .dropped(_, let records, _) = event {
        say("dropped \(records.map(String.init) ?? "an unknown number of") readings")
      }
    }
    let writer = try QueueWriter(topic: Topic(topic), options: options)
    report(writer.recovery)

    let taken = try readingsTaken()
    say("continues after \(taken) readings")
    let clock = ContinuousClock()
    let start = clock.now
    for (index, reading) in readings.dropFirst(taken).enumerated() {
      try await clock.sleep(until: start + .seconds(1) * index / rate)
      try writer.append(reading)
    }
    try await writer.close()
  }

  /// Returns the number of readings that the topic has taken, even if some were cleaned since. It
  /// is the ordinal of the next record. Call it after opening the writer, which settles which
  /// records of a crash remain.
  private func readingsTaken() throws -> Int {
    var reader = try QueueReader(topic: Topic(topic))
    return Int(try reader.ordinals().upperBound)
  }

  private func report(_ recovery: RecoveryReport) {
    guard recovery.state == .recovered else { return say("the topic was \(recovery.state)") }
    say(
      "the topic was recovered: kept \(recovery.unprovenRecords) records after the last sync, and"
        + " discarded \(recovery.discardedBytes) bytes of an incomplete record")
    for loss in recovery.losses { say("lost: \(loss)") }
  }
}
