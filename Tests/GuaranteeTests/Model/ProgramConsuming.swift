// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport

@testable import DiskQueue

// The steps of a program with its consumers, and the checks of the consumers.

extension Program {
  // MARK: Opening

  /// Opens a consumer, or makes it. If its cursor is damaged, deletes it.
  func open(_ model: ProgramConsumer) throws {
    guard model.consumer == nil, !storage.isDead else { return }
    let stored = storage.bytes(of: model.file).map({ NaiveCursor.read($0, of: model.name) })
    try checkCursor(model, stored)
    let reported = Reported()
    var options = ConsumerTopic.options
    options.maximumBatchBytes = .bytes([1, 300, 4000, 100_000][random.below(4)])
    let from: Topic.Position = random.chance(80) ? .earliest : .latest
    do {
      let consumer = try QueueConsumer(
        topic: topic, name: model.name, from: from, options: options, environment: environment,
        onLoss: { reported.take($0) })
      model.begin(consumer, reported)
    } catch {
      return try openingFailed(model, stored, error)
    }
    tally.count("consumers opened")
    note("opened consumer \(model.name) at \(model.start)")
    if case .at(let address)? = stored { try checkSeat(model, at: address) }
    model.moved(to: model.start)
    noteFailedSync()
    model.mayBeAhead = hasLostSyncedData
    settleFlips(model)
  }

  private func openingFailed(
    _ model: ProgramConsumer, _ stored: NaiveCursor?, _ error: QueueError
  ) throws {
    note("opening consumer \(model.name) failed: \(error)")
    tally.count("failed openings of consumers")
    if storage.isDead {
      model.isOpeningUnsure = true
      return
    }
    let isOfLostTopic = error.code == .unsupportedFormat && hasLostItsID()
    guard error.code == .damagedCursor || isOfLostTopic else {
      model.isOpeningUnsure = true
      return try hold(
        .g10, error.code == .noSpace || error.code == .syncFailed || isInjected(error),
        "consumer \(model.name) cannot be opened: \(error)")
    }
    try hold(
      .g10, stored == .damaged || isOfLostTopic,
      "consumer \(model.name) is called damaged, and its cursor is \(String(describing: stored))")
    tally.count("damaged cursors")
    do {
      try QueueConsumer.delete(model.name, of: topic)
      model.forget()
    } catch {
      model.isOpeningUnsure = true
      try hold(
        .g10, storage.isDead || error.code == .syncFailed || isInjected(error),
        "consumer \(model.name) cannot be deleted: \(error)")
      if error.code == .syncFailed { model.forget() }
    }
  }

  /// Whether the topic lost its id. If everything that states the id was hit, the next writer chose
  /// another one.
  private func hasLostItsID() -> Bool { flips.count > 1 && topicIDs.count > 1 }

  /// G10: a cursor is at its last acknowledged position. If its newest slot was hit, it is one
  /// acknowledgement before.
  private func checkCursor(_ model: ProgramConsumer, _ stored: NaiveCursor?) throws {
    guard let last = model.cursors.last, !model.isOpeningUnsure else { return }
    let known =
      model.flips.isEmpty
      ? model.unsure.union([last]) : model.unsure.union(model.cursors.suffix(2))
    var isExpected = stored == .damaged && !model.flips.isEmpty
    if case .at(let address)? = stored { isExpected = known.contains(address) }
    try hold(
      .g10, isExpected,
      "consumer \(model.name) acknowledged \(known.sorted()), and its cursor is"
        + " \(String(describing: stored))")
    if case .at(let address)? = stored, address != last { tally.count("cursors fallen back") }
  }

  /// A consumer begins at its cursor, or at the end of the log if that is before.
  private func checkSeat(_ model: ProgramConsumer, at address: UInt64) throws {
    let start = model.start
    guard start != address else { return }
    tally.count("cursors set back")
    try hold(
      .g10,
      start < address && (model.mayBeAhead || flips.contains { $0 >= start && $0 < address }),
      "consumer \(model.name) is at \(address), and begins at \(start)")
    model.cursors = []
  }

  /// G10: after a crash, no cursor is ahead of the log. Exceptions: the disk lost synced data, or
  /// damage ends the log.
  func checkCursors(end: UInt64) throws {
    for model in consumers where !model.mayBeAhead {
      guard
        case .at(let address)? = storage.bytes(of: model.file).map({
          NaiveCursor.read($0, of: model.name)
        })
      else {
        continue
      }
      try hold(
        .g10, address <= end || flips.contains { $0 >= end && $0 < address },
        "the cursor of \(model.name), \(address), is ahead of the log, which ends at \(end)")
    }
  }

  /// If a slot is sound again, the flipped bits in it were overwritten.
  private func settleFlips(_ model: ProgramConsumer) {
    guard !model.flips.isEmpty, let bytes = storage.bytes(of: model.file) else { return }
    for start in [0, 4096] where NaiveCursor.isSound(bytes, slotAt: start, of: model.name) {
      model.flips = model.flips.filter { !(start..<start + 64).contains($0) }
    }
  }

  // MARK: Reading

  func consume(_ model: ProgramConsumer) async throws {
    try open(model)
    _ = try await takeBatch(model, upTo: 1 + random.below(30))
  }

