// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A number that only grows, and who waits for it to come to theirs: the state alone.
///
/// Whoever is to be woken is returned, for the holder to wake outside its lock.
struct ProgressState<Waiter> {
  private(set) var value: UInt64 = 0
  /// What ended it, if something did: nobody waits any more.
  private(set) var failure: QueueError?
  /// In the order in which they came, and so of their names.
  private var waiting: [(id: UInt64, target: UInt64)] = []
  /// In the same order. Apart, so that all of them are returned without a look at any: what another
  /// core wrote last is slow to reach.
  private var waiters: [Waiter] = []
  private var nextID: UInt64 = 0

  var waiterCount: Int { waiters.count }

  enum Entry {
    /// It waits, under this name.
    case waits(UInt64)
    case reached
    case failed(QueueError)
  }

  mutating func enter(_ waiter: Waiter, for target: UInt64) -> Entry {
    if value >= target { return .reached }
    if let failure { return .failed(failure) }
    nextID += 1
    waiting.append((nextID, target))
    waiters.append(waiter)
    return .waits(nextID)
  }

  /// Takes away one who does not want to wait any more; nil: it was woken already.
  mutating func leave(_ id: UInt64) -> Waiter? {
    var low = 0
    var high = waiting.count
    while low < high {
      let middle = (low + high) / 2
      if waiting[middle].id < id { low = middle + 1 } else { high = middle }
    }
    guard low < waiting.count, waiting[low].id == id else { return nil }
    waiting.remove(at: low)
    return waiters.remove(at: low)
  }

  /// Sets it forward, never back, and returns who is there.
  mutating func advance(to value: UInt64) -> [Waiter] {
    guard value > self.value else { return [] }
    self.value = value
    if waiting.allSatisfy({ $0.target <= value }) { return takeAll() }
    let woken = zip(waiting, waiters).compactMap { $0.target <= value ? $1 : nil }
    if !woken.isEmpty {
      waiters = zip(waiting, waiters).compactMap { $0.target <= value ? nil : $1 }
      waiting.removeAll { $0.target <= value }
    }
    return woken
  }

  /// Returns all who wait: what they wait for was tried, and failed.
  mutating func rejectAll() -> [Waiter] { takeAll() }

  private mutating func takeAll() -> [Waiter] {
    guard !waiters.isEmpty else { return [] }
    waiting.removeAll(keepingCapacity: true)
    var all: [Waiter] = []
    // As many come again, mostly.
    all.reserveCapacity(waiters.count)
    swap(&all, &waiters)
    return all
  }

  /// Ends it: those who come later are told the same.
  mutating func end(_ error: QueueError) -> [Waiter] {
    if failure == nil { failure = error }
    return rejectAll()
  }
}

/// A number that only grows, and tasks and threads that wait until it has come to theirs.
final class Progress: @unchecked Sendable {
  /// One who waits, and what came of it.
  ///
  /// An object, so that the list of them is moved about and looked through at the price of a pointer
  /// each: whoever waits with many others does so for one sync.
  // Sendable: all of it is guarded by the monitor until it was taken from the list; then it is that
  // one's who took it, up to the resumption, and behind that the waiter's own.
  @safe
  private final class Waiter: @unchecked Sendable {
    var id: UInt64?
    var isCancelled = false
    var result: Result<Void, QueueError>?
    /// Resumed once, by whoever takes the waiter from the list, or never enters it there.
    var task: UnsafeContinuation<Void, Never>?
    var call: (@Sendable (Result<Void, QueueError>) -> Void)?
    /// Neither of both: a thread, which the monitor wakes.
    var isThread: Bool { unsafe task == nil && call == nil }

    /// Outside the monitor. A thread was told within.
    func wake(_ result: Result<Void, QueueError>) {
      guard !isThread else { return }
      self.result = result
      unsafe task?.resume()
      call?(result)
    }
  }

  private let monitor = Syscalls.Monitor()
  // Guarded by the monitor.
  private var state = ProgressState<Waiter>()
  /// How many waited when some of them were woken last.
  private var crowd = 0
  /// How many of those who wait are threads.
  private var threads = 0
  /// How many wait. Beside the list for `gather`, which looks again and again: with the monitor it
  /// would be in the way of those it looks for.
  private let waiting = Atomic(0)

  var value: UInt64 { monitor.withLock { state.value } }

  /// How many wait.
  var waiterCount: Int { waiting.load(ordering: .relaxed) }

