// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// The rounds of a measurement: each contestant has its turn in every round, so that what the machine
/// does meanwhile meets them all.
struct BenchRun {
  static let rounds = 7
  /// What one contestant writes in one round, at the most, beside one record or batch: write-back is
  /// not to decide a figure, and the disk is not to fill up.
  private static let mostBytes = 64 << 20

  private let payload: [UInt8]
  private let budget: Duration
  private let scratch: BenchScratch
  private let stop: StopSignals
  private var results = BenchResults()

  /// - Parameter budget: for all rounds together. Every contestant has its turn even so.
  init(payloadBytes: Int, budget: Duration, scratch: BenchScratch, stop: StopSignals) {
    // Random: a file system that compresses is to find nothing in one record.
    payload = (0..<payloadBytes).map { _ in UInt8.random(in: 0...255) }
    self.budget = budget
    self.scratch = scratch
    self.stop = stop
  }

  /// - Parameter onProgress: is told how much of the time has passed.
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

  /// How a round's time is divided: what goes through the cache is mostly done with its bytes before
  /// its time is up, and the syncs have the rest.
  private struct Schedule {
    var start: ContinuousClock.Instant
    var length: Duration
    var syncingRows: Int

    var cachedLength: Duration { length * 0.06 }

    /// An equal part of what is left, for the row that so many went before.
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
    // With the eight bytes that come to a record.
    BenchTurn(length: length, mostRecords: max(1, Self.mostBytes / (payload.count + 8)), stop: stop)
  }
}

/// One contestant's turn in one round: how long it may work, and how much it may write.
struct BenchTurn: Sendable {
  /// From when it begins to be measured: opening and making files comes before.
  var length: Duration
  var mostRecords: Int
  var stop: StopSignals

  /// Repeats a step until the time is up, or so much is done; once in any case.
  ///
  /// - Parameter records: of a step.
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

  /// As many records as take no time to speak of, in which nobody looks at the clock.
  var recordsAStep: Int { min(1_000, mostRecords) }

  /// Measures what `body` does to so many records.
  func measure(_ body: () throws -> UInt64) throws -> BenchSample {
    let start = ContinuousClock.now
    let records = try body()
    return BenchSample(records: records, seconds: start.duration(to: .now) / .seconds(1))
  }

  var stopped: any Error { stop.interruption }
}
