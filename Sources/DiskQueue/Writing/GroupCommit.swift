// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Who syncs for all that wait: one at a time, and whoever comes while it is at work shares the next
/// turn.
///
/// Without a lock: of many who come at once, all but the first only look.
struct GroupCommit: ~Copyable {
  /// Nobody takes turns.
  private static let idle: UInt8 = 0
  /// A turn was begun for all that waited by then.
  private static let running: UInt8 = 1
  /// Somebody waits that no turn was begun for since.
  private static let wanted: UInt8 = 2

  // Plain numbers: an enum of its own as an `Atomic` does not link in an optimised build for testing.
  private let state = Atomic<UInt8>(GroupCommit.idle)

  /// Somebody waits. True: the caller sees to it that turns are taken.
  ///
  /// What he waits for was done under a lock that the turn takes as well: whoever reads `wanted` here,
  /// before `beginTurn` overwrites it, is seen by that turn.
  borrowing func want() -> Bool {
    while true {
      let known = state.load(ordering: .acquiring)
      if known == Self.wanted { return false }
      let (isDone, _) = state.weakCompareExchange(
        expected: known, desired: Self.wanted, ordering: .acquiringAndReleasing)
      if isDone { return known == Self.idle }
    }
  }

  /// A turn begins: it is for all that wait by now.
  borrowing func beginTurn() { state.store(Self.running, ordering: .sequentiallyConsistent) }

  /// A turn has ended. Whether there is to be another one; else nobody waits, and none is taken until
  /// somebody does.
  borrowing func endTurn() -> Bool {
    !state.compareExchange(
      expected: Self.running, desired: Self.idle, ordering: .acquiringAndReleasing
    ).exchanged
  }
}
