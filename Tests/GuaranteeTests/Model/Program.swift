// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport

/// A record as the model knows it.
struct ModelRecord {
  var address: UInt64
  var ordinal: UInt64
  var payload: [UInt8]
  /// The highest level at which it was acknowledged.
  var level: Durability
  /// The true time at which it was appended.
  var time: UInt64 = 0
  /// Whether it may be missing, because it was cleaned.
  var isExcused = false

  var end: UInt64 { address + 8 + UInt64(payload.count) }

  func contains(_ address: UInt64) -> Bool { (self.address..<end).contains(address) }
}

/// One random program against one topic. The model of the topic's content is a plain array.
///
/// The seed and the steps decide everything. The setup comes from the seed. All random choices in a
/// step come from that step's own seed. Three things alone decide which records may be lost:
///
/// - the level at which a record was acknowledged
/// - the bits that were flipped
/// - the slabs that were cleaned
final class Program {
  let seed: UInt64
  var random: SeededGenerator
  var storage: SimulatedStorage
  let clock: SimulatedClock
  let environment: Environment
  var writer: QueueWriter?
  var writerOptions = QueueWriter.Options()

  /// The records of the log, in order, including cleaned and damaged ones.
  var log: [ModelRecord] = []
  /// Every payload that ever got an address.
  var payloads: [UInt64: [UInt8]] = [:]
  /// Addresses of bytes in which a bit was flipped.
  var flips: Set<UInt64> = []
  /// Whether the writer reported that a sync failed.
  var isPoisoned = false
  /// Whether a fault is set that makes a sync fail.
  var syncFault = false
  /// Whether a sync of any caller failed since a writer last judged the disk's content.
  var hasLostSyncedData = false
  /// The lowest level that survives the events since the topic was opened.
  var needed = Durability.buffered
  /// Whether damage hid from recovery how many records the log took.
  var isCountLoose = false
  var nextOrdinal: UInt64 = 0
  var readers: [LiveReader] = []
  let consumers = [ProgramConsumer("a"), ProgramConsumer("b")]
  /// The ids that writers gave the topic: the first one, and others if the whole topic was lost.
  var topicIDs: [UInt64] = []
  /// How far the clock was set back at most, in nanoseconds.
  var mostBehind: UInt64 = 0

  private(set) var trace: [String] = []
  var tally = Tally()
  var basesSeen: Set<UInt64> = []

  init(seed: UInt64) {
    self.seed = seed
    random = SeededGenerator(seed: seed)
    storage = SimulatedStorage(seed: random.next(), laysOutRoom: SeedRun.laysOutRoom(seed))
    let clock = SimulatedClock(seed: random.next())
    self.clock = clock
    environment = Environment(
      now: { clock.now() }, monotonic: { clock.truth }, randomID: { clock.randomID() },
      background: random.chance(50) ? .manual : .inline)
    if random.chance(50) {
      // With these, the program meets every boundary.
      writerOptions.slabSize = .kibibytes(4)
      writerOptions.markSpacing = 256
    } else {
      writerOptions.slabSize =
        [.kibibytes(4), .kibibytes(8), .kibibytes(32), .kibibytes(256)][random.below(4)]
    }
    writerOptions.bufferSize = [.kibibytes(4), .kibibytes(8), .kibibytes(256)][random.below(3)]
    if random.chance(40) { storage.setShortWrites(percent: 10 + random.below(60)) }
  }

  var topic: Topic { Topic(storage: storage) }

  func note(_ step: String) { trace.append(step) }

  /// Counts a check of a promise, and throws if it is broken.
  func hold(
    _ promise: Promise, _ condition: Bool, _ text: @autoclosure () -> String
  ) throws(Violation) { try tally.hold(promise, condition, text) }

  // MARK: Running

