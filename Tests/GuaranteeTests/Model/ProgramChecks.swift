// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport

// The checks of a program after each opening and in each pass.

extension Program {
  // MARK: Recovery

  /// G6: opening for writing changes no byte that existed before.
  func checkUntouched(
    _ before: [UInt64: [UInt8]], after: [UInt64: [UInt8]], isClean: Bool
  ) throws {
    let last = before.keys.max()
    for (base, bytes) in before {
      guard let now = after[base] else { throw Violation(.g6, "slab \(base) was removed") }
      if now == bytes { continue }
      try hold(
        .g6,
        isClean && base == last && now.starts(with: bytes) && now.count - bytes.count <= 48,
        "slab \(base) was changed")
    }
    let made = after.keys.filter { before[$0] == nil }
    try hold(
      .g6, made.count <= 1 && made.allSatisfy { $0 == 0 || $0 > (last ?? 0) },
      "slabs \(made) appeared")
  }

  /// Compares the recovered topic with the one before, and takes it over into the model.
  func checkRecovery(
    _ report: RecoveryReport, before: [UInt64: [UInt8]], naive: NaiveResult
  ) throws {
    let after = storage.slabs
    let isClean = naive.isClean
    try checkUntouched(before, after: after, isClean: isClean)
    // A writer that wrongly continues a slab uses addresses twice.
    try hold(
      .g4, report.wasClean == (isClean || before.isEmpty),
      "the topic was clean: \(isClean); recovery says \(report.state)")
    let end = report.end.rawValue
    try hold(
      .g3, end == naive.end, "recovery ends at \(end), the naive reader at \(naive.end)")
    for loss in report.losses {
      let isKnown = naive.events.contains {
        guard case .loss(let other) = $0 else { return false }
        return other.from < loss.addresses.upperBound.rawValue
          && loss.addresses.lowerBound.rawValue < other.to
      }
      try hold(.g5, isKnown, "recovery reports \(loss), a reader does not")
    }
    try cut(at: end, after: after, naive: naive)
    try checkOrdinal(after, isClean: isClean)
    noteFailedSync()
    try checkCursors(end: end)
    // Recovery judged the disk's content.
    (needed, hasLostSyncedData) = (.buffered, false)
  }

  /// G1, G3: a record past the end was lost for one of two reasons. It was not acknowledged at a
  /// level that survives. Or a bit of it was flipped, and nothing proves that it was ever whole.
  private func cut(
    at end: UInt64, after slabs: [UInt64: [UInt8]], naive: NaiveResult
  ) throws {
    let ends = try endsOfEpochs(slabs, end)
    var kept: [ModelRecord] = []
    let delivered = Set(naive.records.map(\.address))
    for var record in log {
      let end = ends(record.address)
      if record.address < end {
        if !delivered.contains(record.address), !record.isExcused { try checkHit(record) }
        record.level = .synced
        kept.append(record)
      } else if record.level >= needed, !record.isExcused {
        try hold(
          .g1, isCut(record, at: end),
          "record \(record.address), \(record.level), was lost; the log ends at \(end)")
      }
    }
    tally.count("discarded records", log.count - kept.count)
    log = kept
  }

  /// G3: a record that is missing before the end was hit.
  private func checkHit(_ record: ModelRecord) throws {
    try hold(
      .g3, isHit(record),
      "record \(record.address), \(record.level), is a hole before the end of the log")
  }

  func isHit(_ record: ModelRecord) -> Bool { flips.contains(where: record.contains) }

  private func slabBase(of address: UInt64) -> UInt64? { basesSeen.filter { $0 <= address }.max() }

  /// The ends of the records of each epoch, as later epochs state them. Epochs of a recovery that
  /// died count as well.
  func endsOfEpochs(
    _ slabs: [UInt64: [UInt8]], _ end: UInt64
  ) throws -> (UInt64) -> UInt64 {
    var kept: [(epoch: UInt64, kept: UInt64)] = []
    for base in slabs.keys {
      guard let head = try SlabFile.open(base, in: storage)?.head(),
        let stated = head.soundHeader?.kept ?? head.firstMark?.kept
      else { continue }
      kept.append((base >> 40, stated))
    }
    return { address in
      kept.filter { $0.epoch > address >> 40 }.map(\.kept).min().map { min($0, end) } ?? end
    }
  }

  /// Whether the log ends before a record, because of damage without proof.
  func isCut(_ record: ModelRecord, at end: UInt64) -> Bool {
    flips.contains { $0 >= end && $0 < record.end }
  }

