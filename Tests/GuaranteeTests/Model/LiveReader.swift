// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport

/// A reader that stays open while the topic is written, killed, damaged and cleaned.
final class LiveReader {
  private var reader: QueueReader
  private let reported = Reported()
  /// The address of the last record that it got.
  private var last: UInt64?
  /// The next ordinal, as the delivered records and the reported losses give it.
  private var count: UInt64
  private var isCountKnown = true

  init(_ program: Program) throws {
    var options = QueueReader.Options()
    options.bufferSize = program.random.chance(50) ? .kibibytes(4) : .kibibytes(256)
    reader = try QueueReader(topic: program.topic, options: options) { [reported] in
      reported.take($0)
    }
    let first = program.storage.slabs.keys.min() ?? 0
    count = program.log.first { $0.address >= first }?.ordinal ?? program.nextOrdinal
  }

  /// Reads some records and checks each.
  func read(_ most: Int, _ program: Program) throws {
    for _ in 0..<most {
      guard let record = try reader.nextCopy() else { return try atEnd(program) }
      program.tally.count("live records")
      let address = record.address.rawValue
      try program.hold(
        .g2, program.payloads[address] == record.payload,
        "a live reader was given \(address), which was never appended")
      try program.hold(
        .g3, last.map { $0 < address } ?? true,
        "a live reader was given \(address) behind \(last ?? 0)")
      try checkSkipped(upTo: address, program)
      last = address
      count += 1
    }
  }

  /// Reads to the end.
  func drain(_ program: Program, isLast: Bool) throws {
    try read(.max, program)
    guard isLast, program.flips.isEmpty else { return }
    try program.hold(
      .g5, !isCountKnown || count == program.nextOrdinal,
      "a live reader counts \(count) records, and the log \(program.nextOrdinal)")
  }

  private func atEnd(_ program: Program) throws {
    if program.flips.isEmpty { try checkSkipped(upTo: reader.position.rawValue, program) }
    takeLosses()
    let visible = program.log.last { $0.level >= .flushed && !$0.isExcused }
    guard let visible, program.flips.isEmpty, program.needed < .synced else { return }
    try program.hold(
      .g1, last.map { $0 >= visible.address } ?? false,
      "a live reader ends before \(visible.address), which was flushed")
  }

  /// Checks that each record between the last one and this address was hit or cleaned.
  private func checkSkipped(upTo address: UInt64, _ program: Program) throws {
    takeLosses()
    let from = last.map { $0 + 1 } ?? 0
    for record in program.log where record.address >= from && record.address < address {
      try program.hold(
        .g3, record.isExcused || program.isHit(record),
        "a live reader was not given \(record.address)")
    }
  }

  private func takeLosses() {
    for loss in reported.losses {
      guard let records = loss.records else {
        isCountKnown = false
        continue
      }
      if loss.cause == .discarded { count -= min(count, records) } else { count += records }
    }
    reported.forget()
  }
}
