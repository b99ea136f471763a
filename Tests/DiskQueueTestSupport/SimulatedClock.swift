// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A wall clock, and beside it the true time. Each reading moves both on by 1 µs. A test can set
/// the clock ahead or back.
package final class SimulatedClock: Sendable {
  private struct State {
    var truth: UInt64 = 1_700_000_000_000_000_000
    /// How far the clock is ahead of the true time, in nanoseconds.
    var offset: Int64 = 0
    var random: SeededGenerator

    var reading: UInt64 {
      let (sum, overflow) = truth.addingReportingOverflow(UInt64(bitPattern: offset))
      // In two's complement, adding a negative number carries, unless the sum is below 0.
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

  /// The true time.
  package var truth: UInt64 { state.withLock { $0.truth } }

  /// How far the clock is ahead of the true time, in nanoseconds.
  package var offset: Int64 { state.withLock { $0.offset } }

  /// Lets time pass.
  package func pass(nanoseconds: UInt64) { state.withLock { $0.truth &+= nanoseconds } }

  /// Moves the clock ahead, or back, without the true time.
  package func jump(nanoseconds: Int64) { state.withLock { $0.offset &+= nanoseconds } }

  /// Sets the clock to the true time.
  package func setRight() { state.withLock { $0.offset = 0 } }

  package func randomID() -> UInt64 { state.withLock { max(1, $0.random.next()) } }
}
