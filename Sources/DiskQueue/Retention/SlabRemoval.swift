// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Removing slabs that hold records: from the front of a topic, and one at a time. Nothing else in
/// the library does.
enum SlabRemoval {
  enum Outcome: Sendable, Equatable {
    /// - Parameter bytes: the size that its file had.
    case removed(bytes: UInt64)
    /// It was gone already: a second cleaner was faster.
    case gone
    /// It stays.
    case kept(Obstacle)
  }

  /// What keeps a slab, whatever anybody's bounds say.
  enum Obstacle: Sendable, Equatable {
    /// There is a slab before it: removing it would make a hole.
    case notFirst
    /// There is none behind it: it tells the topic's id, and where the log goes on.
    case lastSlab
    /// Nothing states that the slab behind it has begun to be durable: recovery may start at this
    /// one.
    case unproven
    /// A consumer has not acknowledged all of it.
    case held(ConsumerHolds.Hold)
  }

  /// Removes the first slab of a topic, if it is the one expected, is not the last one, and the slab
  /// behind it has begun to be durable.
  ///
  /// Order: list; sync the directory, so that what was removed before is gone for good, and the
  /// names of the slabs behind are there for good, before this one goes: what a power cut leaves is
  /// always the end of the log, without a hole. Then remove it, durably after the next sync of the
  /// directory. Readers that have it open go on reading it.
  ///
  /// Beside writers, readers and other cleaners no lock is needed: a name below the first one never
  /// comes back, new slabs only come behind the last one, and the one that recovery may remove again
  /// is never proven.
  ///
  /// - Parameters:
  ///   - expected: the base of the first slab.
  ///   - synced: all below it is on stable storage, by the word of a header or mark, or of the
  ///     writer, who knows.
  /// - Throws: `syncFailed` where the directory could not be synced: nothing was removed. It is as
  ///   final for a writer of the same storage as a failed sync of its own: the system reports it
  ///   once. `system`.
  /// - Complexity: one listing, two numbers kept of it.
  static func removeFirst(
    _ expected: UInt64, of storage: any TopicStorage, synced: UInt64
  ) throws(QueueError) -> Outcome {
    let (first, second) = try firstTwo(of: storage)
    guard let first, first <= expected else { return .gone }
    guard first == expected else { return .kept(.notFirst) }
    if let obstacle = obstacle(before: second, synced: synced) { return .kept(obstacle) }
    guard let bytes = try SlabFile.open(expected, in: storage)?.size() else { return .gone }
    try syncDirectory(of: storage)
    do throws(SystemError) {
      try storage.remove(SlabName.string(expected))
    } catch {
      guard error.errno != Errno.noEntry else { return .gone }
      throw .system(
        error, doing: "removing a slab", path: storage.path + "/" + SlabName.string(expected),
        address: expected)
    }
    return .removed(bytes: bytes)
  }

  /// What keeps the first slab, as far as slabs do.
  ///
  /// - Parameter next: the base of the slab behind it.
  static func obstacle(before next: UInt64?, synced: UInt64) -> Obstacle? {
    guard let next else { return .lastSlab }
    return synced > next ? nil : .unproven
  }

  /// Makes what was removed so far, and what was made, last.
  static func syncDirectory(of storage: any TopicStorage) throws(QueueError) {
    do throws(SystemError) {
      try storage.syncDirectory()
    } catch {
      throw QueueError(
        .syncFailed,
        "stable storage refused the directory (\(error.call): \(Syscalls.describe(error.errno))), and"
          + " no slab is removed while it does: slabs removed just before may come back with the next"
          + " power cut, and be removed again",
        path: storage.path, errno: error.errno)
    }
  }

  /// The two lowest bases.
  private static func firstTwo(
    of storage: any TopicStorage
  ) throws(QueueError) -> (first: UInt64?, second: UInt64?) {
    var first: UInt64?
    var second: UInt64?
    do throws(SystemError) {
      try storage.forEachName { name in
        guard let base = SlabName.parse(name) else { return }
        if first.map({ base < $0 }) ?? true {
          second = first
          first = base
        } else if second.map({ base < $0 }) ?? true {
          second = base
        }
      }
    } catch {
      throw .system(error, doing: "listing the topic", path: storage.path)
    }
    return (first, second)
  }
}
