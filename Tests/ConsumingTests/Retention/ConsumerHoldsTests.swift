// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("What consumers hold")
struct ConsumerHoldsTests {
  private let made = CleaningTopic()
  private var storage: SimulatedStorage { made.storage }

  @Test("without consumers nothing is held, and there is said to be none")
  func none() throws {
    #expect(try made.holds() == ConsumerHolds())
    _ = try storage.consumers(creating: true)
    #expect(try made.holds().consumers == 0)
    #expect(try made.holds().lowest == nil)
    #expect(try made.holds().hold(below: .max) == nil)
  }

  @Test("a consumer holds from the lower of its two slots on, whichever is newer")
  func lowerSlot() throws {
    try made.putCursor("a", made.slot(500, generation: 7), made.slot(900, generation: 8))
    #expect(try made.holds().lowest?.address == 500)
    // The consumer is set back.
    try made.putCursor("a", made.slot(900, generation: 8), made.slot(300, generation: 9))
    let holds = try made.holds()
    #expect(holds.lowest == .init(consumer: "a", address: 300, cause: .position))
    #expect(holds.hold(below: 300) == nil)
    #expect(holds.hold(below: 301) == holds.lowest)
  }

  @Test("the slowest of all counts, and all are counted")
  func slowest() throws {
    for (name, address) in [("b", 700), ("a", 400), ("c", 900)] {
      let address = UInt64(address)
      try made.putCursor(name, made.slot(address), made.slot(address, generation: 2))
    }
    #expect(try made.holds().lowest?.consumer == "a")
    #expect(try made.holds().consumers == 3)
  }

  @Test("none, some, or all but some are protected")
  func chosen() throws {
    for (name, address) in [("a", 100), ("b", 200), ("c", 300)] {
      let address = UInt64(address)
      try made.putCursor(name, made.slot(address), made.slot(address, generation: 2))
    }
    #expect(try made.holds(.ignored) == ConsumerHolds())
    #expect(try made.holds(.only(["b", "c"])).lowest?.consumer == "b")
    #expect(try made.holds(.only(["b", "c"])).consumers == 2)
    #expect(try made.holds(.only([])).lowest == nil)
    #expect(try made.holds(.except(["a", "b", "stranger"])).lowest?.consumer == "c")
    #expect(try made.holds(.except(["a", "b", "c"])).consumers == 0)
  }

