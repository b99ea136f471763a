// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A wall clock that goes on a little with every look at it, and jumps when it is told to.
package final class SimulatedClock: Sendable {
  private struct State {
    var now: UInt64 = 1_700_000_000_000_000_000
    var random: SeededGenerator
  }
  private let state: Mutex<State>

  package init(seed: UInt64) { state = Mutex(State(random: SeededGenerator(seed: seed))) }

  package func now() -> UInt64 {
    state.withLock { state in
      state.now &+= 1000
      return state.now
    }
  }

  /// Sets the clock forward or back.
  package func jump(nanoseconds: Int64) {
    state.withLock { $0.now = $0.now &+ UInt64(bitPattern: nanoseconds) }
  }

  package func randomID() -> UInt64 { state.withLock { max(1, $0.random.next()) } }
}
