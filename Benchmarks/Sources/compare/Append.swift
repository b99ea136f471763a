// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Foundation
import Harness
import Report

/// Appending by one thread to the page cache, with the default options, under which no caller waits
/// for a sync. The time runs from an open writer until the system has every byte. Opening and
/// closing are not timed.
enum Append {
  /// More rounds than elsewhere: background writes of the disk make some rounds half as long again.
  private static func rounds(peers: Int = 3) -> Rounds {
    Rounds(least: 15, seconds: 2, peers: peers)
  }

  static func one(_ context: Context) async throws -> [Line] {
    var lines: [Line] = []
    for size in PayloadSize.all {
      let at = PayloadSize.name(size)
      context.progress("append, \(at)")
      let payload = makePayload(size)
      let records = PayloadSize.records(size)
      var contestants = [
        floor(payload, records, context),
        library("DiskQueue", .diskQueue, records, .init(), context) {
          try Library.append(payload, records: records, to: $0)
        },
      ]
      var options = QueueWriter.Options()
      options.slabSize = .gibibytes(1)
      contestants.append(
        library("DiskQueue, no slab left behind", .variant, records, options, context) {
          try Library.append(payload, records: records, to: $0)
        })
      for peer in context.peers {
        contestants.append(try other(peer, payload, records, context))
      }
      let syncing = contestants.count
      for peer in context.peers where peer.name == "stdio" {
        contestants.append(syncingBehind(peer, payload, records, context))
      }
      let contest = try await Contest(contestants, rounds: context.rounds(Self.rounds(peers: 5)))
      var line = contest.line(
        row: "append", path: "append, one thread", at: at, fileSystem: context.fileSystem,
        unit: .nanosecondsARecord)
      if let ratio = line.ratio {
        line.goals.append(.atMost(1.3, ratio.median, "≤ 1.3 × the floor"))
      }
      if let times = line.timesBestPeer {
        line.goals.append(.atLeast(1, times.median, "faster than every peer"))
      }
      if let cost = costOfSlabsLeftBehind(contest) { line.notes.append(cost) }
      for index in contestants.indices.dropFirst(syncing) {
        line.notes.append(sameDurability(contest, index))
      }
      lines.append(line)
    }
    return lines
  }

  /// The comparison with a peer that syncs as much as DiskQueue.
  private static func sameDurability(_ contest: Contest, _ index: Int) -> String {
    let main = contest.contestants.firstIndex { $0.role == .diskQueue } ?? 0
    let ratio = contest.ratio(of: index, to: main, .nanosecondsARecord)
    return String(
      format: "%@ takes %.2f times as long (%.2f … %.2f)", contest.contestants[index].name,
      ratio.median, ratio.minimum, ratio.maximum)
  }

  /// The median of the rounds' differences.
  private static func costOfSlabsLeftBehind(_ contest: Contest) -> String? {
    let contestants = contest.contestants
    guard let main = contestants.firstIndex(where: { $0.role == .diskQueue }),
      let variant = contestants.firstIndex(where: { $0.role == .variant })
    else { return nil }
    let costs = zip(
      contest.figures(main, .nanosecondsARecord), contest.figures(variant, .nanosecondsARecord)
    ).map { $0 - $1 }
    return String(
      format: "syncing slabs left behind, in the background, costs %.1f ns a record (%.1f … %.1f)",
      costs.median, costs.min() ?? 0, costs.max() ?? 0)
  }

  /// Appends batches by `append(contentsOf:)`.
  static func batches(_ context: Context) async throws -> [Line] {
    var lines: [Line] = []
    for size in PayloadSize.all {
      let at = PayloadSize.name(size)
      context.progress("append of batches of 100, \(at)")
      let payload = makePayload(size)
      let records = PayloadSize.records(size)
      let batch = Array(repeating: payload, count: 100)
      let contest = try await Contest(
        [
          floor(payload, records, context),
          library("DiskQueue", .diskQueue, records, .init(), context) {
            try Library.appendBatches(of: batch, records: records, to: $0)
          },
        ], rounds: context.rounds(Self.rounds()))
      var line = contest.line(
        row: "batches", path: "append of batches of 100", at: at, fileSystem: context.fileSystem,
        unit: .nanosecondsARecord)
      if let ratio = line.ratio {
        line.goals.append(.atMost(1.1, ratio.median, "≤ 1.1 × the floor"))
      }
      lines.append(line)
    }
    return lines
  }

