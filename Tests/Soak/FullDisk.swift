// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// Fills a file system to its last byte, again and again. Appending fails with a typed error.
/// Reading and acknowledging continue at zero bytes free. After cleaning, appending continues.
struct FullDisk: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "full-disk")

  @Argument(help: "A small file system that nobody else uses.") var directory: String
  @Option(help: "Random where it is not given; printed.") var seed: UInt64?
  @Option var rounds = 300

  func run() async throws {
    let seed = seed ?? UInt64.random(in: 0...UInt64.max)
    do {
      try await run(seed)
    } catch {
      throw Broken("seed \(seed): \(error)")
    }
  }

  private static let largestBuffer: UInt64 = 256 << 10

  /// The totals so far.
  private struct Tally {
    /// Appended records that were neither refused nor lost by a death.
    var appended: UInt64 = 0
    /// Records that the operating system has, for certain.
    var flushed: UInt64 = 0
    var delivered: UInt64 = 0
    var refused = 0
    var deaths = 0
    var acknowledgedWhenFull = 0
    var removedSlabs = 0
    var failedCloses = 0
  }

  private func run(_ seed: UInt64) async throws {
    try check(
      try Posix.allBytes(directory) <= 4 << 20, "\(directory) is no small file system of its own")
    var random = Random(seed: seed)
    var tally = Tally()
    let start = Posix.now()
    let topic = Topic(directory + "/topic")
    let ballast = directory + "/ballast"
    var writer = try open(topic, &random)
    let consumer = try QueueConsumer(topic: topic, name: "reader") { loss in
      Posix.complain("\(loss)")
      Posix.leave(1)
    }
    for round in 0..<rounds {
      try appendUntilFull(writer, &tally)
      try Posix.fill(ballast)
      try check(try Posix.freeBytes(directory) == 0, "the disk is not full, in round \(round)")
      try flushIfPossible(writer, &tally)
      try refuses(writer, &tally)
      try readAll(topic, tally)
      for _ in 0..<random.below(4) {
        // The space of a removed slab is free once the last reader has closed the slab.
        try Posix.fill(ballast)
        try check(try Posix.freeBytes(directory) == 0, "the disk is not full, in round \(round)")
        let before = tally.delivered
        try await consume(consumer, 1, &tally)
        if tally.delivered > before { tally.acknowledgedWhenFull += 1 }
      }

      let removed = try SlabCleaner(topic: topic)
        .clean(keeping: Retention(records: 0, minimumBytes: .bytes(0))).removals
      tally.removedSlabs += removed.count
      // The space of a slab that is still open is free after its reader has left the slab.
      if random.chance(50) { Posix.remove(ballast) }
      if try Posix.freeBytes(directory) > Self.largestBuffer + 65_536 {
        // There is space for every record that waits.
        try await writer.flush()
        tally.flushed = tally.appended
      } else {
        try flushIfPossible(writer, &tally)
      }
      switch random.below(10) {
      case 0..<3:
        // The disk may be full again.
        if random.chance(50) { try Posix.fill(ballast) }
        try await close(writer, consumer, ballast, &tally)
        writer = try open(topic, &random)
      case 3:
        writer.dieForTesting()
        Posix.remove(ballast)
        try await makeRoom(topic, consumer, &tally)
        writer = try open(topic, &random)
        let left = max(try end(of: topic), tally.delivered)
        try check(
          left >= tally.flushed && left <= tally.appended,
          "\(left) are left behind a death, \(tally.flushed) were flushed of \(tally.appended)")
        tally.appended = left
        tally.flushed = left
        tally.deaths += 1
      default:
        Posix.remove(ballast)
      }
    }
    try await close(writer, consumer, ballast, &tally)
    try await consume(consumer, .max, &tally)
    try check(
      tally.delivered == tally.appended,
      "\(tally.delivered) delivered of \(tally.appended) appended")
    try check(
      tally.appended > 2_000 && tally.removedSlabs > rounds / 2 && tally.refused > rounds,
      "the disk was hardly ever full: \(tally)")
    try await consumer.close()
    Posix.say(
      "rounds: \(rounds); appended: \(tally.appended), all delivered; refused with noSpace:"
        + " \(tally.refused); batches acknowledged at zero bytes free:"
        + " \(tally.acknowledgedWhenFull); slabs removed: \(tally.removedSlabs); deaths:"
        + " \(tally.deaths); closes refused, and done later: \(tally.failedCloses); seed: \(seed);"
        + " \(Figures.cost(since: start))")
  }

  /// Closes the writer. If there is no space for that, checks the error, makes room, and closes it
  /// then.
  private func close(
    _ writer: QueueWriter, _ consumer: QueueConsumer, _ ballast: String, _ tally: inout Tally
  ) async throws {
    do {
      try await writer.close()
    } catch {
      try check(isNoSpace(error), "closing on a full disk: \(error)")
      tally.failedCloses += 1
      Posix.remove(ballast)
      try await makeRoom(writer.topic, consumer, &tally)
      try await writer.close()
    }
    Posix.remove(ballast)
    tally.flushed = tally.appended
  }

  /// Acknowledges every readable record, and cleans.
  private func makeRoom(
    _ topic: Topic, _ consumer: QueueConsumer, _ tally: inout Tally
  ) async throws {
    try await consume(consumer, .max, &tally)
    try SlabCleaner(topic: topic).clean(keeping: Retention(records: 0, minimumBytes: .bytes(0)))
  }

  private func open(_ topic: Topic, _ random: inout Random) throws -> QueueWriter {
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(64)
    options.bufferSize = .bytes([4_096, 16_384, Int64(Self.largestBuffer)][random.below(3)])
    options.flushEvery = .never
    return try QueueWriter(topic: topic, options: options)
  }

  private func isNoSpace(_ error: any Error) -> Bool { (error as? QueueError)?.code == .noSpace }

  private func appendUntilFull(_ writer: QueueWriter, _ tally: inout Tally) throws {
    while true {
      do {
        try writer.append(Payload.make(tally.appended))
        tally.appended += 1
      } catch {
        try check(isNoSpace(error), "appending on a full disk: \(error)")
        tally.refused += 1
        return
      }
    }
  }

  /// Checks that appending still fails with the same error. A record that fits is accepted.
  private func refuses(_ writer: QueueWriter, _ tally: inout Tally) throws {
    for _ in 0..<10 {
      do {
        try writer.append(Payload.make(tally.appended))
        tally.appended += 1
      } catch {
        try check(isNoSpace(error), "appending on a full disk: \(error)")
        tally.refused += 1
      }
    }
  }

  private func flushIfPossible(_ writer: QueueWriter, _ tally: inout Tally) throws {
    do {
      try writer.flush()
      tally.flushed = tally.appended
    } catch {
      try check(isNoSpace(error), "flushing on a full disk: \(error)")
    }
  }

  /// Checks that readers continue: they get every flushed record, and none that was not appended.
  private func readAll(_ topic: Topic, _ tally: Tally) throws {
    let end = try end(of: topic)
    try check(
      end >= tally.flushed && end <= tally.appended,
      "a reader sees \(end), \(tally.flushed) were flushed of \(tally.appended)")
  }

  /// Reads all records, and returns the number after the last one.
  private func end(of topic: Topic) throws -> UInt64 {
    var reader = try QueueReader(topic: topic)
    var next: UInt64?
    while let record = try reader.nextCopy() {
      let number = try Payload.number(of: record.payload)
      try check(next ?? number == number, "a reader sees \(number) behind \(next ?? 0)")
      next = number + 1
    }
    return next ?? 0
  }

  private func consume(_ consumer: QueueConsumer, _ batches: Int, _ tally: inout Tally) async throws
  {
    var left = batches
    while left > 0, let batch = try await consumer.nextBatch(upTo: 500, following: false) {
      left -= 1
      for record in batch {
        let number = try Payload.number(of: record.payload)
        try check(
          number == tally.delivered, "\(number) was delivered where \(tally.delivered) was to come")
        tally.delivered += 1
      }
      try await batch.acknowledge()
    }
  }
}
