// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport

/// One step of a program.
enum ProgramStep: String, CaseIterable {
  case append, appendMany, appendLarge, batch, flush, sync, background, closeAndOpen, drop
  case kill, powerCut, flip, clean, fill, jump, failSync, failWrite, die, read, newReader, verify
  case seek, roll, consume, drain, acknowledge, closeConsumer, flipCursor, pass, setRight

  /// How often it comes, relative to the other steps.
  var weight: Int {
    switch self {
    case .append, .appendMany: 14
    case .consume, .acknowledge: 9
    case .batch, .flush, .sync, .read: 7
    case .clean: 6
    case .background, .verify, .closeAndOpen, .seek, .drain: 4
    case .kill, .jump, .newReader, .fill, .roll, .pass: 3
    case .appendLarge, .powerCut, .flip, .failSync, .failWrite, .die, .drop, .flipCursor: 2
    case .closeConsumer, .setRight: 2
    }
  }
}

extension Program {
  /// The programs that run against a plain array.
  static let suite = ProgramSuite(name: "topic", steps: plan) { seed, steps in
    let program = Program(seed: seed)
    var outcome = ProgramOutcome()
    do {
      try await program.run(steps)
    } catch let violation as Violation {
      outcome.violation = violation
    } catch {
      outcome.violation = Violation(.g5, "an error that nothing caused: \(error)")
    }
    program.end()
    outcome.tally = program.tally
    outcome.trace = program.trace
    if outcome.violation != nil { outcome.trace.append(sketch(of: program.storage.slabs)) }
    return outcome
  }

  /// Ends everything that the program opened.
  private func end() {
    writer?.dieForTesting()
    for consumer in consumers { consumer.end() }
  }

  /// The steps for a seed: random ones, and nearly always each kind of accident.
  static func plan(_ seed: UInt64) -> [PlannedStep] {
    var random = SeededGenerator(seed: ~seed)
    let all = ProgramStep.allCases.flatMap { Array(repeating: $0, count: $0.weight) }
    var steps = (0..<(25 + random.below(60))).map { _ in all[random.below(all.count)] }
    for step in [ProgramStep.kill, .powerCut, .flip, .roll] where random.chance(97) {
      steps.insert(step, at: random.below(steps.count + 1))
    }
    // Damage lasts. In half of the programs it comes late, so that the strict rules hold before it.
    if random.chance(50) {
      let flips = steps.count { $0 == .flip }
      steps.removeAll { $0 == .flip }
      let tail = steps.count * 3 / 4
      for _ in 0..<flips { steps.insert(.flip, at: tail + random.below(steps.count - tail + 1)) }
    }
    return PlannedStep.plan(steps.map(\.rawValue), &random)
  }

  func run(_ step: ProgramStep) async throws {
    switch step {
    case .append: try append(payload())
    case .appendMany: for _ in 0..<random.below(30) { try append(payload()) }
    case .appendLarge: try append(payload(length: 60_000 + random.below(120_000)))
    case .batch: try appendBatch((0..<random.below(12)).map { _ in batchPayload() })
    case .flush: try flush()
    case .sync: try sync()
    case .background: try syncLeftSlabs()
    case .closeAndOpen:
      try close()
      if random.chance(50), !storage.isDead { try verify("after closing") }
    case .drop: try drop()
    case .kill:
      try kill()
      try verify("after a kill")
    case .powerCut:
      try powerCut()
      try verify("after a power cut")
    case .flip: try flip()
    case .clean: try clean()
    case .fill: fill()
    case .jump: jump()
    case .setRight: clock.setRight()
    case .pass: passTime()
    case .consume: try await consume(consumers[random.below(2)])
    case .drain: try await drain(consumers[random.below(2)])
    case .acknowledge: try await acknowledge(consumers[random.below(2)])
    case .closeConsumer: try await close(consumers[random.below(2)])
    case .flipCursor: flipCursor()
    case .failSync: failSync()
    case .failWrite:
      noteFailedSync()
      syncFault = false
      storage.setFault(
        SimulatedStorage.Fault(.fail(Errno.io), at: 1 + random.below(4)) { $0.isWrite })
    case .die:
      noteFailedSync()
      syncFault = false
      storage.setFault(SimulatedStorage.Fault(.die, at: 1 + random.below(12)))
    case .read: for reader in readers { try reader.read(random.below(60), self) }
    case .newReader: if readers.count < 3 { readers.append(try LiveReader(self)) }
    case .verify: try verify("in between")
    case .seek: try seek()
    case .roll: try roll()
    }
  }