  /// - Returns: whether there may be more.
  private func takeBatch(_ model: ProgramConsumer, upTo most: Int) async throws -> Bool {
    guard let consumer = model.consumer else { return false }
    do {
      guard let batch = try await consumer.nextBatch(upTo: most, following: false) else {
        return false
      }
      for record in batch { try take(record, model) }
      model.batches.append(batch)
      return true
    } catch let error as QueueError {
      try await failed(model, error)
      return false
    }
  }

  private func take(_ record: QueueRecord, _ model: ProgramConsumer) throws {
    tally.count("records consumed")
    let address = record.address.rawValue
    try hold(
      .g2, payloads[address] == record.payload,
      "consumer \(model.name) was given \(address), which was never appended")
    try hold(
      .g10, address >= model.start,
      "consumer \(model.name) was given \(address), before its cursor at \(model.start)")
    try hold(
      .g3, model.last.map { $0 < address } ?? true,
      "consumer \(model.name) was given \(address) behind \(model.last ?? 0)")
    let from = model.last.map { $0 + 1 } ?? model.start
    for skipped in log where skipped.address >= from && skipped.address < address {
      try hold(
        .g10, skipped.isExcused || isHit(skipped),
        "consumer \(model.name) was not given \(skipped.address), but \(address) behind it")
    }
    model.take(record)
  }

  /// G10: from the cursor on, every record that exists is delivered. A missing one is in a loss
  /// with a count.
  func drain(_ model: ProgramConsumer) async throws {
    try open(model)
    if !isPoisoned { try flush() }
    while try await takeBatch(model, upTo: 1 + random.below(60)) {}
    guard model.consumer != nil, !storage.isDead else { return }
    let naive = naiveRead(slabs: storage.slabs)
    let expected = naive.records.filter { $0.address >= model.start }
    let inLog = Set(log.map(\.address))
    let missing = expected.first {
      !model.delivered.contains($0.address) && inLog.contains($0.address)
    }
    try hold(
      .g10, missing == nil,
      "consumer \(model.name) came to the end, and was not given \(missing?.address ?? 0)")
    tally.count("consumers drained")
    guard flips.isEmpty, model.flips.isEmpty, let counted = model.counted(),
      let last = expected.last?.ordinal
    else { return }
    try hold(
      .g10, counted == last + 1,
      "consumer \(model.name) counts \(counted) records, and the log \(last + 1)")
  }

  // MARK: Acknowledging

  func acknowledge(_ model: ProgramConsumer) async throws {
    guard let consumer = model.consumer, let batch = model.batches.randomElement(using: &random)
    else { return }
    let index = random.chance(50) ? batch.count - 1 : random.below(batch.count)
    let target = batch[index].address.rawValue + 8 + UInt64(batch[index].payload.count)
    let expected = max(target, model.noted)
    model.noted = expected
    do {
      try await batch.acknowledge(through: index)
    } catch {
      model.unsure.insert(expected)
      return try await failed(model, error)
    }
    tally.count("acknowledgements")
    note("consumer \(model.name) acknowledged up to \(expected)")
    try hold(
      .g10, consumer.position.rawValue == expected,
      "consumer \(model.name) acknowledged \(expected), and is at \(consumer.position)")
    model.moved(to: expected)
    settleFlips(model)
  }

  func close(_ model: ProgramConsumer) async throws {
    guard let consumer = model.consumer else { return }
    do {
      try await consumer.close()
    } catch {
      try await failed(model, error)
    }
    model.end()
  }

  private func failed(_ model: ProgramConsumer, _ error: QueueError) async throws {
    note("consumer \(model.name) failed: \(error)")
    if storage.isDead { return model.end() }
    guard error.code == .syncFailed else {
      return try hold(
        .g10, error.code == .noSpace || isInjected(error),
        "consumer \(model.name) failed without a cause: \(error)")
    }
    tally.count("failed syncs of consumers")
    var code: QueueError.Code?
    do {
      _ = try await model.consumer?.nextBatch(upTo: 1, following: false)
    } catch {
      code = error.code
    }
    try hold(.g7, code == .syncFailed, "consumer \(model.name) went on after a failed sync")
    model.end()
  }

  /// Ends the program for a consumer: whatever happened to it, it gets all records that are left.
  func finish(_ model: ProgramConsumer) async throws {
    try await close(model)
    for _ in 0..<3 where model.consumer == nil { try open(model) }
    try hold(.g10, model.consumer != nil, "consumer \(model.name) cannot be opened")
    try await drain(model)
    if model.batches.count > 0 { try await acknowledge(model) }
    try await close(model)
  }

  // MARK: Damage

  func flipCursor() {
    let model = consumers[random.below(consumers.count)]
    guard let bytes = storage.bytes(of: model.file), bytes.count == 8192 else { return }
    let byte =
      random.chance(80) ? random.below(2) * 4096 + random.below(64) : random.below(bytes.count)
    guard model.flips.insert(byte).inserted else { return }
    storage.flip(bit: byte * 8 + random.below(8), of: model.file)
    note("flipped a bit of \(model.name)'s cursor, in byte \(byte)")
    tally.count("flips of cursors")
  }
}
