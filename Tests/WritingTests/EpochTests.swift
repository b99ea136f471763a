// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("Addresses end, and go on in the next epoch")
struct EpochTests {
  /// A topic with `room` bytes left before its last slab's epoch ends, closed unless `isClosed` is
  /// false.
  private func topic(epoch: UInt64, room: UInt64, isClosed: Bool = true) -> SimulatedStorage {
    let base = (epoch << 40) + ((1 << 40) - room - 128 - 48 - 100 - 48)
    var slab = SlabForge(base: base, ordinal: 500, synced: base, kept: epoch == 0 ? 0 : base - 1)
    slab.putRecord([UInt8](repeating: 7, count: 92))
    if isClosed { slab.putClosingMark() }
    let storage = SimulatedStorage()
    storage.replace(slab: base, with: slab.bytes)
    return storage
  }

  private func open(_ storage: SimulatedStorage) throws -> QueueWriter {
    var options = SmallTopic.options
    options.slabSize = .kibibytes(64)
    return try QueueWriter(
      topic: Topic(storage: storage), options: options, environment: .simulated())
  }

  @Test("the next epoch begins durable, behind durable records, at any distance from the end")
  func crossing() throws {
    for room in UInt64(0)...400 {
      let storage = topic(epoch: 3, room: room)
      storage.logCalls()
      let writer = try open(storage)
      var records: [NaiveRecord] = []
      for number in UInt64(0)..<8 {
        let payload = SmallTopic.payload(number, length: 60)
        let address = try writer.append(payload).address.rawValue
        records.append(NaiveRecord(address, ordinal: 501 + number, payload: payload))
      }
      let next = try #require(storage.slabs.keys.max())
      #expect(next == 4 << 40 && records[7].address >> 40 == 4, "room \(room)")
      #expect(records.allSatisfy { $0.address >> 40 == ($0.end - 1) >> 40 })
      let last = storage.calls.filter(\.changes).suffix(2)
      #expect(last == [.sync(SlabName.string(next)), .syncDirectory])
      try writer.close()
      let pass = EnginePass(Topic(storage: storage))
      #expect(Array(pass.records.dropFirst()) == records)
      #expect(pass.losses.isEmpty)
      #expect(pass.difference(from: naiveRead(slabs: storage.slabs)) == nil)
      #expect(try open(storage).recovery.wasClean)
    }
  }

  @Test("G1, G3, G4: a crash at any call on the way keeps every promise")
  func crashes() throws {
    var number = 0
    var isDead = true
    while isDead, number < 200 {
      number += 1
      for seed in UInt64(1)...8 {
        let storage = topic(epoch: 0, room: 300)
        storage.setFault(SimulatedStorage.Fault(.die, at: number))
        var durable = 0
        var addresses: [UInt64] = []
        do {
          let writer = try open(storage)
          for ordinal in UInt64(0)..<6 {
            addresses.append(
              try writer.append(SmallTopic.payload(ordinal, length: 90)).address.rawValue)
            if ordinal % 2 == 1 {
              try writer.sync()
              durable = addresses.count
            }
          }
          try writer.close()
        } catch is QueueError {
          #expect(storage.isDead)
        }
        isDead = storage.isDead
        var random = SeededGenerator(seed: seed)
        let after = storage.powerCut(using: &random)
        let writer = try open(after)
        let new = try writer.append("new").address.rawValue
        try writer.close()
        let pass = EnginePass(Topic(storage: after))
        let kept = pass.records.dropFirst().dropLast().map(\.address)
        #expect(addresses.starts(with: kept) && kept.count >= durable, "call \(number)")
        #expect(pass.records.last?.address == new && !addresses.contains(new))
        #expect(pass.losses.isEmpty)
        #expect(pass.difference(from: naiveRead(slabs: after.slabs)) == nil)
      }
    }
    #expect(number > 10 && number < 200)
  }

