// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Synchronization
import Testing

@testable import DiskQueue

/// Records the events, and checks that they come one at a time.
private final class Listener: Sendable {
  private struct State {
    var events: [QueueWriter.Event] = []
    var isRunning = false
    var overlaps = 0
  }
  private let state = Mutex(State())
  private let reaction: @Sendable (QueueWriter.Event) -> Void

  init(_ reaction: @escaping @Sendable (QueueWriter.Event) -> Void = { _ in }) {
    self.reaction = reaction
  }

  var events: [QueueWriter.Event] { state.withLock { $0.events } }
  var overlaps: Int { state.withLock { $0.overlaps } }

  func hear(_ event: QueueWriter.Event) {
    state.withLock { state in
      if state.isRunning { state.overlaps += 1 }
      state.isRunning = true
      state.events.append(event)
    }
    reaction(event)
    state.withLock { $0.isRunning = false }
  }

  var bases: [UInt64] {
    events.compactMap { if case .rolled(let base) = $0 { base.rawValue } else { nil } }
  }
  var syncs: [(through: UInt64, took: Duration)] {
    events.compactMap {
      if case .synced(let through, let took) = $0 { (through.rawValue, took) } else { nil }
    }
  }
  var drops: [(slab: UInt64, records: UInt64?, bytes: Int64)] {
    events.compactMap {
      if case .dropped(let slab, let records, let bytes) = $0 {
        (slab.rawValue, records, bytes.bytes)
      } else {
        nil
      }
    }
  }
  var failures: [QueueError] {
    events.compactMap { if case .failed(let error) = $0 { error } else { nil } }
  }
  var openings: [RecoveryReport] {
    events.compactMap { if case .opened(let report) = $0 { report } else { nil } }
  }
  var closings: Int { events.count { if case .closed = $0 { true } else { false } } }
}

@Suite("What a writer tells of itself")
struct WriterEventsTests {
  private func options(_ listener: Listener) -> QueueWriter.Options {
    var options = SmallTopic.options
    options.onEvent = { listener.hear($0) }
    return options
  }

  private func open(
    _ storage: SimulatedStorage, _ listener: Listener,
    environment: Environment = fixedEnvironment()
  ) throws -> QueueWriter {
    try QueueWriter(
      topic: Topic(storage: storage), options: options(listener), environment: environment)
  }

  private func payload(_ number: Int) -> [UInt8] {
    SmallTopic.payload(UInt64(number), length: 300)
  }

  @Test("opening is the first event, with what it found, and closing the last")
  func openingAndClosing() throws {
    let storage = SimulatedStorage()
    let listener = Listener()
    let first = try open(storage, listener)
    try first.append(payload(1))
    try first.flush()
    first.dieForTesting()
    let second = try open(storage, listener)
    try second.append(payload(2))
    try second.close()
    try second.close()
    #expect(listener.openings == [first.recovery, second.recovery])
    #expect(second.recovery.state == .recovered)
    #expect(listener.closings == 1)
    guard case .opened = listener.events.first, case .closed = listener.events.last else {
      Issue.record("they begin with \(listener.events.prefix(1)), and end otherwise")
      return
    }
  }

  @Test("each slab that is begun is told, in order, and each sync with how far it reaches")
  func rollsAndSyncs() throws {
    let storage = SimulatedStorage()
    let listener = Listener()
    let writer = try open(storage, listener)
    for number in 0..<60 { try writer.append(payload(number)) }
    try writer.sync()
    #expect(listener.bases == Array(storage.slabs.keys.sorted().dropFirst()))
    #expect(listener.bases.count > 3)
    let reached = listener.syncs.map(\.through)
    #expect(reached == reached.sorted())
    #expect(reached.last == writer.core.position)
    // Slabs that the writer has left are synced, too. Each of these syncs is an event, and counts
    // in the statistics.
    #expect(UInt64(reached.count) == writer.statistics.syncs)
    try writer.close()
  }

  @Test("how long a sync took is by the clock that nobody sets")
  func duration() throws {
    let clock = ManualClock()
    let listener = Listener()
    var environment = fixedEnvironment(clock)
    // 7 ms pass between two readings of this clock.
    environment.monotonic = {
      clock.advance(by: 7_000_000)
      return clock.now
    }
    let writer = try open(SimulatedStorage(), listener, environment: environment)
    try writer.append(payload(1))
    try writer.sync()
    #expect(listener.syncs.map(\.took) == [.milliseconds(7)])
    try writer.close()
  }

