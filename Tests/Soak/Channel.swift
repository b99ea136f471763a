// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// Moves records between two tasks through the disk, in little memory. The receiver is slower than
/// the sender. Nothing else runs in this process.
struct Channel: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "channel")

  @Argument var topic: String
  @Option var records: UInt64 = 1_000_000

  private static let mostMemory: UInt64 = 20 << 20
  private static let payloadBytes = 100
  /// After this many records, the receiver rests for longer than the sender needs for them.
  private static let stretch: UInt64 = 40_000
  private static let rest = Duration.milliseconds(300)
  /// In nanoseconds. A send that finds room takes less than this.
  private static let wait: UInt64 = 20_000_000

  func run() async throws {
    var options = DiskChannel.Options()
    options.writer.maximumBytes = .mebibytes(8)
    options.writer.slabSize = .mebibytes(1)
    let channel = try DiskChannel(topic: Topic(topic), options: options)
    let start = Posix.now()
    async let waited = send(channel)
    var next: UInt64 = 0
    for try await message in channel {
      let number = try Payload.number(of: message.payload, count: Self.payloadBytes)
      try check(number == next, "\(number) came where \(next) was to come")
      next += 1
      try message.acknowledge()
      if next % Self.stretch == 0 { try await Task.sleep(for: Self.rest) }
    }
    let waits = try await waited
    try await channel.close()
    let peak = try Posix.peakMemory()
    try check(next == records, "\(next) of \(records) came")
    try check(
      waits >= records / Self.stretch / 4, "the sender waited \(waits) times only: it met no cap")
    try check(peak < Self.mostMemory, "\(Figures.mebibytes(peak)) of memory")
    Posix.say(
      "records: \(records); a second: \(Figures.rate(records, since: start)), the receiver's rests"
        + " included; the sender waited \(waits) times; peak memory: \(Figures.mebibytes(peak));"
        + " \(Figures.cost(since: start))")
  }

  /// Sends all records. Returns how often there was no room.
  private func send(_ channel: DiskChannel) async throws -> UInt64 {
    var waits: UInt64 = 0
    for number in 0..<records {
      let before = Posix.now()
      try await channel.send(Payload.make(number, count: Self.payloadBytes))
      if Posix.now() - before > Self.wait { waits += 1 }
    }
    channel.finish()
    return waits
  }
}
