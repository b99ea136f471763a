// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The slabs of a topic at one moment, with their sizes, and the reason why the first of them
/// stays. A cap on a topic's size is compared with these sizes.
///
/// Room is counted by the slabs that were removed: the file system reports more only after the last
/// reader has closed the slab. Holds 24 bytes a slab. A writer keeps this value between two
/// removals, and updates it with `add` and `dropRemoved`. So it lists the topic only now and then.
struct SlabFront: Sendable {
  struct SizedSlab: Sendable, Equatable {
    var base: UInt64
    /// The size of its file, without the bytes of a refused record.
    var bytes: UInt64
    /// The highest address at which its records can end: the base of the next slab of its epoch, or
    /// the `kept` of a later epoch. `UInt64.max` if only its file's size decides.
    var contentEnd: UInt64
  }

  /// By address.
  private(set) var slabs: ArraySlice<SizedSlab> = []
  /// The bytes of all files.
  private(set) var bytes: UInt64 = 0
  /// The topic's id, for `ConsumerHolds`. Nil if no slab states one.
  let topicID: UInt64?
  /// Whether queuefka wrote the slabs of epoch 0.
  private let isVersion1: Bool
  /// How many slabs were removed since the listing, and how many removals one listing may serve.
  private var removedSinceListing = 0
  private let mostRemovals: Int

  /// Whether the topic begins with slabs that queuefka wrote. Also for `ConsumerHolds`.
  var beginsWithVersion1: Bool { isVersion1 && slabs.first.map { Epoch.of($0.base) } == 0 }

  /// Whether it is time to list the topic again. Slabs that others add by hand, before the first
  /// slab or between two, show only in a listing. One listing serves half as many removals as it
  /// listed slabs, so it adds a constant to each.
  var isOutdated: Bool { removedSinceListing >= mostRemovals }

  private static let fewestRemovals = 64

  /// Opens the last slab of each epoch to read its size, and the slabs that an index opens. Any
  /// other slab ends at the base of the next. A slab that is cleaned meanwhile is left out.
  ///
  /// - Throws: `unsupportedFormat` if a slab of another topic is listed first or last.
  init(of storage: any TopicStorage) throws(QueueError) {
    let index = TopicIndex(storage)
    try index.refresh()
    try index.refuseForeign()
    topicID = index.topicID
    isVersion1 = index.isVersion1
    mostRemovals = max(Self.fewestRemovals, index.bases.count / 2)
    var slabs: [SizedSlab] = []
    slabs.reserveCapacity(index.bases.count)
    for (place, base) in index.bases.enumerated() {
      let next = place + 1 < index.bases.count ? index.bases[place + 1] : .max
      let size: UInt64
      if Epoch.of(next) == Epoch.of(base) {
        size = next - base
      } else {
        guard let asked = try SlabFile.open(base, in: storage)?.size() else { continue }
        size = asked
      }
      slabs.append(SizedSlab(base: base, bytes: size, contentEnd: index.limit(ofSlabAt: place)))
      bytes = bytes.addingSaturating(size)
    }
    self.slabs = slabs[...]
  }

  /// Ends the list with the slab that the writer writes. The writer counts that slab's bytes
  /// itself. Files after it hold nothing of the log.
  mutating func endAtSlab(_ base: UInt64) {
    while let last = slabs.last, last.base >= base {
      bytes -= min(bytes, last.bytes)
      guard last.base > base else {
        slabs[slabs.endIndex - 1].bytes = 0
        break
      }
      slabs.removeLast()
    }
  }

  /// Adds the slab in which the writer continues. False if it does not fit the list.
  mutating func add(_ next: UInt64, after left: UInt64, endingAt end: UInt64) -> Bool {
    guard let last = slabs.last, last.base == left, next > left else { return false }
    let left = SizedSlab(base: left, bytes: end - left, contentEnd: end)
    bytes = (bytes - min(bytes, last.bytes)).addingSaturating(left.bytes)
    slabs[slabs.endIndex - 1] = left
    slabs.append(SizedSlab(base: next, bytes: 0, contentEnd: .max))
    return true
  }

