// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The shards that have changed since the last `take()`, and the calls that wait for the next
/// change.
///
/// To miss no change, read `value` first. Then take the changes and look at the shards. Then wait
/// for a change after that value.
final class ShardChanges: Sendable {
  struct Noted {
    var shards: Set<Int> = []
    /// Whether shards may have been made.
    var areMade = false

    var isEmpty: Bool { shards.isEmpty && !areMade }
  }

  private let noted = Mutex(Noted())
  private let changes = Progress()

  /// The number of changes. All changes of a shard between two `take()` calls count as one.
  var value: UInt64 { changes.value }

  /// Notes that a shard has changed. A writer may call this with any locks held.
  func note(_ shard: Int) {
    let isNew = noted.withLock { $0.shards.insert(shard).inserted }
    // Otherwise the call that noted it first advances the count, after its note. The look is still
    // to come.
    if isNew { changes.advance() }
  }

  /// Notes that shards may have been made.
  func noteMade() {
    let isNew = noted.withLock { noted in
      defer { noted.areMade = true }
      return !noted.areMade
    }
    if isNew { changes.advance() }
  }

  /// Takes the changes noted so far. The caller looks at them from now on.
  func take() -> Noted {
    noted.withLock { noted in
      defer { noted = Noted() }
      return noted
    }
  }

  /// Calls `body` once there was a change after a value. It runs on the thread that made the
  /// change. If there was one already, it runs on this thread, before this returns.
  func whenChanged(
    since value: UInt64, _ body: @escaping @Sendable (Result<Void, QueueError>) -> Void
  ) {
    changes.call(whenAt: value + 1, body)
  }
}
