// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The state of `Progress`, without locks: a number that only grows, and the waiters, each with the
/// value that it waits for.
///
/// It returns the waiters to be woken. Its holder wakes them outside its lock.
struct ProgressState<Waiter> {
  private(set) var value: UInt64 = 0
  /// The error that ended it, if any. Nothing waits any more then.
  private(set) var failure: QueueError?
  /// In the order in which they came, which is the order of their ids.
  private var waiting: [(id: UInt64, target: UInt64)] = []
  /// In the same order. A separate array, so that all of them are returned without a look at any:
  /// memory that another core wrote last is slow to reach.
  private var waiters: [Waiter] = []
  private var nextID: UInt64 = 0

  var waiterCount: Int { waiters.count }

  enum Entry {
    /// The waiter waits, under this id.
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

  /// Removes a waiter that no longer wants to wait. Nil: it was woken already.
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

  /// Sets the number forward, never back, and returns the waiters whose target it reaches.
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

  /// Returns all waiters: the work that they wait for was tried, and failed.
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

  /// Ends it. Later waiters get the same error.
  mutating func end(_ error: QueueError) -> [Waiter] {
    if failure == nil { failure = error }
    return rejectAll()
  }
}

/// A number that only grows. Tasks and threads wait until it has reached their target.
final class Progress: @unchecked Sendable {
  /// A waiter, and its result.
  ///
  /// An object, so that the list of waiters is moved and searched at the price of one pointer each:
  /// many waiters wait for one sync.
  // Sendable: the monitor guards all of it until it is taken from the list. From then on it belongs
  // to the thread that took it, up to the resumption. After that it belongs to the waiter.
  @safe
  private final class Waiter: @unchecked Sendable {
    var id: UInt64?
    var isCancelled = false
    var result: Result<Void, QueueError>?
    /// Resumed once, by the code that takes the waiter from the list, or that never enters it
    /// there.
    var task: UnsafeContinuation<Void, Never>?
    var call: (@Sendable (Result<Void, QueueError>) -> Void)?
    /// Neither of the two is set: it is a thread, which the monitor wakes.
    var isThread: Bool { unsafe task == nil && call == nil }

    /// Call this outside the monitor. A thread gets its result inside it.
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
  /// How many waited when some of them were last woken.
  private var crowd = 0
  /// How many of the waiters are threads.
  private var threads = 0
  /// How many wait. Stored outside the list for `gather`, which polls it. If `gather` used the
  /// monitor, it would block the threads that it waits for.
  private let waiting = Atomic(0)

  var value: UInt64 { monitor.withLock { state.value } }

  /// How many wait.
  var waiterCount: Int { waiting.load(ordering: .relaxed) }

  /// Sets the number forward, and wakes the waiters whose target it reaches.
  func advance(to value: UInt64) { update(.success(())) { $0.advance(to: value) } }

  /// Sets the number forward by one.
  func advance() { update(.success(())) { $0.advance(to: $0.value + 1) } }

  /// Gives all waiters an error: the work that they wait for was tried in vain. It may be tried
  /// again. Returns how many waiters there were.
  @discardableResult
  func reject(_ error: QueueError) -> Int { update(.failure(error)) { $0.rejectAll() } }

  /// Gives all waiters, and all that come later, an error: the number will not grow any more.
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

  /// Enters the waiter into the list, or sets its result. Call this with the monitor held. Returns
  /// whether it waits.
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

  /// Suspends the task until the number has reached `target`.
  ///
  /// - Parameter start: called if the task has to wait, after it is in the list. So the task cannot
  ///   miss the effect of `start`.
  /// - Throws: the error of `reject` or `end`. `cancelled`, at once, if the task is cancelled.
  func wait(for target: UInt64, start: () -> Void = {}) async throws(QueueError) {
    let waiter = Waiter()
    await withTaskCancellationHandler {
      // Safe: see `Waiter.task`.
      unsafe await withUnsafeContinuation { continuation in
        let waits = withState { state in
          // The task was cancelled before this point.
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

  /// Calls `body` once, when the number has reached `target`, or with the error of `reject` or
  /// `end`. The call comes on the thread that brings this about. If the number has reached `target`
  /// already, the call comes on this thread, before this returns.
  func call(
    whenAt target: UInt64, _ body: @escaping @Sendable (Result<Void, QueueError>) -> Void
  ) {
    let waiter = Waiter()
    waiter.call = body
    let waits = withState { enter(waiter, for: target, &$0) }
    if !waits, let result = waiter.result { waiter.wake(result) }
  }

  /// Blocks the thread until the number has reached `target`. Otherwise like `wait`.
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

  /// Yields to other threads until as many wait as when some were last woken, or until a moment of
  /// the monotonic clock. For waits shorter than a sleep and a wake-up. Returns at once if no
  /// more than one waited then.
  func gather(until deadline: UInt64) {
    let crowd = monitor.withLock { self.crowd }
    guard crowd > 1 else { return }
    while waiterCount < crowd, Syscalls.monotonicClock() < deadline { Syscalls.yield() }
  }
}

extension QueueError {
  static func cancelled(
    fileID: StaticString = #fileID, line: UInt = #line
  ) -> QueueError {
    QueueError(
      .cancelled, "the task was cancelled while it waited, so the call ended early",
      fileID: fileID, line: line)
  }
}
