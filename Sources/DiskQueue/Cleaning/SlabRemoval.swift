// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Removes slabs that hold records, one at a time from the front of a topic. Nothing else in the
/// library removes such slabs.
enum SlabRemoval {
  enum Outcome: Sendable, Equatable {
    /// - Parameter bytes: the size of its file.
    case removed(bytes: UInt64)
    /// It was already gone: a second cleaner was faster.
    case gone
    /// It stays.
    case kept(Obstacle)
  }

  /// Why a slab stays, whatever the bounds say.
  enum Obstacle: Sendable, Equatable {
    /// The next slab of the listing is gone, or another file has its name: list again.
    case changed
    /// There is no slab after it. It states the topic's id, and the address at which the log
    /// continues.
    case lastSlab
    /// Nothing states that the next slab has begun to be durable: recovery may start at this one.
    case unproven
    /// A consumer has not acknowledged all of it.
    case held(ConsumerHolds.Hold)
  }

  /// Two neighbouring slabs of a listing. The first one is to be removed.
  struct Pair: Sendable {
    /// The base of the first slab.
    var first: UInt64
    /// The base of the next slab. Nil if there is none.
    var next: UInt64?
    /// The topic's id. Nil if no slab states one.
    var topicID: UInt64?
  }

  /// Removes the first slab of a topic if it is not the last one, and if the next slab has begun to
  /// be durable. One listing serves many removals.
  ///
  /// Order:
  /// 1. Compare the beginnings of both slabs with the topic's id. A slab of another topic, or of a
  ///    newer program, is never removed, and nothing is removed in front of it.
  /// 2. Sync the directory. Earlier removals are then final, and the names of the later slabs are
  ///    durable, before this slab goes. A power cut leaves the end of the log, without a hole.
  /// 3. Check that the name still leads to the file that was compared.
  /// 4. Remove it. The removal is durable after the next sync of the directory. Readers that have
  ///    the slab open continue to read it.
  ///
  /// No lock is needed against writers, readers and other cleaners, for three reasons:
  /// - A name below the first one never comes back.
  /// - New slabs come only after the last one.
  /// - The slab that recovery may remove again is never proven.
  ///
  /// - Parameters:
  ///   - pair: the first slab of a listing and the next one.
  ///   - synced: everything below it is on stable storage, as a header or mark states or as the
  ///     writer knows.
  /// - Throws: `unsupportedFormat` if one of the two slabs is not the topic's. `syncFailed` if the
  ///   directory could not be synced. Nothing was removed then. A failed sync is as final for a
  ///   writer of the same storage as one of its own: the system reports it once. `system`.
  /// - Complexity: two beginnings are read, whatever the number of slabs.
  static func removeFirst(
    _ pair: Pair, of storage: any TopicStorage, synced: UInt64
  ) throws(QueueError) -> Outcome {
    if let obstacle = obstacle(before: pair.next, synced: synced) { return .kept(obstacle) }
    guard let slab = try SlabFile.open(pair.first, in: storage) else { return .gone }
    try slab.refuse(unlessOf: pair.topicID)
    if let next = pair.next {
      guard let next = try SlabFile.open(next, in: storage) else { return .kept(.changed) }
      try next.refuse(unlessOf: pair.topicID)
    }
    let bytes = try slab.size()
    try syncDirectory(of: storage)
    let name = SlabName.string(pair.first)
    do throws(SystemError) {
      guard let found = try storage.identity(of: name) else { return .gone }
      guard try found == slab.file.identity() else { return .kept(.changed) }
      try storage.remove(name)
    } catch {
      guard error.errno != Errno.noEntry else { return .gone }
      throw .system(
        error, doing: "removing a slab", path: storage.path + "/" + name, address: pair.first)
    }
    return .removed(bytes: bytes)
  }

  /// Why the first slab stays, as far as slabs decide.
  ///
  /// - Parameter next: the base of the next slab.
  static func obstacle(before next: UInt64?, synced: UInt64) -> Obstacle? {
    guard let next else { return .lastSlab }
    return synced > next ? nil : .unproven
  }

  /// Makes durable the removals and the new names up to now.
  static func syncDirectory(of storage: any TopicStorage) throws(QueueError) {
    do throws(SystemError) {
      try storage.syncDirectory()
    } catch {
      throw QueueError(
        .syncFailed,
        "stable storage refused the directory (\(error.call): \(Syscalls.describe(error.errno))),"
          + " and no slab is removed while it does: slabs removed just before may come back with"
          + " the next power cut, and be removed again. Check the disk",
        path: storage.path, errno: error.errno)
    }
  }
}

extension SlabFile {
  /// Throws if the slab's beginning states another topic, or a version or flags that this program
  /// does not know. A beginning that is damaged, or written by queuefka, states nothing.
  ///
  /// - Parameter topicID: the topic's id. Nil if no slab states one.
  func refuse(unlessOf topicID: UInt64?) throws(QueueError) {
    let head = try head()
    if case .unsupported(let version, let flags) = head.header {
      throw unsupported(version: version, flags: flags)
    }
    guard let topicID, let stated = head.topicID, stated != topicID else { return }
    throw .foreignSlab(path: path, address: base)
  }
}
