// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The services that the engine takes from the world around it, besides storage. A test can replace
/// them.
package struct Environment: Sendable {
  /// How the work runs that no caller waits for: syncs of the slabs that the writer has left, and
  /// timed work.
  package enum Background: Sendable {
    /// A thread that the writer owns.
    case thread
    /// The appender that left the slab does it, before its call returns. Timed work runs only when
    /// a test says so.
    case inline
    /// Nothing runs until a test says so.
    case manual
  }

  /// The wall clock, in nanoseconds since 1970.
  package var now: @Sendable () -> UInt64
  /// Nanoseconds on a clock that is never set, for durations.
  package var monotonic: @Sendable () -> UInt64
  /// A random number, not 0.
  package var randomID: @Sendable () -> UInt64
  package var background: Background

  /// Whether work can run on a thread other than the caller's.
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
