// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A number that only grows, and who waits for it to come to theirs: the state alone.
///
/// Whoever is to be woken is returned, for the holder to wake outside its lock.
struct ProgressState<Waiter> {
  private(set) var value: UInt64 = 0
  /// What ended it, if something did: nobody waits any more.
  private(set) var failure: QueueError?
  /// By the order in which they came.
  private var waiting: [UInt64: (target: UInt64, waiter: Waiter)] = [:]
  private var nextID: UInt64 = 0

  var waiterCount: Int { waiting.count }

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
    waiting[nextID] = (target, waiter)
    return .waits(nextID)
  }

  /// Takes away one who does not want to wait any more; nil: it was woken already.
  mutating func leave(_ id: UInt64) -> Waiter? { waiting.removeValue(forKey: id)?.waiter }

  /// Sets it forward, never back, and returns who is there.
  mutating func advance(to value: UInt64) -> [Waiter] {
    guard value > self.value else { return [] }
    self.value = value
    var woken: [Waiter] = []
    for (id, entry) in waiting where entry.target <= value {
      waiting[id] = nil
      woken.append(entry.waiter)
    }
    return woken
  }

  /// Returns all who wait: what they wait for was tried, and failed.
  mutating func rejectAll() -> [Waiter] {
    defer { waiting = [:] }
    return waiting.values.map(\.waiter)
  }

  /// Ends it: those who come later are told the same.
  mutating func end(_ error: QueueError) -> [Waiter] {
    if failure == nil { failure = error }
    return rejectAll()
  }
}

/// A number that only grows, and tasks and threads that wait until it has come to theirs.
final class Progress: @unchecked Sendable {
  /// A task that waits, or a thread.
  private enum Waiter {
    case task(CheckedContinuation<Result<Void, QueueError>, Never>)
    case thread(ThreadWait)
  }

  /// Guarded by the monitor.
  private final class ThreadWait {
    var result: Result<Void, QueueError>?
  }

  private let monitor = Syscalls.Monitor()
  // Guarded by the monitor.
  private var state = ProgressState<Waiter>()

  var value: UInt64 { monitor.withLock { state.value } }

  /// How many wait.
  var waiterCount: Int { monitor.withLock { state.waiterCount } }

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

  @discardableResult
  private func update(
    _ result: Result<Void, QueueError>, _ change: (inout ProgressState<Waiter>) -> [Waiter]
  ) -> Int {
    let woken = monitor.withLock {
      let woken = change(&state)
      var hasThreads = false
      for case .thread(let wait) in woken {
        wait.result = result
        hasThreads = true
      }
      if hasThreads { monitor.wakeAll() }
      return woken
    }
    for case .task(let continuation) in woken { continuation.resume(returning: result) }
    return woken.count
  }

  /// Suspends the task until the number is at `target`.
  ///
  /// - Parameter start: called once it waits, if it has to: what it sets off cannot be missed.
  /// - Throws: what `reject` or `end` says; `cancelled` at once where the task is.
  func wait(for target: UInt64, start: () -> Void = {}) async throws(QueueError) {
    let ticket = Ticket()
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        var isWaiting = false
        let entry = monitor.withLock { () -> ProgressState<Waiter>.Entry in
          let entry = state.enter(.task(continuation), for: target)
          guard case .waits(let id) = entry else { return entry }
          // Cancelled before it came here.
          if ticket.isCancelled {
            _ = state.leave(id)
            return .failed(.cancelled())
          }
          ticket.id = id
          isWaiting = true
          return entry
        }
        switch entry {
        case .waits: break
        case .reached: continuation.resume(returning: .success(()))
        case .failed(let error): continuation.resume(returning: .failure(error))
        }
        if isWaiting { start() }
      }
    } onCancel: {
      let left = monitor.withLock { () -> Waiter? in
        ticket.isCancelled = true
        return ticket.id.flatMap { state.leave($0) }
      }
      if case .task(let continuation) = left {
        continuation.resume(returning: .failure(.cancelled()))
      }
    }
    try result.get()
  }

  /// Guarded by the monitor.
  private final class Ticket: @unchecked Sendable {
    var id: UInt64?
    var isCancelled = false
  }

  /// Blocks the thread until the number is at `target`; as the other in all else.
  func waitBlocking(for target: UInt64) throws(QueueError) {
    let result = monitor.withLock { () -> Result<Void, QueueError> in
      let wait = ThreadWait()
      switch state.enter(.thread(wait), for: target) {
      case .reached: return .success(())
      case .failed(let error): return .failure(error)
      case .waits:
        while true {
          if let result = wait.result { return result }
          monitor.wait()
        }
      }
    }
    try result.get()
  }
}

extension QueueError {
  static func cancelled(
    fileID: StaticString = #fileID, line: UInt = #line
  ) -> QueueError {
    QueueError(.cancelled, "the task that waited was cancelled", fileID: fileID, line: line)
  }
}
