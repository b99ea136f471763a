// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// Writes beside the victim, up to the number in each line of its input. If the last writer was
/// killed, continues after its records.
struct ConsumerKillWriter: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "consumer-kill-writer", shouldDisplay: false)

  @Argument var topic: String
  @Option var seed: UInt64

  static func start(_ topic: String, _ seed: UInt64) throws(Broken) -> Child {
    try Child(["consumer-kill-writer", topic, "--seed", "\(seed)"])
  }

  func run() throws {
    var random = Random(seed: seed)
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(16)
    options.bufferSize = .kibibytes(4)
    var writer = try QueueWriter(topic: Topic(topic), options: options)
    var next = try nextNumber()
    var orders = LineReader(0)
    while true {
      switch try orders.next(within: 60_000) {
      case .none: throw Broken("the writer was forgotten")
      case .end: return
      case .line(let line):
        guard let end = UInt64(line) else { throw Broken("the writer was told: \(line)") }
        while next < end {
          for _ in 0..<min(UInt64(1 + random.below(60)), end - next) {
            try writer.append(Payload.make(next))
            next += 1
          }
          if random.chance(60) { try writer.flush() }
          if random.chance(2) {
            try writer.close()
            try SlabCleaner(topic: Topic(topic))
              .clean(keeping: Retention(bytes: .kibibytes(64), minimumBytes: .kibibytes(32)))
            writer = try QueueWriter(topic: Topic(topic), options: options)
          }
        }
        try writer.flush()
        Posix.say("written \(next)")
      }
    }
  }

  /// The number after the last record in the topic.
  private func nextNumber() throws -> UInt64 {
    var next: UInt64 = 0
    var reader = try QueueReader(topic: Topic(topic))
    while let record = try reader.nextCopy() { next = try Payload.number(of: record.payload) + 1 }
    return next
  }
}
