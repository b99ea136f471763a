// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Harness
import Report

/// Reading a whole topic in order from the page cache, with every payload verified. The time runs
/// from an open reader to the end.
enum Read {
  static func inOrder(_ context: Context) async throws -> [Line] {
    var borrowed: [Line] = []
    var owned: [Line] = []
    for size in PayloadSize.all {
      let prepared = try prepare(size, context)
      context.progress("read in order, \(PayloadSize.name(size))")
      borrowed.append(try await prepared.line(copies: false, context))
      owned.append(try await prepared.line(copies: true, context))
      try prepared.remove(context)
    }
    return borrowed + owned
  }

  /// The stores to read.
  private struct Prepared {
    var size: Int
    var records: Int
    var peers: [(peer: Peer, directory: String, records: Int)]

    func line(copies: Bool, _ context: Context) async throws -> Line {
      let bytes = records * size
      let floor = context.scratch.path + "/floor"
      let topic = Topic(context.scratch.path + "/diskqueue")
      func library(
        _ name: String, _ role: Entry.Role, _ read: @escaping (inout QueueReader) throws -> Int
      ) -> Contestant {
        Contestant(name, role, records: records) {
          var reader = try QueueReader(topic: topic)
          var seen = 0
          let time = try seconds { seen = try read(&reader) }
          guard seen == bytes else { throw Failure("DiskQueue read \(seen) of \(bytes) bytes") }
          return time
        }
      }
      var contestants = [
        Contestant("floor", .reference, records: records) {
          try seconds { try Floor.read(from: floor, expecting: bytes) }
        }
      ]
      if copies {
        contestants += [
          library("DiskQueue", .diskQueue) { try Library.readBatches(&$0) },
          library("DiskQueue, an array each", .variant) { try Library.readCopies(&$0) },
        ]
      } else {
        contestants.append(library("DiskQueue", .diskQueue) { try Library.read(&$0) })
      }
      for (peer, directory, records) in peers where peer.scans {
        contestants.append(
          Contestant(peer.name, .peer, records: records) {
            let store = try peer.open(directory)
            let time = try seconds {
              try store.scan(copies: copies, expecting: records * size)
            }
            try store.close()
            return time
          })
      }
      let contest = try await Contest(contestants, rounds: context.rounds(Rounds()))
      var line = contest.line(
        row: "read",
        path: copies ? "read in order, owned payloads" : "read in order, verified, without copy",
        at: PayloadSize.name(size), fileSystem: context.fileSystem, unit: .nanosecondsARecord)
      if let ratio = line.ratio {
        if !copies {
          line.goals.append(.atMost(1.3, ratio.median, "≤ 1.3 × the floor"))
        } else if size == 20 {
          line.goals.append(.atMost(3, ratio.median, "≤ 3 × the floor"))
        }
      }
      return line
    }

    func remove(_ context: Context) throws {
      try context.scratch.empty("floor")
      try context.scratch.empty("diskqueue")
      for index in peers.indices { try context.scratch.empty("peer\(index)") }
    }
  }

  private static func prepare(_ size: Int, _ context: Context) throws -> Prepared {
    context.progress("writing the records to read, \(PayloadSize.name(size))")
    let payload = makePayload(size)
    let records = PayloadSize.records(size)
    try Floor.write(payload, records: records, to: context.scratch.fresh("floor"))
    let writer = try QueueWriter(topic: Topic(context.scratch.fresh("diskqueue")))
    try Library.append(payload, records: records, to: writer)
    try writer.close()
    var prepared = Prepared(size: size, records: records, peers: [])
    for (index, peer) in context.peers.enumerated() {
      func write(_ records: Int) throws -> Double {
        let store = try peer.open(context.scratch.fresh("peer\(index)"))
        let time = try seconds { try store.append(payload, records: records) }
        try store.close()
        return time
      }
      // As many records as are written in two seconds, up to 256 MiB, half of the most that
      // DiskQueue writes. They must not be so few that they stay in the processor's cache.
      let most = min(records, 256 << 20 / size)
      let records = try Append.bounded(most, within: 2) { try write($0) }
      _ = try write(records)
      prepared.peers.append((peer, context.scratch.path + "/peer\(index)", records))
    }
    return prepared
  }
}
