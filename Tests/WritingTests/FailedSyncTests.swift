// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("G7: a failed sync is final for its writer")
struct FailedSyncTests {
  /// The sync that fails, and the call that reports it.
  enum Place: CaseIterable {
    case file, directory, background, closing, closingMark
  }

  private func write(_ storage: SimulatedStorage, _ place: Place) throws -> [NaiveRecord] {
    let topic = Topic(storage: storage)
    let writer = try QueueWriter(
      topic: topic, options: SmallTopic.options, environment: .simulated())
    var records: [NaiveRecord] = []
    func append(_ count: Int) throws {
      for _ in 0..<count {
        let number = UInt64(records.count)
        let payload = SmallTopic.payload(number, length: 500)
        let address = try writer.append(payload).address.rawValue
        records.append(NaiveRecord(address, ordinal: number, payload: payload))
      }
    }
    try append(10)
    try writer.sync()
    let durable = records
    try append(15)
    try writer.flush()
    let number = place == .closingMark ? 4 : 1
    storage.setFault(
      SimulatedStorage.Fault(.fail(Errno.io), at: number) { call in
        place == .directory ? call == .syncDirectory : call.isSync
      })
    let failure = #expect(throws: QueueError.self) {
      switch place {
      case .file, .directory: try writer.sync()
      case .background: try writer.syncLeftSlabs()
      case .closing, .closingMark: try writer.close()
      }
    }
    #expect(failure?.code == .syncFailed)
    #expect(storage.hits == 1)

    // Every later call fails, and none syncs.
    storage.logCalls()
    for call in [
      { try writer.append("more") }, { try writer.flush() }, { try writer.sync() },
      { try writer.syncLeftSlabs() }, { try writer.append(contentsOf: ["a", "b"]) },
    ] as [() throws -> Any] {
      let error = #expect(throws: QueueError.self) { _ = try call() }
      #expect(error?.code == .syncFailed)
    }
    #expect(storage.calls.filter(\.changes).isEmpty)
    // Records can still be read.
    #expect(EnginePass(topic).records == records)
    if place != .closing, place != .closingMark {
      let error = #expect(throws: QueueError.self) { try writer.close() }
      #expect(error?.code == .syncFailed)
    }
    return durable
  }

  @Test(
    "every later call says so, reading goes on, and a new writer recovers",
    arguments: Place.allCases)
  func poison(_ place: Place) throws {
    for seed in UInt64(1)...10 {
      let storage = SimulatedStorage(seed: seed)
      let durable = try write(storage, place)
      let topic = Topic(storage: storage)
      let next = try QueueWriter(
        topic: topic, options: SmallTopic.options, environment: .simulated())
      let payload = SmallTopic.payload(1000, length: 50)
      let address = try next.append(payload).address.rawValue
      try next.close()
      let pass = EnginePass(topic)
      let kept = UInt64(pass.records.count - 1)
      #expect(pass.records.starts(with: durable), "seed \(seed)")
      #expect(pass.records.last == NaiveRecord(address, ordinal: kept, payload: payload))
      #expect(pass.losses.isEmpty)
    }
  }

  @Test(
    "a failed sync of a slab left behind ends the writer; the append that came by has not failed")
  func inline() throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    let writer = try QueueWriter(
      topic: topic, options: SmallTopic.options, environment: .simulated(background: .inline))
    storage.setFault(SimulatedStorage.Fault(.fail(Errno.io), at: 1) { $0.isSync })
    var records: [NaiveRecord] = []
    var failure: QueueError?
    while failure == nil, records.count < 100 {
      let number = UInt64(records.count)
      let payload = SmallTopic.payload(number, length: 500)
      do {
        let address = try writer.append(payload).address.rawValue
        records.append(NaiveRecord(address, ordinal: number, payload: payload))
      } catch {
        failure = error
      }
    }
    #expect(failure?.code == .syncFailed)
    #expect(storage.hits == 1)
    #expect(storage.slabs.count == 2)
    // The append that left the slab returned its address. The next append threw the error.
    let base = try #require(storage.slabs.keys.max())
    #expect(records.last?.address == base + 128)
    let error = #expect(throws: QueueError.self) { try writer.close() }
    #expect(error?.code == .syncFailed)
  }
}
