// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

// Room: what an append does if it finds none, at the cap or on a full disk.

/// A wait for room.
struct RoomWait: Sendable {
  fileprivate let watch: TopicWatch
  fileprivate let seen: UInt64

  /// Blocks the thread until there may be room.
  func block() throws(QueueError) { try watch.changeBlocking(since: seen) }

  /// Suspends the task until there may be room.
  func suspend() async throws(QueueError) { try await watch.change(since: seen) }
}

extension WriterCore {
  /// Decides what to do about a record that the cap has no room for. Nil: try again. Otherwise wait
  /// first.
  ///
  /// - Throws: `noSpace`, if the policy is not to wait and nothing may be removed.
  func findRoom(forPayload payload: Int) throws(QueueError) -> RoomWait? {
    defer { events.deliver() }
    // A cleaner may have removed slabs since the last count.
    guard try recount(forPayload: payload) > 0 else { return nil }
    let base = updateTail { $0.slab.base }
    switch policies.whenFull {
    case .dropOldest, .dropOldestAcknowledged:
      do throws(QueueError) {
        try dropOldest { [self] _ in updateTail { $0.shortage(forPayload: payload) } }
        return nil
      } catch {
        guard error.code == .noSpace else { throw error }
        if try leaveOnlySlab(base, forPayload: payload) { return nil }
        try proveAll()
        throw error
      }
    case .automatic, .fail:
      _ = try leaveOnlySlab(base, forPayload: payload)
      try proveAll()
      throw capReached
    case .wait:
      _ = try leaveOnlySlab(base, forPayload: payload)
      try proveAll()
      let watch = try watchForRoom()
      let seen = watch.generation
      if let makeRoom = roomMaker.withLock({ $0 }) { try makeRoom() }
      // Check only after the watch began: removals from now on wake the waiter.
      try withTail { (tail: inout LogTail) throws(QueueError) in try tail.checkOpen() }
      guard try recount(forPayload: payload) > 0 else { return nil }
      return RoomWait(watch: watch, seen: seen)
    }
  }

  private var capReached: QueueError {
    let bound = updateTail { $0.isAtMaximumRecords } ? "maximumRecords" : "maximumBytes"
    return QueueError(
      .noSpace,
      "the topic is at its \(bound): clean the topic, or raise the bound. Earlier records are"
        + " unharmed, and appending goes on when there is room",
      path: storage.path)
  }

  /// Flushes, syncs, and states as durable all appended records. So consumers see them, and a
  /// cleaner may remove those that the consumers have done with. Costs nothing if no record came
  /// since the last time.
  private func proveAll() throws(QueueError) {
    if updateTail({ $0.ordinal != $0.syncedOrdinal }) { try sync() }
    let leftSlabs = try withTail { (tail: inout LogTail) throws(QueueError) -> Int in
      let before = tail.leftSlabs.count
      try tail.stateProof()
      return tail.leftSlabs.count == before ? 0 : tail.leftSlabs.count
    }
    if leftSlabs > 0 { startSyncing(leftSlabs) }
  }

  /// Leaves the slab that is written if it is the only slab and takes no further record. A slab
  /// that was written under wider bounds is such a case. No cleaner could make room while that slab
  /// is the last one. The slab after it is proven at once, so that the old one may go. Returns
  /// false if the slab is still written, and need not be left.
  private func leaveOnlySlab(
    _ base: UInt64, forPayload payload: Int
  ) throws(QueueError) -> Bool {
    let (isLeft, isMine) = try withTail { (tail: inout LogTail) throws(QueueError) in
      try tail.checkOpen()
      // Another thread may have left it already.
      guard tail.slab.base == base else { return (true, false) }
      guard tail.otherBytes == 0, tail.wantsAnotherSlab(forPayload: payload) else {
        return (false, false)
      }
      try tail.roll()
      return (true, true)
    }
    guard isMine else { return isLeft }
    try sync()
    try withTail { (tail: inout LogTail) throws(QueueError) in
      try tail.checkOpen()
      try tail.putMark()
      try tail.flush()
    }
    return true
  }

  // MARK: Counting

