// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport

@testable import DiskQueue

/// A record that is in the log, as the writer reported.
private struct KnownRecord {
  var address: UInt64
  var payload: [UInt8]
}

/// One step of such a program.
enum CapStep: String, CaseIterable {
  case append, batch, flush, sync, close, time, capacity, shortWrites, kill, cut, background, look

  /// How often it comes, relative to the other steps.
  var weight: Int {
    switch self {
    case .append: 60
    case .batch: 6
    case .flush, .sync: 5
    case .close, .time, .capacity: 4
    case .shortWrites, .kill: 3
    case .cut, .background, .look: 2
    }
  }
}

/// One writer after another on one disk, and the rules that hold at any time. The writers have
/// policies and caps of all kinds. The disk runs full, writes stop short, and there are kills and
/// power cuts.
final class CapProgram {
  var random: SeededGenerator
  var storage: SimulatedStorage
  let clock = ManualClock()
  var writer: QueueWriter?
  var options = QueueWriter.Options()
  private var log: [KnownRecord] = []
  /// How many records are flushed, and how many are synced, at least.
  var flushed = 0
  var synced = 0
  var highest: UInt64 = 0
  var number = 0
  private let isSmall: Bool
  let hasCap: Bool
  let cap: ByteCount
  var opens = 0
  /// Whether the files may exceed the cap from now on.
  var grew = false
  /// How far above the cap a power cut left the files. The slab that was removed last may be back.
  private var back = 0
  private(set) var problem: Violation?
  private(set) var trace: [String] = []
  private var tally = Tally()
  private let seed: UInt64

  init(seed: UInt64) {
    self.seed = seed
    random = SeededGenerator(seed: seed)
    storage = SimulatedStorage(seed: seed, laysOutRoom: SeedRun.laysOutRoom(seed))
    isSmall = random.chance(50)
    hasCap = random.chance(50)
    cap = .kibibytes(Int64(64 + random.below(3) * 32))
  }

  static let suite = ProgramSuite(name: "room", steps: plan) { seed, steps in
    let program = CapProgram(seed: seed)
    program.run(steps)
    return ProgramOutcome(violation: program.problem, tally: program.tally, trace: program.trace)
  }

  static func plan(_ seed: UInt64) -> [PlannedStep] {
    var random = SeededGenerator(seed: ~seed)
    let all = CapStep.allCases.flatMap { Array(repeating: $0, count: $0.weight) }
    let steps = (0..<160).map { _ in all[random.below(all.count)] }
    return PlannedStep.plan(steps.map(\.rawValue), &random)
  }

  private func run(_ steps: [PlannedStep]) {
    for planned in steps where problem == nil {
      guard let step = CapStep(rawValue: planned.name) else { continue }
      random = planned.random(of: seed)
      storage.reseed(random.next())
      take(step)
    }
    writer?.dieForTesting()
  }

  /// Counts a check of a promise. The first broken promise ends the program.
  private func hold(
    _ promise: Promise, _ condition: Bool, _ text: @autoclosure () -> String
  ) {
    tally.count(promise.checked)
    if !condition, problem == nil { problem = Violation(promise, text()) }
  }

  func interval() -> Threshold {
    switch random.below(7) {
    case 0: .records(1)
    case 1: .records(UInt64(1 + random.below(6)))
    case 2: .bytes(.bytes(Int64(1 + random.below(3000))))
    case 3: .milliseconds(100)
    case 4: .init(records: 5, bytes: .bytes(2000), time: .milliseconds(50))
    default: .never
    }
  }

