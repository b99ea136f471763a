// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Events on their way to the handlers. They are noted at any point, also under locks. They are
/// delivered when no lock is held, in order and one at a time.
final class EventQueue: Sendable {
  /// - Parameter shard: the shard whose writer the event is about. 0 if there are no shards.
  typealias Handler = @Sendable (_ shard: Int, _ event: QueueWriter.Event) -> Void

  /// An event, and the handlers that were there when it was noted.
  private struct PendingEvent {
    var event: QueueWriter.Event
    var shard: Int
    var handlers: Int
  }

  private struct State {
    var waiting: [PendingEvent] = []
    var isDelivering = false
    /// How many callers hold a lock that a handler may want.
    var holds = 0
    var hasEnded = false
    /// In the order in which they were added. Empty: there is none, or they were released after the
    /// last event.
    var handlers: [Handler] = []
  }
  private let state = Mutex(State())
  /// Whether a handler was ever added. Without one, no lock is acquired.
  private let hasHandlers = Atomic(false)
  /// Delivers the events that other threads make during a delivery. Nil: there is no such thread.
  private let thread: BackgroundThread?

  /// After so many rounds, the thread goes on instead of the caller. So no call lasts for as long
  /// as other threads make events.
  private static let mostRounds = 16

  init(thread: BackgroundThread?) { self.thread = thread }

  /// Adds a handler, which receives every event that is noted from now on.
  func add(_ handler: @escaping Handler) {
    state.withLock { state in
      guard !state.hasEnded else { return }
      state.handlers.append(handler)
      hasHandlers.store(true, ordering: .releasing)
    }
  }

  /// Whether an event that is noted now has a handler.
  var isHeard: Bool { hasHandlers.load(ordering: .acquiring) }

  func note(_ event: QueueWriter.Event, ofShard shard: Int) {
    guard isHeard else { return }
    state.withLock { state in
      state.waiting.append(PendingEvent(event: event, shard: shard, handlers: state.handlers.count))
    }
  }

  /// Delivers the waiting events. If another thread is delivering, or if the handler itself calls
  /// this, that delivery goes on with the new events.
  func deliver() {
    guard isHeard else { return }
    var rounds = 0
    while let (events, handlers) = takeAll() {
      for noted in events {
        for handler in handlers.prefix(noted.handlers) { handler(noted.shard, noted.event) }
      }
      let isMore = state.withLock { state in
        state.isDelivering = false
        return !state.waiting.isEmpty
      }
      rounds += 1
      if isMore, rounds >= Self.mostRounds, leavesToThread() { return }
    }
    releaseHandlers()
  }

  /// Releases the handlers after the last event, without a lock held. An object that only a handler
  /// holds may use the writer at its end.
  private func releaseHandlers() {
    let released = state.withLock { state -> [Handler] in
      guard state.hasEnded, state.waiting.isEmpty, !state.isDelivering, state.holds == 0 else {
        return []
      }
      defer { state.handlers = [] }
      return state.handlers
    }
    withExtendedLifetime(released) {}
  }

  /// Call `hold` before, and `release` after, opening or closing a writer with a lock held. Nothing
  /// is delivered in between. `release` delivers the waiting events.
  func hold() { state.withLock { $0.holds += 1 } }
  func release() {
    state.withLock { $0.holds -= 1 }
    deliver()
  }

  /// No more events come. The `deliver` of the last event, or the next one, releases the handlers
  /// and all that they hold, even the writer.
  func end() { state.withLock { $0.hasEnded = true } }

  private func leavesToThread() -> Bool {
    guard let thread else { return false }
    do throws(SystemError) {
      try thread.submit { [self] in deliver() }
      return true
    } catch {
      return false
    }
  }

  private func takeAll() -> ([PendingEvent], [Handler])? {
    state.withLock { state in
      guard !state.handlers.isEmpty, !state.isDelivering, state.holds == 0,
        !state.waiting.isEmpty
      else { return nil }
      state.isDelivering = true
      defer { state.waiting = [] }
      return (state.waiting, state.handlers)
    }
  }
}

/// The events of one writer, in a queue that the writers of other shards may share.
struct ShardEvents: Sendable {
  let queue: EventQueue
  let shard: Int

  /// Whether an event that is noted now has a handler.
  var isHeard: Bool { queue.isHeard }

  func note(_ event: QueueWriter.Event) { queue.note(event, ofShard: shard) }
  func deliver() { queue.deliver() }
  func end() { queue.end() }
}