  private func checkOrdinal(_ slabs: [UInt64: [UInt8]], isClean: Bool) throws {
    guard let last = slabs.max(by: { $0.key < $1.key })?.value else { return }
    // The opening mark ends the file, or the header begins the new slab.
    let offset = isClean ? last.count - 48 + 16 : 24
    let stated = (0..<8).reduce(0) { $0 | UInt64(last[offset + $1]) << UInt64(8 * $1) }
    let expected = log.last.map { $0.ordinal + 1 } ?? 0
    try hold(
      .g5, stated == expected || !flips.isEmpty,
      "the next ordinal is \(expected), and recovery says \(stated)")
    if stated != expected {
      // Damage at the end of the surviving log hides how many records it cost.
      tally.count("counts lost with a tail")
      isCountLoose = true
    }
    nextOrdinal = stated
  }

  // MARK: Reading

  /// Reads everything, and compares it with the naive reader and with the model.
  func verify(_ moment: String) throws {
    note("verify \(moment)")
    tally.count("passes")
    let slabs = storage.slabs
    let naive = naiveRead(slabs: slabs)
    var options = QueueReader.Options()
    if random.chance(50) { options.bufferSize = .kibibytes(4) }
    let pass = EnginePass(topic, options: options)
    if slabs.isEmpty, let error = pass.error { throw Violation(.g5, "an empty topic: \(error)") }
    let difference = pass.difference(from: naive)
    try hold(.g5, difference == nil, "\(moment): \(difference ?? "")")
    try hold(.g6, storage.slabs == slabs, "reading changed a slab")
    try check(pass, naive: naive, first: slabs.keys.min() ?? 0)
  }

  private func check(_ pass: EnginePass, naive: NaiveResult, first: UInt64) throws {
    var remaining = log[...]
    var missing: [ModelRecord] = []
    for (record, other) in zip(pass.records, naive.records) {
      try hold(
        .g2, payloads[record.address] == record.payload,
        "a record at \(record.address) was never appended")
      while let next = remaining.first, next.address < record.address {
        missing.append(next)
        remaining = remaining.dropFirst()
      }
      guard let expected = remaining.first, expected.address == record.address else {
        try hold(
          .g3, mayComeBack(record.address),
          "record \(record.address) is no part of the log, or out of order")
        tally.count("discarded records that came back")
        continue
      }
      remaining.removeFirst()
      try hold(
        .g5, other.ordinal == nil || isCountLoose || record.ordinal == expected.ordinal,
        "record \(record.address) has ordinal \(record.ordinal ?? 0), not \(expected.ordinal)")
    }
    missing += remaining
    let ends = try endsOfEpochs(storage.slabs, pass.end)
    try check(missing: missing, ends: ends)
    try check(
      pass.losses, missing.filter { $0.address >= first && $0.address < ends($0.address) })
  }

  private func check(missing: [ModelRecord], ends: (UInt64) -> UInt64) throws {
    for record in missing where !record.isExcused && !isHit(record) {
      let end = ends(record.address)
      if record.address >= end {
        try hold(
          .g1, record.level < max(needed, .flushed) || isCut(record, at: end),
          "record \(record.address), \(record.level), is behind the end \(end)")
      } else {
        try hold(
          .g5, !flips.isEmpty && record.level < needed,
          "\(record.address) was not hit, and is missing before the end \(end)")
      }
    }
  }

  /// Whether a record that a crash discarded may be read again. A later epoch states the end of the
  /// records before it. If damage hit all its headers and marks, this statement is lost.
  private func mayComeBack(_ address: UInt64) -> Bool {
    guard flips.count > 1 else { return false }
    let slabs = storage.slabs
    let epochs = Set(slabs.keys.map { $0 >> 40 }.filter { $0 > address >> 40 })
    return epochs.contains { epoch in
      !slabs.contains { base, bytes in
        base >> 40 == epoch && SlabHead.statesKept(bytes, base: base)
      }
    }
  }

  /// The counts of all losses add up to the number of missing records.
  private func check(_ losses: [NaiveLoss], _ missing: [ModelRecord]) throws {
    var total: UInt64 = 0
    for loss in losses {
      tally.count("losses \(loss.cause)")
      guard let records = loss.records else { return tally.count("losses of unknown size") }
      if loss.cause == .damaged { total += records }
    }
    try hold(
      .g5,
      total == UInt64(missing.count) || isCountLoose
        || losses.contains(where: { $0.cause != .damaged }),
      "\(missing.count) records are missing, and \(total) reported lost")
  }
}
