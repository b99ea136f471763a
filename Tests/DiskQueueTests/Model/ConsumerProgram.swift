// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport

@testable import DiskQueue

/// One random program: a writer, two consumers, a cleaner, kills and power cuts, against a model.
///
/// The seed decides everything. A consumer is given every record from where it began, in order, or
/// told how many it missed; its cursor is never below what it acknowledged, nor above.
final class ConsumerProgram {
  struct Known {
    var ordinal: Int
    var text: String
  }

  var random: SeededGenerator
  let clock = ManualClock()
  var storage: SimulatedStorage
  let whenFull: QueueWriter.Options.WhenFull?
  let deadLetters = Topic.memory()
  let consumers = [ModelConsumer("a"), ModelConsumer("b")]

  /// Every record that ever got an address.
  var known: [UInt64: Known] = [:]
  /// How many records the log took, and how many of them are durable.
  var count = 0
  var synced = 0
  /// What is being appended: a crash leaves it or not.
  var pending: String?
  /// Tells every payload from the others.
  var number = 0

  private(set) var trace: [String] = []
  var tally = Tally()

  init(seed: UInt64) {
    random = SeededGenerator(seed: seed)
    storage = SimulatedStorage(seed: random.next())
    whenFull = [nil, nil, .fail, .dropOldest, .dropOldestAcknowledged][random.below(5)]
  }

  var topic: Topic { Topic(storage: storage) }

  /// Whether nothing may be cleaned that consumer a has not acknowledged.
  var isProtected: Bool { if case .dropOldest? = whenFull { false } else { true } }

  func note(_ step: String) { trace.append(step) }

  func expect(_ condition: Bool, _ text: @autoclosure () -> String) throws {
    guard condition else { throw Violation(text()) }
  }

  // MARK: Running

  func run() async throws {
    for _ in 0..<10 {
      try await live()
      try die()
    }
    let writer = try open()
    for consumer in consumers {
      try open(consumer)
      try await drain(consumer, writer)
      consumer.end()
    }
    writer.dieForTesting()
  }

  /// One process, up to its death of a fault, or until it has done enough.
  private func live() async throws {
    var writer: QueueWriter?
    do {
      if random.chance(25) { dieAtCall(upTo: 30) }
      let opened = try open()
      writer = opened
      if !storage.isDead, random.chance(70) { dieAtCall(upTo: 500) }
      for consumer in consumers where random.chance(80) { try open(consumer) }
      for _ in 0..<20 + random.below(60) { try await takeStep(opened) }
      for consumer in consumers { try await drain(consumer, opened) }
      storage.setFault(nil)
      if random.chance(30) {
        try await opened.close()
        for consumer in consumers { try await close(consumer) }
      }
    } catch let error as QueueError {
      guard storage.isDead else { throw error }
      tally.count("deaths in a call")
    }
    writer?.dieForTesting()
    for consumer in consumers { consumer.end() }
  }

  private func dieAtCall(upTo most: Int) {
    storage.setFault(SimulatedStorage.Fault(.die, at: 1 + random.below(most)))
  }

  /// The process is gone, and the power perhaps.
  private func die() throws {
    if random.chance(50) {
      note("power cut, \(synced) of \(count) synced")
      tally.count("power cuts")
      storage = storage.powerCut(using: &random)
    } else {
      note("kill")
      tally.count("kills")
      storage.kill()
    }
    let cursors = try QueueConsumer.consumers(of: topic)
    for consumer in consumers where consumer.exists {
      let cursor = cursors.first { $0.name == consumer.name }
      try expect(cursor?.state == .sound, "\(consumer.name) is \(String(describing: cursor))")
      guard let ordinal = cursor?.ordinal else { continue }
      try expect(
        (consumer.floor...consumer.ceiling).contains(Int(ordinal)),
        "\(consumer.name) at \(ordinal), not in \(consumer.floor)...\(consumer.ceiling)")
    }
  }

