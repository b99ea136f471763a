// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Harness
import Report

/// The cost of the next two mebibytes in topics of several sizes, appended and read.
enum Growth {
  private static let payload = makePayload(100)
  /// How many records make a mebibyte of frames.
  private static let mebibyte = 1 << 20 / 108
  private static let records = 2 * mebibyte

  static func all(_ context: Context) async throws -> [Line] {
    let sizes = [1, 16, 256] + (context.isLong ? [1024, 10 << 10] : [])
    context.progress("cost as the topic grows")
    let topics = try sizes.map { try Grown(mebibytes: $0, context) }
    let appends = topics.map { grown in contestant(grown) { try grown.append() } }
    let reads = topics.map { grown in contestant(grown) { try grown.read() } }
    // In each round, the same amount is appended to every topic and read from every topic.
    let contest = try await Contest(
      appends + reads, rounds: context.rounds(Rounds(least: 40, most: 40, seconds: 0)))
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
    for grown in topics { try grown.remove() }
    return lines
  }

  private static func contestant(
    _ grown: Grown, _ body: @escaping () throws -> Double
  ) -> Contestant {
    let isFirst = grown.mebibytes == 1
    return Contestant(
      isFirst ? "DiskQueue, \(grown.name)" : "DiskQueue", isFirst ? .reference : .diskQueue,
      records: records, round: body)
  }

  /// A topic of some size, to which a little more is appended every round.
  private final class Grown {
    let mebibytes: Int
    private let context: Context
    private var topic: Topic
    private var writer: QueueWriter

    init(mebibytes: Int, _ context: Context) throws {
      self.mebibytes = mebibytes
      self.context = context
      (topic, writer) = try Self.make(mebibytes, context)
    }

    var name: String { size(mebibytes: mebibytes) }
    private static func directory(_ mebibytes: Int) -> String { "growth\(mebibytes)" }

    private static func make(_ mebibytes: Int, _ context: Context) throws -> (Topic, QueueWriter) {
      let topic = Topic(try context.scratch.fresh(directory(mebibytes)))
      let writer = try QueueWriter(topic: topic)
      try Library.append(payload, records: mebibytes * mebibyte, to: writer)
      try writer.syncBlocking()
      return (topic, writer)
    }

    func append() throws -> Double {
      // Make a small topic again. Otherwise it would not stay small.
      if mebibytes <= 16 {
        try writer.closeBlocking()
        (topic, writer) = try Self.make(mebibytes, context)
      }
      return try seconds { try Library.append(payload, records: records, to: writer) }
    }

    /// Reads the last appended records.
    func read() throws -> Double {
      let start = Address(rawValue: writer.position.rawValue - UInt64(records * 108))
      var reader = try QueueReader(topic: topic, from: try boundary(near: start))
      var bytes = 0
      let time = try seconds { bytes = try Library.read(&reader) }
      guard bytes >= records * 99 else { throw Failure("only \(bytes) bytes were read") }
      // There are a few records less, because there are marks between them.
      return time * Double(records * 100) / Double(bytes)
    }

    /// The start of the record that contains an address.
    private func boundary(near address: Address) throws -> Topic.Position {
      do throws(QueueError) {
        _ = try QueueReader(topic: topic, from: .address(address))
        return .address(address)
      } catch {
        guard case .notARecord = error.code, let start = error.address else { throw error }
        return .address(start)
      }
    }

    func remove() throws {
      try writer.closeBlocking()
      try context.scratch.empty(Self.directory(mebibytes))
    }
  }
}
