// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport

/// A promise that was broken, in a sentence that begins with its name.
struct Violation: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}

/// A record as the model knows it.
struct ModelRecord {
  var address: UInt64
  var ordinal: UInt64
  var payload: [UInt8]
  /// The highest level at which it was acknowledged.
  var level: Durability
  /// Whether it may be missing: it was cleaned, or not yet durable where damage ended a crash.
  var isExcused = false

  var end: UInt64 { address + 8 + UInt64(payload.count) }

  func contains(_ address: UInt64) -> Bool { (self.address..<end).contains(address) }
}

/// How often each event happened.
struct Tally {
  private(set) var counts: [String: Int] = [:]

  mutating func count(_ event: String, _ number: Int = 1) { counts[event, default: 0] += number }

  subscript(_ event: String) -> Int { counts[event] ?? 0 }

  mutating func add(_ other: Tally) {
    for (event, number) in other.counts { count(event, number) }
  }

  var text: String {
    counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
  }
}

/// One random program against one topic, and the model of what the topic must hold: a plain array.
///
/// The seed decides everything. What may be lost follows from three things alone: the level that a
/// record was acknowledged at, the bits that were flipped, and the slabs that were cleaned.
final class Program {
  let seed: UInt64
  var random: SeededGenerator
  var storage: SimulatedStorage
  let clock: SimulatedClock
  let environment: Environment
  var writer: QueueWriter?
  var writerOptions = QueueWriter.Options()

  /// What the log holds, in order; cleaned and damaged records are still in it.
  var log: [ModelRecord] = []
  /// Every payload that ever got an address.
  var payloads: [UInt64: [UInt8]] = [:]
  /// Addresses of bytes in which a bit was flipped.
  var flips: Set<UInt64> = []
  /// Whether the writer said that a sync failed.
  var isPoisoned = false
  /// Whether a sync is to fail, and the writer may know it before the model does.
  var syncFault = false
  /// The lowest level that survives what happened since the topic was opened.
  var needed = Durability.buffered
  /// Whether damage hid from recovery how many records the log took.
  var isCountLoose = false
  var nextOrdinal: UInt64 = 0
  var readers: [LiveReader] = []

  private(set) var trace: [String] = []
  var tally = Tally()
  var basesSeen: Set<UInt64> = []

  init(seed: UInt64) {
    self.seed = seed
    random = SeededGenerator(seed: seed)
    storage = SimulatedStorage(seed: random.next())
    let clock = SimulatedClock(seed: random.next())
    self.clock = clock
    environment = Environment(
      now: { clock.now() }, randomID: { clock.randomID() },
      background: random.chance(50) ? .manual : .inline)
    writerOptions.slabSize =
      [
        .kibibytes(4), .kibibytes(4), .kibibytes(8), .kibibytes(32), .kibibytes(256),
      ][random.below(5)]
    writerOptions.bufferSize = [.kibibytes(4), .kibibytes(8), .kibibytes(256)][random.below(3)]
  }

  var topic: Topic { Topic(storage: storage) }

  func note(_ step: String) { trace.append(step) }

  // MARK: Running

  func run() throws {
    if random.chance(40) { storage.setShortWrites(percent: 10 + random.below(60)) }
    storage.logCalls()
    try settle()
    for step in steps() {
      try take(step) { try random.chance(50) ? kill() : powerCut() }
    }
    try finish()
  }

  /// Takes one step; if the process dies in it, `fate` says how, and another one opens the topic.
  func take(_ step: ProgramStep, fate: () throws -> Void) throws {
    note("\(step)")
    try run(step)
    countRolls()
    try meet(fate)
  }

  /// Lets `fate` strike if the process is dying, and sees to it that a writer is open again.
  func meet(_ fate: () throws -> Void) throws {
    for _ in 0..<3 {
      if storage.isDead {
        tally.count("deaths")
        try fate()
        try verify("after dying")
      }
      try open()
    }
    guard writer != nil else { throw Violation("no writer can be opened") }
  }

  /// The end: everything comes to rest, and every reader to its end.
  func finish() throws {
    storage.setFault(nil)
    storage.setCapacity(nil)
    try settle()
    try close()
    try verify("at the end")
    for reader in readers { try reader.drain(self, isLast: true) }
    try checkOrder()
  }

  /// Every sync came in its order.
  private func checkOrder() throws {
    if let fault = orderFault(in: storage.calls) { throw Violation("order: \(fault)") }
  }

  private func countRolls() {
    for base in storage.slabs.keys where basesSeen.insert(base).inserted {
      tally.count(base & 0xFF_FFFF_FFFF == 0 ? "first slabs" : "rolls")
    }
  }

  // MARK: The writer

  /// Opens the topic, with room and without faults if need be, and compares what recovery made of
  /// it with what was there.
  func open() throws {
    guard writer == nil else { return }
    // What a cache that was given up still shows is not what recovery judges.
    let before = storage.slabsAfterDroppedCache
    let naive = naiveRead(slabs: before)
    do {
      let opened = try QueueWriter(topic: topic, options: writerOptions, environment: environment)
      writer = opened
      tally.count(opened.recovery.wasClean ? "clean openings" : "recoveries")
      note("opened, \(opened.recovery.state), end \(opened.recovery.end)")
      try checkRecovery(opened.recovery, before: before, naive: naive)
    } catch let error as QueueError {
      note("opening failed: \(error)")
      if error.code != .syncFailed {
        try checkUntouched(before, after: storage.slabsAfterDroppedCache, isClean: naive.isClean)
      }
      tally.count("failed openings")
      if storage.isDead { return }
      if error.code == .syncFailed { needed = .synced }
      guard error.code == .noSpace || error.code == .syncFailed || isInjected(error) else {
        throw Violation("opening failed without a cause: \(error)")
      }
      storage.setCapacity(nil)
      storage.setFault(nil)
      try open()
    }
  }

