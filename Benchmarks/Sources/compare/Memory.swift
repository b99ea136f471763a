// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Harness
import Report

/// The peak resident memory of a process that writes and reads a topic.
enum Memory {
  static func all(_ context: Context) async throws -> [Line] {
    let sizes = [512] + (context.isLong ? [10 << 10] : [])
    let small = try await peaks(mebibytes: 1, context)
    var lines: [Line] = []
    for mebibytes in sizes {
      let large = try await peaks(mebibytes: mebibytes, context)
      var line = Line(
        row: "memory", path: "memory, writer and reader", at: size(mebibytes: mebibytes),
        fileSystem: context.fileSystem, unit: .mebibytes,
        entries: [
          Entry(
            name: "DiskQueue, 1 MiB", role: .reference, figure: Spread(small), rounds: small.count),
          Entry(name: "DiskQueue", role: .diskQueue, figure: Spread(large), rounds: large.count),
        ])
      let ratio = Spread(zip(large, small).map { $0 / $1 })
      line.ratio = ratio
      line.goals = [
        .atMost(20, line.entries[1].figure.maximum, "peak < 20 MiB"),
        .atMost(1.1, ratio.median, "the same: ≤ 1.1 × 1 MiB"),
      ]
      lines.append(line)
    }
    return lines
  }

  private static func peaks(mebibytes: Int, _ context: Context) async throws -> [Double] {
    context.progress("memory, \(size(mebibytes: mebibytes))")
    return try (0..<(context.repeats ?? 3)).map { _ in
      let directory = try context.scratch.fresh("diskqueue")
      let records = mebibytes << 20 / 108
      let said = try Child("worker", ["memory", directory, "100", "\(records)"]).wait()
      try context.scratch.empty("diskqueue")
      guard let kibibytes = Double(said.split(separator: "\n").first ?? "") else {
        throw Failure("the worker printed: \(said)")
      }
      return kibibytes / 1024
    }
  }
}
