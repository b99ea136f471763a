// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Synchronization

@testable import DiskQueue

/// The stage on which an operation meets a fault. It holds the topic, the records that were
/// reported at each level, and the result of each call.
///
/// After an error that is not final, the same call is repeated. If the fault struck only once, the
/// repeated call must succeed. The scenario must then end as if nothing had failed.
final class FaultStage: Sendable {
  /// The scenario cannot continue. As far as the stage knows, that is correct.
  struct Stopped: Error {}

  private struct State {
    var plan: FaultPlan?
    var payloads: [[UInt8]] = []
    var flushed = 0
    var synced = 0
    var consumers: [String: ClosedRange<UInt64>] = [:]
    /// The consumers that were made, for certain.
    var made: Set<String> = []
    var events: [String] = []
    var errors: [String] = []
    var writerEnded = false
  }

  let storage: SimulatedStorage
  /// The topic in which a consumer puts records aside.
  let aside: SimulatedStorage
  let clock = ManualClock()
  private let shortWrites: ShortWriteStorage
  private let shortWritesAside: ShortWriteStorage
  private let state = Mutex(State())

  init(seed: UInt64) {
    storage = SimulatedStorage(seed: seed, laysOutRoom: true)
    aside = SimulatedStorage(seed: seed + 1, laysOutRoom: true)
    shortWrites = ShortWriteStorage(storage)
    shortWritesAside = ShortWriteStorage(aside)
  }

  var topic: Topic { Topic(storage: shortWrites) }
  var topicAside: Topic { Topic(storage: shortWritesAside) }
  var environment: Environment { fixedEnvironment(clock, background: .manual) }

  // MARK: The fault

  func arm(_ kind: FaultKind, at number: Int, isAside: Bool) {
    let plan =
      isAside
      ? FaultPlan(kind, at: number, on: aside, through: shortWritesAside)
      : FaultPlan(kind, at: number, on: storage, through: shortWrites)
    state.withLock { $0.plan = plan }
  }

  func disarm() {
    storage.setFault(nil)
    aside.setFault(nil)
    shortWrites.cut(write: 0, then: nil)
    shortWritesAside.cut(write: 0, then: nil)
  }

  var plan: FaultPlan? { state.withLock { $0.plan } }
  var errors: [String] { state.withLock { $0.errors } }
  /// Whether a sync of the topic failed. Records that were only flushed may be lost by that.
  var syncHasFailed: Bool { plan?.hits.contains { $0.makesDurable } ?? false }

  // MARK: Known state

  var payloads: [[UInt8]] { state.withLock { $0.payloads } }
  var flushed: Int { state.withLock { $0.flushed } }
  var synced: Int { state.withLock { $0.synced } }
  /// The ordinals at which each consumer may be, by its name.
  var consumers: [String: ClosedRange<UInt64>] { state.withLock { $0.consumers } }
  var made: Set<String> { state.withLock { $0.made } }
  var events: [String] { state.withLock { $0.events } }

  func note(_ event: String) { state.withLock { $0.events.append(event) } }
  func didAppend(_ payload: [UInt8]) { state.withLock { $0.payloads.append(payload) } }
  func didFlush() { state.withLock { $0.flushed = $0.payloads.count } }

  func didSync() {
    state.withLock {
      $0.flushed = $0.payloads.count
      $0.synced = $0.payloads.count
    }
  }

  /// Notes that a consumer is about to move to an ordinal.
  func wants(_ name: String, at ordinal: UInt64) {
    state.withLock {
      let range = $0.consumers[name] ?? 0...0
      $0.consumers[name] = min(range.lowerBound, ordinal)...max(range.upperBound, ordinal)
    }
  }

  /// Notes that the move was reported as done.
  func stands(_ name: String, at ordinal: UInt64) {
    state.withLock {
      $0.consumers[name] = ordinal...ordinal
      $0.made.insert(name)
    }
  }

  func forget(_ name: String) { state.withLock { $0.consumers[name] = nil } }

  // MARK: Calling

  /// Makes a call. If the call fails for a cause that may be gone, makes it once more.
  func trying<R: ~Copyable>(_ what: String, _ body: () throws -> R) throws -> R {
    do { return try body() } catch { try judge(error, of: what, isSecond: false) }
    do { return try body() } catch { try judge(error, of: what, isSecond: true) }
    throw Stopped()
  }

  /// Like `trying`, for an asynchronous call.
  func awaiting<R>(_ what: String, _ body: () async throws -> R) async throws -> R {
    do { return try await body() } catch { try judge(error, of: what, isSecond: false) }
    do { return try await body() } catch { try judge(error, of: what, isSecond: true) }
    throw Stopped()
  }

  /// Checks an error of a call. Throws unless the call may be repeated.
  private func judge(_ error: any Error, of what: String, isSecond: Bool) throws {
    if error is Stopped || error is Complaint { throw error }
    guard let error = error as? QueueError else { throw Complaint("\(what) throws \(error)") }
    state.withLock { $0.errors.append("\(what): \(error.code)") }
    guard let plan, !plan.hits.isEmpty else { throw Complaint("\(what) fails unasked: \(error)") }
    if error.loss != nil { throw Complaint("\(what) takes a failure for a loss: \(error)") }
    guard error.path?.isEmpty == false else { throw Complaint("\(what) names no path: \(error)") }
    // If the policy makes room, and it could not make any, the error reports that, without an
    // errno.
    let saysNoRoom = error.code == .noSpace && plan.kind.errno == Errno.noSpace
    guard error.errno == plan.kind.errno || error.errno == nil && saysNoRoom else {
      throw Complaint("\(what) does not say why: \(error.errno ?? 0), \(error)")
    }
    let isFinal = error.code == .syncFailed
    let mayBeFinal = plan.hasHitCheck || plan.hits.contains(where: \.makesDurable)
    let mayBeOther = plan.hits.contains { !$0.makesDurable }
    let plain: QueueError.Code =
      plan.kind.errno == Errno.noSpace ? .noSpace : .system(errno: plan.kind.errno)
    guard isFinal ? mayBeFinal : mayBeOther && error.code == plain else {
      throw Complaint("\(what) fails with \(error.code) behind \(plan.hits): \(error)")
    }
    if isFinal { throw Stopped() }
    guard isSecond else { return }
    guard plan.kind.isForGood else { throw Complaint("\(what) fails again: \(error)") }
    throw Stopped()
  }
}
