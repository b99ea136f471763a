// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// How long threads that found a lock taken yield before they try again. The more often the second
/// try fails as well, the longer they yield.
///
/// Threads that do other work in between find the lock free at the second try, and should try
/// soon. Threads that do nothing else find it taken more often than not. Each time the lock changes
/// hands, all that it guards moves from one core's cache to another's. Such threads are faster
/// together if each leaves the others alone for longer.
struct Backoff: ~Copyable {
  /// Each level yields for twice as long as the level below: one microsecond to eighty, if no other
  /// thread runs.
  private static let highest = 6
  /// If many threads count at once, some of their counts are lost.
  private let level = Atomic(0)

  /// Yields after a try that failed. The first failed try of a call is attempt 0.
  borrowing func yield(after attempt: Int) {
    let level = level.load(ordering: .relaxed)
    // The second try counts as a success until it fails: the thread that has the lock has no time
    // to count. The level stays the same if about four second tries of five succeed. It rises if
    // more of them fail.
    let next = attempt == 0 ? max(level - 1, 0) : min(level + (attempt == 1 ? 4 : 2), Self.highest)
    if next != level { self.level.store(next, ordering: .relaxed) }
    Syscalls.yield(times: 4 << (attempt == 0 ? level : next))
  }
}