  /// Leaves out slabs at the front that others removed.
  mutating func dropRemoved(from storage: any TopicStorage) throws(QueueError) {
    while let first = slabs.first, slabs.count > 1 {
      let name = SlabName.string(first.base)
      do throws(SystemError) {
        guard try storage.identity(of: name) == nil else { return }
      } catch {
        throw .system(
          error, doing: "looking for a slab", path: storage.path + "/" + name, address: first.base)
      }
      countRemoved(first)
    }
  }

  private mutating func countRemoved(_ first: SizedSlab) {
    slabs.removeFirst()
    bytes -= min(bytes, first.bytes)
    removedSinceListing += 1
  }

  /// The ordinal of the first record, as the first slab that knows it states it. Nil if no slab
  /// does.
  func firstOrdinal(in storage: any TopicStorage) throws(QueueError) -> UInt64? {
    for slab in slabs {
      if let ordinal = try ordinal(of: slab, in: storage) { return ordinal }
    }
    return nil
  }

  /// How many records the log took in the first slab, counted from its beginning and that of the
  /// next one. Nil if they do not state it, if they cannot be read, or if slabs between the two are
  /// gone.
  func recordsOfFirst(in storage: any TopicStorage) -> UInt64? {
    guard let first = slabs.first, let next = slabs.dropFirst().first else { return nil }
    do throws(QueueError) {
      // The ordinal of address 0 is known without its header.
      let isStart = first.base == 0 && !beginsWithVersion1
      guard try SlabFile.open(first.base, in: storage)?.reaches(first.contentEnd) ?? false,
        let end = try ordinal(of: next, in: storage),
        let start = isStart ? 0 : try ordinal(of: first, in: storage), end >= start
      else { return nil }
      return end - start
    } catch {
      // The number is for people: nothing may fail because of it.
      return nil
    }
  }

  private func ordinal(
    of slab: SizedSlab, in storage: any TopicStorage
  ) throws(QueueError) -> UInt64? {
    guard let head = try SlabFile.open(slab.base, in: storage)?.head() else { return nil }
    return (topicID.map { head.of(topicID: $0) } ?? head).ordinal
  }

  /// Why the first slab stays. Nil if it may be removed.
  ///
  /// - Parameter synced: as for `SlabRemoval.removeFirst`.
  func obstacle(synced: UInt64, holds: ConsumerHolds) -> SlabRemoval.Obstacle? {
    guard let first = slabs.first else { return .lastSlab }
    let next = slabs.dropFirst().first?.base
    if let obstacle = SlabRemoval.obstacle(before: next, synced: synced) { return obstacle }
    return holds.hold(below: min(first.contentEnd, next ?? .max)).map { .held($0) }
  }

  /// Removes the first slab, unless something other than a consumer keeps it. Counts its room as
  /// free, also if a second cleaner was faster.
  mutating func removeFirst(
    of storage: any TopicStorage, synced: UInt64
  ) throws(QueueError) -> SlabRemoval.Outcome {
    guard let first = slabs.first else { return .kept(.lastSlab) }
    let pair = SlabRemoval.Pair(
      first: first.base, next: slabs.dropFirst().first?.base, topicID: topicID)
    let outcome = try SlabRemoval.removeFirst(pair, of: storage, synced: synced)
    if case .kept = outcome { return outcome }
    countRemoved(first)
    return outcome
  }
}

extension SlabFile {
  /// Whether its file holds everything up to an address. If not, slabs after it are gone.
  func reaches(_ end: UInt64) throws(QueueError) -> Bool { try self.end() >= end }
}

extension TopicIndex {
  /// Whether queuefka wrote the first slab.
  var beginsWithVersion1: Bool { bases.first.map { holdsVersion1($0) } ?? false }
}