  /// Counts the other slabs anew, and returns the shortage that remains.
  private func recount(forPayload payload: Int) throws(QueueError) -> UInt64 {
    // Not while another thread removes slabs and counts them.
    try makingRoom.withLock { listed throws(QueueError) in
      try recountAlone(&listed, forPayload: payload)
    }
  }

  /// Finds out which slabs there are: from the last listing and the changes since, or from a new
  /// one.
  ///
  /// - Parameter isFresh: whether to list in any case.
  private func lookAtSlabs(
    _ listed: inout SlabFront?, isFresh: Bool = false
  ) throws(QueueError) -> SlabFront {
    // Taken out of `listed`, so that it is changed in place. After an error, the next call lists.
    if var front = listed.take(), !isFresh, !front.isOutdated {
      let rolls = updateTail { $0.takeRolls() }
      if rolls.allSatisfy({ front.add($0.next, after: $0.left, endingAt: $0.end) }) {
        try front.dropRemoved(from: storage)
        return front
      }
    }
    while true {
      let base = updateTail { tail in
        _ = tail.takeRolls()
        return tail.slab.base
      }
      var front = try SlabFront(of: storage)
      guard updateTail({ $0.rolls.isEmpty }) else { continue }
      front.endAtSlab(base)
      return front
    }
  }

  private func recountAlone(
    _ listed: inout SlabFront?, forPayload payload: Int
  ) throws(QueueError) -> UInt64 {
    while true {
      let front = try lookAtSlabs(&listed)
      let bytes = front.bytes
      let first = policies.boundsRecords ? try front.firstOrdinal(in: storage) : nil
      listed = front
      let shortage = updateTail { tail -> UInt64? in
        guard tail.rolls.isEmpty else { return nil }
        tail.otherBytes = bytes
        if let first { tail.firstOrdinal = first }
        tail.settlePlainEnd()
        return tail.shortage(forPayload: payload)
      }
      if let shortage { return shortage }
    }
  }

  // MARK: Dropping the oldest

  /// Runs `body`, which writes. If the disk is full and the policy is to drop the oldest, makes
  /// room and runs it once more.
  func withRoomOnDisk<R: Sendable>(
    _ payload: Int = 0, _ body: () throws(QueueError) -> R
  ) throws(QueueError) -> R {
    do throws(QueueError) {
      return try body()
    } catch {
      guard error.code == .noSpace, policies.dropsOldest else { throw error }
      // Counted by the removed bytes: the file system may not free the space while readers hold a
      // slab.
      let waiting = updateTail { $0.buffer.count }
      let needed = UInt64(waiting + payload) + LogTail.mostOverhead + Self.blockSize
      try dropOldest { removed in needed > removed ? needed - removed : 0 }
      return try body()
    }
  }

  /// The unit in which most file systems allocate.
  private static let blockSize: UInt64 = 4096

  /// Removes slabs from the front until `lacking`, called with the bytes removed so far, returns 0.
  /// Removes nothing if that could not be enough. The consumers' holds are read before each
  /// removal: a consumer may have been set back since the last one.
  ///
  /// - Throws: `noSpace`, if the slabs that may go are not enough.
  private func dropOldest(
    until lacking: (_ removedBytes: UInt64) -> UInt64
  ) throws(QueueError) {
    try makingRoom.withLock { listed throws(QueueError) in
      guard lacking(0) > 0 else { return }
      var front = try lookAtSlabs(&listed)
      var removed: UInt64 = 0
      var listings = 0
      while try !drop(from: &front, removed: &removed, until: lacking) {
        listings += 1
        guard listings < Self.mostListings else { throw .slabsChange(path: storage.path) }
        front = try lookAtSlabs(&listed, isFresh: true)
      }
      listed = front
    }
  }

  /// If slabs change this often between a listing and a removal, the cause is not a cleaner.
  private static let mostListings = 100

