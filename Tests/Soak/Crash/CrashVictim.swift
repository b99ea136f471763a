// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// Uses a topic in every possible way. Prints a line before each call, and the result after it.
///
/// Ends when it has done enough. Before that, it may be killed, by itself or by its parent.
struct CrashVictim: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "crash-victim", shouldDisplay: false)
  static let consumer = "victim"

  @Argument var topic: String
  @Option var seed: UInt64
  @Option(help: "The number of the first record.") var first: UInt64
  @Option(help: "Steps, unless it is killed before.") var steps: Int
  @Option(help: "Where to kill itself: an index of the table.") var point: Int?
  @Option(help: "The how manieth time there.") var occurrence = 1

  static func start(
    _ topic: String, seed: UInt64, first: UInt64, steps: Int, point: (index: Int, occurrence: Int)?
  ) throws(Broken) -> Child {
    var arguments = [
      "crash-victim", topic, "--seed", "\(seed)", "--first", "\(first)", "--steps", "\(steps)",
    ]
    if let point {
      arguments += ["--point", "\(point.index)", "--occurrence", "\(point.occurrence)"]
    }
    return try Child(arguments)
  }

  func run() async throws {
    var life = CrashLife(
      topic, random: Random(seed: seed), number: first,
      trap: point.map { Trap(CrashPoint.all[$0], occurrence: occurrence) })
    try life.open()
    try await life.openConsumer()
    for _ in 0..<steps { try await life.step() }
    try await life.end()
    Posix.say("ends")
  }
}

/// The payload of a record, by its number. Some are larger than a small buffer. A few are larger
/// than any buffer, and than the 64 KiB that may be between two marks.
enum CrashPayload {
  static func count(_ number: UInt64) -> Int {
    let mixed = Random.mixed(number ^ 0xC4A5)
    switch mixed % 1_000 {
    case 0..<2: return 70_000 + Int(mixed >> 32 % 60_000)
    case 2..<10: return 5_000 + Int(mixed >> 32 % 20_000)
    default: return 8 + Int(mixed >> 32 % 300)
    }
  }

  static func make(_ number: UInt64) -> [UInt8] { Payload.make(number, count: count(number)) }

  static func number(of payload: [UInt8]) throws(Broken) -> UInt64 {
    var number: UInt64 = 0
    for index in 0..<min(8, payload.count) { number |= UInt64(payload[index]) << (8 * index) }
    return try Payload.number(of: payload, count: count(number))
  }
}

private struct CrashLife {
  private let topic: String
  private var random: Random
  /// The number of the next record.
  private var number: UInt64
  private let trap: Trap?
  private var writer: QueueWriter?
  private var writing: KillingStorage?
  private var consumer: QueueConsumer?
  private let options: QueueWriter.Options

  init(_ topic: String, random: Random, number: UInt64, trap: Trap?) {
    self.topic = topic
    self.random = random
    self.number = number
    self.trap = trap
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes([4, 8, 16, 64][self.random.below(4)])
    options.bufferSize = .kibibytes([4, 16, 64][self.random.below(3)])
    switch self.random.below(4) {
    case 0: options.flushEvery = .never
    case 1: options.flushEvery = .milliseconds(1)
    case 2: options.flushEvery = .records(7)
    default: break
    }
    switch self.random.below(5) {
    case 0: options.syncEvery = .milliseconds(2)
    case 1: options.syncEvery = .records(50)
    default: break
    }
    if self.random.chance(40) || trap?.isAtTheCap == true {
      options.maximumBytes = .kibibytes(384)
      options.whenFull = .dropOldestAcknowledged
    }
    self.options = options
  }

  /// The topic as one owner sees it.
  private func place(
    _ owner: KillingStorage.Owner
  ) throws(QueueError) -> (topic: Topic, storage: KillingStorage?) {
    guard let trap else { return (Topic(topic), nil) }
    let storage = try KillingStorage(topic, owner, trap)
    return (Topic(storage: storage), storage)
  }

  private func current() throws(Broken) -> QueueWriter {
    guard let writer else { throw Broken("the victim has no writer") }
    return writer
  }

  /// Calls the blocking form of a function that has two forms.
  private func block(_ call: () throws(QueueError) -> Void) throws(QueueError) { try call() }

  // MARK: Opening and closing

  mutating func open() throws {
    Posix.say("opens")
    let place = try place(.writer)
    let opened = try QueueWriter(topic: place.topic, options: options)
    place.storage?.didOpen()
    writer = opened
    writing = place.storage
    let report = opened.recovery
    Posix.say("opened \(report.state) \(opened.position.rawValue) \(report.losses.count)")
  }

  mutating func openConsumer() async throws {
    Posix.say("consumes")
    let place = try place(.consumer)
    consumer = try QueueConsumer(topic: place.topic, name: CrashVictim.consumer) { loss in
      Posix.say("lost \(loss)")
    }
    place.storage?.didOpen()
  }

