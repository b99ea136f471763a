// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// What a walk found out about the damage in one slab: the next damaged place in it needs neither
/// a listing, nor an opening, nor another search for the next mark.
final class SlabDamage {
  let base: UInt64
  var frames: FrameSearch
  /// All that was read of the slab was read after it was proven that everything below was durable.
  /// So what is not there is damaged, at the first look.
  private(set) var certainBelow: UInt64
  var stretch: Stretch?

  /// From a damaged place to the next mark, or to the end of the slab's content.
  struct Stretch {
    var from: UInt64
    /// Where the records end that are looked for.
    var end: UInt64
    /// Where the walk goes on if none is found.
    var goal: UInt64
    /// The ordinal there, where it is exactly known.
    var atEnd: UInt64?
    /// The most that the ordinal there can be.
    var known: UInt64?
    /// Whether the walk goes on in another slab there.
    var goesOnElsewhere: Bool

    func contains(_ address: UInt64) -> Bool { from <= address && address < min(end, goal) }
  }

  init(base: UInt64, frames: consuming FrameSearch, certainBelow: UInt64) {
    self.base = base
    self.frames = frames
    self.certainBelow = certainBelow
  }

  /// Forgets what was read: the slab was opened anew, after another proof.
  func lookAgain(certainBelow: UInt64) {
    self.certainBelow = certainBelow
    frames.forget()
    stretch = nil
  }
}
