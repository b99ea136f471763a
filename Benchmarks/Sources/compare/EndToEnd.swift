// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Foundation
import Harness
import Report

/// One task appends, and another receives through the disk.
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

  /// The time from just before a record is appended and flushed until the waiting task has it.
  private static func wakeUp(_ context: Context) async throws -> Line {
    context.progress("end to end, waking a task that waits")
    let samples = 500
    let (pipe, records, waiting) = (WakeUps(), WakeUps(), WakeUps())
    for _ in 0..<(context.repeats ?? 3) {
      pipe.add(try await pipeWakeUps(samples))
      for (wakeUps, isFeed) in [(records, true), (waiting, false)] {
        let topic = Topic(try context.scratch.fresh("diskqueue"))
        let writer = try QueueWriter(topic: topic)
        wakeUps.add(try await libraryWakeUps(samples, writer, topic, byRecords: isFeed))
        try writer.closeBlocking()
        try context.scratch.empty("diskqueue")
      }
    }
    var line = Line(
      row: "endtoend", path: "end to end: waking a task that waits", at: "100 B",
      fileSystem: context.fileSystem, unit: .microseconds,
      entries: [
        pipe.entry("a pipe", .reference, samples), records.entry("DiskQueue", .diskQueue, samples),
        waiting.entry("DiskQueue, waitForMore()", .variant, samples),
      ])
    line.ratio = Spread(zip(records.medians, pipe.medians).map { $0 / $1 })
    line.goals = [
      .atMost(50, records.all.percentile(50), "p50 ≤ 50 µs"),
      .atMost(1000, records.all.percentile(99), "p99 ≤ 1 ms"),
    ]
    line.notes.append(Self.aboutWakeUps)
    return line
  }

  private static let aboutWakeUps =
    "medians, with a record every 2 ms. The pipe carries 8 bytes from one thread to another, which"
    + " is the least time for waking a thread here"

  /// The same through memory.
  static func wakeUpInMemory(_ context: Context) async throws -> Line {
    context.progress("in memory, waking a task that waits")
    let samples = 500
    let (pipe, yielding, sleeping) = (WakeUps(), WakeUps(), WakeUps())
    for _ in 0..<(context.repeats ?? 3) {
      pipe.add(try await pipeWakeUps(samples))
      for (wakeUps, yields) in [(yielding, true), (sleeping, false)] {
        let topic = Topic.memory()
        let writer = try QueueWriter(topic: topic)
        wakeUps.add(
          try await libraryWakeUps(samples, writer, topic, byRecords: true, yields: yields))
        try writer.closeBlocking()
      }
    }
    var line = Line(
      row: "inmemory", path: "in memory: waking a task that waits", at: "100 B",
      fileSystem: "memory", unit: .microseconds,
      entries: [
        pipe.entry("a pipe", .reference, samples),
        yielding.entry("DiskQueue", .diskQueue, samples),
        sleeping.entry("DiskQueue, no Task.yield()", .variant, samples),
      ])
    line.ratio = Spread(zip(yielding.medians, pipe.medians).map { $0 / $1 })
    line.goals = [.atMost(20, yielding.all.percentile(50), "p50 ≤ 20 µs")]
    line.notes.append(
      Self.aboutWakeUps
        + ". The task that appends yields after each record. So its own thread runs the woken task,"
        + " if that is sooner than on an idle core")
    return line
  }

  /// The times of waking, for each round and for all rounds together.
  private final class WakeUps {
    let all = Latencies()
    private(set) var medians: [Double] = []

    func add(_ times: [UInt64]) {
      let round = Latencies()
      round.add(times)
      medians.append(round.percentile(50))
      all.add(times)
    }

    func entry(_ name: String, _ role: Entry.Role, _ samples: Int) -> Entry {
      Entry(
        name: name, role: role, figure: Spread(medians), records: samples, rounds: medians.count,
        also: all.percentiles)
    }
  }

  // MARK: The calls of an ordinary program

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
    for try await batch in consumer.batches(upTo: 10_000, following: true) {
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
      try message.acknowledge()
    }
    try check(bytes, records)
  }

  private static func check(_ bytes: Int, _ records: Int) throws {
    guard bytes == records * payload.count else {
      throw Failure("\(bytes) of \(records * payload.count) bytes were received")
    }
  }

  /// Calls `send` with the time of the call, every two milliseconds.
  ///
  /// - Parameter yields: whether the task yields its thread after each call.
  private static func sendTimes(
    _ samples: Int, since origin: ContinuousClock.Instant, yields: Bool = false,
    _ send: (UInt64) throws -> Void
  ) async throws {
    for _ in 0..<samples {
      try await Task.sleep(for: .milliseconds(2))
      try send((ContinuousClock.now - origin).nanoseconds)
      if yields { await Task.yield() }
    }
  }

  @inline(never)
  private static func libraryWakeUps(
    _ samples: Int, _ writer: QueueWriter, _ topic: Topic, byRecords: Bool, yields: Bool = false
  ) async throws -> [UInt64] {
    let origin = ContinuousClock.now
    async let sent: Void = {
      var payload = payload
      try await sendTimes(samples, since: origin, yields: yields) { now in
        for byte in 0..<8 { payload[byte] = UInt8(truncatingIfNeeded: now >> (8 * byte)) }
        try writer.append(payload)
        try writer.flush()
      }
    }()
    var times: [UInt64] = []
    func note(_ record: QueueRecord) {
      let now = (ContinuousClock.now - origin).nanoseconds
      let start = record.payload.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      times.append(now - start)
    }
    var reader = try QueueReader(topic: topic)
    if byRecords {
      for try await record in reader.records(following: true) {
        note(record)
        if times.count == samples { break }
      }
    } else {
      while times.count < samples {
        while let record = try reader.nextCopy() { note(record) }
        if times.count < samples { try await reader.waitForMore() }
      }
    }
    try await sent
    return times
  }

  private static func pipeWakeUps(_ samples: Int) async throws -> [UInt64] {
    let pipe = Pipe()
    let output = pipe.fileHandleForWriting.fileDescriptor
    let input = pipe.fileHandleForReading.fileDescriptor
    let origin = ContinuousClock.now
    let times: [UInt64] = try await withCheckedThrowingContinuation { continuation in
      Thread {
        var times: [UInt64] = []
        var start: UInt64 = 0
        while times.count < samples, read(input, &start, 8) == 8 {
          times.append((ContinuousClock.now - origin).nanoseconds - start)
        }
        continuation.resume(returning: times)
      }.start()
      Task {
        try await sendTimes(samples, since: origin) { now in
          var now = now
          guard write(output, &now, 8) == 8 else { throw Failure("the pipe took no more") }
        }
      }
    }
    try pipe.fileHandleForReading.close()
    try pipe.fileHandleForWriting.close()
    return times
  }
}