  func open() {
    options = QueueWriter.Options()
    options.slabSize = .bytes(Int64([4096, 8192, 16_384][random.below(3)]))
    options.bufferSize = .bytes(Int64([4096, 8192, 200_000][random.below(3)]))
    if isSmall {
      // With these, the program meets every boundary.
      options.slabSize = .kibibytes(4)
      options.markSpacing = 256
    }
    options.flushEvery = interval()
    options.syncEvery = interval()
    options.whenFull = [.fail, .dropOldest, .dropOldest, .dropOldestAcknowledged][random.below(4)]
    if hasCap { options.maximumBytes = cap }
    let background: Environment.Background = random.chance(50) ? .inline : .manual
    let clock = clock
    do throws(QueueError) {
      writer = try QueueWriter(
        topic: Topic(storage: storage), options: options,
        environment: fixedEnvironment(clock, background: background))
      opens += 1
      trace.append("open \(options), \(background)")
      settle("open", isRecovered: true)
    } catch {
      hold(.g9, error.code == .noSpace, "open: \(error)")
    }
  }

  /// Reads everything, and compares it with the known records. After a recovery, the records that
  /// were read replace the known ones.
  func settle(_ when: String, isRecovered: Bool) {
    let naive = naiveRead(slabs: storage.slabs)
    let pass = storage.pass()
    let difference = pass.difference(from: naive)
    hold(.g5, difference == nil, "\(when): \(difference ?? "")")
    let damaged = pass.losses.filter { $0.cause == .damaged }
    hold(.g5, damaged.isEmpty, "\(when): damaged \(damaged)")
    let first = storage.slabs.keys.min() ?? 0
    let expected = log.filter { $0.address >= first }
    let gone = log.count - expected.count
    let least = max(0, (isRecovered ? synced : flushed) - gone)
    let got = pass.records
    for (index, record) in got.enumerated() {
      hold(
        .g2, index < expected.count,
        "\(when): \(got.count - expected.count) unknown records from \(record.address)")
      guard index < expected.count else { break }
      hold(
        .g3, record.address == expected[index].address,
        "\(when): record \(index) is at \(record.address) and not \(expected[index].address)")
      hold(
        .g2, record.payload == expected[index].payload,
        "\(when): another payload at \(record.address)")
      if index > 0, let mine = record.ordinal, let before = got[index - 1].ordinal {
        hold(.g3, mine == before + 1, "\(when): ordinals \(before), \(mine)")
      }
      guard problem == nil else { break }
    }
    hold(
      .g1, got.count >= least,
      "\(when): \(got.count) of \(least) that must be there of \(expected.count)")
    if isRecovered {
      log = Array(expected.prefix(got.count))
      flushed = log.count
      synced = log.count
    }
  }

  func payload() -> [UInt8] {
    number += 1
    var length: Int
    switch random.below(20) {
    case 0: length = 3000 + random.below(7000)
    case 1: length = hasCap ? 12_000 + random.below(8000) : 60_000 + random.below(20_000)
    case 2: length = 0
    default: length = random.below(500)
    }
    let text = Array("#\(number) ".utf8)
    length = max(length, text.count)
    return text + [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: length - text.count)
  }

  func took(_ payload: [UInt8], at address: UInt64) {
    hold(.g4, address >= highest, "address \(address) below \(highest)")
    highest = address + 8 + UInt64(payload.count)
    log.append(KnownRecord(address: address, payload: payload))
  }

  /// Checks that the files keep to the cap.
  func look() {
    guard writer != nil else { return }
    let slabs = storage.slabs
    if hasCap {
      let used = slabs.values.reduce(0) { $0 + $1.count }
      let cap = Int(options.maximumBytes?.bytes ?? 0)
      // Each opening and closing writes headers and marks, even at the cap.
      guard !grew else { return }
      hold(.g9, used <= cap + 320 * opens + back, "\(used) bytes of \(cap) after \(opens) opens")
    }
  }

