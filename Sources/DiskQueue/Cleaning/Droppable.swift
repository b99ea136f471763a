// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Which slabs the policy of a full topic or disk lets a writer drop.
enum Droppable {
  case all
  /// The slabs that every consumer has acknowledged.
  case acknowledged(ConsumerHolds)

  func allow(_ slab: SlabFront.SizedSlab) -> Bool {
    switch self {
    case .all: true
    // Without a consumer, nothing was acknowledged.
    case .acknowledged(let holds):
      holds.consumers > 0 && holds.hold(below: slab.contentEnd) == nil
    }
  }
}

/// A slab that a writer dropped.
struct DroppedSlab: Sendable {
  var base: UInt64
  /// How many records the log took in it. Nil if that is unknown.
  var records: UInt64?
  var bytes: UInt64
}
