// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Harness
import Report

/// `diskq verify` in its own process. The start of the process is part of the time.
enum Verify {
  static func all(_ context: Context) async throws -> [Line] {
    var lines = [try await line(mebibytes: 512, context)]
    if context.isLong { lines.append(try await line(mebibytes: 1024, context)) }
    return lines
  }

  private static func line(mebibytes: Int, _ context: Context) async throws -> Line {
    let at = "100 B, \(size(mebibytes: mebibytes))"
    context.progress("verify, \(at)")
    let payload = makePayload(100)
    let records = mebibytes << 20 / 108
    let floor = try context.scratch.fresh("floor")
    try Floor.write(payload, records: records, to: floor)
    let directory = try context.scratch.fresh("diskqueue")
    let writer = try QueueWriter(topic: Topic(directory))
    try Library.append(payload, records: records, to: writer)
    try writer.closeBlocking()
    // The figures count bytes of frames.
    let bytes = records * 108
    let contest = try await Contest(
      [
        Contestant("floor", .reference, records: bytes) {
          try seconds { try Floor.read(from: floor, expecting: records * 100) }
        },
        Contestant("DiskQueue", .diskQueue, records: bytes) {
          var said = ""
          let time = try seconds {
            said = try Child("diskq", ["verify", "--json", directory]).wait()
          }
          guard said.contains("\"records\":\(records)") else {
            throw Failure("diskq verify printed: \(said)")
          }
          return time
        },
      ], rounds: context.rounds(Rounds(least: 7, seconds: 1)))
    try context.scratch.empty("floor")
    try context.scratch.empty("diskqueue")
    var line = contest.line(
      row: "verify", path: "verify", at: at, fileSystem: context.fileSystem,
      unit: .megabytesASecond)
    if let ratio = line.ratio {
      line.goals.append(.atLeast(0.7, ratio.median, "≥ 0.7 × the floor's read"))
    }
    return line
  }
}
