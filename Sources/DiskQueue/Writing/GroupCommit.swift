// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Decides which caller syncs for all waiters. One syncs at a time. A caller that comes during a
/// sync shares the next turn.
///
/// It needs no lock: if many come at once, all but the first only look.
struct GroupCommit: ~Copyable {
  /// No turns are taken.
  private static let idle: UInt8 = 0
  /// A turn has begun for all that waited by then.
  private static let running: UInt8 = 1
  /// A caller waits, and no turn has begun since.
  private static let wanted: UInt8 = 2

  // Plain numbers: an `Atomic` of an enum does not link in an optimised build for testing.
  private let state = Atomic<UInt8>(GroupCommit.idle)

  /// A caller waits. Returns true if that caller must see to it that turns are taken.
  ///
  /// The caller's work was done under a lock that the turn takes as well. So if it reads `wanted`
  /// here, before `beginTurn` overwrites it, that turn sees its work.
  borrowing func want() -> Bool {
    while true {
      let known = state.load(ordering: .acquiring)
      if known == Self.wanted { return false }
      let (isDone, _) = state.weakCompareExchange(
        expected: known, desired: Self.wanted, ordering: .acquiringAndReleasing)
      if isDone { return known == Self.idle }
    }
  }

  /// A turn begins. It is for all that wait by now.
  borrowing func beginTurn() { state.store(Self.running, ordering: .sequentiallyConsistent) }

  /// A turn has ended. Returns whether there must be another one. If not, nothing waits, and no
  /// turn is taken until a caller waits.
  borrowing func endTurn() -> Bool {
    !state.compareExchange(
      expected: Self.running, desired: Self.idle, ordering: .acquiringAndReleasing
    ).exchanged
  }
}
