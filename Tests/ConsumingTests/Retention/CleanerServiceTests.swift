// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Synchronization
import Testing

@testable import DiskQueue

/// A clock that only the test advances, for one sleeper at a time.
private final class ManualClock: Clock {
  struct Instant: InstantProtocol {
    var offset: Duration
    func advanced(by duration: Duration) -> Instant { Instant(offset: offset + duration) }
    func duration(to other: Instant) -> Duration { other.offset - offset }
    static func < (left: Instant, right: Instant) -> Bool { left.offset < right.offset }
  }

  struct Broken: Error {}

  private struct State {
    var now = Duration.zero
    var sleeper: (until: Duration, continuation: CheckedContinuation<Void, any Error>)?
    var isCancelled = false
  }
  private let state = Mutex(State())
  /// Counts how often a sleep has begun.
  let sleeps = Progress()

  var now: Instant { Instant(offset: state.withLock { $0.now }) }
  var minimumResolution: Duration { .zero }

  func sleep(until deadline: Instant, tolerance: Duration?) async throws {
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let isCancelled = state.withLock { state in
          if !state.isCancelled { state.sleeper = (deadline.offset, continuation) }
          return state.isCancelled
        }
        if isCancelled { continuation.resume(throwing: CancellationError()) }
        sleeps.advance()
      }
    } onCancel: {
      wake(with: .failure(CancellationError())) { $0.isCancelled = true }
    }
  }

  func advance(by duration: Duration) {
    wake(with: .success(())) { $0.now += duration }
  }

  func breakDown() {
    wake(with: .failure(Broken())) { $0.now += .seconds(1 << 40) }
  }

  private func wake(with result: Result<Void, any Error>, _ change: (inout State) -> Void) {
    let woken = state.withLock { state in
      change(&state)
      guard let sleeper = state.sleeper, state.isCancelled || sleeper.until <= state.now
      else { return nil as CheckedContinuation<Void, any Error>? }
      state.sleeper = nil
      return sleeper.continuation
    }
    woken?.resume(with: result)
  }
}

@Suite("Cleaning as a service")
struct CleanerServiceTests {
  private let made = CleaningTopic()
  private let clock = ManualClock()

  /// The reports and the errors of a service.
  private final class Reported: Sendable {
    let reports = Mutex<[SlabCleaner.Report]>([])
    let errors = Mutex<[QueueError]>([])

    @Sendable func clean(_ report: SlabCleaner.Report) { reports.withLock { $0.append(report) } }
    @Sendable func fail(_ error: QueueError) { errors.withLock { $0.append(error) } }
  }
  private let reported = Reported()

  private func start(
    _ retention: Retention = .nothing, handsErrors: Bool = true
  ) throws -> Task<Result<Void, QueueError>, Never> {
    let cleaner = try made.cleaner()
    return Task { [clock, reported] in
      do throws(QueueError) {
        try await cleaner.run(
          every: .seconds(60), keeping: retention, clock: clock,
          onClean: reported.clean, onError: handsErrors ? reported.fail : nil)
        return .success(())
      } catch {
        return .failure(error)
      }
    }
  }

  private var reports: [SlabCleaner.Report] { reported.reports.withLock { $0 } }
  private var errors: [QueueError] { reported.errors.withLock { $0 } }

  @Test("cleans at once, and again each time the interval has passed, until it is cancelled")
  func rounds() async throws {
    try made.fill(slabs: 4)
    let service = try start()
    try await clock.sleeps.wait(for: 1)
    #expect(reports.map(\.removals.count) == [3])
    #expect(reports.map(\.stopReason) == [.lastSlab])
    // No round begins before the interval has passed.
    try made.fill(slabs: 3)
    clock.advance(by: .seconds(59))
    #expect(made.bases.count == 3)
    clock.advance(by: .seconds(1))
    try await clock.sleeps.wait(for: 2)
    #expect(reports.map(\.removals.count) == [3, 2])
    clock.advance(by: .seconds(60))
    try await clock.sleeps.wait(for: 3)
    #expect(reports.map(\.removals.count) == [3, 2, 0])
    service.cancel()
    try await service.value.get()
    #expect(reports.count == 3)
    #expect(errors.isEmpty)
  }

