// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// A walk put aside: what is left of it when its buffer, its slab and its listing are given back.

extension LogWalker {
  /// Where a walk stood. It goes on from here exactly as it would have: what is cleaned, discarded or
  /// damaged meanwhile is counted by the same ordinals.
  struct Parked {
    fileprivate var position: UInt64
    fileprivate var ordinal: UInt64
    fileprivate var ordinalIsCounted: Bool
    fileprivate var pending: PendingLoss?
    fileprivate var arrival: Arrival?
    fileprivate var owedLoss: Loss?
  }

  /// What is to be kept of the walk.
  var parked: Parked {
    Parked(
      position: position, ordinal: ordinal, ordinalIsCounted: ordinalIsCounted, pending: pending,
      arrival: arrival, owedLoss: owedLoss)
  }

  /// Goes on where a walk stood, as a walk does that comes to another slab: the first step lists the
  /// topic and finds the way.
  mutating func goOn(from parked: Parked) {
    move(to: parked.position)
    ordinal = parked.ordinal
    ordinalIsCounted = parked.ordinalIsCounted
    pending = parked.pending
    arrival = parked.arrival
    owedLoss = parked.owedLoss
  }

  /// As `goOn(from:)`, if the loss of that stretch was told since.
  mutating func goOnAfterLoss(from parked: Parked) {
    goOn(from: parked)
    if let told = pending.take() { ordinalIsCounted = told.isExactBehind }
    arrival = nil
  }
}
