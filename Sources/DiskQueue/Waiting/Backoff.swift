// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// How long threads that found a lock taken give way before they try again: the longer, the more
/// often the second try fails as well.
///
/// Threads that do other work in between find the lock free at the second try, and should make it
/// soon. Threads that do nothing else find it taken more often than not, and each time it changes
/// hands all that it guards moves from one core's cache to another's: they are faster together where
/// each lets the others be for longer.
struct Backoff: ~Copyable {
  /// Giving way takes twice as long with each level: one microsecond to eighty, if nobody else runs.
  private static let highest = 6
  /// Of many threads that count at once, one or the other counts in vain.
  private let level = Atomic(0)

  /// Gives way behind a try that failed; the first one of a call is attempt 0.
  borrowing func giveWay(after attempt: Int) {
    let level = level.load(ordering: .relaxed)
    // The second try is taken to succeed until it fails: whoever has the lock has no time to count.
    // The level stays where it does in four cases of five, and rises where it fails more often.
    let next = attempt == 0 ? max(level - 1, 0) : min(level + (attempt == 1 ? 4 : 2), Self.highest)
    if next != level { self.level.store(next, ordering: .relaxed) }
    Syscalls.giveWay(times: 4 << (attempt == 0 ? level : next))
  }
}
