// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue
import Synchronization

/// Two cleaners, each every 10 ms, beside a writer that rolls small slabs and four readers. Each of
/// them is in its own process.
struct Cleaning: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "cleaner")

  @Argument var topic: String
  @Option var seconds: UInt64 = 60

  /// The bytes that cleaning keeps.
  static let kept = ByteCount.mebibytes(1)
  static let slabSize = ByteCount.kibibytes(64)
  /// The most bytes that may exist at any time: those written since the last cleaning, those not
  /// yet proved to be durable, and those that are kept.
  private static let most: UInt64 = 8 << 20

  func run() async throws {
    var options = QueueWriter.Options()
    options.slabSize = Self.slabSize
    let writer = try QueueWriter(topic: Topic(topic), options: options)
    try writer.append(Payload.make(0))
    try await writer.flush()

    let readers = try CleaningReader.Manner.allCases.map { manner in
      (manner, try Child(["cleaner-reader", topic, "--manner", "\(manner)"]))
    }
    let cleaners = try (0..<2).map { _ in try Child(["cleaner-loop", topic]) }
    let start = Posix.now()
    let end = start + seconds * 1_000_000_000
    var number: UInt64 = 1
    var most: UInt64 = 0
    while Posix.now() < end {
      for _ in 0..<100 {
        try writer.append(Payload.make(number))
        number += 1
      }
      try await writer.flush()
      if let bytes = try Posix.slabBytes(topic) {
        most = max(most, bytes)
        try check(bytes < Self.most, "the slabs hold \(bytes) bytes, cleaned every 10 ms")
      }
      try await Task.sleep(for: .milliseconds(4))
    }
    try writer.append(Payload.makeEnd(number))
    try await writer.close()

    var lines: [String] = []
    for (manner, reader) in readers {
      let line = try reader.answer("the reader that goes \(manner) does not come to the end")
      try reader.finish("the reader that goes \(manner)")
      lines.append(line)
    }
    for cleaner in cleaners {
      cleaner.send("end")
      let line = try cleaner.answer("a cleaner does not come to its end")
      try cleaner.finish("a cleaner")
      lines.append(line)
    }
    try SlabCleaner(topic: Topic(topic)).clean(keeping: CleaningLoop.retention)
    guard let left = try Posix.slabBytes(topic) else { throw Broken("somebody writes still") }
    // Only whole slabs are removed, and each may be larger by the record that filled it.
    try check(
      left <= UInt64(Self.kept.bytes + 2 * Self.slabSize.bytes), "\(left) bytes are left")
    Posix.say(
      "appended: \(number + 1); most bytes: \(Figures.mebibytes(most)), left:"
        + " \(Figures.mebibytes(left)); \(lines.joined(separator: "; "));"
        + " \(Figures.cost(since: start))")
  }
}

/// One of the cleaners.
struct CleaningLoop: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cleaner-loop", shouldDisplay: false)

  static let retention = Retention(
    bytes: Cleaning.kept, minimumBytes: .bytes(0), consumers: .ignored)

  @Argument var topic: String

  func run() throws {
    let cleaner = try SlabCleaner(topic: Topic(topic))
    var orders = LineReader(0)
    var (rounds, removed) = (0, 0)
    while case .none = try orders.next(within: 10) {
      rounds += 1
      removed += try cleaner.clean(keeping: Self.retention).removals.count
    }
    Posix.say("cleaner: \(rounds) rounds, \(removed) slabs")
  }
}
