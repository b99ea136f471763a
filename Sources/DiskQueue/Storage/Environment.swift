// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// What the engine takes from the world around it besides storage, so that a test can decide it.
package struct Environment: Sendable {
  /// Who syncs the slabs that the writer has left behind.
  package enum Background: Sendable {
    /// A thread that the writer owns.
    case thread
    /// The appender that left the slab, before its call returns.
    case inline
    /// Nobody, until the writer's `syncSlabsLeftBehind` is called.
    case manual
  }

  /// The wall clock, in nanoseconds since 1970.
  package var now: @Sendable () -> UInt64
  /// A random number, not 0.
  package var randomID: @Sendable () -> UInt64
  package var background: Background

  package init(
    now: @escaping @Sendable () -> UInt64, randomID: @escaping @Sendable () -> UInt64,
    background: Background
  ) {
    self.now = now
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
