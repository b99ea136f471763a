// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// A run of the program in which calls fail, and the topic that it finds.
struct InjectScenario: Sendable {
  enum Verb: Sendable {
    case append(cap: Bool)
    case read, consume, clean
    /// Copies the topic to `SNAPSHOT`. An older snapshot may be there.
    case snapshot(hasOlder: Bool)
    case restore
    /// Appends the dead letters to the topic again.
    case redrive
    /// Creates a consumer. One of that name may exist.
    case create(exists: Bool)
    /// Hands batches of records to a command, which stores each in a file of its own in `SEEN`.
    case exec(batch: Int, jobs: Int)
    /// Changes nothing.
    case look
  }

  /// The topic before the run, and the topics beside it.
  enum Ground: Sendable {
    case nothing
    /// Records, in several slabs, closed.
    case closed
    /// The same, not closed.
    case unclean
    /// The same, closed. A consumer has acknowledged some of the records.
    case consumed
    /// The same, with a snapshot that lacks the last records.
    case copied
    /// Nothing but a snapshot of the topic.
    case lost
    /// The same as `consumed`, with dead letters.
    case lettered
  }

  var name: String
  var verb: Verb
  var ground: Ground
  /// The arguments of the program. `TOPIC`, `INPUT`, `SNAPSHOT` and `SEEN` are replaced by paths.
  var words: [String]

  static let consumer = "one"
  static let groundRecords = 150
  static let inputRecords = 120
  /// How many records the consumer has acknowledged before the run.
  static let acknowledged = 110
  /// How many of the records the older snapshot has.
  static let recordsOfOlder = 100
  /// The name and the position of the consumer that the program creates.
  static let created = (name: "two", ordinal: 40)
  /// How many dead letters there are for each record. `redrive` takes up to 512 at once, so their
  /// number is above that.
  static let lettersOfEach = 4
  static let letters = lettersOfEach * groundRecords

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
    InjectScenario(
      name: "snapshot", verb: .snapshot(hasOlder: false), ground: .consumed,
      words: ["snapshot", "TOPIC", "SNAPSHOT"]),
    InjectScenario(
      name: "snapshot over an older one", verb: .snapshot(hasOlder: true), ground: .copied,
      words: ["snapshot", "TOPIC", "SNAPSHOT"]),
    InjectScenario(
      name: "restore", verb: .restore, ground: .lost, words: ["restore", "SNAPSHOT", "TOPIC"]),
    InjectScenario(
      name: "redrive", verb: .redrive, ground: .lettered,
      words: ["dead-letters", "TOPIC", "--redrive"]),
    InjectScenario(
      name: "create a consumer", verb: .create(exists: false), ground: .consumed,
      words: [
        "consumers", "TOPIC", "--create", created.name, "--at", "ordinal:\(created.ordinal)",
      ]),
    InjectScenario(
      name: "create a consumer that exists", verb: .create(exists: true), ground: .consumed,
      words: ["consumers", "TOPIC", "--create", consumer, "--at", "earliest"]),
    exec(batch: 50, jobs: 1),
    exec(batch: 20, jobs: 3),
    InjectScenario(
      name: "verify", verb: .look, ground: .unclean, words: ["verify", "TOPIC"]),
    InjectScenario(name: "info", verb: .look, ground: .consumed, words: ["info", "TOPIC"]),
    InjectScenario(
      name: "list the dead letters", verb: .look, ground: .lettered,
      words: ["dead-letters", "TOPIC"]),
  ]

  private static func exec(batch: Int, jobs: Int) -> InjectScenario {
    InjectScenario(
      name: "consume with \(jobs) commands at once", verb: .exec(batch: batch, jobs: jobs),
      ground: .closed,
      words: [
        "consume", "TOPIC", "--consumer", consumer, "--exec-batch", "\(batch)", "--jobs",
        "\(jobs)", "--exec", "cat >>SEEN/$$",
      ])
  }

  private static let small = ["--slab-size", "8KiB"]

  /// Record `number` of the topic before the run, or of the input after it.
  static func text(_ number: Int) -> String {
    "record \(number) "
      + String(repeating: "abcdefghij", count: 1 + Int(Random.mixed(UInt64(number)) % 40))
  }

  /// The status of a run in which no call fails.
  var status: Int32 {
    if case .create(exists: true) = verb { 2 } else { 0 }
  }

  /// Whether only some calls are made to fail, chosen at random.
  var isSampled: Bool {
    switch verb {
    case .append, .read, .consume, .clean: false
    case .snapshot, .restore, .redrive, .create, .exec, .look: true
    }
  }

  /// The payloads of the dead letters.
  static let letterTexts = (0..<letters).map { text($0 % groundRecords) }

  /// Whether the program writes a copy, under an unfinished name first.
  var makesCopy: Bool {
    switch verb {
    case .snapshot, .restore: true
    default: false
    }
  }

  /// Whether the program reports the holders of locks.
  var reportsHolders: Bool {
    switch verb {
    case .create, .look: true
    default: makesCopy
    }
  }

  /// The number of records before the run.
  var before: Int { ground == .nothing ? 0 : Self.groundRecords }

  /// The ordinal of the first record that the program delivers.
  var firstDelivered: Int { ground == .consumed ? Self.acknowledged : 0 }

  /// Makes the topic before the run, and the topics beside it, in an empty directory.
  func prepare(_ directory: String) async throws {
    let (topic, snapshot) = (directory + "/topic", directory + "/snapshot")
    switch ground {
    case .nothing: break
    case .closed, .unclean, .consumed: try await makeTopic(topic)
    case .copied:
      try await makeTopic(topic, records: 0..<Self.recordsOfOlder)
      try Topic(topic).snapshot(to: snapshot)
      try await makeTopic(topic, records: Self.recordsOfOlder..<Self.groundRecords)
      try await acknowledge(topic)
    case .lost:
      try await makeTopic(topic)
      try await acknowledge(topic)
      try Topic(topic).snapshot(to: snapshot)
      try Posix.removeTree(topic)
    case .lettered:
      try await makeTopic(topic)
      try await putAside(topic)
    }
    if case .exec = verb { try Posix.makeDirectory(directory + "/seen") }
  }

  private func makeTopic(_ topic: String, records: Range<Int> = 0..<groundRecords) async throws {
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(8)
    options.flushEvery = .never
    let writer = try QueueWriter(topic: Topic(topic), options: options)
    for number in records {
      try writer.append(Self.text(number))
      if number == Self.groundRecords / 2 { try await writer.sync() }
    }
    try await writer.flush()
    if ground == .unclean { writer.dieForTesting() } else { try await writer.close() }
    if ground == .consumed { try await acknowledge(topic) }
  }

  private func acknowledge(_ topic: String) async throws {
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

  /// Makes each record a dead letter, again and again.
  private func putAside(_ topic: String) async throws {
    for _ in 0..<Self.lettersOfEach {
      let consumer = try QueueConsumer(topic: Topic(topic), name: Self.consumer)
      while let batch = try await consumer.nextBatch(upTo: 500, following: false) {
        try await batch.deadLetter(batch.indices) { "reason \($0)" }
      }
      try await consumer.close()
      try QueueConsumer.reset(Self.consumer, of: Topic(topic), to: .earliest)
    }
  }
}