  // MARK: Payloads

  func payload() -> [UInt8] {
    switch random.below(20) {
    case 0: payload(length: random.below(3))
    case 1...12: payload(length: random.below(200))
    case 13...17: payload(length: random.below(1500))
    case 18: payload(length: random.below(9000))
    default: stolenPayload()
    }
  }

  /// A payload so short that no mark follows directly. Then the writer's position is its end.
  private func batchPayload() -> [UInt8] {
    let payload = payload()
    return payload.count <= writerOptions.markSpacing ? payload : self.payload(length: 200)
  }

  /// Bytes that no other payload has, except the shortest ones.
  func payload(length: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(length + 8)
    while bytes.count < length {
      withUnsafeBytes(of: random.next()) { bytes.append(contentsOf: $0) }
    }
    bytes.removeLast(bytes.count - length)
    return bytes
  }

  /// A payload that looks like a piece of a slab, with headers, marks and records.
  private func stolenPayload() -> [UInt8] {
    let slabs = storage.slabs.sorted { $0.key < $1.key }
    guard !slabs.isEmpty else { return [] }
    let bytes = slabs[random.below(slabs.count)].value
    guard bytes.count > 1 else { return [] }
    let start = random.below(bytes.count)
    return payload(length: random.below(16)) + bytes[start...].prefix(random.below(600))
  }

  // MARK: Steps

  private func roll() throws {
    let before = storage.slabs.count
    var taken = -1
    while writer != nil, storage.slabs.count == before, log.count != taken {
      taken = log.count
      try append(payload(length: 900))
    }
  }

  private func flip() throws {
    let slabs = storage.slabs.filter { !$0.value.isEmpty }.sorted { $0.key < $1.key }
    guard !slabs.isEmpty else { return }
    let (base, bytes) = slabs[random.below(slabs.count)]
    // In 30 of 100 cases, among the first 140 bytes: the header and the first mark.
    let byte = random.chance(30) ? random.below(min(bytes.count, 140)) : random.below(bytes.count)
    guard !flips.contains(base + UInt64(byte)) else { return }
    storage.flip(bit: byte * 8 + random.below(8), ofSlab: base)
    flips.insert(base + UInt64(byte))
    note("flipped a bit of \(base + UInt64(byte))")
    tally.count("flips")
    try verify("after a flip")
  }

  private func fill() {
    guard random.chance(60) else { return storage.setCapacity(nil) }
    storage.setCapacity(storage.used + random.below(3000))
  }

  private func failSync() {
    noteFailedSync()
    syncFault = true
    storage.setFault(
      SimulatedStorage.Fault(.fail(random.chance(50) ? Errno.io : Errno.noSpace), at: 1) { call in
        call.isSync || call == .syncDirectory
      })
  }

  /// Without damage, a record is found by its address and by its ordinal.
  private func seek() throws {
    let known = log.filter { $0.level >= .flushed && !$0.isExcused }
    guard flips.isEmpty, !storage.isDead, let record = known.randomElement(using: &random) else {
      return
    }
    tally.count("seeks")
    let address = Address(rawValue: record.address)
    for start in [Topic.Position.address(address), .ordinal(record.ordinal)] {
      var reader = try QueueReader(topic: topic, from: start) { _ in }
      let found = try reader.nextCopy()
      try hold(
        .g4,
        found?.address == address && found?.payload == record.payload
          && found?.ordinal == record.ordinal,
        "seeking \(record.address) #\(record.ordinal) by \(start) gave \(found as Any)")
    }
    var reader = try QueueReader(topic: topic, from: .latest)
    let found = try reader.record(at: address).copy()
    try hold(.g4, found.payload == record.payload, "record(at: \(address)) is another one")
  }
}
