// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Harness
import Report

/// Reading single records by their addresses, from the page cache.
enum RandomReads {
  static func byAddress(_ context: Context) async throws -> [Line] {
    var lines = [try await line(mebibytes: 256, context)]
    if context.isLong { lines.append(try await line(mebibytes: 1024, context)) }
    return lines
  }

  private static func line(mebibytes: Int, _ context: Context) async throws -> Line {
    let at = "100 B of \(size(mebibytes: mebibytes))"
    context.progress("random reads, \(at)")
    let payload = makePayload(100)
    let records = mebibytes << 20 / 108
    let floor = try context.scratch.fresh("floor")
    try Floor.write(payload, records: records, to: floor)
    let topic = Topic(try context.scratch.fresh("diskqueue"))
    let all = try append(payload, records: records, to: topic)
    var random = Random(seed: 2)
    let chosen = (0..<10_000).map { _ in UInt64.random(in: 0..<UInt64(records), using: &random) }
    let addresses = chosen.map { all[Int($0)] }
    // The number of frames that DiskQueue puts between two marks: as many as reach 64 KiB.
    let stretch = (64 << 10 + 107) / 108
    let contest = try await Contest(
      [
        Contestant("floor", .reference, records: chosen.count) {
          try seconds { try Floor.read(chosen, payloadBytes: 100, stretch: stretch, from: floor) }
        },
        Contestant("DiskQueue", .diskQueue, records: chosen.count) {
          var reader = try QueueReader(topic: topic)
          var bytes = 0
          let time = try seconds { bytes = try read(addresses, &reader) }
          guard bytes == chosen.count * 100 else { throw Failure("DiskQueue read \(bytes) bytes") }
          return time
        },
      ], rounds: context.rounds(Rounds(least: 7, seconds: 0.5)))
    try context.scratch.empty("floor")
    try context.scratch.empty("diskqueue")
    var line = contest.line(
      row: "random", path: "random reads by address", at: at, fileSystem: context.fileSystem,
      unit: .microseconds)
    if let ratio = line.ratio {
      line.goals.append(.atMost(1.5, ratio.median, "≤ 1.5 × pread + XXH3 from the mark before it"))
    }
    return line
  }

  /// Appends the records, and returns their addresses.
  private static func append(
    _ payload: [UInt8], records: Int, to topic: Topic
  ) throws -> [Address] {
    let writer = try QueueWriter(topic: topic)
    var addresses: [Address] = []
    addresses.reserveCapacity(records)
    for _ in 0..<records { addresses.append(try writer.append(payload).address) }
    try writer.closeBlocking()
    return addresses
  }

  @inline(never)
  private static func read(_ addresses: [Address], _ reader: inout QueueReader) throws -> Int {
    var bytes = 0
    for address in addresses { bytes += try reader.record(at: address).payload.count }
    return bytes
  }
}

/// "256 MiB", "10 GiB"
func size(mebibytes: Int) -> String {
  mebibytes < 1024 ? "\(mebibytes) MiB" : "\(mebibytes >> 10) GiB"
}