  @Test("a handler that is added during a sync receives the time that this sync took")
  func durationForLateHandler() throws {
    let clock = ManualClock()
    let listener = Listener()
    var environment = fixedEnvironment(clock)
    // 7 ms pass between two readings of this clock.
    environment.monotonic = {
      clock.advance(by: 7_000_000)
      return clock.now
    }
    let storage = SimulatedStorage()
    let writer = try QueueWriter(
      topic: Topic(storage: storage), options: SmallTopic.options, environment: environment)
    try writer.append(payload(1))
    storage.setHook { [weak writer] call in
      if call.isSync { writer?.onEvent { listener.hear($0) } }
    }
    try writer.sync()
    storage.setHook(nil)
    #expect(listener.syncs.first?.took == .milliseconds(7))
    try writer.close()
  }

  @Test("an object that only a handler holds may use the writer at its end")
  func lastReference() async {
    await #expect(processExitsWith: .success) {
      final class Owner: Sendable {
        private let writer: QueueWriter

        init(_ writer: QueueWriter) {
          self.writer = writer
          writer.onEvent { _ in withExtendedLifetime(self) {} }
        }

        deinit { try? writer.close() }
      }
      // A function of its own: in an asynchronous closure, the asynchronous form would be chosen.
      func close(_ writer: QueueWriter) throws { try writer.close() }
      for isGivenUp in [false, true] {
        let writer = try QueueWriter(topic: Topic(storage: SimulatedStorage()))
        weak var owner: Owner?
        do {
          let strong = Owner(writer)
          owner = strong
        }
        try writer.append("one")
        if isGivenUp { writer.core.giveUp() } else { try close(writer) }
        #expect(owner == nil)
        #expect(writer.statistics.records == 1)
      }
    }
  }

  @Test("slabs that are dropped for want of room are told, with the records that are gone")
  func drops() throws {
    let storage = SimulatedStorage()
    let listener = Listener()
    var options = options(listener)
    options.slabSize = .kibibytes(16)
    options.maximumBytes = .kibibytes(64)
    options.whenFull = .dropOldest
    let writer = try QueueWriter(
      topic: Topic(storage: storage), options: options, environment: fixedEnvironment())
    for number in 0..<800 { try writer.append(payload(number)) }
    try writer.close()
    let left = try readAll(Topic(storage: storage))
    let dropped = listener.drops
    #expect(dropped.count > 5)
    #expect(dropped.map(\.slab) == dropped.map(\.slab).sorted())
    #expect(dropped.reduce(0) { $0 + ($1.records ?? 0) } + UInt64(left.records.count) == 800)
    #expect(dropped.allSatisfy { $0.records != nil })
    let statistics = writer.statistics
    #expect(statistics.droppedSlabs == UInt64(dropped.count))
    #expect(statistics.droppedBytes == UInt64(dropped.reduce(0) { $0 + $1.bytes }))
  }

  @Test("a slab whose beginning is damaged is dropped with an unknown number of records")
  func dropsDamaged() throws {
    let storage = SimulatedStorage()
    let listener = Listener()
    var options = options(listener)
    options.slabSize = .kibibytes(16)
    options.maximumBytes = .kibibytes(64)
    options.whenFull = .dropOldest
    let writer = try QueueWriter(
      topic: Topic(storage: storage), options: options, environment: fixedEnvironment())
    var number = 0
    while listener.bases.isEmpty {
      try writer.append(payload(number))
      number += 1
    }
    let second = try #require(listener.bases.first)
    try writer.flush()
    var bytes = try #require(storage.slabs[second])
    for index in 0..<(SlabHeader.byteCount + Mark.byteCount) { bytes[index] ^= 0xFF }
    storage.replace(slab: second, with: bytes)
    for number in number..<800 { try writer.append(payload(number)) }
    #expect(listener.drops.first { $0.slab == 0 }?.records == nil)
    #expect(listener.drops.contains { $0.slab == second && $0.records == nil })
    #expect(listener.drops.contains { $0.slab > second && $0.records != nil })
    try writer.close()
  }

  @Test("a failure is told once, wherever it comes to light, and asked for later, at once")
  func failure() throws {
    for isInBackground in [false, true] {
      let storage = SimulatedStorage()
      let listener = Listener()
      let writer = try open(storage, listener)
      try writer.append(payload(1))
      #expect(writer.failure == nil)
      storage.setFault(SimulatedStorage.Fault(.fail(Errno.io), at: 1) { $0.isSync })
      if isInBackground {
        // Leaving a slab syncs it in the background, and no call fails because of that.
        for number in 2..<20 where listener.failures.isEmpty {
          _ = try? writer.append(payload(number))
        }
      } else {
        #expect(queueError { try writer.sync() }?.code == .syncFailed)
      }
      for _ in 0..<3 { #expect(queueError { try writer.sync() }?.code == .syncFailed) }
      #expect(queueError { try writer.close() }?.code == .syncFailed)
      #expect(listener.failures.map(\.code) == [.syncFailed])
      #expect(writer.failure?.code == .syncFailed)
      #expect(listener.closings == 0)
      let reported = Mutex<[QueueError]>([])
      writer.onFailure { error in reported.withLock { $0.append(error) } }
      #expect(reported.withLock { $0.map(\.code) } == [.syncFailed])
    }
  }

  @Test("no lock is held meanwhile: who is told may append, sync and look")
  func reentrance() throws {
    let storage = SimulatedStorage()
    let box = Mutex<QueueWriter?>(nil)
    let listener = Listener { event in
      guard let writer = box.withLock({ $0 }) else { return }
      _ = writer.statistics
      guard writer.statistics.records < 500 else { return }
      _ = try? writer.append(SmallTopic.payload(1_000 + writer.statistics.records, length: 200))
      _ = try? writer.sync()
    }
    var options = options(listener)
    options.slabSize = .kibibytes(16)
    options.maximumBytes = .kibibytes(64)
    options.whenFull = .dropOldest
    let writer = try QueueWriter(
      topic: Topic(storage: storage), options: options, environment: fixedEnvironment())
    box.withLock { $0 = writer }
    for number in 0..<300 { try writer.append(payload(number)) }
    box.withLock { $0 = nil }
    try writer.close()
    #expect(listener.overlaps == 0)
    #expect(writer.statistics.records >= 500)
    #expect(!listener.drops.isEmpty)
  }

  @Test("of many threads, one is told at a time, and nothing is lost")
  func threads() async throws {
    let directory = try TemporaryDirectory()
    let listener = Listener()
    let writer = try QueueWriter(
      topic: Topic(directory.path + "/topic"), options: options(listener))
    try await withThrowingTaskGroup(of: Void.self) { group in
      for task in 0..<8 {
        group.addTask {
          for number in 0..<50 {
            try await writer.append(
              SmallTopic.payload(UInt64(task * 1_000 + number), length: 300), ensuring: .synced)
          }
        }
      }
      try await group.waitForAll()
    }
    try await writer.close()
    #expect(listener.overlaps == 0)
    let slabs = try slabs(directory.path + "/topic").keys.sorted()
    #expect(listener.bases == Array(slabs.dropFirst()))
    // The sync of the closing mark is reported as the closing event.
    #expect(UInt64(listener.syncs.count) + 1 == writer.statistics.syncs)
    #expect(listener.closings == 1)
  }

  @Test("a slab that cannot be read is dropped as it is where nobody listens", arguments: [0, 1])
  func dropsUnreadable(_ place: Int) throws {
    func dropped(listening: Bool) throws -> UInt64 {
      let storage = SimulatedStorage()
      var options = SmallTopic.options
      options.slabSize = .kibibytes(16)
      options.maximumBytes = .kibibytes(64)
      options.whenFull = .dropOldest
      if listening { options.onEvent = { _ in } }
      let writer = try QueueWriter(
        topic: Topic(storage: storage), options: options, environment: fixedEnvironment())
      var number = 0
      while storage.slabs.count < 3 {
        try writer.append(payload(number))
        number += 1
      }
      try writer.sync()
      let bad = SlabName.string(storage.slabs.keys.sorted()[place])
      storage.setFault(
        SimulatedStorage.Fault(.fail(Errno.io), at: 1, isLasting: true) { $0 == .read(bad) })
      for number in number..<800 {
        guard queueError({ try writer.append(payload(number)) }) == nil else { break }
      }
      return writer.statistics.droppedSlabs
    }
    #expect(try dropped(listening: true) == dropped(listening: false))
  }

  @Test("each removal is reported and counted, also if the next look fails")
  func dropsAndFails() throws {
    let storage = SimulatedStorage()
    let listener = Listener()
    var options = options(listener)
    options.slabSize = .kibibytes(16)
    options.maximumRecords = 200
    options.whenFull = .dropOldest
    let writer = try QueueWriter(
      topic: Topic(storage: storage), options: options, environment: fixedEnvironment())
    let removed = Mutex(0)
    storage.setHook { call in
      guard case .remove = call else { return }
      let isFirst = removed.withLock { removed in
        removed += 1
        return removed == 1
      }
      guard isFirst else { return }
      storage.setFault(
        SimulatedStorage.Fault(.fail(Errno.io), at: 1) {
          if case .read = $0 { true } else { false }
        })
    }
    var errors = 0
    for number in 0..<800 where queueError({ try writer.append(payload(number)) }) != nil {
      errors += 1
    }
    storage.setHook(nil)
    #expect(errors == 1)
    #expect(listener.drops.count == removed.withLock { $0 })
    #expect(writer.statistics.droppedSlabs == UInt64(removed.withLock { $0 }))
    try writer.close()
  }

  @Test("who is told may look at the shards, also while one is opened or closed, one at a time")
  func shards() throws {
    let place = SimulatedShards()
    let box = Mutex<ShardedWriter?>(nil)
    let listener = Listener { _ in _ = box.withLock { $0 }?.statistics }
    let writer = try ShardedWriter(
      topic: place.topic(shards: 4),
      options: .init(
        writer: SmallTopic.options, maximumOpenShards: 2, onEvent: { listener.hear($1) }),
      environment: fixedEnvironment())
    box.withLock { $0 = writer }
    for number in 0..<40 { try writer.append(payload(number), key: "key \(number)") }
    try writer.close()
    #expect(listener.overlaps == 0)
    #expect(listener.closings == listener.openings.count)
    #expect(listener.closings > 4)
    box.withLock { $0 = nil }
  }

  @Test("who is told may append to other shards, which are opened for it", arguments: [1_000, 2])
  func shardsReentrance(_ limit: Int) throws {
    let box = Mutex<ShardedWriter?>(nil)
    let listener = Listener { event in
      guard let writer = box.withLock({ $0 }), writer.statistics.records < 60 else { return }
      _ = try? writer.append("more", key: "another \(writer.statistics.records)")
    }
    let writer = try ShardedWriter(
      topic: SimulatedShards().topic(shards: 7),
      options: .init(
        writer: SmallTopic.options, maximumOpenShards: limit, onEvent: { listener.hear($1) }),
      environment: fixedEnvironment())
    box.withLock { $0 = writer }
    for number in 0..<40 { try writer.append(payload(number), key: "key \(number)") }
    box.withLock { $0 = nil }
    try writer.close()
    #expect(listener.overlaps == 0)
    #expect(listener.closings == listener.openings.count)
    #expect(writer.statistics.records > 40)
  }

  @Test("a closed writer holds its listener no longer, nor a failed one, nor closed shards")
  func letGo() throws {
    final class Token: Sendable {}
    func remains(_ body: (QueueWriter.Options) throws -> Void) throws -> Bool {
      weak var token: Token?
      do {
        let strong = Token()
        token = strong
        var options = SmallTopic.options
        options.onEvent = { _ in withExtendedLifetime(strong) {} }
        try body(options)
      }
      return token != nil
    }
    var writers: [AnyObject] = []
    let closed = try remains { options in
      let writer = try QueueWriter(
        topic: Topic(storage: SimulatedStorage()), options: options,
        environment: fixedEnvironment())
      try writer.append("one")
      try writer.close()
      writers.append(writer)
    }
    #expect(!closed)
    let failed = try remains { options in
      let storage = SimulatedStorage()
      let writer = try QueueWriter(
        topic: Topic(storage: storage), options: options, environment: fixedEnvironment())
      try writer.append("one")
      storage.setFault(SimulatedStorage.Fault(.fail(Errno.io), at: 1) { $0.isSync })
      #expect(queueError { try writer.close() }?.code == .syncFailed)
      writers.append(writer)
    }
    #expect(!failed)
    let shards = try remains { options in
      let onEvent = options.onEvent
      let writer = try ShardedWriter(
        topic: SimulatedShards().topic(shards: 3),
        options: .init(writer: SmallTopic.options, onEvent: { onEvent?($1) }),
        environment: fixedEnvironment())
      try writer.append("one", key: "a")
      try writer.close()
      writers.append(writer)
    }
    #expect(!shards)
    withExtendedLifetime(writers) {}
  }

  @Test(
    "nobody's call lasts as long as others make events: a thread goes on",
    arguments: [true, false])
  func manyEvents(_ hasThread: Bool) throws {
    final class Maker: Sendable {
      let queue = Mutex<EventQueue?>(nil)
      let reported = Progress()
      let byCaller = Mutex(0)
      let caller = Mutex<Thread?>(nil)

      /// Makes another event for each one that it hears.
      func hear(_ event: QueueWriter.Event) {
        if caller.withLock({ $0 }) == Thread.current { byCaller.withLock { $0 += 1 } }
        if reported.value < 999 { queue.withLock { $0 }?.note(.closed, ofShard: 0) }
        reported.advance()
      }
    }
    let maker = Maker()
    let thread = BackgroundThread()
    let queue = EventQueue(thread: hasThread ? thread : nil)
    queue.add { maker.hear($1) }
    maker.queue.withLock { $0 = queue }
    maker.caller.withLock { $0 = Thread.current }
    queue.note(.closed, ofShard: 0)
    queue.deliver()
    try maker.reported.waitBlocking(for: 1_000)
    #expect(maker.byCaller.withLock { $0 } == (hasThread ? 16 : 1_000))
    maker.queue.withLock { $0 = nil }
    thread.stop()
  }

  @Test("a handler that is added later receives every event from then on, after the earlier one")
  func addedLater() throws {
    let first = Listener()
    let order = Mutex<[String]>([])
    let writer = try QueueWriter(
      topic: Topic(storage: SimulatedStorage()), options: options(first),
      environment: fixedEnvironment())
    try writer.append("one")
    try writer.sync()
    let later = Listener { [weak writer] event in
      if case .synced = event {
        order.withLock { $0.append("\(writer?.statistics.unsyncedRecords ?? 9) unsynced") }
      }
    }
    writer.onEvent { later.hear($0) }
    writer.onEvent { _ in order.withLock { $0.append("second") } }
    #expect(later.events.isEmpty)
    try writer.append("two")
    try writer.sync()
    #expect(order.withLock { $0 } == ["0 unsynced", "second"])
    try writer.close()
    #expect(first.openings.count == 1 && first.syncs.count == 2 + later.syncs.count - 1)
    #expect(later.openings.isEmpty)
    #expect(later.closings == 1 && first.closings == 1)
  }

  @Test("a handler may be added to a writer that was made without one, and is let go with it")
  func addedAlone() throws {
    final class Token: Sendable {}
    let listener = Listener()
    let writer = try QueueWriter(
      topic: Topic(storage: SimulatedStorage()), options: SmallTopic.options,
      environment: fixedEnvironment())
    weak var token: Token?
    do {
      let strong = Token()
      token = strong
      writer.onEvent {
        withExtendedLifetime(strong) {}
        listener.hear($0)
      }
    }
    for number in 0..<100 { try writer.append(payload(number)) }
    #expect(!listener.bases.isEmpty)
    #expect(token != nil)
    try writer.close()
    #expect(listener.closings == 1)
    #expect(token == nil)
    // After the end there is nothing to receive, and nothing is held.
    writer.onEvent { listener.hear($0) }
    #expect(listener.closings == 1)
  }

  @Test("the events of shards name their shard, to both kinds of handlers")
  func shardNumbers() throws {
    let told = Mutex<[Int: [UInt64]]>([:])
    let later = Mutex<Set<Int>>([])
    let writer = try ShardedWriter(
      topic: SimulatedShards().topic(shards: 3),
      options: .init(writer: SmallTopic.options) { shard, event in
        if case .synced(let through, _) = event {
          told.withLock { $0[shard, default: []].append(through.rawValue) }
        }
      }, environment: fixedEnvironment())
    writer.onEvent { shard, event in
      if case .closed = event { later.withLock { _ = $0.insert(shard) } }
    }
    var ends: [Int: UInt64] = [:]
    for number in 0..<30 {
      let result = try writer.append(payload(number), key: "key \(number)")
      ends[result.shard] = max(ends[result.shard] ?? 0, result.address.rawValue)
    }
    try writer.close()
    #expect(ends.count == 3)
    for (shard, end) in ends { #expect(told.withLock { $0[shard]?.last ?? 0 } > end) }
    #expect(later.withLock { $0 } == [0, 1, 2])
  }

  @Test("in memory as on a disk")
  func memory() throws {
    let listener = Listener()
    var options = QueueWriter.Options()
    options.onEvent = { listener.hear($0) }
    let topic = Topic.memory(capacity: .kibibytes(64))
    let writer = try QueueWriter(topic: topic, options: options)
    for number in 0..<1_000 { try writer.append(payload(number)) }
    let left = try readAll(topic).records.count
    try writer.close()
    #expect(listener.drops.reduce(0) { $0 + ($1.records ?? 0) } + UInt64(left) == 1_000)
    #expect(listener.closings == 1)
  }
}
