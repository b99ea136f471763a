// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Who syncs for all that wait: one at a time, and whoever comes while it is at work shares the next
/// turn.
struct GroupCommit {
  /// Whether somebody waits that no turn was begun for since.
  private var isWanted = false
  private var isRunning = false

  /// Somebody waits. True: the caller sees to it that turns are taken.
  mutating func want() -> Bool {
    isWanted = true
    defer { isRunning = true }
    return !isRunning
  }

  /// A turn begins: it is for all that wait by now.
  mutating func beginTurn() { isWanted = false }

  /// A turn has ended. Whether there is to be another one; else nobody waits, and none is taken until
  /// somebody does.
  mutating func endTurn() -> Bool {
    isRunning = isWanted
    return isWanted
  }
}
