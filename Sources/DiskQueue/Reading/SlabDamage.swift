// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The knowledge about the damage in one slab. With it, the next damaged place in the slab needs no
/// new listing, opening or search for the next mark.
package final class SlabDamage {
  let base: UInt64
  package var frames: FrameSearch
  /// Everything read of the slab was read after a proof that all below this address was durable. So
  /// a frame that is missing below it is damaged, at the first look.
  private(set) var certainBelow: UInt64
  var stretch: Stretch?

  /// From a damaged place to the next mark, or to the end of the slab's content.
  struct Stretch {
    var from: UInt64
    /// The end of the search for records.
    var end: UInt64
    /// The address at which the walk continues if the search finds no record.
    var goal: UInt64
    /// The ordinal there, if it is exactly known.
    var atEnd: UInt64?
    /// The highest possible ordinal there.
    var known: UInt64?
    /// Whether the walk continues in another slab there.
    var goesOnElsewhere: Bool

    func contains(_ address: UInt64) -> Bool { from <= address && address < min(end, goal) }
  }

  package init(base: UInt64, frames: consuming FrameSearch, certainBelow: UInt64) {
    self.base = base
    self.frames = frames
    self.certainBelow = certainBelow
  }

  /// Forgets the bytes read: the slab was opened again, after another proof.
  func lookAgain(certainBelow: UInt64) {
    self.certainBelow = certainBelow
    frames.forget()
    stretch = nil
  }
}