  /// Sets it forward, and wakes who waited for it.
  func advance(to value: UInt64) { update(.success(())) { $0.advance(to: value) } }

  /// Sets it one further.
  func advance() { update(.success(())) { $0.advance(to: $0.value + 1) } }

  /// Tells all who wait that what they wait for was tried in vain; it may be tried again. Returns
  /// how many were told.
  @discardableResult
  func reject(_ error: QueueError) -> Int { update(.failure(error)) { $0.rejectAll() } }

  /// Tells all who wait, and all who come, that it will not go on.
  func end(_ error: QueueError) { update(.failure(error)) { $0.end(error) } }

  private func withState<R>(_ body: (inout ProgressState<Waiter>) -> R) -> R {
    monitor.withLock {
      defer { waiting.store(state.waiterCount, ordering: .relaxed) }
      return body(&state)
    }
  }

  @discardableResult
  private func update(
    _ result: Result<Void, QueueError>, _ change: (inout ProgressState<Waiter>) -> [Waiter]
  ) -> Int {
    let woken = withState { state in
      let before = state.waiterCount
      let woken = change(&state)
      if !woken.isEmpty { crowd = before }
      if threads > 0 {
        for waiter in woken where waiter.isThread {
          waiter.result = result
          threads -= 1
        }
        monitor.wakeAll()
      }
      return woken
    }
    for waiter in woken { waiter.wake(result) }
    return woken.count
  }

  /// Takes its place in the list, or its result; with the monitor held. Returns whether it waits.
  private func enter(
    _ waiter: Waiter, for target: UInt64, _ state: inout ProgressState<Waiter>
  ) -> Bool {
    switch state.enter(waiter, for: target) {
    case .reached: waiter.result = .success(())
    case .failed(let error): waiter.result = .failure(error)
    case .waits(let id):
      waiter.id = id
      return true
    }
    return false
  }

  /// Suspends the task until the number is at `target`.
  ///
  /// - Parameter start: called once it waits, if it has to: what it sets off cannot be missed.
  /// - Throws: what `reject` or `end` says; `cancelled` at once where the task is.
  func wait(for target: UInt64, start: () -> Void = {}) async throws(QueueError) {
    let waiter = Waiter()
    await withTaskCancellationHandler {
      // Safe: see `Waiter.task`.
      unsafe await withUnsafeContinuation { continuation in
        let waits = withState { state in
          // Cancelled before it came here.
          guard !waiter.isCancelled else {
            waiter.result = .failure(.cancelled())
            return false
          }
          unsafe waiter.task = continuation
          return enter(waiter, for: target, &state)
        }
        if waits { start() } else { unsafe continuation.resume() }
      }
    } onCancel: {
      let left = withState { state -> Waiter? in
        waiter.isCancelled = true
        return waiter.id.flatMap { state.leave($0) }
      }
      left?.wake(.failure(.cancelled()))
    }
    try waiter.result?.get()
  }

  /// Calls `body` when the number is at `target`, or with what `reject` or `end` says: once, on the
  /// thread that brings it there; on this one, before it returns, where it is already.
  func call(
    whenAt target: UInt64, _ body: @escaping @Sendable (Result<Void, QueueError>) -> Void
  ) {
    let waiter = Waiter()
    waiter.call = body
    let waits = withState { enter(waiter, for: target, &$0) }
    if !waits, let result = waiter.result { waiter.wake(result) }
  }

  /// Blocks the thread until the number is at `target`; as the other in all else.
  func waitBlocking(for target: UInt64) throws(QueueError) {
    let waiter = Waiter()
    let waits = withState { state in
      let waits = enter(waiter, for: target, &state)
      if waits { threads += 1 }
      return waits
    }
    if waits { monitor.withLock { while waiter.result == nil { monitor.wait() } } }
    try waiter.result?.get()
  }

  /// Gives way to other threads until as many wait as when some were woken last, or until a moment
  /// of the monotonic clock: for times below that of going to sleep and being woken. Returns at once
  /// where that was one.
  func gather(until deadline: UInt64) {
    let crowd = monitor.withLock { self.crowd }
    guard crowd > 1 else { return }
    while waiterCount < crowd, Syscalls.monotonicClock() < deadline { Syscalls.giveWay() }
  }
}

extension QueueError {
  static func cancelled(
    fileID: StaticString = #fileID, line: UInt = #line
  ) -> QueueError {
    QueueError(.cancelled, "the task that waited was cancelled", fileID: fileID, line: line)
  }
}