  @Test("an epoch's slab that can neither be finished nor removed is passed over")
  func unfinishedSlab() throws {
    // The disk takes this much of the new slab's beginning: none, part of the header, the header,
    // or part of the mark as well.
    for room in [0, 1, 79, 80, 100, 127] {
      for hidden in [true, false] {
        let storage = topic(epoch: 0, room: 300)
        let writer = try open(storage)
        var records: [NaiveRecord] = []
        func append(_ number: UInt64, length: Int) throws {
          let payload = SmallTopic.payload(number, length: length)
          let address = try writer.append(payload).address.rawValue
          records.append(NaiveRecord(address, ordinal: 501 + number, payload: payload))
        }
        // The rest of the epoch is too small for another slab.
        try append(0, length: 180)
        try writer.flush()
        let next = UInt64(1) << 40
        storage.setCapacity(storage.used + room)
        storage.setFault(
          SimulatedStorage.Fault(.fail(Errno.io), at: 1) { $0 == .remove(SlabName.string(next)) })
        #expect(queueError { try append(1, length: 280) }?.code == .noSpace)
        #expect(storage.hits == 1 && storage.slabs[next]?.count == room)
        storage.setFault(nil)
        storage.setCapacity(nil)
        // The unfinished slab's header would hide a record that is written before it. So even a
        // short record goes into the epoch after it.
        try append(1, length: hidden ? 280 : 3)
        try append(2, length: 40)
        if hidden { try writer.sync() } else { try writer.close() }
        #expect(storage.slabs.keys.max() == 2 << 40)
        #expect(records.dropFirst().allSatisfy { $0.address >> 40 == 2 })
        if hidden { try writer.close() }
        let pass = EnginePass(Topic(storage: storage))
        #expect(Array(pass.records.dropFirst()) == records, "room \(room)")
        #expect(pass.losses.isEmpty)
        #expect(pass.difference(from: naiveRead(slabs: storage.slabs)) == nil)
        #expect(try open(storage).recovery.wasClean)
      }
    }
  }

  @Test("a file that has the next epoch's name costs that epoch, and no record")
  func takenName() throws {
    let storage = topic(epoch: 0, room: 200)
    let writer = try open(storage)
    storage.replace(slab: 1 << 40, with: [1, 2, 3])
    storage.replace(slab: 7 << 40, with: [])
    let address = try writer.append([UInt8](repeating: 9, count: 300)).address.rawValue
    #expect(address >> 40 == 8)
    try writer.close()
    let pass = EnginePass(Topic(storage: storage))
    #expect(pass.records.map(\.ordinal) == [500, 501])
    #expect(pass.losses.isEmpty)
    #expect(storage.slabs[1 << 40] == [1, 2, 3])
  }

  @Test("a removed slab does not come back with a power cut and hide what was synced since")
  func removedAndBack() throws {
    for seed in UInt64(1)...40 {
      let storage = topic(epoch: 0, room: 400)
      let writer = try open(storage)
      try writer.append([UInt8](repeating: 2, count: 300))
      try writer.flush()
      storage.setCapacity(storage.used + 100)
      #expect(
        queueError { try writer.append([UInt8](repeating: 1, count: 380)) }?.code == .noSpace)
      storage.setCapacity(nil)
      #expect(storage.slabs[1 << 40] == nil)
      let address = try writer.append("synced").address.rawValue
      try writer.sync()
      var random = SeededGenerator(seed: seed)
      let after = storage.powerCut(using: &random)
      #expect(EnginePass(Topic(storage: after)).records.map(\.address).contains(address))
    }
  }

  @Test("G14: behind the last epoch there is none: an error says so, and reading goes on")
  func exhausted() throws {
    let last: UInt64 = 1 << 24 - 1
    #expect(
      throws: QueueError.self,
      performing: { try open(topic(epoch: last, room: 5000, isClosed: false)) })
    for room in UInt64(0)...300 {
      let storage = topic(epoch: last, room: room)
      var count = 1
      var failure: QueueError?
      do {
        let writer = try open(storage)
        for number in UInt64(0)..<8 {
          try writer.append(SmallTopic.payload(number, length: 60))
          count += 1
        }
      } catch let error as QueueError {
        failure = error
      }
      #expect(failure?.code == .addressesExhausted, "room \(room)")
      let pass = EnginePass(Topic(storage: storage))
      #expect(pass.records.count == count, "room \(room)")
      #expect(pass.difference(from: naiveRead(slabs: storage.slabs)) == nil)
    }
  }
}
