// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Events on their way to whoever wants to be told: noted wherever they happen, also under locks, and
/// told where none is held, in order and one at a time.
final class EventQueue: Sendable {
  private struct State {
    var waiting: [QueueWriter.Event] = []
    var isTelling = false
  }
  private let state = Mutex(State())
  private let handler: @Sendable (QueueWriter.Event) -> Void

  init(_ handler: @escaping @Sendable (QueueWriter.Event) -> Void) { self.handler = handler }

  func note(_ event: QueueWriter.Event) { state.withLock { $0.waiting.append(event) } }

  /// Tells what waits. Where another thread is at it, or the handler itself came by here, that one goes
  /// on with what came meanwhile.
  func tell() {
    while let events = takeAll() {
      for event in events { handler(event) }
      state.withLock { $0.isTelling = false }
    }
  }

  private func takeAll() -> [QueueWriter.Event]? {
    state.withLock { state in
      guard !state.isTelling, !state.waiting.isEmpty else { return nil }
      state.isTelling = true
      defer { state.waiting = [] }
      return state.waiting
    }
  }
}
