// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

/// A few operations on a topic that was prepared for them, and what must hold whatever fails in them.
struct FaultScenario: Sendable, CustomTestStringConvertible {
  let name: String
  let covers: [PublicOperation]
  /// Ordinals that damage took before the scenario begins.
  var damaged: Set<Int> = []
  /// The scenario may remove records from the front.
  var removes = false
  /// The fault strikes where records are put aside, not in the topic.
  var isAside = false
  var prepare: @Sendable (FaultStage) throws -> Void = { _ in }
  let act: @Sendable (FaultStage) async throws -> Void

  var testDescription: String { name }

  private func stage(seed: UInt64) throws -> FaultStage {
    let stage = FaultStage(seed: seed)
    try prepare(stage)
    return stage
  }

  /// What it comes to where nothing fails.
  func undisturbed() async throws -> [String] {
    let stage = try stage(seed: 1)
    try await act(stage)
    try check(stage)
    return stage.events
  }

  /// Runs it with a fault at one call, and checks all that must hold.
  ///
  /// - Returns: whether it came to the call.
  func run(_ kind: FaultKind, at number: Int, expecting events: [String]) async throws -> Bool {
    let stage = try stage(seed: UInt64(number))
    stage.arm(kind, at: number, isAside: isAside)
    do {
      try await act(stage)
      // It says that all was done: then it was, whatever failed below.
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
    // The disk that failed a sync is asked for what it was told to be synced, as after a power cut.
    let flushed = stage.syncHasFailed ? stage.synced : stage.flushed
    let killed = stage.storage.copy()
    try checkReading(killed, stage)
    try recover(killed, stage, least: flushed, "killed")
    for seed in UInt64(1)...2 {
      var random = SeededGenerator(seed: seed)
      let cut = stage.storage.powerCut(using: &random)
      try recover(cut, stage, least: stage.synced, "power cut \(seed)")
    }
    // In the same process: nothing that failed holds a lock.
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

  /// The records are those appended, in order, from the front on but for what was removed, and up to
  /// `least` at least.
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

  /// A writer and every consumer are opened, without a fault.
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
