// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport

@testable import DiskQueue

/// One step of such a program.
enum ConsumerStep: String, CaseIterable {
  case begin, rest, die
  case append, flush, sync, pass, clean, batch, acknowledge, drain, reset, reopen

  /// How often it comes between `begin` and `rest`, relative to the other steps.
  var weight: Int {
    switch self {
    case .begin, .rest, .die: 0
    case .append: 7
    case .batch: 3
    case .clean, .acknowledge: 2
    case .flush, .sync, .pass, .drain, .reset, .reopen: 1
    }
  }
}

/// One random program against a model: a writer, two consumers, a cleaner, kills and power cuts.
///
/// The seed and the steps decide everything, as in `Program`. Nothing is damaged here and no sync
/// fails, so all checks are exact:
///
/// - From its start on, a consumer gets every record in order, or a report of how many it missed.
/// - Its cursor is neither below nor above the records that it acknowledged.
final class ConsumerProgram {
  struct Known {
    var ordinal: Int
    var text: String
  }

  private let seed: UInt64
  var random: SeededGenerator
  private var writer: QueueWriter?
  let clock = ManualClock()
  var storage: SimulatedStorage
  private var markSpacing = SlabFormat.markSpacing
  let whenFull: QueueWriter.Options.WhenFull?
  let deadLetters = Topic.memory()
  let consumers = [ModelConsumer("a"), ModelConsumer("b")]

  /// Every record that ever got an address.
  var known: [UInt64: Known] = [:]
  /// How many records the log took, and how many of them are durable.
  var count = 0
  var synced = 0
  /// The record that is being appended. After a crash, it may be in the log or not.
  var pending: String?
  /// Makes every payload different from all others.
  var number = 0

  private(set) var trace: [String] = []
  var tally = Tally()

  init(seed: UInt64) {
    self.seed = seed
    random = SeededGenerator(seed: seed)
    storage = SimulatedStorage(seed: random.next(), laysOutRoom: SeedRun.laysOutRoom(seed))
    // Marks so close to each other that the program meets every boundary.
    if random.chance(50) { markSpacing = 256 }
    whenFull = [nil, nil, .fail, .dropOldest, .dropOldestAcknowledged][random.below(5)]
  }

  var topic: Topic { Topic(storage: storage) }

  /// Whether no record may be cleaned that consumer a has not acknowledged.
  var isProtected: Bool { if case .dropOldest? = whenFull { false } else { true } }

  func note(_ step: String) { trace.append(step) }

  /// Counts a check of a promise, and throws if it is broken.
  func expect(
    _ condition: Bool, _ text: @autoclosure () -> String, _ promise: Promise = .g10
  ) throws(Violation) { try tally.hold(promise, condition, text) }

  // MARK: Running

  static let suite = ProgramSuite(name: "consumers", steps: plan) { seed, steps in
    let program = ConsumerProgram(seed: seed)
    var outcome = ProgramOutcome()
    do {
      try await program.run(steps)
    } catch let violation as Violation {
      outcome.violation = violation
    } catch {
      outcome.violation = Violation(.g10, "an error that nothing caused: \(error)")
    }
    program.end()
    outcome.tally = program.tally
    outcome.trace = program.trace
    return outcome
  }

  /// Several processes, one after the other. Each one goes from `begin` to `die`.
  static func plan(_ seed: UInt64) -> [PlannedStep] {
    var random = SeededGenerator(seed: ~seed)
    let all = ConsumerStep.allCases.flatMap { Array(repeating: $0, count: $0.weight) }
    var steps: [ConsumerStep] = []
    for _ in 0..<10 {
      steps.append(.begin)
      for _ in 0..<20 + random.below(60) { steps.append(all[random.below(all.count)]) }
      steps += [.rest, .die]
    }
    return PlannedStep.plan(steps.map(\.rawValue), &random)
  }

  func run(_ steps: [PlannedStep]) async throws {
    for planned in steps {
      guard let step = ConsumerStep(rawValue: planned.name) else { continue }
      random = planned.random(of: seed)
      storage.reseed(random.next())
      if step == .die {
        try die()
        continue
      }
      // A process that has died does nothing more.
      guard !storage.isDead, step == .begin || writer != nil else { continue }
      do {
        try await take(step)
      } catch let error as QueueError {
        guard storage.isDead else { throw error }
        tally.count("deaths in a call")
        end()
      }
    }
    random = SeededGenerator(seed: seed)
    try die()
    let writer = try open()
    self.writer = writer
    for consumer in consumers {
      try open(consumer)
      try await drain(consumer, writer)
    }
  }

