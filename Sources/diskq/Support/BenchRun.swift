// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// The rounds of a measurement. Each contestant has its turn in every round, so that other work of
/// the machine affects all of them.
struct BenchRun {
  static let rounds = 7
  /// The most bytes that one contestant writes in one round, apart from one record or batch. So
  /// write-back does not decide a figure, and the disk does not fill up.
  private static let mostBytes = 64 << 20

  private let payload: [UInt8]
  private let budget: Duration
  private let scratch: BenchScratch
  private let stop: StopSignals
  private var results = BenchResults()

  /// - Parameter budget: the time for all rounds together. Every contestant has its turn even if
  ///   the time is up.
  init(payloadBytes: Int, budget: Duration, scratch: BenchScratch, stop: StopSignals) {
    // Random bytes, so that a file system that compresses gains nothing within one record.
    payload = (0..<payloadBytes).map { _ in UInt8.random(in: 0...255) }
    self.budget = budget
    self.scratch = scratch
    self.stop = stop
  }

  /// - Parameter onProgress: called with the time that has passed.
  mutating func run(onProgress: (Duration) -> Void) throws -> BenchResults {
    let start = ContinuousClock.now
    for round in 0..<Self.rounds {
      let schedule = Schedule(
        start: start + budget / Self.rounds * round, length: budget / Self.rounds,
        syncingRows: BenchRow.allCases.count { $0.part == .syncing })
      try measureCached(schedule) { onProgress(start.duration(to: .now)) }
      try measureSynced(schedule) { onProgress(start.duration(to: .now)) }
    }
    return results
  }

  /// How a round's time is divided. A cached row mostly reaches its most bytes before its time is
  /// up. The syncing rows have the rest of the round.
  private struct Schedule {
    var start: ContinuousClock.Instant
    var length: Duration
    var syncingRows: Int

    var cachedLength: Duration { length * 0.06 }

    /// The time of the syncing row with this index: an equal part of the time that is left.
    func syncedLength(row: Int) -> Duration {
      max(.zero, ContinuousClock.now.duration(to: start + length)) / (syncingRows - row)
    }
  }

  private mutating func measureCached(_ schedule: Schedule, onProgress: () -> Void) throws {
    let raw = RawBench(payload: payload, file: scratch.at("raw"), turn: turn(schedule.cachedLength))
    results.add(try raw.writeBuffered(), to: .rawBufferedWrite)
    onProgress()
    let topic = scratch.at("topic")
    results.add(
      try QueueBench(payload, topic, turn(schedule.cachedLength)).append(), to: .append)
    onProgress()
    results.add(try raw.with(turn(schedule.cachedLength)).read(), to: .rawRead)
    onProgress()
    results.add(try QueueBench(payload, topic, turn(schedule.cachedLength)).read(), to: .read)
    onProgress()
    try System.removeFile(raw.file)
    try System.removeDirectory(topic)

    results.add(
      try QueueBench(payload, topic, turn(schedule.cachedLength)).appendBatches(),
      to: .appendBatches)
    try System.removeDirectory(topic)
    onProgress()
    results.add(try raw.with(turn(schedule.cachedLength)).writeEach(), to: .rawWrite)
    try System.removeFile(raw.file)
    onProgress()
  }

  private mutating func measureSynced(_ schedule: Schedule, onProgress: () -> Void) throws {
    let raw = RawBench(
      payload: payload, file: scratch.at("raw"), turn: turn(schedule.syncedLength(row: 0)))
    results.add(try raw.writeAndSyncEach(), to: .rawSync)
    try System.removeFile(raw.file)
    onProgress()
    let topic = scratch.at("topic")
    let rows: [(BenchRow, (QueueBench) throws -> BenchSample)] = [
      (.appendSync, { try $0.appendAndSyncEach() }),
      (.appendSyncedByTasks, { try $0.appendByTasks() }),
      (.appendSyncEvery, { try $0.appendWithSyncEvery() }),
    ]
    for (index, (row, measure)) in rows.enumerated() {
      let bench = QueueBench(payload, topic, turn(schedule.syncedLength(row: index + 1)))
      results.add(try measure(bench), to: row)
      try System.removeDirectory(topic)
      onProgress()
    }
  }

  private func turn(_ length: Duration) -> BenchTurn {
    // The library adds eight bytes to a record.
    BenchTurn(length: length, mostRecords: max(1, Self.mostBytes / (payload.count + 8)), stop: stop)
  }
}

/// One contestant's turn in one round: how long it may work, and how much it may write.
struct BenchTurn: Sendable {
  /// The time from the start of the measured part. Opening and making files comes before it.
  var length: Duration
  var mostRecords: Int
  var stop: StopSignals

  /// Repeats a step until the time is up or `mostRecords` is reached, and at least once.
  ///
  /// - Parameter records: how many records a step has.
  /// - Returns: the records of all steps.
  func repeating(records: Int, _ step: () throws -> Void) throws -> UInt64 {
    var done = 0
    let end = ContinuousClock.now + length
    repeat {
      guard !stop.isStopped else { throw stopped }
      try step()
      done += records
    } while done + records <= mostRecords && .now < end
    return UInt64(done)
  }

  /// The records of one step. They take little time, so the clock is read only after a step.
  var recordsAStep: Int { min(1_000, mostRecords) }

  /// Measures `body`, which returns how many records it handled.
  func measure(_ body: () throws -> UInt64) throws -> BenchSample {
    let start = ContinuousClock.now
    let records = try body()
    return BenchSample(records: records, seconds: start.duration(to: .now) / .seconds(1))
  }

  var stopped: any Error { stop.interruption }
}
