// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Who syncs for all that wait: one at a time, and whoever comes while it is at work shares the next
/// turn.
///
/// Without a lock: of many who come at once, all but the first only look.
struct GroupCommit: ~Copyable {
  private enum State: UInt8, AtomicRepresentable {
    /// Nobody takes turns.
    case idle
    /// A turn was begun for all that waited by then.
    case running
    /// Somebody waits that no turn was begun for since.
    case wanted
  }
  private let state = Atomic(State.idle)

  /// Somebody waits. True: the caller sees to it that turns are taken.
  ///
  /// What he waits for was done under a lock that the turn takes as well: whoever reads `wanted` here,
  /// before `beginTurn` overwrites it, is seen by that turn.
  borrowing func want() -> Bool {
    while true {
      let known = state.load(ordering: .acquiring)
      if known == .wanted { return false }
      let (isDone, _) = state.weakCompareExchange(
        expected: known, desired: .wanted, ordering: .acquiringAndReleasing)
      if isDone { return known == .idle }
    }
  }

  /// A turn begins: it is for all that wait by now.
  borrowing func beginTurn() { state.store(.running, ordering: .sequentiallyConsistent) }

  /// A turn has ended. Whether there is to be another one; else nobody waits, and none is taken until
  /// somebody does.
  borrowing func endTurn() -> Bool {
    !state.compareExchange(
      expected: .running, desired: .idle, ordering: .acquiringAndReleasing
    ).exchanged
  }
}