  /// Like `dropOldest`, with one listing. Returns false if the slabs are not those listed.
  private func drop(
    from front: inout SlabFront, removed: inout UInt64,
    until lacking: (_ removedBytes: UInt64) -> UInt64
  ) throws(QueueError) -> Bool {
    var left = lacking(removed)
    var droppable = try whatMayGo(front)
    let current = updateTail { $0.slab.base }
    var most: UInt64 = 0
    for slab in front.slabs {
      guard most < left, slab.base < current, droppable.allow(slab) else { break }
      most = most.addingSaturating(slab.bytes)
    }
    guard most >= left else { throw nothingToDrop(droppable) }
    while left > 0 {
      try prove(front)
      droppable = try whatMayGo(front)
      guard let slab = front.slabs.first, slab.base < current, droppable.allow(slab) else {
        throw nothingToDrop(droppable)
      }
      let records = !events.isHeard ? nil : front.recordsOfFirst(in: storage)
      let outcome: SlabRemoval.Outcome
      do throws(QueueError) {
        outcome = try front.removeFirst(of: storage, synced: updateTail { $0.synced })
      } catch {
        if error.isFinal { end(error) }
        throw error
      }
      if outcome == .kept(.changed) { return false }
      if case .kept = outcome { throw nothingToDrop(droppable) }
      if case .removed(let bytes) = outcome {
        removed = removed.addingSaturating(bytes)
        note(DroppedSlab(base: slab.base, records: records, bytes: bytes))
      }
      updateTail { $0.otherBytes -= min($0.otherBytes, slab.bytes) }
      if policies.boundsRecords, let first = try front.firstOrdinal(in: storage) {
        updateTail { $0.firstOrdinal = first }
      }
      left = lacking(removed)
    }
    return true
  }

  /// Counts and reports a slab that was dropped.
  func note(_ slab: DroppedSlab) {
    updateTail { tail in
      tail.tally.droppedSlabs &+= 1
      tail.tally.droppedBytes &+= slab.bytes
    }
    events.note(
      .dropped(
        slab: Address(rawValue: slab.base), records: slab.records,
        bytes: .bytes(Int64(clamping: slab.bytes))))
  }

  /// Makes sure that the beginning of the second slab is known to be durable. Only then may
  /// the first one go.
  private func prove(_ front: SlabFront) throws(QueueError) {
    guard let next = front.slabs.dropFirst().first?.base, updateTail({ $0.synced <= next }) else {
      return
    }
    // The beginning of that slab may still be in the buffer.
    try withTail { (tail: inout LogTail) throws(QueueError) in
      if tail.flushedEnd <= next { try tail.flush() }
    }
    try sync(upTo: next + 1)
  }

  /// The slabs that the policy lets go now.
  private func whatMayGo(_ front: SlabFront) throws(QueueError) -> Droppable {
    do throws(QueueError) {
      return try policies.whenFull.droppable(of: storage, front) ?? .all
    } catch {
      // To believe a cursor, the topic's directory may have to be synced. The system reports a
      // failure of that sync only once.
      if error.isFinal { end(error) }
      throw error
    }
  }

  private func nothingToDrop(_ droppable: Droppable) -> QueueError {
    let why =
      switch droppable {
      case .all: "the slabs before the last one are not enough"
      case .acknowledged(let holds):
        holds.lowest.map { "consumer \($0.consumer) has not acknowledged enough" }
          ?? "no consumer has acknowledged anything"
      }
    return QueueError(
      .noSpace,
      "there is no room, and none can be made: \(why). Earlier records are unharmed, and"
        + " appending goes on when there is room",
      path: storage.path)
  }

  // MARK: Waiting

  private func watchForRoom() throws(QueueError) -> TopicWatch {
    try roomWatch.withLock { watch throws(QueueError) in
      if let watch { return watch }
      let new = try TopicWatch(storage)
      watch = new
      if let reason = new.polling { notePolling(reason) }
      return new
    }
  }

  /// Notes, once, that the system does not report changes.
  func notePolling(_ reason: QueueError) {
    guard !hasNotedPolling.exchange(true, ordering: .relaxed) else { return }
    events.note(.polling(reason))
  }

  /// Wakes all that wait for room, to look again or to find out that the writer has ended.
  func wakeWaitersForRoom() { roomWatch.withLock { $0 }?.wake() }
}