  @Test("a consumer that is to be protected must exist")
  func misspelt() throws {
    let nothing = #expect(throws: QueueError.self) { try made.holds(.only(["uploader"])) }
    #expect(nothing?.code == .invalidOption)
    try made.putCursor("uploader", made.slot(100))
    #expect(try made.holds(.only(["uploader"])).lowest?.address == 100)
    let other = #expect(throws: QueueError.self) {
      try made.holds(.only(["uploader", "uplaoder"]))
    }
    #expect(other?.code == .invalidOption)
    #expect(other?.message.contains("uplaoder") == true)
  }

  @Test("a file that was cut short is judged by what is left of it")
  func cutShort() throws {
    // If it were padded with zeros, a part of the first generation would look like a damaged slot.
    let slot = made.slot(500)
    for count in [0, 64, 4095, 4096 + 10, 4096 + 63] {
      let bytes = Array(CursorSlots.first(slot, of: "a").prefix(count))
      try made.putCursor("a", bytes: bytes)
      #expect(try made.holds().lowest?.cause == .neverWritten, "\(count)")
    }
  }

  @Test("a cursor with one slot is synced, under its name, before it is believed")
  func oneSlot() throws {
    try made.putCursor("a", made.slot(500), isSynced: false)
    storage.logCalls()
    #expect(try made.holds().lowest?.address == 500)
    let name = "consumers/a.cursor"
    #expect(
      storage.calls == [
        .consumers, .list, .open(name), .read(name), .syncConsumers, .sync(name), .read(name),
      ])
    // From now on, the cursor survives every power cut that the directory survives.
    try storage.syncDirectory()
    for seed in 0..<8 {
      var random = SeededGenerator(seed: UInt64(seed))
      let after = storage.powerCut(using: &random)
      let holds = try ConsumerHolds(
        of: after, protecting: .protected, topicID: CleaningTopic.topicID,
        beginsWithVersion1: false)
      #expect(holds.lowest?.address == 500 || !after.hasConsumers)
    }
    // The second slot proves the first one.
    try made.putCursor("a", made.slot(500), made.slot(600, generation: 2))
    storage.logCalls()
    _ = try made.holds()
    #expect(!storage.calls.contains { $0.isSync })
  }

  @Test("a cursor that cannot be synced is not believed", arguments: [true, false])
  func failedSync(isDirectory: Bool) throws {
    try made.putCursor("a", made.slot(500))
    storage.setFault(
      SimulatedStorage.Fault(.fail(Errno.io), at: 1) {
        isDirectory ? $0 == .syncConsumers : $0.isSync
      })
    let error = #expect(throws: QueueError.self) { try made.holds() }
    #expect(error?.code == .syncFailed)
    #expect(error?.path == "simulated/consumers/a.cursor")
  }

  @Test("a cursor that cannot be read stops everything", arguments: [Errno.io, Errno.access])
  func unreadable(errno: Int32) throws {
    try made.putCursor("a", made.slot(500))
    let name = "consumers/a.cursor"
    for call in [SimulatedStorage.Call.open(name), .read(name)] {
      storage.setFault(SimulatedStorage.Fault(.fail(errno), at: 1) { $0 == call })
      let error = #expect(throws: QueueError.self) { try made.holds() }
      #expect(error?.code == .system(errno: errno))
      #expect(error?.path == "simulated/consumers/a.cursor")
    }
    storage.setFault(SimulatedStorage.Fault(.fail(errno), at: 1) { $0 == .consumers })
    #expect(throws: QueueError.self) { try made.holds() }
  }

  @Test("a cursor that goes while it is looked at holds nothing")
  func goneMeanwhile() throws {
    try made.putCursor("a", made.slot(500))
    storage.setFault(
      SimulatedStorage.Fault(.fail(Errno.noEntry), at: 1) { $0 == .open("consumers/a.cursor") })
    #expect(try made.holds() == ConsumerHolds())
  }

  @Test("an empty, damaged, newer or foreign cursor holds everything")
  func holdsEverything() throws {
    func lowest() throws -> ConsumerHolds.Hold? { try made.holds().lowest }
    try made.putCursor("a", bytes: [])
    #expect(try lowest() == .init(consumer: "a", address: 0, cause: .neverWritten))
    try made.putCursor("a", bytes: [UInt8](repeating: 0, count: CursorSlots.byteCount))
    #expect(try lowest() == .init(consumer: "a", address: 0, cause: .neverWritten))
    var torn = [UInt8](repeating: 0, count: CursorSlots.byteCount)
    torn[17] = 1
    try made.putCursor("a", bytes: torn)
    #expect(try lowest() == .init(consumer: "a", address: 0, cause: .damaged))

    let foreign = made.slot(.max, topicID: 5)
    try made.putCursor("a", foreign)
    #expect(try lowest() == .init(consumer: "a", address: 0, cause: .otherTopic))
    try made.putCursor("a", made.slot(.max, topicID: 0))
    #expect(try lowest() == .init(consumer: "a", address: 0, cause: .otherTopic))

    var newer = [UInt8](repeating: 0, count: CursorSlots.byteCount)
    made.put(made.slot(900), in: &newer)
    newer[4096 + 8] = 9
    let hash = Checksum.xxh3(newer[4096..<4096 + 56].span.bytes, seed: 0)
    for index in 0..<8 { newer[4096 + 56 + index] = UInt8(truncatingIfNeeded: hash >> (8 * index)) }
    try made.putCursor("a", bytes: newer)
    #expect(try lowest() == .init(consumer: "a", address: 0, cause: .unsupported(version: 9)))
  }

  @Test("a cursor without a topic's id passes where the topic begins with version 1 slabs")
  func version1() throws {
    try made.putCursor("a", made.slot(500, topicID: 0))
    for topicID in [nil, CleaningTopic.topicID] {
      let holds = try ConsumerHolds(
        of: storage, protecting: .protected, topicID: topicID, beginsWithVersion1: true)
      #expect(holds.lowest == .init(consumer: "a", address: 500, cause: .position))
    }
  }

  @Test("one damaged slot leaves the other")
  func oneDamagedSlot() throws {
    var bytes = [UInt8](repeating: 0, count: CursorSlots.byteCount)
    made.put(made.slot(500, generation: 4), in: &bytes)
    made.put(made.slot(700, generation: 5), in: &bytes)
    bytes[4096 + 33] ^= 1
    try made.putCursor("a", bytes: bytes)
    #expect(try made.holds().lowest?.address == 500)
  }

  @Test("files that are not named as cursors are none")
  func otherNames() throws {
    let names = [
      ".cursor", ".hidden.cursor", "a.cursor.old", "a b.cursor", "ü.cursor", "cursor", "a.CURSOR",
      String(repeating: "x", count: 65) + ".cursor",
    ]
    for name in names { try made.putFile(name, bytes: [1, 2, 3]) }
    #expect(try made.holds() == ConsumerHolds())
    try made.putCursor(String(repeating: "x", count: 64), made.slot(5))
    try made.putCursor("-_.A9", made.slot(6))
    #expect(try made.holds().consumers == 2)
  }
}

extension SimulatedStorage {
  fileprivate var hasConsumers: Bool { (try? consumers(creating: false)) != nil }
}
