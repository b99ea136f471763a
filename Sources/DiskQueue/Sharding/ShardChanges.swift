// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Which shards have changed since somebody last asked, and who waits for the next change.
///
/// None is missed by whoever asks for `value` first, then takes what changed and looks at it, and then
/// waits for a change behind that value.
final class ShardChanges: Sendable {
  struct Noted {
    var shards: Set<Int> = []
    /// Whether shards may have been made.
    var areMade = false

    var isEmpty: Bool { shards.isEmpty && !areMade }
  }

  private let noted = Mutex(Noted())
  private let changes = Progress()

  /// Counts the changes; those of a shard that nobody has looked at since are one.
  var value: UInt64 { changes.value }

  /// A shard has changed. For who wrote, whatever locks that holds.
  func note(_ shard: Int) {
    let isNew = noted.withLock { $0.shards.insert(shard).inserted }
    // Else whoever noted it first says so, behind the note: the look is still to come.
    if isNew { changes.advance() }
  }

  /// Shards may have been made.
  func noteMade() {
    let isNew = noted.withLock { noted in
      defer { noted.areMade = true }
      return !noted.areMade
    }
    if isNew { changes.advance() }
  }

  /// What has changed, which is looked at from now on.
  func take() -> Noted {
    noted.withLock { noted in
      defer { noted = Noted() }
      return noted
    }
  }

  /// Calls `body` once there was a change behind a value: on the thread that made it, or on this one,
  /// before it returns, where there was.
  func whenChanged(
    since value: UInt64, _ body: @escaping @Sendable (Result<Void, QueueError>) -> Void
  ) {
    changes.call(whenAt: value + 1, body)
  }
}