  /// Ends everything that the program opened.
  private func end() {
    writer?.dieForTesting()
    writer = nil
    for consumer in consumers { consumer.end() }
  }

  /// Begins a process.
  private func begin() throws {
    guard writer == nil else { return }
    if random.chance(25) { dieAtCall(upTo: 30) }
    writer = try open()
    if !storage.isDead, random.chance(70) { dieAtCall(upTo: 500) }
    for consumer in consumers where random.chance(80) { try open(consumer) }
  }

  /// Reads everything to its end, and may close it.
  private func rest(_ writer: QueueWriter) async throws {
    for consumer in consumers { try await drain(consumer, writer) }
    storage.setFault(nil)
    guard random.chance(30) else { return }
    try await writer.close()
    synced = count
    self.writer = nil
    for consumer in consumers { try await close(consumer) }
  }

  private func dieAtCall(upTo most: Int) {
    storage.setFault(SimulatedStorage.Fault(.die, at: 1 + random.below(most)))
  }

  /// Ends the process, and in half of the cases the power fails.
  private func die() throws {
    end()
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

  private func take(_ step: ConsumerStep) async throws {
    if step == .begin { return try begin() }
    guard let writer else { return }
    let consumer = consumers[random.below(2)]
    switch step {
    case .begin, .die: break
    case .rest: try await rest(writer)
    case .append: try append(writer)
    case .flush: try await writer.flush()
    case .sync:
      try await writer.sync()
      synced = count
    case .pass: clock.advance(by: UInt64(random.below(40)) * 1_000_000_000)
    case .clean: try clean()
    case .batch:
      let most = 1 + random.below(20)
      if let batch = try await consumer.consumer?.nextBatch(upTo: most, following: false) {
        try take(batch, consumer)
      }
    case .acknowledge: try await acknowledge(consumer)
    case .drain: try await drain(consumer, writer)
    case .reset: if random.chance(40) { try await reset(consumer, writer) }
    case .reopen:
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
        let address = try writer.append(text).address
        try expect(known[address.rawValue] == nil, "address \(address) was used twice", .g4)
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

  /// Opens the topic for writing, and compares the recovered log with the model.
  private func open() throws -> QueueWriter {
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(4)
    options.bufferSize = .kibibytes(4)
    options.markSpacing = markSpacing
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
    try expect(all.losses.isEmpty, "a reader was told of \(all.losses)", .g5)
    let ordinals = all.records.map { Int($0.ordinal) }
    try expect(
      ordinals == Array(kept - ordinals.count..<kept), "ordinals \(ordinals) of \(kept)", .g3)
    try expect(kept >= synced, "\(synced) were durable, and \(kept) were kept", .g1)
    try expect(kept <= count + (pending == nil ? 0 : 1), "\(kept) kept of \(count)", .g2)
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
    let removed = try cleaner.clean(keeping: retention).removals.count
    note("cleaned \(removed) slabs")
    tally.count("slabs cleaned", removed)
  }

  // MARK: Checking

  /// Compares a record with the appended one.
  func check(_ record: QueueRecord) throws {
    let address = record.address.rawValue
    if known[address] == nil, let pending, record.text == pending {
      known[address] = Known(ordinal: Int(record.ordinal), text: pending)
    }
    guard let appended = known[address] else {
      throw Violation(.g2, "no record was appended at \(address)")
    }
    try expect(record.text == appended.text, "another payload at \(address)", .g2)
    try expect(
      Int(record.ordinal) == appended.ordinal,
      "ordinal \(record.ordinal) at \(address), and it was \(appended.ordinal)", .g4)
  }

  /// The ordinal of the first record that is left.
  func firstOrdinal() throws -> Int {
    let index = TopicIndex(storage)
    try index.refresh()
    guard let base = index.first else { return 0 }
    return Int(try index.ordinal(ofSlabAt: base) ?? 0)
  }
}