  /// Appends from threads that share one writer.
  static func threads(_ context: Context) async throws -> [Line] {
    let payload = makePayload(100)
    let records = PayloadSize.records(100)
    context.progress("append by 1, 2, 4 and 8 threads, 100 B")
    let several = [2, 4, 8]
    let contestants =
      [
        library("DiskQueue, 1 thread", .reference, records, .init(), context) {
          try Library.append(payload, records: records, threads: 1, to: $0)
        }
      ]
      + several.map { threads in
        library("DiskQueue, \(threads) threads", .diskQueue, records, .init(), context) {
          try Library.append(payload, records: records, threads: threads, to: $0)
        }
      }
    let contest = try await Contest(
      contestants, rounds: context.rounds(Self.rounds()))
    return several.indices.map { index in
      contest.only([0, index + 1]) { contest in
        var line = contest.line(
          row: "threads", path: "append, \(several[index]) threads on one writer", at: "100 B",
          fileSystem: context.fileSystem, unit: .recordsASecond)
        if let ratio = line.ratio {
          line.goals.append(.atLeast(0.8, ratio.median, "≥ 0.8 × one thread"))
        }
        return line
      }
    }
  }

  private static func floor(_ payload: [UInt8], _ records: Int, _ context: Context) -> Contestant {
    Contestant("floor", .reference, records: records) {
      let directory = try context.scratch.fresh("floor")
      let time = try seconds { try Floor.write(payload, records: records, to: directory) }
      try context.scratch.empty("floor")
      return time
    }
  }

  private static func library(
    _ name: String, _ role: Entry.Role, _ records: Int, _ options: QueueWriter.Options,
    _ context: Context, _ body: @escaping (QueueWriter) throws -> Void
  ) -> Contestant {
    Contestant(name, role, records: records) {
      let topic = Topic(try context.scratch.fresh("diskqueue"))
      let time = try timed(topic, options, body)
      try context.scratch.empty("diskqueue")
      return time
    }
  }

  /// Times `body`, and then drops the writer without closing it. Full slabs are synced by then. The
  /// last slab is removed next, so it need not be synced.
  private static func timed(
    _ topic: Topic, _ options: QueueWriter.Options, _ body: (QueueWriter) throws -> Void
  ) throws -> Double {
    let writer = try QueueWriter(topic: topic, options: options)
    return try seconds { try body(writer) }
  }

  private static func other(
    _ peer: Peer, _ payload: [UInt8], _ most: Int, _ context: Context
  ) throws -> Contestant {
    func time(_ records: Int) throws -> Double {
      let store = try peer.open(context.scratch.fresh("peer"))
      let time = try seconds { try store.append(payload, records: records) }
      try store.close()
      try context.scratch.empty("peer")
      return time
    }
    let records = try bounded(most) { try time($0) }
    return Contestant(peer.name, .peer, records: records) { try time(records) }
  }

  /// A peer with the same durability: its files are as long as slabs, and are synced in the
  /// background when they are full, like slabs. Its time also runs until the system has every byte.
  private static func syncingBehind(
    _ peer: Peer, _ payload: [UInt8], _ records: Int, _ context: Context
  ) -> Contestant {
    let each = max(1, (64 << 20) / (payload.count + 8))
    return Contestant("\(peer.name), files left behind synced", .variant, records: records) {
      let directory = try context.scratch.fresh("peer")
      let background = DispatchQueue(label: "syncing")
      let failures = Failures()
      var left = records
      let time = try seconds {
        while left > 0 {
          let path = directory + "/\(left)"
          try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: false)
          // The queue takes over the store. This thread does not use it any more.
          nonisolated(unsafe) let store = try peer.open(path)
          try store.append(payload, records: min(left, each))
          left -= min(left, each)
          let isLast = left == 0
          background.async {
            failures.catching {
              if !isLast { try sync(path + "/records") }
              try store.close()
            }
          }
        }
      }
      background.sync {}
      try failures.throwFirst()
      try context.scratch.empty("peer")
      return time
    }
  }

  private static func sync(_ path: String) throws {
    let file = open(path, O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { throw Failure("\(path): errno \(errno)") }
    defer { close(file) }
    guard fdatasync(file) == 0 else { throw Failure("fdatasync: errno \(errno)") }
  }

  /// The number of records that a slow contestant writes in `limit` seconds. Starts from `most`,
  /// and halves it until it fits.
  static func bounded(
    _ most: Int, within limit: Double = 0.3, _ time: (Int) throws -> Double
  ) throws -> Int {
    let probe = max(1, most / 128)
    let whole = try time(probe) * Double(most) / Double(probe)
    var records = most
    while records > probe, whole * Double(records) / Double(most) > limit { records /= 2 }
    return records
  }
}
