// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Harness

/// What the next megabyte costs in topics of several sizes: appended, and read where it stands.
enum Growth {
  static func all(_ context: Context) async throws -> [Line] {
    let sizes = [1, 16, 256] + (context.isLong ? [1024, 10 << 10] : [])
    context.progress("cost as the topic grows")
    let payload = makePayload(100)
    // A mebibyte of frames.
    let records = 1 << 20 / 108
    var appends: [Contestant] = []
    var topics: [Grown] = []
    for (index, mebibytes) in sizes.enumerated() {
      let topic = Topic(try context.scratch.fresh("growth\(index)"))
      let writer = try QueueWriter(topic: topic)
      for _ in 0..<mebibytes {
        try Library.append(payload, records: records, to: writer)
      }
      try writer.syncBlocking()
      topics.append(Grown(topic: topic, writer: writer, name: size(mebibytes: mebibytes)))
    }
    let reads = topics.enumerated().map { index, grown in
      contestant(grown, index, records) { try $0.read(records) }
    }
    appends = topics.enumerated().map { index, grown in
      contestant(grown, index, records) { try $0.append(payload, records) }
    }
    // One chunk is appended to every topic, and read of every topic, round by round.
    let rounds = context.rounds(Rounds(least: 60, most: 60, seconds: 0))
    let contest = try await Contest(appends + reads, rounds: rounds)
    var lines: [Line] = []
    for (path, offset) in [("append", 0), ("read", sizes.count)] {
      for index in sizes.indices.dropFirst() {
        lines.append(
          contest.only([offset, offset + index]) { contest in
            var line = contest.line(
              row: "growth", path: "cost as the topic grows: \(path)", at: topics[index].name,
              fileSystem: context.fileSystem, unit: .nanosecondsARecord)
            if let ratio = line.ratio {
              line.goals.append(
                .atMost(1.15, ratio.median, "constant within noise: ≤ 1.15 × 1 MiB"))
            }
            return line
          })
      }
    }
    for (index, grown) in topics.enumerated() {
      try grown.writer.closeBlocking()
      try context.scratch.empty("growth\(index)")
    }
    return lines
  }

  private static func contestant(
    _ grown: Grown, _ index: Int, _ records: Int, _ body: @escaping (Grown) throws -> Double
  ) -> Contestant {
    Contestant(
      index == 0 ? "DiskQueue, \(grown.name)" : "DiskQueue", index == 0 ? .reference : .diskQueue,
      records: records
    ) { try body(grown) }
  }

  private struct Grown {
    let topic: Topic
    let writer: QueueWriter
    let name: String

    func append(_ payload: [UInt8], _ records: Int) throws -> Double {
      try seconds { try Library.append(payload, records: records, to: writer) }
    }

    /// What was appended last.
    func read(_ records: Int) throws -> Double {
      let end = writer.position.rawValue
      let start = Address(rawValue: end - UInt64(records * 108))
      // A record begins there, or somewhere near: marks lie between.
      var reader = try QueueReader(topic: topic, from: try boundary(near: start))
      var bytes = 0
      let time = try seconds { bytes = try Library.read(&reader) }
      guard bytes >= records * 99 else { throw Failure("only \(bytes) bytes were read") }
      return time * Double(records * 100) / Double(bytes)
    }

    /// The start of the record that such an address lies in.
    private func boundary(near address: Address) throws -> Topic.Position {
      do throws(QueueError) {
        _ = try QueueReader(topic: topic, from: .address(address))
        return .address(address)
      } catch {
        guard case .notARecord = error.code, let start = error.address else { throw error }
        return .address(start)
      }
    }
  }
}
