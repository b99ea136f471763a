// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Foundation
import Harness
import Report

/// Opening a topic for writing.
enum Opening {
  /// How many frames of 100 bytes a slab holds, with its marks.
  private static let slabRecords = Int(Double(64 << 20) * 65536 / 65584 / 108)

  static func all(_ context: Context) async throws -> [Line] {
    let topics =
      [Size(slabs: 0), Size(slabs: 4)]
      + (context.isLong ? [Size(slabs: 16), Size(slabs: 160)] : [])
    var lines = try await clean(topics, context)
    for size in topics { lines.append(try await unclean(size, context)) }
    return lines
  }

  /// The size of a topic. Its last slab is nearly full, which is the most that recovery must
  /// examine.
  private struct Size {
    /// The number of slabs, or 0 for 10 MB.
    var slabs: Int

    var name: String { slabs == 0 ? "10 MB" : size(mebibytes: slabs * 64) }
    /// The number of records in all slabs but the last.
    var before: Int { slabs == 0 ? 0 : (slabs - 1) * slabRecords + 1000 }
    /// The number of records in the last slab.
    var last: Int { slabs == 0 ? 10_000_000 / 108 : slabRecords - 20_000 }
  }

  private static func clean(_ sizes: [Size], _ context: Context) async throws -> [Line] {
    context.progress("opening, clean")
    let payload = makePayload(100)
    var contestants: [Contestant] = []
    for (index, size) in sizes.enumerated() {
      let topic = Topic(try context.scratch.fresh("clean\(index)"))
      let writer = try QueueWriter(topic: topic)
      for _ in 0..<size.before + size.last { try writer.append(payload) }
      try writer.closeBlocking()
      contestants.append(
        Contestant(
          index == 0 ? "DiskQueue, \(size.name)" : "DiskQueue",
          index == 0 ? .reference : .diskQueue,
          records: 1
        ) {
          let (writer, time) = try open(topic)
          guard writer.recovery.state == .clean else { throw Failure("the topic was not clean") }
          try writer.closeBlocking()
          return time
        })
    }
    let contest = try await Contest(
      contestants, rounds: context.rounds(Rounds(least: 50, most: 200, seconds: 1)))
    let lines = sizes.indices.dropFirst().map { index in
      contest.only([0, index]) { contest in
        var line = contest.line(
          row: "opening", path: "opening, clean", at: sizes[index].name,
          fileSystem: context.fileSystem, unit: .milliseconds)
        if let ratio = line.ratio {
          line.goals.append(.atMost(1.5, ratio.median, "no growth: ≤ 1.5 × \(sizes[0].name)"))
        }
        return line
      }
    }
    for index in sizes.indices { try context.scratch.empty("clean\(index)") }
    return lines
  }

  private static func unclean(_ size: Size, _ context: Context) async throws -> Line {
    context.progress("opening, unclean, \(size.name)")
    let floor = try context.scratch.fresh("floor")
    try Floor.write(makePayload(100), records: slabRecords, to: floor)
    func recover(writtenBack: Bool) throws -> Double {
      let directory = try context.scratch.fresh("diskqueue")
      let child = try Child(
        "worker", ["fill", directory, "100", "\(size.before)", "\(size.last)"])
      try child.waitForOutput()
      child.kill()
      if writtenBack {
        try writeBack(directory)
        // The disk works for a while on the bytes that it has taken.
        Thread.sleep(forTimeInterval: 0.03 * Double(size.slabs))
      }
      let (writer, time) = try open(Topic(directory))
      guard writer.recovery.state == .recovered, writer.recovery.discardedBytes == 0 else {
        throw Failure("the topic was not recovered whole")
      }
      try writer.closeBlocking()
      try context.scratch.empty("diskqueue")
      return time
    }
    let contest = try await Contest(
      [
        Contestant("floor", .reference, records: 1) {
          try Floor.drop(floor)
          return try seconds { try Floor.read(from: floor, expecting: slabRecords * 100) }
        },
        Contestant("DiskQueue", .diskQueue, records: 1) { try recover(writtenBack: true) },
        Contestant("DiskQueue, nothing written back before", .variant, records: 1) {
          try recover(writtenBack: false)
        },
      ],
      rounds: context.rounds(
        Rounds(least: size.slabs > 16 ? 3 : 7, most: size.slabs > 16 ? 3 : 30, seconds: 0.3)))
    try context.scratch.empty("floor")
    var line = contest.line(
      row: "opening", path: "opening, unclean", at: size.name, fileSystem: context.fileSystem,
      unit: .milliseconds)
    if let ratio = line.ratio {
      line.goals.append(.atMost(2, ratio.median, "≤ 2 × reading one slab"))
    }
    line.notes.append(
      "the writer was killed. Both read from the disk, because the cached pages are dropped")
    return line
  }

  private static func open(_ topic: Topic) throws -> (QueueWriter, Double) {
    let start = ContinuousClock.now
    let writer = try QueueWriter(topic: topic)
    return (writer, (ContinuousClock.now - start) / .seconds(1))
  }

  /// Syncs the files of the killed process, because writing them back is not part of opening.
  private static func writeBack(_ directory: String) throws {
    for name in try FileManager.default.contentsOfDirectory(atPath: directory) {
      let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: directory + "/" + name))
      try file.synchronize()
      try file.close()
    }
  }
}