  func take(_ step: CapStep) {
    guard let writer else {
      if step == .cut { return cut() }
      if random.chance(40) { storage.setCapacity(nil) }
      return open()
    }
    switch step {
    case .append:
      let payload = payload()
      let before = log.count
      do throws(QueueError) {
        took(payload, at: try writer.append(payload).address.rawValue)
        trace.append("append \(payload.count) at \(log[log.count - 1].address)")
      } catch {
        trace.append("refused \(payload.count) \(error.code) appended \(error.appended)")
        if error.appended == 1, let address = error.address { took(payload, at: address.rawValue) }
        hold(.g9, error.code == .noSpace || error.code == .payloadTooLarge, "append: \(error)")
      }
      if log.count > before {
        if options.flushEvery.records == 1 || options.syncEvery.records == 1 { flushed = log.count }
      }
    case .batch:
      var batch: [[UInt8]] = []
      for _ in 0..<random.below(8) { batch.append(payload()) }
      let position = writer.position.rawValue
      do throws(QueueError) {
        let range = try writer.append(contentsOf: batch).addresses
        if batch.isEmpty { break }
        noteBatch(batch, batch.count, from: range.lowerBound.rawValue)
        hold(
          .g4, highest == range.upperBound.rawValue,
          "batch ends at \(range.upperBound), \(highest) known")
      } catch {
        trace.append("batch \(error.code) \(error.appended) of \(batch.count)")
        noteBatch(batch, error.appended, from: position)
        hold(.g9, error.code == .noSpace || error.code == .payloadTooLarge, "batch: \(error)")
      }
    case .flush:
      do throws(QueueError) {
        try writer.flush()
        flushed = log.count
        trace.append("flush")
        settle("flush", isRecovered: false)
      } catch { hold(.g9, error.code == .noSpace, "flush: \(error)") }
    case .sync:
      do throws(QueueError) {
        try writer.sync()
        (flushed, synced) = (log.count, log.count)
        trace.append("sync")
      } catch { hold(.g9, error.code == .noSpace, "sync: \(error)") }
    case .close:
      do throws(QueueError) {
        try writer.close()
        trace.append("close")
        self.writer = nil
        (flushed, synced) = (log.count, log.count)
        settle("close", isRecovered: false)
      } catch {
        trace.append("close \(error.code)")
        hold(.g9, error.code == .noSpace, "close: \(error)")
      }
    case .time:
      clock.advance(by: UInt64(random.below(200)) * 1_000_000)
      writer.runDueWork()
      trace.append("time")
    case .capacity:
      if hasCap, random.chance(60) { break }
      if random.chance(60) {
        storage.setCapacity(storage.used + random.below(3000))
      } else {
        storage.setCapacity(nil)
      }
      // If this disk cannot truncate, the bytes of a refused record stay in its file, and count.
      if hasCap { grew = true }
      trace.append("capacity")
    case .shortWrites: storage.setShortWrites(percent: [0, 30, 100][random.below(3)])
    case .kill:
      storage.kill()
      writer.dieForTesting()
      self.writer = nil
      trace.append("kill")
      settle("kill", isRecovered: false)
    case .cut: cut()
    case .background:
      do throws(QueueError) { try writer.syncLeftSlabs() } catch {
        hold(.g7, false, "left: \(error)")
      }
    case .look:
      settle("look", isRecovered: false)
    }
    look()
  }

  func noteBatch(_ batch: [[UInt8]], _ count: Int, from: UInt64) {
    // A batch does not report the addresses of its records. They are found by reading.
    guard count > 0 else { return }
    guard let writer else { return }
    // Marks are between them, so the addresses come from the log.
    let known = highest
    do throws(QueueError) { try writer.flush() } catch {
      // The records are not readable now. Give the disk space for them.
      storage.setCapacity(nil)
      do throws(QueueError) { try writer.flush() } catch { hold(.g9, false, "flush: \(error)") }
    }
    let records = storage.pass().records.filter { $0.address >= known }
    hold(.g2, records.count <= count, "batch: \(records.count) landed of \(count)")
    let tail = batch.prefix(count).suffix(records.count)
    for (record, payload) in zip(records, tail) {
      hold(.g2, record.payload == payload, "batch: another payload")
    }
    // Records that were dropped again do not matter.
    for record in records { took(record.payload, at: record.address) }
    flushed = log.count
  }

  func cut() {
    trace.append("power cut")
    writer?.dieForTesting()
    writer = nil
    storage = storage.powerCut(using: &random)
    back = max(0, storage.slabs.values.reduce(0) { $0 + $1.count } - Int(cap.bytes))
    settle("cut", isRecovered: true)
  }
}
