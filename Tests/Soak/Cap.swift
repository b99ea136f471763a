// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue
import Synchronization

/// A writer at its cap drops the oldest slabs. Beside it, one consumer keeps up, and one does not.
struct Cap: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "cap")

  @Argument var topic: String
  @Option var seconds: UInt64 = 60

  private static let cap = ByteCount.mebibytes(4)

  /// The progress of the writer.
  private final class Progress: Sendable {
    let appended = Atomic<UInt64>(0)
    /// Set before the last record is appended: that record wakes a consumer that waits for more.
    let isEnding = Atomic(false)
    let isClosed = Atomic(false)
  }

  private struct Reported: Sendable {
    var delivered: UInt64 = 0
    var missed: UInt64 = 0
    var losses = 0
  }

  func run() async throws {
    var options = QueueWriter.Options()
    options.maximumBytes = Self.cap
    options.slabSize = .kibibytes(256)
    options.whenFull = .dropOldest
    let writer = try QueueWriter(topic: Topic(topic), options: options)
    let start = Posix.now()
    let end = start + seconds * 1_000_000_000
    let progress = Progress()

    async let sampled = sample(progress)
    async let fast = consume("fast", upTo: 2_000, pause: .zero, progress)
    async let slow = consume("slow", upTo: 200, pause: .milliseconds(50), progress)
    try await write(writer, start, end, progress)
    let (samples, unsteady, most) = try await sampled
    let (quick, tardy) = (try await fast, try await slow)
    try await writer.close()

    let appended = progress.appended.load(ordering: .acquiring)
    for (name, reported) in [("fast", quick), ("slow", tardy)] {
      try check(
        reported.delivered + reported.missed == appended,
        "\(name): \(reported.delivered) delivered, \(reported.missed) missed, \(appended) appended")
    }
    try check(tardy.missed > 0, "the slow consumer missed nothing: the cap was not met")
    try check(samples > 100, "only \(samples) samples were taken")
    Posix.say(
      "appended: \(appended); most bytes: \(most) of \(Self.cap.bytes) in \(samples) samples"
        + " (\(unsteady) more fell into a change); fast: \(quick.delivered) delivered,"
        + " \(quick.missed) missed in \(quick.losses) losses; slow: \(tardy.delivered) delivered,"
        + " \(tardy.missed) missed in \(tardy.losses) losses; \(Figures.cost(since: start))")
  }

  /// In the first half, writes at a pace that a consumer can keep up with. In the second half,
  /// writes bursts that none can keep up with.
  private func write(
    _ writer: QueueWriter, _ start: UInt64, _ end: UInt64, _ progress: Progress
  ) async throws {
    var number: UInt64 = 0
    let half = start + (end - start) / 2
    while Posix.now() < end {
      for _ in 0..<(Posix.now() < half ? 100 : 20_000) {
        try writer.append(Payload.make(number))
        number += 1
        progress.appended.store(number, ordering: .releasing)
      }
      try await writer.flush()
      try await Task.sleep(for: .milliseconds(5))
    }
    progress.isEnding.store(true, ordering: .sequentiallyConsistent)
    try writer.append(Payload.makeEnd(number))
    progress.appended.store(number + 1, ordering: .releasing)
    try await writer.flush()
    progress.isClosed.store(true, ordering: .sequentiallyConsistent)
  }

  private func sample(
    _ progress: Progress
  ) async throws -> (samples: Int, unsteady: Int, most: UInt64) {
    var (samples, unsteady, most) = (0, 0, UInt64(0))
    while !progress.isClosed.load(ordering: .acquiring) {
      if let bytes = try Posix.slabBytes(topic) {
        try check(
          bytes <= UInt64(Self.cap.bytes), "the slabs hold \(bytes) of \(Self.cap.bytes) bytes")
        samples += 1
        most = max(most, bytes)
      } else {
        unsteady += 1
      }
      try await Task.sleep(for: .milliseconds(2))
    }
    return (samples, unsteady, most)
  }

  private func consume(
    _ name: String, upTo count: Int, pause: Duration, _ progress: Progress
  ) async throws -> Reported {
    // A loss may be reported before records that precede it. Its addresses give its position.
    let losses = Mutex<[Loss]>([])
    let consumer = try QueueConsumer(topic: Topic(topic), name: name) { loss in
      losses.withLock { $0.append(loss) }
    }
    var reported = Reported()
    var expected: UInt64 = 0
    var last = Address(rawValue: 0)
    while true {
      let isEnding = progress.isEnding.load(ordering: .sequentiallyConsistent)
      let isClosed = progress.isClosed.load(ordering: .sequentiallyConsistent)
      let batch = try await consumer.nextBatch(upTo: count, following: !isEnding)
      guard let batch else {
        try check(isEnding, "\(name) was told of an end of what it follows")
        if isClosed { break }
        try await Task.sleep(for: .milliseconds(1))
        continue
      }
      for record in batch {
        let number = try Payload.number(of: record.payload)
        while number != expected, let loss = losses.withLock({ $0.first }) {
          guard loss.cause == .cleaned, let records = loss.records,
            last < loss.addresses.lowerBound,
            loss.addresses.upperBound <= record.address
          else { throw Broken("\(name) was told, before \(record.address): \(loss)") }
          losses.withLock { _ = $0.removeFirst() }
          reported.missed += records
          reported.losses += 1
          expected += records
        }
        try check(
          number == expected && number == record.ordinal,
          "\(name): \(number) came, as record \(record.ordinal), where \(expected) was to come")
        expected += 1
        last = record.address
      }
      reported.delivered += UInt64(batch.count)
      try await batch.acknowledge()
      if pause > .zero, !isEnding { try await Task.sleep(for: pause) }
    }
    let untrue = losses.withLock { $0 }
    try check(untrue.isEmpty, "\(name) was told of losses that were none: \(untrue)")
    try await consumer.close()
    return reported
  }
}
