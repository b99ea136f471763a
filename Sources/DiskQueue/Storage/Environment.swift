// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// What the engine takes from the world around it besides storage, so that a test can decide it.
package struct Environment: Sendable {
  /// Who does what nobody waits for: syncs the slabs that the writer has left behind, and what a
  /// time has come for.
  package enum Background: Sendable {
    /// A thread that the writer owns.
    case thread
    /// The appender that left the slab, before its call returns; times only come when a test says so.
    case inline
    /// Nobody, until a test says so.
    case manual
  }

  /// The wall clock, in nanoseconds since 1970.
  package var now: @Sendable () -> UInt64
  /// Nanoseconds on a clock that nobody sets: for how long something took.
  package var monotonic: @Sendable () -> UInt64
  /// A random number, not 0.
  package var randomID: @Sendable () -> UInt64
  package var background: Background

  /// Whether somebody else than the caller can do something.
  var hasThread: Bool { if case .thread = background { true } else { false } }

  package init(
    now: @escaping @Sendable () -> UInt64,
    monotonic: @escaping @Sendable () -> UInt64 = { Syscalls.monotonicClock() },
    randomID: @escaping @Sendable () -> UInt64, background: Background
  ) {
    self.now = now
    self.monotonic = monotonic
    self.randomID = randomID
    self.background = background
  }

  package static let system = Environment(
    now: { Syscalls.wallClock() },
    randomID: {
      var generator = SystemRandomNumberGenerator()
      return UInt64.random(in: 1...UInt64.max, using: &generator)
    },
    background: .thread)
}
