// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// A run of the program in which calls fail, and the topic that it finds.
struct InjectScenario: Sendable {
  enum Verb: Sendable {
    case append(cap: Bool)
    case read, consume, clean
  }

  /// The topic before the run.
  enum Ground: Sendable {
    case nothing
    /// Records, in several slabs, closed.
    case closed
    /// The same, not closed.
    case unclean
    /// The same, closed. A consumer has acknowledged some of the records.
    case consumed
  }

  var name: String
  var verb: Verb
  var ground: Ground
  /// The arguments of the program. `TOPIC` and `INPUT` are replaced by paths.
  var words: [String]

  static let consumer = "one"
  static let groundRecords = 150
  static let inputRecords = 120
  /// How many records the consumer has acknowledged before the run.
  static let acknowledged = 110

  static let all = [
    InjectScenario(
      name: "append to a new topic", verb: .append(cap: false), ground: .nothing,
      words: ["append", "TOPIC", "INPUT", "--ensure", "synced", "--print-addresses"] + small),
    InjectScenario(
      name: "append to a closed topic, syncing often", verb: .append(cap: false), ground: .closed,
      words: ["append", "TOPIC", "INPUT", "--sync-every", "40", "--print-addresses"] + small),
    InjectScenario(
      name: "append to a topic that was not closed", verb: .append(cap: false), ground: .unclean,
      words: ["append", "TOPIC", "INPUT", "--ensure", "synced", "--print-addresses"] + small),
    InjectScenario(
      name: "append at a cap, dropping the oldest", verb: .append(cap: true), ground: .unclean,
      words: ["append", "TOPIC", "INPUT", "--maximum-bytes", "64KiB", "--when-full", "drop-oldest"]
        + small),
    InjectScenario(name: "read", verb: .read, ground: .unclean, words: ["read", "TOPIC"]),
    InjectScenario(
      name: "consume anew", verb: .consume, ground: .unclean,
      words: ["consume", "TOPIC", "--consumer", consumer]),
    InjectScenario(
      name: "consume on", verb: .consume, ground: .consumed,
      words: ["consume", "TOPIC", "--consumer", consumer]),
    InjectScenario(
      name: "clean", verb: .clean, ground: .consumed,
      words: [
        "clean", "TOPIC", "--keep-bytes", "10KiB", "--minimum-keep-bytes", "0",
      ]),
  ]

  private static let small = ["--slab-size", "8KiB"]

  /// Record `number` of the topic before the run, or of the input after it.
  static func text(_ number: Int) -> String {
    "record \(number) "
      + String(repeating: "abcdefghij", count: 1 + Int(Random.mixed(UInt64(number)) % 40))
  }

  /// The number of records before the run.
  var before: Int { ground == .nothing ? 0 : Self.groundRecords }

  /// The ordinal of the first record that the program delivers.
  var firstDelivered: Int { ground == .consumed ? Self.acknowledged : 0 }

  /// Makes the topic before the run, at a path.
  func prepare(_ topic: String) async throws {
    guard ground != .nothing else { return }
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(8)
    options.flushEvery = .never
    let writer = try QueueWriter(topic: Topic(topic), options: options)
    for number in 0..<Self.groundRecords {
      try writer.append(Self.text(number))
      if number == Self.groundRecords / 2 { try await writer.sync() }
    }
    try await writer.flush()
    if ground == .unclean { writer.dieForTesting() } else { try await writer.close() }
    guard ground == .consumed else { return }
    let consumer = try QueueConsumer(topic: Topic(topic), name: Self.consumer)
    // In two steps, so that the cursor's lower slot is not at the beginning.
    for count in [Self.acknowledged - 1, 1] {
      guard let batch = try await consumer.nextBatch(upTo: count, following: false) else {
        throw Broken("the ground has too few records")
      }
      try await batch.acknowledge()
    }
    try await consumer.close()
  }
}
