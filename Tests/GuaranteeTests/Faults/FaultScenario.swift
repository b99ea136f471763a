// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

/// A few operations on a prepared topic. Checks the rules that hold whatever fails in them.
struct FaultScenario: Sendable, CustomTestStringConvertible {
  let name: String
  let covers: [PublicOperation]
  /// The ordinals of records that are damaged before the scenario begins.
  var damaged: Set<Int> = []
  /// Whether the scenario may remove records from the front.
  var removes = false
  /// Whether the fault strikes in the topic of the records that are put aside.
  var isAside = false
  var prepare: @Sendable (FaultStage) throws -> Void = { _ in }
  let act: @Sendable (FaultStage) async throws -> Void

  var testDescription: String { name }

  private func stage(seed: UInt64) throws -> FaultStage {
    let stage = FaultStage(seed: seed)
    try prepare(stage)
    return stage
  }

  /// The events of the scenario if nothing fails.
  func undisturbed() async throws -> [String] {
    let stage = try stage(seed: 1)
    try await act(stage)
    try check(stage)
    return stage.events
  }

  /// Runs the scenario with a fault at one call, and checks all rules.
  ///
  /// - Returns: whether the scenario reached the call.
  func run(_ kind: FaultKind, at number: Int, expecting events: [String]) async throws -> Bool {
    let stage = try stage(seed: UInt64(number))
    stage.arm(kind, at: number, isAside: isAside)
    do {
      try await act(stage)
      // The scenario reports that everything was done. Then it was, whatever failed below.
      guard stage.events == events else {
        throw Complaint("it came to \(stage.events), behind \(stage.errors)")
      }
    } catch is FaultStage.Stopped {
      guard events.starts(with: stage.events) else {
        throw Complaint("until it stopped, it came to \(stage.events), behind \(stage.errors)")
      }
    }
    stage.disarm()
    guard let plan = stage.plan, plan.hasStruck else { return false }
    do {
      try check(stage)
    } catch {
      throw Complaint("\(error); struck: \(plan.hits), told: \(stage.errors)")
    }
    return true
  }

  // MARK: Afterwards

  private func check(_ stage: FaultStage) throws {
    // After a failed sync, only the records that were reported synced must be there, as after a
    // power cut.
    let flushed = stage.syncHasFailed ? stage.synced : stage.flushed
    let killed = stage.storage.copy()
    try checkReading(killed, stage)
    try recover(killed, stage, least: flushed, "killed")
    for seed in UInt64(1)...2 {
      var random = SeededGenerator(seed: seed)
      let cut = stage.storage.powerCut(using: &random)
      try recover(cut, stage, least: stage.synced, "power cut \(seed)")
    }
    // In the same process: no failed call still holds a lock.
    try recover(stage.storage, stage, least: flushed, "opened again")
  }

  private func checkReading(_ storage: SimulatedStorage, _ stage: FaultStage) throws {
    guard !storage.slabs.isEmpty else { return }
    let pass = EnginePass(Topic(storage: storage), options: SmallTopic.readerOptions)
    if let difference = pass.difference(from: naiveRead(slabs: storage.slabs)) {
      throw Complaint("read, before a recovery: \(difference)")
    }
    try check(pass.records, stage.payloads, least: stage.flushed, "read, before a recovery")
  }

  /// Checks that the records are the appended ones, in order, up to `least` at least. Records may
  /// only be missing if they were removed from the front, or damaged.
  private func check(
    _ records: [NaiveRecord], _ payloads: [[UInt8]], least: Int, _ what: String
  ) throws {
    var next = records.first?.ordinal.map { Int($0) } ?? 0
    if records.isEmpty, removes { next = least }
    guard removes || damaged.contains(0) || next == 0 || records.isEmpty else {
      throw Complaint("\(what): it begins at \(next)")
    }
    for record in records {
      while damaged.contains(next) { next += 1 }
      guard record.ordinal == UInt64(next), next < payloads.count,
        record.payload == payloads[next]
      else {
        throw Complaint("\(what): record \(record.ordinal ?? 0) is none that was appended there")
      }
      next += 1
    }
    while damaged.contains(next) { next += 1 }
    guard next >= least else { throw Complaint("\(what): \(next) records of \(least)") }
  }

  /// Opens a writer and every consumer, without a fault.
  private func recover(
    _ storage: SimulatedStorage, _ stage: FaultStage, least: Int, _ what: String
  ) throws {
    let topic = Topic(storage: storage)
    let before = storage.slabsAfterDroppedCache
    let writer = try QueueWriter(
      topic: topic, options: SmallTopic.options, environment: stage.environment)
    let payload = FaultStage.payload(1 << 20, length: 99)
    try writer.append(payload)
    try writer.close()
    let after = storage.slabs
    for (base, bytes) in before where !(after[base]?.starts(with: bytes) ?? false) {
      throw Complaint("\(what): slab \(base) is not as it was")
    }
    let pass = EnginePass(topic, options: SmallTopic.readerOptions)
    if let difference = pass.difference(from: naiveRead(slabs: after)) {
      throw Complaint("\(what): \(difference)")
    }
    guard let last = pass.records.last, last.payload == payload else {
      throw Complaint("\(what): what was appended last is not there")
    }
    guard damaged.isEmpty == pass.losses.isEmpty else {
      throw Complaint("\(what): \(pass.losses)")
    }
    try check(pass.records.dropLast(), stage.payloads, least: least, what)
    guard last.ordinal == pass.records.dropLast().last?.ordinal.map({ $0 + 1 }) ?? last.ordinal
    else { throw Complaint("\(what): what was appended last is number \(last.ordinal ?? 0)") }

    for (name, range) in stage.consumers {
      let consumer = try ConsumerTopic.consumer(topic, name)
      guard range.contains(consumer.ordinal) else {
        throw Complaint("\(what): consumer \(name) stands at \(consumer.ordinal), not in \(range)")
      }
      try consumer.close()
    }
  }

  private func check(
    _ records: ArraySlice<NaiveRecord>, _ payloads: [[UInt8]], least: Int, _ what: String
  ) throws { try check(Array(records), payloads, least: least, what) }
}
