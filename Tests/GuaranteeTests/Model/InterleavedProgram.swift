// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport

/// One step of such a program.
enum InterleavedStep: String, CaseIterable {
  case append, batch, large, flush, sync, background, close, kill, clean, look, newReader

  /// How often it comes, relative to the other steps.
  var weight: Int {
    switch self {
    case .append: 12
    case .batch, .flush, .newReader: 4
    case .sync, .clean: 3
    case .background, .look, .large: 2
    case .close, .kill: 1
    }
  }
}

/// A writer, a cleaner, and readers that run between any two system calls of the other two.
///
/// Nothing is damaged, and the power does not fail. A record's payload begins with its ordinal, so
/// the program knows which record each reader must get next.
final class InterleavedProgram {
  private let seed: UInt64
  private var random: SeededGenerator
  private let storage: SimulatedStorage
  private let environment: Environment
  private var options = QueueWriter.Options()
  private var writer: QueueWriter?
  private var readers: [SteppedReader] = []

  /// Every record, by its ordinal. The append of the last ones may not have returned.
  private var log: [[UInt8]] = []
  /// How many records are flushed, at least, and how many were cleaned, at most.
  private var flushed = 0
  private var cleaned = 0
  private var number: UInt64 = 0
  /// In how many of a hundred calls a reader runs.
  private let eagerness: Int
  /// Readers do not interrupt each other.
  private var isReading = false
  private var problem: Violation?
  private var tally = Tally()
  private var trace: [String] = []

  init(seed: UInt64) {
    self.seed = seed
    random = SeededGenerator(seed: seed)
    storage = SimulatedStorage(seed: random.next(), laysOutRoom: SeedRun.laysOutRoom(seed))
    let clock = SimulatedClock(seed: random.next())
    environment = Environment(
      now: { clock.now() }, monotonic: { clock.truth }, randomID: { clock.randomID() },
      background: random.chance(50) ? .manual : .inline)
    options.slabSize = .kibibytes(random.chance(70) ? 4 : 16)
    options.bufferSize = .kibibytes(4)
    if random.chance(70) { options.markSpacing = 256 }
    eagerness = [2, 10, 30, 100][random.below(4)]
    if random.chance(40) { storage.setShortWrites(percent: 10 + random.below(60)) }
  }

  static let suite = ProgramSuite(name: "interleaved", steps: plan) { seed, steps in
    let program = InterleavedProgram(seed: seed)
    var outcome = ProgramOutcome()
    do {
      try program.run(steps)
    } catch let violation as Violation {
      outcome.violation = violation
    } catch {
      outcome.violation = Violation(.g11, "an error that nothing caused: \(error)")
    }
    program.writer?.dieForTesting()
    outcome.tally = program.tally
    outcome.trace = program.trace
    return outcome
  }

  static func plan(_ seed: UInt64) -> [PlannedStep] {
    var random = SeededGenerator(seed: ~seed)
    let all = InterleavedStep.allCases.flatMap { Array(repeating: $0, count: $0.weight) }
    let steps = (0..<60).map { _ in all[random.below(all.count)] }
    return PlannedStep.plan(steps.map(\.rawValue), &random)
  }

  private func hold(
    _ promise: Promise, _ condition: Bool, _ text: @autoclosure () -> String
  ) throws(Violation) { try tally.hold(promise, condition, text) }

  private func run(_ steps: [PlannedStep]) throws {
    try open()
    // Everything runs on one thread: the calls within `take` call the hook.
    nonisolated(unsafe) let program = self
    for planned in steps {
      guard let step = InterleavedStep(rawValue: planned.name) else { continue }
      random = planned.random(of: seed)
      storage.reseed(random.next())
      trace.append("\(step), \(log.count) records, \(flushed) flushed, \(cleaned) cleaned")
      storage.setHook { _ in program.interrupt() }
      defer { storage.setHook(nil) }
      try take(step)
      if let problem { throw problem }
    }
    try writer?.flush()
    flushed = log.count
    for reader in readers {
      try go(reader, .max)
      // Or there was no record for it, from its start on.
      let isAtEnd = reader.known.map { $0 == log.count } ?? (mostFirst(reader) >= log.count)
      try hold(.g3, isAtEnd, "a reader ends at \(reader.next) of \(log.count) records")
    }
  }

  private func open() throws {
    let opened = try QueueWriter(
      topic: Topic(storage: storage), options: options, environment: environment)
    writer = opened
    // A kill takes the records that were not flushed.
    let end = SlabHead.ordinal(of: storage.slabs)
    try hold(.g1, (flushed...log.count).contains(end), "\(end) of \(flushed)...\(log.count) kept")
    log.removeLast(log.count - end)
    flushed = end
  }

