// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A wall clock that goes on a little with every look at it, and jumps when it is told to; and
/// beside it the time that it really is.
package final class SimulatedClock: Sendable {
  private struct State {
    var truth: UInt64 = 1_700_000_000_000_000_000
    /// By how much the clock is ahead.
    var offset: Int64 = 0
    var random: SeededGenerator

    var reading: UInt64 {
      let (sum, overflow) = truth.addingReportingOverflow(UInt64(bitPattern: offset))
      // Two's complement: a carry is what setting it back gives.
      return overflow == (offset < 0) ? sum : (offset < 0 ? 0 : .max)
    }
  }
  private let state: Mutex<State>

  package init(seed: UInt64) { state = Mutex(State(random: SeededGenerator(seed: seed))) }

  package func now() -> UInt64 {
    state.withLock { state in
      state.truth &+= 1000
      return state.reading
    }
  }

  /// The time that it really is.
  package var truth: UInt64 { state.withLock { $0.truth } }

  /// By how much the clock is ahead of it, in nanoseconds.
  package var offset: Int64 { state.withLock { $0.offset } }

  /// Lets time pass.
  package func pass(nanoseconds: UInt64) { state.withLock { $0.truth &+= nanoseconds } }

  /// Sets the clock forward or back.
  package func jump(nanoseconds: Int64) { state.withLock { $0.offset &+= nanoseconds } }

  /// Sets the clock right.
  package func setRight() { state.withLock { $0.offset = 0 } }

  package func randomID() -> UInt64 { state.withLock { max(1, $0.random.next()) } }
}
