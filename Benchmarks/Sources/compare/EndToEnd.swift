// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Foundation
import Harness

/// One task appends, another receives, through the disk.
enum EndToEnd {
  private static let payload = makePayload(100)

  static func all(_ context: Context) async throws -> [Line] {
    [
      try await reader(context), try await consumer(context), try await channel(context),
      try await wakeUp(context),
    ]
  }

  private static func reader(_ context: Context) async throws -> Line {
    context.progress("end to end, records()")
    let records = 1_000_000
    return try await throughput("batches to records(), `for await`", records, 1_000_000, context) {
      topic in
      let writer = try QueueWriter(topic: topic)
      async let sent: Void = append(payload, records: records, to: writer)
      try await receive(records, topic)
      try await sent
    }
  }

  private static func consumer(_ context: Context) async throws -> Line {
    context.progress("end to end, a consumer's batches")
    let records = 1_000_000
    return try await throughput(
      "batches to a consumer, each acknowledged", records, 1_000_000, context
    ) { topic in
      let writer = try QueueWriter(topic: topic)
      let consumer = try QueueConsumer(topic: topic, name: "benchmark")
      async let sent: Void = append(payload, records: records, to: writer)
      try await receive(records, consumer)
      try await sent
    }
  }

  private static func channel(_ context: Context) async throws -> Line {
    context.progress("end to end, DiskChannel")
    let records = 100_000
    return try await throughput(
      "DiskChannel, message by message, each acknowledged", records, nil, context
    ) { topic in
      let channel = try DiskChannel(topic: topic)
      async let sent: Void = send(payload, records: records, to: channel)
      try await receive(records, channel)
      try await sent
    }
  }

  private static func throughput(
    _ path: String, _ records: Int, _ goal: Double?, _ context: Context,
    _ body: @escaping (Topic) async throws -> Void
  ) async throws -> Line {
    let contestant = Contestant("DiskQueue", .diskQueue, records: records) {
      let topic = Topic(try context.scratch.fresh("diskqueue"))
      let start = ContinuousClock.now
      try await body(topic)
      let time = (ContinuousClock.now - start) / .seconds(1)
      try context.scratch.empty("diskqueue")
      return time
    }
    let contest = try await Contest(
      [contestant], rounds: context.rounds(Rounds(least: 5, seconds: 2)))
    var line = contest.line(
      row: "endtoend", path: "end to end: " + path, at: "100 B", fileSystem: context.fileSystem,
      unit: .recordsASecond)
    if let goal {
      line.goals.append(
        .atLeast(goal, line.entries[0].figure.median, "≥ 1,000,000 records/s"))
    }
    return line
  }

  /// From before a record is appended and flushed to when the task that waited has it.
  private static func wakeUp(_ context: Context) async throws -> Line {
    context.progress("end to end, waking a task that waits")
    let samples = 500
    let all = Latencies()
    var medians: [Double] = []
    for _ in 0..<(context.repeats ?? 3) {
      let own = Latencies()
      let topic = Topic(try context.scratch.fresh("diskqueue"))
      let writer = try QueueWriter(topic: topic)
      let times = try await wakeUps(samples, writer, topic)
      own.add(times)
      all.add(times)
      medians.append(own.percentile(50))
      try writer.closeBlocking()
      try context.scratch.empty("diskqueue")
    }
    var line = Line(
      row: "endtoend", path: "end to end: waking a task that waits", at: "100 B",
      fileSystem: context.fileSystem, unit: .microseconds,
      entries: [
        Entry(
          name: "DiskQueue", role: .diskQueue, figure: Spread(medians), records: samples,
          rounds: medians.count, also: all.percentiles)
      ])
    line.goals = [
      .atMost(50, all.percentile(50), "p50 ≤ 50 µs"),
      .atMost(1000, all.percentile(99), "p99 ≤ 1 ms"),
    ]
    line.notes.append(
      String(
        format: "p50 %.0f µs, p99 %.0f µs, p99.9 %.0f µs of %d, a record every 2 ms",
        all.percentile(50), all.percentile(99), all.percentile(99.9), samples * medians.count))
    return line
  }

  // MARK: As a program would call it

  @inline(never)
  private static func append(_ payload: [UInt8], records: Int, to writer: QueueWriter) async throws
  {
    try Library.appendBatches(
      of: Array(repeating: payload, count: 100), records: records, to: writer)
  }

  @inline(never)
  private static func receive(_ records: Int, _ topic: Topic) async throws {
    var count = 0
    var bytes = 0
    for try await record in try QueueReader(topic: topic).records(following: true) {
      count += 1
      bytes += record.payload.count
      if count == records { break }
    }
    try check(bytes, records)
  }

  @inline(never)
  private static func receive(_ records: Int, _ consumer: QueueConsumer) async throws {
    var count = 0
    var bytes = 0
    for try await batch in consumer.batches(upTo: 10_000) {
      for record in batch { bytes += record.payload.count }
      count += batch.count
      try await batch.acknowledge()
      if count == records { break }
    }
    try check(bytes, records)
  }

  @inline(never)
  private static func send(_ payload: [UInt8], records: Int, to channel: DiskChannel) async throws {
    for _ in 0..<records { try await channel.send(payload) }
    channel.finish()
  }

  @inline(never)
  private static func receive(_ records: Int, _ channel: DiskChannel) async throws {
    var bytes = 0
    for try await message in channel {
      bytes += message.payload.count
      try await message.acknowledge()
    }
    try check(bytes, records)
  }

  private static func check(_ bytes: Int, _ records: Int) throws {
    guard bytes == records * payload.count else {
      throw Failure("\(bytes) of \(records * payload.count) bytes were received")
    }
  }

  @inline(never)
  private static func wakeUps(
    _ samples: Int, _ writer: QueueWriter, _ topic: Topic
  ) async throws -> [UInt64] {
    let origin = ContinuousClock.now
    async let sent: Void = {
      var payload = payload
      for _ in 0..<samples {
        try await Task.sleep(for: .milliseconds(2))
        let now = (ContinuousClock.now - origin).nanoseconds
        for byte in 0..<8 { payload[byte] = UInt8(truncatingIfNeeded: now >> (8 * byte)) }
        try writer.append(payload)
        try writer.flushBlocking()
      }
    }()
    var times: [UInt64] = []
    for try await record in try QueueReader(topic: topic).records(following: true) {
      let now = (ContinuousClock.now - origin).nanoseconds
      let start = record.payload.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      times.append(now - start)
      if times.count == samples { break }
    }
    try await sent
    return times
  }
}
