// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Events on their way to whoever wants to be told: noted wherever they happen, also under locks, and
/// told where none is held, in order and one at a time.
final class EventQueue: Sendable {
  private struct State {
    var waiting: [QueueWriter.Event] = []
    var isTelling = false
    /// How many hold a lock that the handler may want.
    var holds = 0
    var hasEnded = false
    /// nil: gone, behind the last event.
    var handler: (@Sendable (QueueWriter.Event) -> Void)?
  }
  private let state: Mutex<State>
  /// Tells what others make while one tells; nil: there is no thread to be had.
  private let thread: BackgroundThread?

  /// So often one goes on with what came meanwhile, before the thread does: nobody's call lasts as long
  /// as others make events.
  private static let mostRounds = 16

  init(
    _ handler: @escaping @Sendable (QueueWriter.Event) -> Void, thread: BackgroundThread?
  ) {
    state = Mutex(State(handler: handler))
    self.thread = thread
  }

  func note(_ event: QueueWriter.Event) { state.withLock { $0.waiting.append(event) } }

  /// Tells what waits. Where another thread is at it, or the handler itself came by here, that one goes
  /// on with what came meanwhile.
  func tell() {
    var rounds = 0
    while let (events, handler) = takeAll() {
      for event in events { handler(event) }
      let isMore = state.withLock { state in
        state.isTelling = false
        if state.hasEnded, state.waiting.isEmpty { state.handler = nil }
        return !state.waiting.isEmpty
      }
      rounds += 1
      if isMore, rounds >= Self.mostRounds, leavesToThread() { return }
    }
  }

  /// Whoever opens or closes a writer with a lock held does so between these two: nothing is told
  /// meanwhile, and what waits is told behind.
  func hold() { state.withLock { $0.holds += 1 } }
  func release() {
    state.withLock { $0.holds -= 1 }
    tell()
  }

  /// No more comes. Whatever the handler holds, also the writer, is let go once all was told.
  func end() {
    state.withLock { state in
      state.hasEnded = true
      if state.waiting.isEmpty, !state.isTelling { state.handler = nil }
    }
  }

  private func leavesToThread() -> Bool {
    guard let thread else { return false }
    do throws(SystemError) {
      try thread.submit { [self] in tell() }
      return true
    } catch {
      return false
    }
  }

  private func takeAll() -> ([QueueWriter.Event], @Sendable (QueueWriter.Event) -> Void)? {
    state.withLock { state in
      guard let handler = state.handler, !state.isTelling, state.holds == 0,
        !state.waiting.isEmpty
      else { return nil }
      state.isTelling = true
      defer { state.waiting = [] }
      return (state.waiting, handler)
    }
  }
}