  private mutating func close() async throws {
    let writer = try current()
    Posix.say("closes")
    writing?.willClose()
    if random.chance(50) { try await writer.close() } else { try block(writer.close) }
    Posix.say("closed \(number)")
    self.writer = nil
  }

  mutating func end() async throws {
    try await consumer?.close()
    if random.chance(50) { try await close() }
  }

  // MARK: Steps

  mutating func step() async throws {
    switch random.below(100) {
    case 0..<40: try await append()
    case 40..<52: try await appendBatch()
    case 52..<68:
      try block(current().flush)
      Posix.say("flushed \(number)")
    case 68..<76:
      if random.chance(50) { try await current().sync() } else { try block(current().sync) }
      Posix.say("synced \(number)")
    case 76..<80:
      try await close()
      try open()
    case 80..<92: try await consume()
    case 92..<96: try clean()
    case 96:
      let place = try place(.consumer)
      let name = "temporary"
      let other = try QueueConsumer(topic: place.topic, name: name, from: .latest)
      place.storage?.didOpen()
      try await other.close()
      try QueueConsumer.delete(name, of: place.topic)
    case 97:
      try await consumer?.close()
      try await openConsumer()
    default: try await appendDurably()
    }
  }

  /// Appends records. If there is no room at the cap, consumes all records.
  private mutating func append() async throws {
    for _ in 0..<1 + random.below(20) {
      Posix.say("appends \(number) 1")
      do {
        let address = try current().append(CrashPayload.make(number)).address
        Posix.say("appended \(number) \(address.rawValue)")
        number += 1
      } catch {
        try await makeRoom(error, number)
      }
    }
  }

  private mutating func appendBatch() async throws {
    let count = 1 + UInt64(random.below(40))
    let payloads = (number..<number + count).map(CrashPayload.make)
    Posix.say("appends \(number) \(count)")
    do {
      let addresses = try current().append(contentsOf: payloads).addresses
      Posix.say("appended \(number) \(addresses.lowerBound.rawValue)")
      number += count
    } catch {
      let appended = (error as? QueueError)?.appended ?? 0
      try await makeRoom(error, number + UInt64(appended))
    }
  }

  private mutating func appendDurably() async throws {
    Posix.say("appends \(number) 1")
    do {
      let address = try await current().append(CrashPayload.make(number), ensuring: .synced).address
      Posix.say("appended \(number) \(address.rawValue)")
      number += 1
      Posix.say("synced \(number)")
    } catch {
      try await makeRoom(error, number)
    }
  }

  /// Syncs, and consumes all records, so that the cap has room again.
  ///
  /// - Parameter next: the first record that was refused. All records after it were refused as
  ///   well.
  private mutating func makeRoom(_ error: any Error, _ next: UInt64) async throws {
    guard let error = error as? QueueError, error.code == .noSpace, options.maximumBytes != nil
    else { throw error }
    Posix.say("refused \(next)")
    number = next
    try block(current().sync)
    Posix.say("synced \(number)")
    while try await consumeBatch(upTo: 500, acknowledgingAll: true) {}
  }

  private mutating func consume() async throws {
    for _ in 0..<1 + random.below(4) {
      guard try await consumeBatch(upTo: 1 + random.below(200), acknowledgingAll: false) else {
        return
      }
    }
  }

  private mutating func consumeBatch(
    upTo count: Int, acknowledgingAll: Bool
  ) async throws -> Bool {
    guard let batch = try await consumer?.nextBatch(upTo: count, following: false) else {
      return false
    }
    let first = batch[0].ordinal
    for (index, record) in batch.enumerated() {
      let number = try CrashPayload.number(of: record.payload)
      if index == 0 { Posix.say("delivered \(first) \(batch.count) \(number)") }
      try check(
        record.ordinal == first + UInt64(index),
        "record \(record.ordinal) came at \(index) behind \(first)")
    }
    let end = first + UInt64(batch.count)
    if acknowledgingAll || random.chance(60) {
      Posix.say("asks \(end)")
      try await batch.acknowledge()
      Posix.say("returned \(end)")
    } else if random.chance(50) {
      let index = random.below(batch.count)
      Posix.say("asks \(first + UInt64(index) + 1)")
      try await batch.acknowledge(through: index)
      Posix.say("returned \(first + UInt64(index) + 1)")
    }
    return true
  }

  private mutating func clean() throws {
    Posix.say("cleans")
    let place = try place(.cleaner)
    let removed = try SlabCleaner(topic: place.topic)
      .clean(
        keeping: Retention(
          bytes: .kibibytes(Int64(random.below(64))), minimumBytes: .kibibytes(8))
      ).removals
    Posix.say("cleaned \(removed.count)")
  }
}
