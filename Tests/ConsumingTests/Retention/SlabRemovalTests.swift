// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("Removing the first slab")
struct SlabRemovalTests {
  private let made = CleaningTopic()
  private var storage: SimulatedStorage { made.storage }

  private func removeFirst(
    _ expected: UInt64, synced: UInt64 = .max
  ) throws -> SlabRemoval.Outcome {
    let pair = SlabRemoval.Pair(
      first: expected, next: made.bases.first { $0 > expected }, topicID: CleaningTopic.topicID)
    return try SlabRemoval.removeFirst(pair, of: storage, synced: synced)
  }

  @Test("compares both slabs, syncs the directory, and then removes; it reports the file's size")
  func order() throws {
    try made.fill(slabs: 3)
    let size = try #require(storage.slabs[0]?.count)
    storage.logCalls()
    #expect(try removeFirst(0) == .removed(bytes: UInt64(size)))
    let name = SlabName.string(0)
    let next = SlabName.string(made.bases[0])
    #expect(
      storage.calls == [
        .open(name), .read(name), .open(next), .read(next), .size(name), .syncDirectory,
        .identify(name), .remove(name),
      ])
    #expect(made.bases.count == 2)
  }

  @Test("a slab stays if the one behind it is gone, or its own name leads to another file by now")
  func changed() throws {
    try made.fill(slabs: 4)
    let bases = made.bases
    let pair = SlabRemoval.Pair(first: 0, next: bases[1], topicID: CleaningTopic.topicID)
    let second = try #require(storage.slabs[bases[1]])
    storage.replace(slab: bases[1], with: nil)
    #expect(
      try SlabRemoval.removeFirst(pair, of: storage, synced: .max) == .kept(.changed))
    storage.replace(slab: bases[1], with: second)

    // The slab is replaced between the comparison and the removal.
    let first = try #require(storage.slabs[0])
    storage.setHook { [storage] call in
      guard call == .syncDirectory else { return }
      storage.replace(slab: 0, with: nil)
      storage.replace(slab: 0, with: first)
    }
    #expect(
      try SlabRemoval.removeFirst(pair, of: storage, synced: .max) == .kept(.changed))
    storage.setHook(nil)
    #expect(made.bases == bases)
    #expect(try SlabRemoval.removeFirst(pair, of: storage, synced: .max) != .gone)
    #expect(made.bases == Array(bases.dropFirst()))
  }

  @Test("the last slab stays")
  func last() throws {
    try made.fill(slabs: 3)
    let bases = made.bases
    _ = try removeFirst(bases[0])
    _ = try removeFirst(bases[1])
    storage.logCalls()
    #expect(try removeFirst(bases[2]) == .kept(.lastSlab))
    #expect(made.bases == [bases[2]])
    #expect(!storage.calls.contains { $0.changes })
  }

  @Test("a slab stays until the one behind it has begun to be durable")
  func proof() throws {
    try made.fill(slabs: 3)
    let bases = made.bases
    #expect(try removeFirst(0, synced: 0) == .kept(.unproven))
    #expect(try removeFirst(0, synced: bases[1]) == .kept(.unproven))
    #expect(made.bases == bases)
    #expect(try removeFirst(0, synced: bases[1] + 1) != .kept(.unproven))
    #expect(made.bases == Array(bases.dropFirst()))
  }

  @Test("a second cleaner may be faster, at any moment")
  func secondCleaner() throws {
    try made.fill(slabs: 3)
    let bases = made.bases
    _ = try removeFirst(0)
    #expect(try removeFirst(0) == .gone)
    // The slab is gone between the listing and the removal.
    storage.setFault(
      SimulatedStorage.Fault(.fail(Errno.noEntry), at: 1) {
        $0 == .remove(SlabName.string(bases[1]))
      })
    #expect(try removeFirst(bases[1]) == .gone)
    storage.setFault(
      SimulatedStorage.Fault(.fail(Errno.noEntry), at: 1) { $0 == .open(SlabName.string(bases[1])) }
    )
    #expect(try removeFirst(bases[1]) == .gone)
  }

  @Test("where the directory cannot be synced nothing is removed")
  func failedSync() throws {
    try made.fill(slabs: 3)
    let bases = made.bases
    storage.setFault(SimulatedStorage.Fault(.fail(Errno.io), at: 1) { $0 == .syncDirectory })
    let error = #expect(throws: QueueError.self) { try removeFirst(0) }
    #expect(error?.code == .syncFailed)
    #expect(error?.errno == Errno.io)
    #expect(made.bases == bases)
  }

  @Test("a removal that is refused is an error that names the slab")
  func refused() throws {
    try made.fill(slabs: 3)
    let name = SlabName.string(0)
    storage.setFault(SimulatedStorage.Fault(.fail(Errno.access), at: 1) { $0 == .remove(name) })
    let error = #expect(throws: QueueError.self) { try removeFirst(0) }
    #expect(error?.code == .system(errno: Errno.access))
    #expect(error?.path == "simulated/" + name)
    #expect(error?.address == Address(rawValue: 0))
  }

  @Test("the front of a topic tells its size, and what keeps the first slab")
  func front() throws {
    try made.fill(slabs: 4)
    let bases = made.bases
    var front = try SlabFront(of: storage)
    #expect(front.slabs.map(\.base) == bases)
    #expect(front.slabs.map(\.contentEnd) == Array(bases.dropFirst()) + [.max])
    #expect(front.bytes == UInt64(storage.used))
    #expect(front.topicID == CleaningTopic.topicID)
    #expect(!front.beginsWithVersion1)

    try made.putCursor("slow", made.slot(bases[1], generation: 2), made.slot(bases[1] - 1))
    try made.putCursor("fast", made.slot(bases[3]), made.slot(bases[3], generation: 2))
    let holds = try made.holds()
    let hold = try #require(holds.lowest)
    #expect(hold.consumer == "slow")
    #expect(front.obstacle(synced: .max, holds: holds) == .held(hold))
    #expect(front.obstacle(synced: .max, holds: ConsumerHolds()) == nil)
    #expect(front.obstacle(synced: bases[1], holds: holds) == .unproven)

    try made.putCursor("slow", made.slot(bases[1]), made.slot(bases[1], generation: 2))
    #expect(front.obstacle(synced: .max, holds: try made.holds()) == nil)
    #expect(try front.removeFirst(of: storage, synced: bases[1]) == .kept(.unproven))
    #expect(front.slabs.count == 4)
    #expect(try front.removeFirst(of: storage, synced: .max) == .removed(bytes: bases[1]))
    #expect(front.bytes == storage.slabs.values.reduce(0) { $0 + UInt64($1.count) })
    #expect(front.obstacle(synced: .max, holds: try made.holds())?.isHold == true)

    // Room that a second cleaner made counts as well.
    try storage.remove(SlabName.string(bases[1]))
    #expect(try front.removeFirst(of: storage, synced: .max) == .gone)
    #expect(front.bytes == storage.slabs.values.reduce(0) { $0 + UInt64($1.count) })
    #expect(try front.removeFirst(of: storage, synced: .max) != .gone)
    #expect(front.obstacle(synced: .max, holds: ConsumerHolds()) == .lastSlab)
    #expect(try front.removeFirst(of: storage, synced: .max) == .kept(.lastSlab))
  }

  @Test("a consumer at the end of an epoch does not hold that epoch's last slab")
  func epochEnd() throws {
    var first = SlabForge(base: 0, synced: 0)
    first.putRecord([1, 2, 3])
    let end = first.end
    first.putRecord([4, 5, 6])
    let second = SlabForge(base: 1 << 40, ordinal: 1, synced: end, kept: end)
    storage.replace(slab: 0, with: first.bytes)
    storage.replace(slab: 1 << 40, with: second.bytes)
    let front = try SlabFront(of: storage)
    #expect(front.slabs.first?.contentEnd == end)
    try made.putCursor("reader", made.slot(end), made.slot(end, generation: 2))
    #expect(front.obstacle(synced: .max, holds: try made.holds()) == nil)
    try made.putCursor("reader", made.slot(end - 1), made.slot(end, generation: 2))
    #expect(front.obstacle(synced: .max, holds: try made.holds())?.isHold == true)
  }
}

extension SlabRemoval.Obstacle {
  fileprivate var isHold: Bool { if case .held = self { true } else { false } }
}
