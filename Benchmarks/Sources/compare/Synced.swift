// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Harness
import Report

/// Appends that are on stable storage when they return.
///
/// A disk is less steady than memory. So the rounds are short and many, and the peers run in all of
/// them.
enum Synced {
  private static let payload = makePayload(100)

  /// Synced appends, one after the other.
  static func oneCaller(_ context: Context) async throws -> [Line] {
    context.progress("synced append, one caller")
    let records = 500
    var latencies = [Latencies(), Latencies(), Latencies()]
    let measured = latencies
    var contestants = [
      Contestant("floor", .reference, records: records) {
        let directory = try context.scratch.fresh("floor")
        let time = try await measured[0].countingSyncs {
          try Floor.writeSynced(payload, records: records, to: directory)
        }
        measured[0].add(time)
        try context.scratch.empty("floor")
        return sum(time)
      },
      library("DiskQueue", .diskQueue, records, measured[1], context) { writer in
        try append(payload, records: records, to: writer)
      },
      library("DiskQueue, one task ensuring .synced", .variant, records, measured[2], context) {
        writer in
        try await appendEnsuring(payload, records: records, to: writer)
      },
    ]
    for peer in context.peers where peer.syncs {
      let own = Latencies()
      latencies.append(own)
      contestants.append(try other(peer, threads: 1, most: records, own, context))
    }
    let contest = try await Contest(
      contestants, rounds: context.rounds(Rounds(least: 18, most: 18, peers: 18)))
    var line = contest.line(
      row: "synced", path: "synced append, one caller", at: "100 B",
      fileSystem: context.fileSystem, unit: .microseconds)
    for index in line.entries.indices { line.entries[index].also = latencies[index].figures }
    if let ratio = line.ratio {
      line.goals.append(.atMost(1.1, ratio.median, "≤ 1.1 × write + fdatasync"))
    }
    return [line]
  }

  /// Many synced appends at once.
  static func manyCallers(_ context: Context) async throws -> [Line] {
    context.progress("synced appends, 64 at once")
    let tasks = 64
    let each = 500
    let latency = Latencies()
    var latencies = [latency]
    var contestants = [
      library("DiskQueue", .diskQueue, tasks * each, latency, context) { writer in
        try await appendEnsuring(payload, tasks: tasks, each: each, to: writer)
      }
    ]
    for peer in context.peers where peer.syncs {
      let own = Latencies()
      latencies.append(own)
      contestants.append(try other(peer, threads: tasks, most: tasks * each, own, context))
    }
    let contest = try await Contest(
      contestants, rounds: context.rounds(Rounds(least: 10, most: 10, peers: 10)))
    var line = contest.line(
      row: "tasks", path: "synced appends, 64 at once", at: "100 B",
      fileSystem: context.fileSystem, unit: .recordsASecond)
    for index in line.entries.indices { line.entries[index].also = latencies[index].figures }
    for (index, contestant) in contestants.enumerated()
    where ["RocksDB", "LevelDB", "SQLite"].contains(contestant.name) {
      let ratio = contest.ratio(of: 0, to: index, .recordsASecond)
      line.goals.append(.atLeast(4, ratio.median, "≥ 4 × \(contestant.name)"))
    }
    return [line]
  }

  private static func library(
    _ name: String, _ role: Entry.Role, _ records: Int, _ latencies: Latencies,
    _ context: Context, _ body: @escaping (QueueWriter) async throws -> [UInt64]
  ) -> Contestant {
    Contestant(name, role, records: records) {
      let writer = try QueueWriter(topic: Topic(context.scratch.fresh("diskqueue")))
      let start = ContinuousClock.now
      let times = try await latencies.countingSyncs { try await body(writer) }
      let time = (ContinuousClock.now - start) / .seconds(1)
      latencies.add(times)
      try writer.closeBlocking()
      try context.scratch.empty("diskqueue")
      return time
    }
  }

  private static func other(
    _ peer: Peer, threads: Int, most: Int, _ latencies: Latencies, _ context: Context
  ) throws -> Contestant {
    func run(_ records: Int) throws -> (seconds: Double, times: [UInt64]) {
      let store = try peer.open(context.scratch.fresh("peer"), isSynced: true)
      let result = try store.appendSynced(
        payload, threads: threads, each: max(1, records / threads))
      try store.close()
      try context.scratch.empty("peer")
      return result
    }
    let records =
      try Append.bounded(most, within: 0.25) { try run($0).seconds } / threads * threads
    return Contestant(peer.name, .peer, records: records) {
      let result = try await latencies.countingSyncs { try run(records) }
      latencies.add(result.times)
      return result.seconds
    }
  }

  private static func sum(_ nanoseconds: [UInt64]) -> Double {
    Double(nanoseconds.reduce(0, +)) / 1e9
  }

  // MARK: The calls of an ordinary program

  @inline(never)
  private static func append(
    _ payload: [UInt8], records: Int, to writer: QueueWriter
  ) throws -> [UInt64] {
    var times: [UInt64] = []
    times.reserveCapacity(records)
    for _ in 0..<records {
      let start = ContinuousClock.now
      try writer.append(payload)
      try writer.sync()
      times.append((ContinuousClock.now - start).nanoseconds)
    }
    return times
  }

  @inline(never)
  private static func appendEnsuring(
    _ payload: [UInt8], records: Int, to writer: QueueWriter
  ) async throws -> [UInt64] {
    var times: [UInt64] = []
    times.reserveCapacity(records)
    for _ in 0..<records {
      let start = ContinuousClock.now
      try await writer.append(payload, ensuring: .synced)
      times.append((ContinuousClock.now - start).nanoseconds)
    }
    return times
  }

  @inline(never)
  private static func appendEnsuring(
    _ payload: [UInt8], tasks: Int, each: Int, to writer: QueueWriter
  ) async throws -> [UInt64] {
    try await withThrowingTaskGroup(of: [UInt64].self) { group in
      for _ in 0..<tasks {
        group.addTask { try await appendEnsuring(payload, records: each, to: writer) }
      }
      return try await group.reduce(into: []) { $0 += $1 }
    }
  }
}

extension Duration {
  var nanoseconds: UInt64 {
    UInt64(components.seconds) * 1_000_000_000 + UInt64(components.attoseconds / 1_000_000_000)
  }
}
