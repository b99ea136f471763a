// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("G9: a full disk is a state")
struct FullDiskTests {
  /// Appends, rolls, writes past the buffer, syncs and closes.
  ///
  /// If a call fails for lack of space, calls `makeRoom` and repeats the call. Gives up after 1,000
  /// failures.
  private struct Scenario {
    let storage: SimulatedStorage
    let makeRoom: (SimulatedStorage) -> Void
    private(set) var records: [NaiveRecord] = []
    private(set) var failures = 0
    private var visible = 0

    init(_ storage: SimulatedStorage, makeRoom: @escaping (SimulatedStorage) -> Void) {
      self.storage = storage
      self.makeRoom = makeRoom
    }

    private var topic: Topic { Topic(storage: storage) }

    mutating func run() throws {
      let writer = try insisting { [topic] in
        try QueueWriter(topic: topic, options: SmallTopic.options, environment: .simulated())
      }
      for number in UInt64(0)..<26 {
        let length = number == 17 ? 70_000 : number == 9 ? 6000 : Int(number * 61 % 900)
        let payload = SmallTopic.payload(number, length: length)
        let address = try insisting { try writer.append(payload).address.rawValue }
        records.append(NaiveRecord(address, ordinal: number, payload: payload))
        if number % 5 == 4 {
          try insisting { try writer.flush() }
          visible = records.count
        }
        if number % 9 == 8 { try insisting { try writer.sync() } }
      }
      try insisting { try writer.close() }
    }

    private mutating func insisting<R>(_ body: () throws -> R) throws -> R {
      while true {
        do {
          return try body()
        } catch let error as QueueError where error.code == .noSpace && failures < 1000 {
          failures += 1
          // Every flushed record is readable, in order, and no record that was not appended is.
          let pass = EnginePass(topic)
          if let error = pass.error, visible > 0 { throw error }
          guard pass.records.count >= visible, records.starts(with: pass.records) else {
            throw Violation(.g9, "\(pass.records.count) records are read, \(visible) were flushed")
          }
          guard pass.losses.isEmpty else { throw Violation(.g9, "losses \(pass.losses)") }
          makeRoom(storage)
        }
      }
    }
  }

  private func check(_ scenario: Scenario, _ name: String) -> [String] {
    let pass = EnginePass(Topic(storage: scenario.storage))
    var faults: [String] = []
    if pass.records != scenario.records { faults.append("\(name): other records than appended") }
    if !pass.losses.isEmpty { faults.append("\(name): \(pass.losses)") }
    let naive = naiveRead(slabs: scenario.storage.slabs)
    if let difference = pass.difference(from: naive) { faults.append("\(name): \(difference)") }
    return faults
  }

  @Test("at any one write it fails that call alone; asked again, all is there once and in order")
  func everyWrite() throws {
    var faults: [String] = []
    var number = 0
    var hits = 1
    while hits > 0, number < 500 {
      number += 1
      let storage = SimulatedStorage()
      storage.setFault(
        SimulatedStorage.Fault(.fail(Errno.noSpace), at: number) { call in
          if case .create = call { true } else { call.isWrite }
        })
      var scenario = Scenario(storage) { _ in }
      try scenario.run()
      hits = storage.hits
      faults += check(scenario, "write \(number)")
    }
    #expect(number > 20 && number < 500)
    #expect(faults == [])
  }

  @Test("at any capacity, what was acknowledged is readable, and appending goes on with room")
  func everyCapacity() throws {
    var faults: [String] = []
    // Every byte that opening writes, every seventh around the first roll, and some of all that
    // follows.
    let capacities =
      Array(0..<300) + stride(from: 3900, to: 4600, by: 7)
      + stride(from: 4600, to: 90_000, by: 977)
    for capacity in capacities {
      let storage = SimulatedStorage()
      storage.setCapacity(capacity)
      var scenario = Scenario(storage) { $0.setCapacity(nil) }
      try scenario.run()
      if scenario.failures > 1 { faults.append("\(capacity): failed with room as well") }
      faults += check(scenario, "capacity \(capacity)")
    }
    #expect(faults == [])
  }

  @Test("with room for only some more bytes each time, it gets there")
  func trickle() throws {
    for step in [7, 53, 701] {
      let storage = SimulatedStorage()
      storage.setCapacity(200)
      var scenario = Scenario(storage) { storage in
        // Small steps for the first 6,000 bytes, and larger ones through the long record.
        storage.setCapacity(storage.used + (storage.used < 6000 ? step : 1000 + step))
      }
      try scenario.run()
      #expect(scenario.failures > 40)
      #expect(check(scenario, "by \(step)") == [])
    }
  }

  @Test("a short write is finished where it stopped: the files are as without")
  func shortWrites() throws {
    let whole = SimulatedStorage()
    var expected = Scenario(whole) { _ in }
    try expected.run()
    for seed in UInt64(1)...20 {
      let storage = SimulatedStorage(seed: seed)
      storage.setShortWrites(percent: 100)
      storage.logCalls()
      var scenario = Scenario(storage) { _ in }
      try scenario.run()
      #expect(storage.slabs == whole.slabs, "seed \(seed)")
      #expect(scenario.records == expected.records)
      #expect(storage.calls.count(where: \.isWrite) > 60)
    }
  }

  @Test("a roll that cannot finish its slab does not go back, and is finished first")
  func unfinishedRoll() throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    let writer = try QueueWriter(
      topic: topic, options: SmallTopic.options, environment: .simulated())
    for number in UInt64(0)..<3 {
      try writer.append(SmallTopic.payload(number, length: 1200))
    }
    try writer.flush()
    let old = try #require(storage.slabs[0])
    // Space for half a header: the slab is made, but its header cannot be finished.
    storage.setCapacity(storage.used + 40)
    let address = try writer.append(SmallTopic.payload(3, length: 600)).address.rawValue
    let base = try #require(storage.slabs.keys.max())
    #expect(base == UInt64(old.count) && address == base + 128)
    let error = #expect(throws: QueueError.self) { try writer.flush() }
    #expect(error?.code == .noSpace)
    #expect(storage.slabs[base]?.count == 40)
    #expect(throws: QueueError.self) { try writer.sync() }
    #expect(storage.slabs[0] == old)
    #expect(EnginePass(topic).records.count == 3)

    storage.setCapacity(nil)
    storage.logCalls()
    try writer.flush()
    #expect(
      storage.calls == [.write(SlabName.string(base), offset: 40, count: 128 - 40 + 608)])
    let pass = EnginePass(topic)
    #expect(pass.records.map(\.ordinal) == [0, 1, 2, 3])
    #expect(pass.losses.isEmpty)
    try writer.close()
    #expect(storage.slabs[0] == old)
  }
}
