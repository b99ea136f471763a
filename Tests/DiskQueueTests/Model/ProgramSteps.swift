// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport

/// One thing that a program does.
enum ProgramStep: CaseIterable {
  case append, appendMany, appendLarge, batch, flush, sync, background, closeAndOpen, drop
  case kill, powerCut, flip, clean, fill, jump, failSync, failWrite, die, read, newReader, verify
  case seek, roll

  /// How often it comes, relative to the others.
  var weight: Int {
    switch self {
    case .append, .appendMany: 14
    case .batch, .flush, .sync, .read: 7
    case .background, .verify, .closeAndOpen, .seek, .clean: 4
    case .kill, .jump, .newReader, .fill, .roll: 3
    case .appendLarge, .powerCut, .flip, .failSync, .failWrite, .die, .drop: 2
    }
  }
}

extension Program {
  /// What this program does: random steps, and nearly always each kind of accident.
  func steps() -> [ProgramStep] {
    let all = ProgramStep.allCases.flatMap { Array(repeating: $0, count: $0.weight) }
    var steps = (0..<(20 + random.below(50))).map { _ in all[random.below(all.count)] }
    for step in [ProgramStep.kill, .powerCut, .flip, .roll] where random.chance(97) {
      steps.insert(step, at: random.below(steps.count + 1))
    }
    // Damage is for ever; in half of the programs it comes late, so that what comes before it is
    // held to the strict rules.
    if random.chance(50) {
      let flips = steps.count { $0 == .flip }
      steps.removeAll { $0 == .flip }
      let tail = steps.count * 3 / 4
      for _ in 0..<flips { steps.insert(.flip, at: tail + random.below(steps.count - tail + 1)) }
    }
    return steps
  }

  func run(_ step: ProgramStep) throws {
    switch step {
    case .append: try append(payload())
    case .appendMany: for _ in 0..<random.below(30) { try append(payload()) }
    case .appendLarge: try append(payload(length: 60_000 + random.below(120_000)))
    case .batch: try appendBatch((0..<random.below(12)).map { _ in payload() })
    case .flush: try flush()
    case .sync: try sync()
    case .background: try syncSlabsLeftBehind()
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
    case .jump: clock.jump(nanoseconds: Int64(random.below(4_000_000_000)) - 1_000_000_000)
    case .failSync: failSync()
    case .failWrite:
      storage.setFault(
        SimulatedStorage.Fault(.fail(Errno.io), at: 1 + random.below(4)) { $0.isWrite })
    case .die: storage.setFault(SimulatedStorage.Fault(.die, at: 1 + random.below(12)))
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

  /// Bytes that no other payload has, but for the shortest.
  func payload(length: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(length + 8)
    while bytes.count < length {
      withUnsafeBytes(of: random.next()) { bytes.append(contentsOf: $0) }
    }
    bytes.removeLast(bytes.count - length)
    return bytes
  }

  /// A payload that looks like a piece of a slab: headers, marks, records and all.
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
    // Half of them where the frames of importance are.
    let byte = random.chance(30) ? random.below(min(bytes.count, 140)) : random.below(bytes.count)
    guard !flips.contains(base + UInt64(byte)) else { return }
    storage.flip(bit: byte * 8 + random.below(8), ofSlab: base)
    flips.insert(base + UInt64(byte))
    note("flipped a bit of \(base + UInt64(byte))")
    tally.count("flips")
    try verify("after a flip")
  }

  /// Cleans as the format says: list, sync the directory, remove the first, where a header or first
  /// mark proves that the slab behind it has begun to be durable.
  private func clean() throws {
    let bases = storage.slabs.keys.sorted()
    guard bases.count > 1, writer != nil else { return }
    var synced: UInt64 = 0
    for base in bases {
      guard let head = try SlabFile.open(base, in: storage)?.head(), head.topicID != nil else {
        continue
      }
      synced = max(synced, head.synced ?? 0)
    }
    guard synced > bases[1] else { return }
    do {
      try storage.syncDirectory()
      try storage.remove(SlabName.string(bases[0]))
    } catch {
      return
    }
    note("cleaned \(bases[0])")
    tally.count("cleaned slabs")
    for index in log.indices where log[index].address < bases[1] { log[index].isExcused = true }
  }

  private func fill() {
    guard random.chance(60) else { return storage.setCapacity(nil) }
    storage.setCapacity(storage.used + random.below(3000))
  }

  private func failSync() {
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
      guard found?.address == address, found?.payload == record.payload,
        found?.ordinal == record.ordinal
      else {
        throw Violation(
          "seeking \(record.address) #\(record.ordinal) by \(start) gave \(found as Any)")
      }
    }
    var reader = try QueueReader(topic: topic, from: .latest)
    guard try reader.record(at: address).copy().payload == record.payload else {
      throw Violation("record(at: \(address)) is another one")
    }
  }
}
