// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Harness
import Report

/// Topics in memory. Payloads have 32 bytes, the size with which logs in memory are measured
/// elsewhere.
enum InMemory {
  private static let payload = makePayload(32)
  private static let threads = [1, 2, 4, 8]

  static func all(_ context: Context) async throws -> [Line] {
    var lines = try await appends(context)
    lines += try await reads(context)
    lines.append(try await EndToEnd.wakeUpInMemory(context))
    lines.append(try emptyShards(context))
    lines.append(try idleStreams(context))
    return lines
  }

  /// Appends more than the topic holds. So the oldest slabs are dropped, as in a long-running
  /// program.
  private static func appends(_ context: Context) async throws -> [Line] {
    context.progress("in memory, append by 1 to 8 threads")
    let records = 2_000_000
    let floor = Contestant("floor, 1 thread", .reference, records: records) {
      let memory = try Floor.Memory()
      return try seconds { try memory.write(payload, records: records) }
    }
    let contestants = threads.map { threads in
      Contestant("DiskQueue, \(threads) threads", .diskQueue, records: records) {
        let writer = try QueueWriter(topic: .memory())
        return try seconds {
          try Library.append(payload, records: records, threads: threads, to: writer)
        }
      }
    }
    return try await lines("append", 40, [floor] + contestants, context)
  }

  private static func reads(_ context: Context) async throws -> [Line] {
    context.progress("in memory, read by 1 to 8 threads")
    let records = 1_000_000
    let bytes = records * payload.count
    let memory = try Floor.Memory()
    try memory.write(payload, records: records)
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    try Library.append(payload, records: records, to: writer)
    let floor = Contestant("floor, 1 thread", .reference, records: records) {
      try seconds { try memory.read(expecting: bytes) }
    }
    let contestants = threads.map { threads in
      Contestant("DiskQueue, \(threads) threads", .diskQueue, records: records * threads) {
        try seconds { try Library.read(topic, threads: threads, expecting: bytes) }
      }
    }
    defer { withExtendedLifetime(writer) {} }
    return try await lines("read, verified, without copy", 25, [floor] + contestants, context)
  }

  private static func lines(
    _ what: String, _ goal: Double, _ contestants: [Contestant], _ context: Context
  ) async throws -> [Line] {
    let contest = try await Contest(contestants, rounds: context.rounds(Rounds()))
    return threads.indices.map { index in
      contest.only([0, index + 1]) { contest in
        var line = contest.line(
          row: "inmemory", path: "in memory: \(what)",
          at: "32 B, \(threads[index]) thread\(threads[index] == 1 ? "" : "s")",
          fileSystem: "memory", unit: .nanosecondsARecord)
        if let entry = line[.diskQueue] {
          line.goals.append(.atMost(goal, entry.figure.median, "≤ \(Int(goal)) ns"))
        }
        return line
      }
    }
  }

  private static func emptyShards(_ context: Context) throws -> Line {
    context.progress("in memory, 1,000 empty shards")
    let kibibytes = try said(by: ["shards", "1000"], context)
    var line = Line(
      row: "inmemory", path: "in memory: an empty sharded topic", at: "1,000 shards",
      fileSystem: "memory", unit: .mebibytes,
      entries: [
        Entry(
          name: "DiskQueue", role: .diskQueue, figure: Spread(kibibytes.map { $0 / 1024 }),
          rounds: kibibytes.count)
      ])
    line.goals = [.atMost(2, line.entries[0].figure.maximum, "< 2 MiB")]
    line.notes.append("the growth of resident memory when a process opens the topic for writing")
    return line
  }

  private static func idleStreams(_ context: Context) throws -> Line {
    context.progress("in memory, 1,000 idle streams")
    let microseconds = try said(by: ["idle", "1000"], context)
    var line = Line(
      row: "inmemory", path: "in memory: processor time of idle streams", at: "1,000 for a second",
      fileSystem: "memory", unit: .microseconds,
      entries: [
        Entry(
          name: "DiskQueue", role: .diskQueue, figure: Spread(microseconds),
          rounds: microseconds.count)
      ])
    line.goals = [.atMost(500, line.entries[0].figure.maximum, "none: < 0.05 %")]
    line.notes.append("the whole process, with the timer that ends the second")
    return line
  }

  private static func said(by arguments: [String], _ context: Context) throws -> [Double] {
    try (0..<(context.repeats ?? 3)).map { _ in
      let said = try Child("worker", arguments).wait()
      guard let number = Double(said.split(separator: "\n").first ?? "") else {
        throw Failure("the worker printed: \(said)")
      }
      return number
    }
  }
}