  func run(_ steps: [PlannedStep]) async throws {
    storage.logCalls()
    try settle()
    for planned in steps {
      guard let step = ProgramStep(rawValue: planned.name) else { continue }
      random = planned.random(of: seed)
      storage.reseed(random.next())
      try await take(step) { try random.chance(50) ? kill() : powerCut() }
    }
    random = SeededGenerator(seed: seed)
    try await finish()
  }

  /// Runs one step. If the process dies in it, `fate` decides how. Then another process opens the
  /// topic.
  func take(_ step: ProgramStep, fate: () throws -> Void) async throws {
    note("\(step)")
    try await run(step)
    countRolls()
    noteFailedSync()
    try meet(fate)
  }

  /// Calls `fate` if the process is dying, and makes sure that a writer is open again.
  func meet(_ fate: () throws -> Void) throws {
    for _ in 0..<3 {
      if storage.isDead {
        tally.count("deaths")
        try fate()
        try verify("after dying")
      }
      try open()
    }
    try hold(.g1, writer != nil, "no writer can be opened")
  }

  /// Ends the program: no more faults, and every reader and consumer reads to its end.
  func finish() async throws {
    try calm()
    for consumer in consumers { try await finish(consumer) }
    try rest()
  }

  // Keep the two halves that wait for nothing in functions of their own. In one function with code
  // that waits, they crash the optimiser of Swift 6.3 under ThreadSanitizer.

  @inline(never)
  private func calm() throws {
    noteFailedSync()
    storage.setFault(nil)
    storage.setCapacity(nil)
    try settle()
  }

  @inline(never)
  private func rest() throws {
    try close()
    // If a sync failed for another caller, the writer reports it now.
    try settle()
    try close()
    try verify("at the end")
    for reader in readers { try reader.drain(self, isLast: true) }
    try checkStamps()
    try checkOrder()
  }

  /// Checks that every sync came in its order.
  private func checkOrder() throws {
    let fault = orderFault(in: storage.calls)
    try hold(.g1, fault == nil, "order: \(fault ?? "")")
  }

  /// Notes a failed sync: data that the system held may be lost.
  func noteFailedSync() {
    if syncFault, storage.hits > 0 { (hasLostSyncedData, syncFault) = (true, false) }
    guard hasLostSyncedData else { return }
    needed = .synced
    for consumer in consumers { consumer.mayBeAhead = true }
  }

  private func countRolls() {
    for base in storage.slabs.keys where basesSeen.insert(base).inserted {
      tally.count(base & 0xFF_FFFF_FFFF == 0 ? "first slabs" : "rolls")
    }
  }

  // MARK: The writer

  /// Opens the topic, and compares the recovered log with the one before. If opening fails, gives
  /// the disk space and removes faults, and opens it again.
  func open() throws {
    guard writer == nil else { return }
    // Recovery judges the disk's content, not cached bytes that a failed sync gave up.
    let before = storage.slabsAfterDroppedCache
    let naive = naiveRead(slabs: before)
    do {
      let opened = try QueueWriter(topic: topic, options: writerOptions, environment: environment)
      writer = opened
      tally.count(opened.recovery.wasClean ? "clean openings" : "recoveries")
      note("opened, \(opened.recovery.state), end \(opened.recovery.end)")
      try checkRecovery(opened.recovery, before: before, naive: naive)
      if let id = SlabHead.topicID(of: storage.slabs), topicIDs.last != id {
        // If everything was lost before a name was durable, that was another topic.
        if before.isEmpty { topicIDs = [] }
        topicIDs.append(id)
      }
    } catch let error as QueueError {
      note("opening failed: \(error)")
      if error.code != .syncFailed {
        try checkUntouched(before, after: storage.slabsAfterDroppedCache, isClean: naive.isClean)
      }
      tally.count("failed openings")
      if storage.isDead { return }
      noteFailedSync()
      if error.code == .syncFailed { needed = .synced }
      try hold(
        .g1, error.code == .noSpace || error.code == .syncFailed || isInjected(error),
        "opening failed without a cause: \(error)")
      storage.setCapacity(nil)
      storage.setFault(nil)
      try open()
    }
  }

