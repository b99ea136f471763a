// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// A parked walk: the state that remains after its buffer, its slab and its listing are released.

extension LogWalker {
  /// The state of a parked walk, which resumes exactly as if it had never stopped. Records that are
  /// cleaned, discarded or damaged in the meantime are counted from the same ordinals.
  struct Parked {
    fileprivate var position: UInt64
    fileprivate var ordinal: UInt64
    fileprivate var ordinalIsCounted: Bool
    fileprivate var pending: PendingLoss?
    fileprivate var arrival: Arrival?
    fileprivate var owedLoss: Loss?
  }

  /// The state to keep while the walk is parked.
  var parked: Parked {
    Parked(
      position: position, ordinal: ordinal, ordinalIsCounted: ordinalIsCounted, pending: pending,
      arrival: arrival, owedLoss: owedLoss)
  }

  /// Resumes a parked walk. As after a move to another slab, the first step lists the topic and
  /// finds the slab.
  mutating func goOn(from parked: Parked) {
    move(to: parked.position)
    ordinal = parked.ordinal
    ordinalIsCounted = parked.ordinalIsCounted
    pending = parked.pending
    arrival = parked.arrival
    owedLoss = parked.owedLoss
  }

  /// Like `goOn(from:)`, if the pending loss has been reported since.
  mutating func goOnAfterLoss(from parked: Parked) {
    goOn(from: parked)
    if let told = pending.take() { ordinalIsCounted = told.isExactAfter }
    arrival = nil
  }
}