  private func takeStep(_ writer: QueueWriter) async throws {
    let consumer = consumers[random.below(2)]
    switch random.below(20) {
    case 0...6: try append(writer)
    case 7: try await writer.flush()
    case 8:
      try await writer.sync()
      synced = count
    case 9: clock.advance(by: UInt64(random.below(40)) * 1_000_000_000)
    case 10...11: try clean()
    case 12...14:
      let most = 1 + random.below(20)
      if let batch = try await consumer.consumer?.nextBatch(upTo: most, following: false) {
        try take(batch, consumer)
      }
    case 15...16: try await acknowledge(consumer)
    case 17: try await drain(consumer, writer)
    case 18: if random.chance(40) { try await reset(consumer, writer) }
    default:
      if random.chance(50) { try await close(consumer) }
      consumer.end()
      try open(consumer)
    }
  }

  // MARK: Writing

  private func append(_ writer: QueueWriter) throws {
    for _ in 0..<1 + random.below(12) {
      number += 1
      let text = "record \(number) " + String(repeating: "x", count: random.below(400))
      pending = text
      do {
        let address = try writer.append(text)
        try expect(known[address.rawValue] == nil, "address \(address) was used twice")
        known[address.rawValue] = Known(ordinal: count, text: text)
        count += 1
        pending = nil
      } catch let error as QueueError {
        guard error.code == .noSpace, !storage.isDead else { throw error }
        pending = nil
        tally.count("appends without room")
        return
      }
    }
  }

  /// Opens the topic for writing, and holds against the model what was recovered.
  private func open() throws -> QueueWriter {
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(4)
    options.bufferSize = .kibibytes(4)
    options.maximumPayload = .bytes([600, 5000][random.below(2)])
    if let whenFull {
      options.maximumBytes = .kibibytes(64)
      options.whenFull = whenFull
    }
    let environment = fixedEnvironment(
      clock, topicID: random.next() | 1, background: random.chance(50) ? .manual : .inline)
    let writer = try QueueWriter(topic: topic, options: options, environment: environment)
    var walker = LogWalker(TopicIndex(storage), payloadLimit: .max, bufferSize: 1 << 16)
    try walker.seek(to: .latest, now: { 0 })
    let kept = Int(walker.ordinal)
    note("opened, with \(kept) of \(count)")
    let all = try readAll(topic)
    for record in all.records { try check(record) }
    try expect(all.losses.isEmpty, "a reader was told of \(all.losses)")
    let ordinals = all.records.map { Int($0.ordinal) }
    try expect(ordinals == Array(kept - ordinals.count..<kept), "ordinals \(ordinals) of \(kept)")
    try expect(kept >= synced, "\(synced) were durable, and \(kept) were kept")
    try expect(kept <= count + (pending == nil ? 0 : 1), "\(kept) kept of \(count)")
    count = kept
    synced = kept
    pending = nil
    return writer
  }

  private func clean() throws {
    var choices: [Retention.Consumers] = isProtected ? [.protected, .except(["b"])] : [.ignored]
    if isProtected, consumers[0].exists { choices.append(.only(["a"])) }
    var retention = Retention(
      minimumBytes: .bytes([0, 5000][random.below(2)]),
      consumers: choices[random.below(choices.count)])
    switch random.below(3) {
    case 0: retention.bytes = .bytes(Int64(random.below(40_000)))
    case 1: retention.records = UInt64(random.below(200))
    default: retention.age = .seconds(Int64(random.below(100)))
    }
    let cleaner = try SlabCleaner(topic: topic, environment: fixedEnvironment(clock))
    let removed = try cleaner.clean(keeping: retention).count
    note("cleaned \(removed) slabs")
    tally.count("slabs cleaned", removed)
  }

  // MARK: Checking

  /// Holds a record against what was appended.
  func check(_ record: QueueRecord) throws {
    let address = record.address.rawValue
    if known[address] == nil, let pending, record.text == pending {
      known[address] = Known(ordinal: Int(record.ordinal), text: pending)
    }
    guard let appended = known[address] else {
      throw Violation("no record was appended at \(address)")
    }
    try expect(record.text == appended.text, "another payload at \(address)")
    try expect(
      Int(record.ordinal) == appended.ordinal,
      "ordinal \(record.ordinal) at \(address), and it was \(appended.ordinal)")
  }

  /// The ordinal of the first record that is left.
  func firstOrdinal() throws -> Int {
    let index = TopicIndex(storage)
    try index.refresh()
    guard let base = index.first else { return 0 }
    return Int(try index.ordinal(ofSlabAt: base) ?? 0)
  }
}
