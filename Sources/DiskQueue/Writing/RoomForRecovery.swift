// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Drops slabs while a topic is opened on a full disk, as the writer's policy allows.
///
/// A writer under a watchdog must open without help. So if there is no room for the few bytes that
/// opening writes, it drops the oldest slab, and tries again.
struct RoomForRecovery {
  let storage: any TopicStorage
  let policy: QueueWriter.Options.WhenFull
  /// The slabs that were dropped, oldest first.
  private(set) var dropped: [DroppedSlab] = []

  init(_ storage: any TopicStorage, _ policy: QueueWriter.Options.WhenFull) {
    self.storage = storage
    self.policy = policy
  }

  /// Drops the first slab, if the policy allows and recovery did not start at it.
  ///
  /// Order: before anything is dropped, recovery has synced the directory, the slab it started at,
  /// and all slabs after it. Only slabs before that one go, so a crash at any step finds the same
  /// start.
  ///
  /// - Parameter start: the slab that recovery started at.
  /// - Returns: whether a slab is gone.
  mutating func make(before start: UInt64) throws(QueueError) -> Bool {
    var front = try SlabFront(of: storage)
    guard let first = front.slabs.first, first.base < start,
      let droppable = try policy.droppable(of: storage, front), droppable.allow(first)
    else { return false }
    let records = front.recordsOfFirst(in: storage)
    // Everything up to the end of the log was synced when that end was found.
    switch try front.removeFirst(of: storage, synced: .max) {
    case .removed(let bytes):
      dropped.append(DroppedSlab(base: first.base, records: records, bytes: bytes))
      return true
    case .gone: return true
    case .kept: return false
    }
  }
}
