// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport

@testable import DiskQueue

// Cleaning in a program, by the program's clock, and the checks of the cleaner.

extension Program {
  /// In nanoseconds. The largest ages are days, and the largest jumps are years.
  private static let second: UInt64 = 1_000_000_000

  func passTime() {
    let seconds = [1, 60, 3600, 86_400, 864_000][random.below(5)]
    clock.pass(nanoseconds: UInt64(1 + random.below(seconds)) * Self.second)
  }

  func jump() {
    let seconds = [2, 3600, 864_000, 315_360_000][random.below(4)]
    let sign: Int64 = random.chance(60) ? 1 : -1
    clock.jump(nanoseconds: sign * Int64(random.below(seconds)) * Int64(Self.second))
    let offset = clock.offset
    if offset < 0 { mostBehind = max(mostBehind, offset.magnitude) }
    tally.count(offset < 0 ? "jumps back" : "jumps ahead")
  }

  private func retention() -> Retention {
    var choices: [Retention.Consumers] = [.protected, .protected, .ignored, .except(["b"])]
    if !consumers[0].cursors.isEmpty { choices.append(.only(["a"])) }
    var retention = Retention(
      minimumBytes: .bytes([0, 0, 3000, 20_000][random.below(4)]),
      consumers: choices[random.below(choices.count)])
    if random.chance(50) {
      let seconds = [1, 60, 3600, 86_400, 864_000][random.below(5)]
      retention.age = .seconds(Int64(random.below(seconds)))
    }
    if random.chance(40) { retention.bytes = .bytes(Int64(random.below(40_000))) }
    if random.chance(30) { retention.records = UInt64(random.below(200)) }
    return retention
  }

  /// Runs the cleaner once.
  func clean() throws {
    let retention = retention()
    let isDryRun = random.chance(15)
    let before = storage.slabsAfterDroppedCache
    var removed: [SlabCleaner.Removal] = []
    do {
      let cleaner = try SlabCleaner(topic: topic, environment: environment)
      if isDryRun {
        _ = try cleaner.plan(keeping: retention) { removed.append($0) }
      } else {
        try cleaner.clean(keeping: retention) { removed.append($0) }
      }
    } catch {
      note("cleaning failed: \(error)")
      try hold(
        .g6, storage.isDead || error.code == .syncFailed || isInjected(error),
        "cleaning failed without a cause: \(error)")
      tally.count("failed cleanings")
    }
    note("cleaned \(removed.map(\.slab.rawValue)), keeping \(retention)")
    let after = storage.slabsAfterDroppedCache
    let expected = isDryRun ? [] : removed.map(\.slab.rawValue)
    try hold(
      .g6,
      before.keys.filter { after[$0] == nil }.sorted() == expected
        && expected == Array(before.keys.sorted().prefix(expected.count)),
      "cleaning said that it removed \(expected), and left \(after.keys.sorted())")
    try hold(
      .g6, after.allSatisfy { before[$0] == $1 }, "cleaning changed a slab")
    tally.count("cleaned slabs", expected.count)
    guard let first = after.keys.min(), !removed.isEmpty, !isDryRun else { return }
    try checkConsumers(retention, first: first)
    try checkBounds(retention, removed, before: before, after: after)
    for index in log.indices where log[index].address < first { log[index].isExcused = true }
  }

  /// G10: records that a protected consumer has not acknowledged stay.
  ///
  /// Damage can make its cursor fall back. The older position is in the same slab, because a cursor
  /// that enters another slab writes both slots.
  private func checkConsumers(_ retention: Retention, first: UInt64) throws {
    for model in consumers where retention.consumers.protects(model.name) {
      guard var held = model.cursors.last, !model.isOpeningUnsure else { continue }
      if !model.unsure.isEmpty, let bytes = storage.bytes(of: model.file),
        case .at(let address) = NaiveCursor.read(bytes, of: model.name)
      {
        held = address
      }
      let next = log.first { $0.address >= held && !$0.isExcused }
      try hold(
        .g10, next.map { $0.address >= first } ?? true,
        "consumer \(model.name), at \(held), was overtaken though it was protected")
    }
  }

  private func checkBounds(
    _ retention: Retention, _ removed: [SlabCleaner.Removal], before: [UInt64: [UInt8]],
    after: [UInt64: [UInt8]]
  ) throws {
    let ends = try endsOfEpochs(after, .max)
    let bases = after.keys.sorted()
    let content = bases.enumerated().reduce(UInt64(0)) { sum, slab in
      let (place, base) = slab
      let next = place + 1 < bases.count ? bases[place + 1] : .max
      let end = min(base + UInt64(after[base]?.count ?? 0), ends(base), next)
      return sum + (end > base ? end - base : 0)
    }
    try hold(
      .g12, content >= UInt64(retention.minimumBytes.bytes),
      "\(content) bytes were left of the minimum of \(retention.minimumBytes)")
    for removal in removed {
      let base = removal.slab.rawValue
      let next = before.keys.filter { $0 > base }.min() ?? .max
      switch removal.cause {
      case .age(let age):
        // If the clock is ahead while the cleaner runs, the cleaner takes that for idle time.
        guard clock.offset <= 0,
          let time = log.last(where: { (base..<next).contains($0.address) })?.time
        else { continue }
        // The stamp of a record is earlier than its true time if the clock was set back.
        try hold(
          .g12, clock.truth - time + mostBehind > age.duration.clampedNanoseconds,
          "slab \(base) was cleaned as older than \(age), and is \(clock.truth - time) ns old")
        tally.count("slabs cleaned by their age")
      case .bytes(let bytes):
        let sizes = before.lazy.filter { $0.key > base }.reduce(0) { $0 + $1.value.count }
        try hold(.g6, sizes >= bytes.bytes, "\(sizes) bytes were left of \(bytes)")
      case .records(let records):
        guard flips.isEmpty else { continue }
        let left = log.count { $0.address >= next }
        try hold(.g6, left >= records, "\(left) records were left of \(records)")
      @unknown default: break
      }
    }
  }

  /// G12: stamps never go back, up to the end of the log.
  func checkStamps() throws {
    let slabs = storage.slabs
    let ends = try endsOfEpochs(slabs, .max)
    var highest: UInt64 = 0
    for (base, bytes) in slabs.sorted(by: { $0.key < $1.key }) {
      for stamp in SlabHead.stamps(bytes, base: base) where stamp.address < ends(stamp.address) {
        try hold(
          .g12, stamp.stamp >= highest,
          "the stamp at \(stamp.address) is \(stamp.stamp), and one before it \(highest)")
        highest = stamp.stamp
      }
    }
  }
}