  func isInjected(_ error: QueueError) -> Bool {
    if case .system(errno: Errno.io) = error.code { true } else { false }
  }

  func append(_ payload: [UInt8]) throws {
    guard let writer else { return }
    do {
      try took(payload, at: try writer.append(payload).address.rawValue)
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
    try hold(.g7, !isPoisoned, "an append succeeded after a failed sync")
    try hold(.g4, payloads[address] == nil, "address \(address) names two records")
    let end = log.last?.end ?? 0
    try hold(.g3, address >= end, "address \(address) is not behind \(end)")
    payloads[address] = payload
    log.append(
      ModelRecord(
        address: address, ordinal: nextOrdinal, payload: payload, level: .buffered,
        time: clock.truth))
    nextOrdinal += 1
    tally.count("records")
  }

  /// Raises every record to a level that was reached.
  func reached(_ level: Durability) throws {
    try hold(.g7, !isPoisoned, "\(level) was reached after a failed sync")
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

  func syncLeftSlabs() throws {
    guard let writer else { return }
    do {
      try writer.syncLeftSlabs()
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

  /// Applies an error of the writer to the model.
  private func failed(_ error: QueueError, _ doing: String) throws {
    note("\(doing) failed: \(error.code)")
    if storage.isDead { return }
    switch error.code {
    case .noSpace:
      try hold(.g7, !isPoisoned, "\(doing) after a failed sync says \(error.code)")
      tally.count("full disks")
    case .syncFailed:
      isPoisoned = true
      // Data that the system held may be lost.
      needed = .synced
      tally.count("failed syncs")
      try checkPoisoned(isClosing: doing == "close")
    default:
      try hold(.g1, isInjected(error), "\(doing) failed without a cause: \(error)")
      try hold(.g7, !isPoisoned, "\(doing) after a failed sync says \(error.code)")
      tally.count("failed writes")
    }
  }

  /// G7: no call of this writer succeeds any more.
  private func checkPoisoned(isClosing: Bool) throws {
    guard let writer else { return }
    func mustFail(_ name: String, _ body: () throws -> Void) throws {
      var code: QueueError.Code?
      do {
        try body()
      } catch let error as QueueError {
        code = error.code
      }
      try hold(.g7, code == .syncFailed, "\(name) went on after a failed sync")
    }
    try mustFail("append") { _ = try writer.append([1]) }
    try mustFail("flush") { try writer.flush() }
    try mustFail("sync") { try writer.sync() }
    try mustFail("background") { try writer.syncLeftSlabs() }
    // A second close does nothing. But the first one must not report success.
    if !isClosing { try mustFail("close") { try writer.close() } }
    self.writer = nil
    isPoisoned = false
  }

  // MARK: Crashes

  /// Brings the topic into a state in which a writer is open and works.
  func settle() throws { try meet(kill) }

  func kill() throws {
    note("kill")
    tally.count("kills")
    writer?.dieForTesting()
    storage.kill()
    writer = nil
    for consumer in consumers { consumer.end() }
    isPoisoned = false
    noteFailedSync()
    needed = max(needed, .flushed)
    syncFault = false
  }

  /// Releases the writer without closing it. It flushes if it can.
  func drop() throws {
    note("drop")
    tally.count("drops")
    writer = nil
    noteFailedSync()
    needed = max(needed, .flushed)
    syncFault = false
  }

  func powerCut() throws {
    note("power cut")
    tally.count("power cuts")
    writer?.dieForTesting()
    writer = nil
    isPoisoned = false
    readers = []
    for consumer in consumers { consumer.end() }
    noteFailedSync()
    (needed, syncFault, hasLostSyncedData) = (.synced, false, false)
    try checkOrder()
    storage = storage.powerCut(using: &random)
    storage.logCalls()
  }
}

/// Notes the end of each record of a batch when the writer asks for the next record.
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