  private func take(_ step: InterleavedStep) throws {
    guard let writer else { return }
    switch step {
    case .append: for _ in 0..<1 + random.below(8) { try writer.append(payload(random.below(300))) }
    case .batch:
      let first = log.count
      try writer.append(contentsOf: (0..<random.below(12)).map { _ in payload(random.below(300)) })
      try hold(.g1, log.count >= first, "a batch took back records")
    case .large: try writer.append(payload(3000 + random.below(9000)))
    case .flush:
      try writer.flush()
      flushed = log.count
    case .sync:
      try writer.sync()
      flushed = log.count
    case .background: try writer.syncLeftSlabs()
    case .close:
      try writer.close()
      flushed = log.count
      try open()
    case .kill:
      writer.dieForTesting()
      storage.kill()
      try open()
    case .clean: try clean()
    case .look: for reader in readers { try go(reader, random.below(40)) }
    case .newReader: if readers.count < 4 { try begin() }
    }
  }

  private func clean() throws {
    let cleaner = try SlabCleaner(topic: Topic(storage: storage), environment: environment)
    let retention = Retention(
      records: UInt64(random.below(60)), minimumBytes: .bytes(0), consumers: .ignored)
    let report = try cleaner.clean(keeping: retention) { removal in
      // A reader in between may reach the next slab at once.
      cleaned += Int(removal.records ?? 0)
    }
    tally.count("slabs cleaned", report.removals.count)
  }

  private func payload(_ length: Int) -> [UInt8] {
    number += 1
    var payload: [UInt8] = []
    withUnsafeBytes(of: UInt64(log.count).littleEndian) { payload += $0 }
    withUnsafeBytes(of: number.littleEndian) { payload += $0 }
    payload += [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: length)
    log.append(payload)
    return payload
  }

  // MARK: Readers

  /// A reader, and the ordinal that must come next.
  private final class SteppedReader {
    var reader: QueueReader
    /// Nil: not known before the first record.
    var known: Int?
    var next: Int { known ?? 0 }
    let reported: Reported
    /// Whether a loss of cleaned records was reported to it.
    var isOvertaken = false
    /// The lowest ordinal that its first record may have.
    let least: Int
    /// The highest ordinal that its first record may have. Nil: that of the first record left.
    let most: Int?

    init(_ reader: consuming QueueReader, _ reported: Reported, least: Int, most: Int?) {
      self.reader = reader
      self.reported = reported
      self.least = least
      self.most = most
    }
  }

  private func begin() throws {
    let isLatest = random.chance(30)
    let before = (flushed: flushed, cleaned: cleaned)
    let reported = Reported()
    var readerOptions = QueueReader.Options()
    readerOptions.bufferSize = .kibibytes(4)
    let reader = try QueueReader(
      topic: Topic(storage: storage), from: isLatest ? .latest : .earliest, options: readerOptions
    ) { reported.take($0) }
    // The reader begins with the first record that exists, or with the one after the flushed ones.
    readers.append(
      SteppedReader(
        reader, reported, least: isLatest ? before.flushed : before.cleaned,
        most: isLatest ? log.count : nil))
    tally.count("readers")
  }

  /// Lets a reader run between two calls of the writer or the cleaner.
  private func interrupt() {
    guard problem == nil, !isReading, random.chance(eagerness),
      let reader = readers.randomElement(using: &random)
    else { return }
    tally.count("interruptions")
    do {
      try go(reader, 1 + random.below(5))
    } catch let violation as Violation {
      problem = violation
    } catch {
      problem = Violation(.g11, "a reader in between failed: \(error)")
    }
  }

  private func go(_ reader: SteppedReader, _ most: Int) throws {
    isReading = true
    defer { isReading = false }
    for _ in 0..<most {
      guard let record = try reader.reader.nextCopy() else {
        return try settle(reader)
      }
      let ordinal = Int(record.ordinal)
      try settle(reader)
      try hold(
        .g2, ordinal < log.count && log[ordinal] == record.payload,
        "a reader was given record \(ordinal), and another was appended")
      if reader.known == nil {
        let most = mostFirst(reader)
        try hold(
          .g11, ordinal >= reader.least && ordinal <= most,
          "a reader began at \(ordinal), not in \(reader.least)...\(most)")
        reader.known = ordinal
      }
      try hold(
        .g3, ordinal == reader.next, "a reader was given \(ordinal), and \(reader.next) was next")
      reader.known = ordinal + 1
      tally.count("records read")
    }
  }

  /// The highest ordinal that a reader's first record may have.
  private func mostFirst(_ reader: SteppedReader) -> Int {
    let first =
      reader.most == nil || reader.isOvertaken
      ? SlabHead.firstOrdinal(of: storage.slabs) : 0
    return max(first, reader.most ?? 0)
  }

  /// Only the cleaner may cause a loss here, and each such loss must be reported.
  private func settle(_ reader: SteppedReader) throws {
    for loss in reader.reported.losses {
      try hold(
        .g5, loss.cause == .cleaned && loss.records.map { Int($0) <= log.count } ?? true,
        "a reader was told of \(loss)")
      reader.isOvertaken = true
      if let known = reader.known { reader.known = known + Int(loss.records ?? 0) }
      tally.count("losses by cleaning")
    }
    reader.reported.forget()
  }
}
