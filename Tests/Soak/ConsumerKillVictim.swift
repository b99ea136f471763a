// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// Consumes, acknowledges in every possible way, and prints each step, until it is killed.
struct ConsumerKillVictim: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "consumer-kill-victim", shouldDisplay: false)

  @Argument var topic: String
  @Option var seed: UInt64
  @Option(help: "What the topic will have at the end.") var records: UInt64

  static func start(_ topic: String, _ seed: UInt64, _ records: UInt64) throws(Broken) -> Child {
    try Child(["consumer-kill-victim", topic, "--seed", "\(seed)", "--records", "\(records)"])
  }

  /// A batch that waits to be acknowledged out of order.
  private struct Pending {
    var batch: QueueConsumer.Batch
    var first: UInt64

    func numbers(_ indices: Range<Int>) -> Range<UInt64> {
      first + UInt64(indices.lowerBound)..<first + UInt64(indices.upperBound)
    }
  }

  func run() async throws {
    var random = Random(seed: seed)
    let consumer = try QueueConsumer(topic: Topic(topic), name: ConsumerKill.consumer)
    var pending: [Pending] = []
    /// The number with which this life began.
    var first: UInt64?
    while let batch = try await consumer.nextBatch(
      upTo: 1 + random.below(100), following: true)
    {
      let numbers = try await delivered(batch)
      Posix.say("delivered \(numbers.lowerBound) \(numbers.upperBound)")
      let start = first ?? numbers.lowerBound
      first = start
      let isLast = numbers.upperBound == records
      switch random.below(10) {
      case 0..<3:
        Posix.say("asks \(start) \(numbers.upperBound)")
        try await batch.acknowledge()
        Posix.say("returned \(start) \(numbers.upperBound)")
        pending = []
      case 3..<5:
        let index = random.below(batch.count)
        let end = numbers.lowerBound + UInt64(index) + 1
        Posix.say("asks \(start) \(end)")
        try await batch.acknowledge(through: index)
        Posix.say("returned \(start) \(end)")
        // This call acknowledges all earlier batches. The rest of this batch may be acknowledged
        // later.
        pending = [Pending(batch: batch, first: numbers.lowerBound)]
      default:
        pending.append(Pending(batch: batch, first: numbers.lowerBound))
      }
      while !pending.isEmpty, isLast || pending.count > 6 || random.chance(40) {
        let one = pending.remove(at: random.below(pending.count))
        // Parts of the batch in any order, some at the same time.
        let middle = random.below(one.batch.count + 1)
        var parts = [0..<middle, middle..<one.batch.count].filter { !$0.isEmpty }
        parts.shuffle(using: &random)
        if random.chance(50) {
          for part in parts { try await Self.acknowledge(one, part) }
        } else {
          try await withThrowingTaskGroup(of: Void.self) { group in
            for part in parts { group.addTask { try await Self.acknowledge(one, part) } }
            try await group.waitForAll()
          }
        }
      }
    }
  }

  private static func acknowledge(_ one: Pending, _ indices: Range<Int>) async throws {
    let numbers = one.numbers(indices)
    Posix.say("asks \(numbers.lowerBound) \(numbers.upperBound)")
    if indices.count == 1 {
      try await one.batch.acknowledge(only: indices.lowerBound)
    } else {
      try await one.batch.acknowledge(only: indices)
    }
    Posix.say("returned \(numbers.lowerBound) \(numbers.upperBound)")
  }

  /// Checks the records of a batch, and returns their numbers.
  private func delivered(_ batch: QueueConsumer.Batch) async throws -> Range<UInt64> {
    let first = try Payload.number(of: batch[0].payload)
    for (index, record) in batch.enumerated() {
      let number = try Payload.number(of: record.payload)
      try check(
        number == first + UInt64(index) && number == record.ordinal,
        "a batch from \(first) holds \(number) at \(index), as record \(record.ordinal)")
    }
    return first..<first + UInt64(batch.count)
  }
}