  @Test(
    "the error of a round is handed over, with what was removed before, and the next one goes on")
  func errorsHanded() async throws {
    try made.fill(slabs: 6)
    made.storage.setFault(
      SimulatedStorage.Fault(.fail(Errno.access), at: 3) {
        if case .remove = $0 { true } else { false }
      })
    let service = try start()
    try await clock.sleeps.wait(for: 1)
    #expect(reports.map(\.removals.count) == [2])
    #expect(reports.map(\.stopReason) == [.interrupted])
    #expect(errors.map(\.code) == [.system(errno: Errno.access)])
    clock.advance(by: .seconds(60))
    try await clock.sleeps.wait(for: 2)
    #expect(reports.map(\.removals.count) == [2, 3])
    #expect(errors.count == 1)
    service.cancel()
    try await service.value.get()
  }

  @Test("without a closure an error is thrown, and a failed sync is with one as well")
  func errorsThrown() async throws {
    for (errno, handsErrors) in [(Errno.access, false), (Errno.io, true)] {
      let made = CleaningTopic()
      try made.fill(slabs: 4)
      made.storage.setFault(
        SimulatedStorage.Fault(.fail(errno), at: 1) {
          errno == Errno.io ? $0 == .syncDirectory : $0 == .remove(SlabName.string(0))
        })
      let cleaner = try made.cleaner()
      let reported = Reported()
      let error = await #expect(throws: QueueError.self) {
        try await cleaner.run(
          every: .seconds(60), keeping: .nothing, clock: clock,
          onClean: reported.clean, onError: handsErrors ? reported.fail : nil)
      }
      #expect(error?.code == (errno == Errno.io ? .syncFailed : .system(errno: errno)))
      #expect(reported.reports.withLock { $0 } == [.init(removals: [], stopReason: .interrupted)])
      #expect(reported.errors.withLock { $0.isEmpty })
    }
  }

  @Test("options out of their bounds are refused before the first round")
  func options() async throws {
    try made.fill(slabs: 3)
    let cleaner = try made.cleaner()
    for (interval, retention) in [
      (.zero, .nothing), (.seconds(-1), .nothing), (.seconds(1), Retention(bytes: .bytes(-1))),
    ] as [(Duration, Retention)] {
      let error = await #expect(throws: QueueError.self) {
        try await cleaner.run(every: interval, keeping: retention, clock: clock) { _ in
          Issue.record("a round was made")
        }
      }
      #expect(error?.code == .invalidOption)
    }
    #expect(made.bases.count == 3)
  }

  @Test("a cancelled task cleans no more, not even for the rest of a round")
  func cancelled() async throws {
    try made.fill(slabs: 6)
    let cleaner = try made.cleaner()
    let never = Task {
      withUnsafeCurrentTask { $0?.cancel() }
      try await cleaner.run(every: .seconds(60), keeping: .nothing, clock: clock) { _ in
        Issue.record("a round was made")
      }
    }
    try await never.value
    #expect(made.bases.count == 6)

    // The round is cancelled between two removals.
    let removals = Mutex(0)
    let round = CleaningRound(
      storage: made.storage, retention: .nothing, now: { 0 }, isDryRun: false,
      isCancelled: { removals.withLock { $0 == 2 } })
    let reason = try round.run { _ in removals.withLock { $0 += 1 } }
    #expect(reason == .interrupted)
    #expect(made.bases.count == 4)
  }

  @Test("a clock that gives up is no end of the service that nobody hears of")
  func brokenClock() async throws {
    let service = try start()
    try await clock.sleeps.wait(for: 1)
    clock.breakDown()
    guard case .failure(let error) = await service.value else {
      Issue.record("it ended without a word")
      return
    }
    #expect(error.code == .cancelled)
    #expect(reports.map(\.stopReason) == [.empty])
  }
}
