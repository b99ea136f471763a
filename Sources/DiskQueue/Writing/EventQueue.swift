// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Events on their way to the handler. They are noted at any point, also under locks. They are
/// delivered when no lock is held, in order and one at a time.
final class EventQueue: Sendable {
  private struct State {
    var waiting: [QueueWriter.Event] = []
    var isDelivering = false
    /// How many callers hold a lock that the handler may want.
    var holds = 0
    var hasEnded = false
    /// Nil: released, after the last event.
    var handler: (@Sendable (QueueWriter.Event) -> Void)?
  }
  private let state: Mutex<State>
  /// Delivers the events that other threads make during a delivery. Nil: there is no such thread.
  private let thread: BackgroundThread?

  /// After so many rounds, the thread goes on instead of the caller. So no call lasts for as long
  /// as other threads make events.
  private static let mostRounds = 16

  init(
    _ handler: @escaping @Sendable (QueueWriter.Event) -> Void, thread: BackgroundThread?
  ) {
    state = Mutex(State(handler: handler))
    self.thread = thread
  }

  func note(_ event: QueueWriter.Event) { state.withLock { $0.waiting.append(event) } }

  /// Delivers the waiting events. If another thread is delivering, or if the handler itself calls
  /// this, that delivery goes on with the new events.
  func deliver() {
    var rounds = 0
    while let (events, handler) = takeAll() {
      for event in events { handler(event) }
      let isMore = state.withLock { state in
        state.isDelivering = false
        if state.hasEnded, state.waiting.isEmpty { state.handler = nil }
        return !state.waiting.isEmpty
      }
      rounds += 1
      if isMore, rounds >= Self.mostRounds, leavesToThread() { return }
    }
  }

  /// Call `hold` before, and `release` after, opening or closing a writer with a lock held. Nothing
  /// is delivered in between. `release` delivers the waiting events.
  func hold() { state.withLock { $0.holds += 1 } }
  func release() {
    state.withLock { $0.holds -= 1 }
    deliver()
  }

  /// No more events come. The handler, and all that it holds, even the writer, is released after
  /// the last event is delivered.
  func end() {
    state.withLock { state in
      state.hasEnded = true
      if state.waiting.isEmpty, !state.isDelivering { state.handler = nil }
    }
  }

  private func leavesToThread() -> Bool {
    guard let thread else { return false }
    do throws(SystemError) {
      try thread.submit { [self] in deliver() }
      return true
    } catch {
      return false
    }
  }

  private func takeAll() -> ([QueueWriter.Event], @Sendable (QueueWriter.Event) -> Void)? {
    state.withLock { state in
      guard let handler = state.handler, !state.isDelivering, state.holds == 0,
        !state.waiting.isEmpty
      else { return nil }
      state.isDelivering = true
      defer { state.waiting = [] }
      return (state.waiting, handler)
    }
  }
}