  private func isInjected(_ error: QueueError) -> Bool {
    if case .system(errno: Errno.io) = error.code { true } else { false }
  }

  func append(_ payload: [UInt8]) throws {
    guard let writer else { return }
    do {
      try took(payload, at: try writer.append(payload).rawValue)
    } catch let error as QueueError {
      try failed(error, "append")
    }
  }

  func appendBatch(_ payloads: [[UInt8]]) throws {
    guard let writer else { return }
    let batch = WatchedBatch(payloads, writer)
    var failure: QueueError?
    var landed = payloads.count
    do {
      try writer.append(contentsOf: batch)
    } catch {
      failure = error
      landed = error.appended
    }
    for (payload, end) in zip(payloads.prefix(landed), batch.ends + [writer.position.rawValue]) {
      try took(payload, at: end - UInt64(payload.count) - 8)
    }
    if let failure { try failed(failure, "batch") }
  }

  func took(_ payload: [UInt8], at address: UInt64) throws {
    if isPoisoned { throw Violation("G7: an append succeeded after a failed sync") }
    if payloads[address] != nil { throw Violation("G4: address \(address) names two records") }
    if let last = log.last, address < last.end {
      throw Violation("G3: address \(address) is not behind \(last.end)")
    }
    payloads[address] = payload
    log.append(
      ModelRecord(address: address, ordinal: nextOrdinal, payload: payload, level: .buffered))
    nextOrdinal += 1
    tally.count("records")
  }

  /// Raises every record to a level that was reached.
  func reached(_ level: Durability) throws {
    if isPoisoned { throw Violation("G7: \(level) was reached after a failed sync") }
    for index in log.indices.reversed() {
      if log[index].level >= level { break }
      log[index].level = level
    }
  }

  func flush() throws {
    guard let writer else { return }
    do {
      try writer.flush()
      try reached(.flushed)
    } catch let error as QueueError {
      try failed(error, "flush")
    }
  }

  func sync() throws {
    guard let writer else { return }
    do {
      try writer.sync()
      try reached(.synced)
      tally.count("syncs")
    } catch let error as QueueError {
      try failed(error, "sync")
    }
  }

  func syncSlabsLeftBehind() throws {
    guard let writer else { return }
    do {
      try writer.syncSlabsLeftBehind()
    } catch {
      try failed(error, "background sync")
    }
  }

  func close() throws {
    guard let writer else { return }
    do {
      try writer.close()
      try reached(.synced)
      self.writer = nil
      tally.count("closes")
    } catch let error as QueueError {
      try failed(error, "close")
    }
  }

  /// What an error of the writer means for the model.
  private func failed(_ error: QueueError, _ doing: String) throws {
    note("\(doing) failed: \(error.code)")
    if storage.isDead { return }
    switch error.code {
    case .noSpace:
      if isPoisoned { throw Violation("G7: \(doing) after a failed sync says \(error.code)") }
      tally.count("full disks")
    case .syncFailed:
      isPoisoned = true
      // What the system had, it may have lost.
      needed = .synced
      tally.count("failed syncs")
      try checkPoisoned(isClosing: doing == "close")
    default:
      guard isInjected(error) else { throw Violation("\(doing) failed without a cause: \(error)") }
      if isPoisoned { throw Violation("G7: \(doing) after a failed sync says \(error.code)") }
      tally.count("failed writes")
    }
  }

  /// G7: nothing of this writer works any more.
  private func checkPoisoned(isClosing: Bool) throws {
    guard let writer else { return }
    func mustFail(_ name: String, _ body: () throws -> Void) throws {
      do {
        try body()
      } catch let error as QueueError where error.code == .syncFailed {
        return
      }
      throw Violation("G7: \(name) went on after a failed sync")
    }
    try mustFail("append") { _ = try writer.append([1]) }
    try mustFail("flush") { try writer.flush() }
    try mustFail("sync") { try writer.sync() }
    try mustFail("background") { try writer.syncSlabsLeftBehind() }
    // Closing again does nothing; it must not say that all is well before.
    if !isClosing { try mustFail("close") { try writer.close() } }
    self.writer = nil
    isPoisoned = false
  }

  // MARK: Crashes

  /// Brings the topic into a state from which a writer is open and well.
  func settle() throws { try meet(kill) }

  func kill() throws {
    note("kill")
    tally.count("kills")
    writer?.dieForTesting()
    storage.kill()
    writer = nil
    isPoisoned = false
    needed = max(needed, syncFault ? .synced : .flushed)
    syncFault = false
  }

  /// The writer is dropped without a word, and flushes if it can.
  func drop() throws {
    note("drop")
    tally.count("drops")
    writer = nil
    needed = max(needed, syncFault ? .synced : .flushed)
    syncFault = false
  }

  func powerCut() throws {
    note("power cut")
    tally.count("power cuts")
    writer?.dieForTesting()
    writer = nil
    isPoisoned = false
    readers = []
    needed = .synced
    syncFault = false
    try checkOrder()
    storage = storage.powerCut(using: &random)
    storage.logCalls()
  }
}

/// Tells where each record of a batch ended: when the next one is asked for.
private final class WatchedBatch: Sequence, IteratorProtocol {
  private let payloads: [[UInt8]]
  private let writer: QueueWriter
  private var taken = 0
  private(set) var ends: [UInt64] = []

  init(_ payloads: [[UInt8]], _ writer: QueueWriter) {
    self.payloads = payloads
    self.writer = writer
  }

  func next() -> [UInt8]? {
    if taken > 0 { ends.append(writer.position.rawValue) }
    guard taken < payloads.count else { return nil }
    taken += 1
    return payloads[taken - 1]
  }
}
