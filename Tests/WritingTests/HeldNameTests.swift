// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Synchronization
import Testing

@testable import DiskQueue

/// A change that another program makes to the files of a topic while its writer has them open.
enum Interference: String, CaseIterable {
  case removesLock = "the lock is removed"
  case replacesLock = "the lock is replaced by a new file"
  case renamesLock = "the lock is renamed"
  case removesSlab = "the slab is removed"
  case replacesSlab = "the slab is replaced by a copy of itself"
  case removesAll = "all slabs and the lock are removed"

  func strike(_ storage: SimulatedStorage) throws {
    let lock = TopicLayout.lockName
    let base = try #require(storage.slabs.keys.max())
    switch self {
    case .removesLock: try storage.remove(lock)
    case .replacesLock:
      try storage.remove(lock)
      _ = try storage.create(lock)
    case .renamesLock: try storage.rename(lock, to: lock + ".old")
    case .removesSlab: storage.replace(slab: base, with: nil)
    case .replacesSlab:
      let bytes = try #require(storage.slabs[base])
      storage.replace(slab: base, with: nil)
      storage.replace(slab: base, with: bytes)
    case .removesAll:
      for base in storage.slabs.keys { storage.replace(slab: base, with: nil) }
      try storage.remove(lock)
    }
  }

  /// The wrong name that a writer reports afterwards.
  func name(_ storage: SimulatedStorage, slab: UInt64) -> String {
    switch self {
    case .removesLock, .replacesLock, .renamesLock, .removesAll: TopicLayout.lockName
    case .removesSlab, .replacesSlab: SlabName.string(slab)
    }
  }
}

@Suite("G1: what is durable is reported only if its name leads to it")
struct HeldNameTests {
  /// A call that reports records as durable.
  enum Report: String, CaseIterable {
    case sync, syncAgain, close, closeAfterSync, asyncSync, asyncSyncAgain, ensuring, background
  }

  private func writer(
    _ storage: SimulatedStorage, _ handler: (@Sendable (QueueWriter.Event) -> Void)? = nil
  ) throws -> QueueWriter {
    var options = SmallTopic.options
    options.onEvent = handler
    return try QueueWriter(
      topic: Topic(storage: storage), options: options, environment: .simulated())
  }

  // Asynchronous tests use these to make the blocking calls.
  private func sync(_ writer: QueueWriter) throws { try writer.sync() }
  private func close(_ writer: QueueWriter) throws { try writer.close() }
  private func sync(_ writer: ShardedWriter) throws { try writer.sync() }
  private func close(_ writer: ShardedWriter) throws { try writer.close() }

  @Test(
    "every call that reports it ends the writer with an error",
    arguments: Interference.allCases, Report.allCases)
  func everyReport(_ interference: Interference, _ report: Report) async throws {
    let storage = SimulatedStorage()
    let failures = Mutex<[QueueError]>([])
    let writer = try writer(storage) {
      if case .failed(let error) = $0 { failures.withLock { $0.append(error) } }
    }
    for number in 0..<20 { try writer.append("record \(number)") }
    if [.syncAgain, .closeAfterSync, .asyncSyncAgain].contains(report) { try sync(writer) }
    if report == .background {
      // The topic gets an older slab. The writer will also leave the slab that is changed below.
      for _ in 0..<8 { try writer.append(SmallTopic.payload(1, length: 900)) }
      try sync(writer)
      for _ in 0..<3 { try writer.append(SmallTopic.payload(2, length: 900)) }
    }
    let slab = try #require(storage.slabs.keys.max())
    try interference.strike(storage)
    if report == .background {
      while storage.slabs.keys.max() ?? 0 <= slab {
        try writer.append(SmallTopic.payload(3, length: 900))
      }
    }
    let error: QueueError?
    switch report {
    case .sync, .syncAgain: error = queueError { try sync(writer) }
    case .close, .closeAfterSync: error = queueError { try close(writer) }
    case .background: error = queueError { try writer.syncLeftSlabs() }
    case .asyncSync, .asyncSyncAgain: error = await queueError { try await writer.sync() }
    case .ensuring:
      error = await queueError { _ = try await writer.append("last", ensuring: .synced) }
      #expect(error?.appended == 1)
    }
    #expect(error?.code == .fileRemoved)
    #expect(error?.path == storage.path + "/" + interference.name(storage, slab: slab))
    // The error is final. After it, the writer writes nothing and reports nothing.
    storage.logCalls()
    if report != .close, report != .closeAfterSync {
      #expect(queueError { try writer.append("more") }?.code == .fileRemoved)
      #expect(queueError { try sync(writer) }?.code == .fileRemoved)
      #expect(await queueError { try await writer.sync() }?.code == .fileRemoved)
    }
    #expect(queueError { try close(writer) }?.code == .fileRemoved)
    #expect(storage.calls.filter(\.changes).isEmpty)
    #expect(failures.withLock { $0.map(\.code) } == [.fileRemoved])
    // The next writer opens the topic with the files that are there.
    let next = try self.writer(storage)
    try next.append("next")
    try close(next)
    #expect(try readAll(Topic(storage: storage)).records.last?.text == "next")
  }

  @Test(
    "another writer that is let in at any call loses no record that either acknowledged",
    arguments: [Interference.removesLock, .replacesLock, .renamesLock])
  func secondWriter(_ interference: Interference) throws {
    var refusals = 0
    for step in 1... {
      let storage = SimulatedStorage(seed: UInt64(step))
      let first = try writer(storage)
      var acknowledged: [UInt64: String] = [:]
      func append(_ text: String, _ writer: QueueWriter) throws {
        let address = try writer.append(text).address.rawValue
        try writer.sync()
        acknowledged[address] = text
      }
      try append("before", first)
      let second = Mutex<Result<UInt64, any Error>?>(nil)
      let calls = Atomic(0)
      storage.setHook { [storage] _ in
        guard calls.add(1, ordering: .relaxed).newValue == step else { return }
        let result = Result {
          try interference.strike(storage)
          let writer = try QueueWriter(
            topic: Topic(storage: storage), options: SmallTopic.options,
            environment: .simulated(seed: 2))
          defer { try? writer.close() }
          return try writer.append("second").address.rawValue
        }
        second.withLock { $0 = result }
      }
      var failure: QueueError?
      do {
        for number in 0..<6 {
          try append("first \(number)" + .init(repeating: "x", count: 900), first)
        }
        try first.close()
      } catch let error as QueueError {
        failure = error
      }
      storage.setHook(nil)
      guard let result = second.withLock({ $0 }) else {
        #expect(failure == nil)
        break
      }
      acknowledged[try result.get()] = "second"
      if failure != nil { refusals += 1 }
      #expect(failure?.code ?? .fileRemoved == .fileRemoved, "call \(step)")
      let read = try readAll(Topic(storage: storage))
      let texts = Dictionary(
        uniqueKeysWithValues: read.records.map { ($0.address.rawValue, $0.text ?? "") })
      for (address, text) in acknowledged {
        #expect(texts[address] == text, "call \(step): acknowledged at \(address)")
      }
    }
    #expect(refusals > 10)
  }

  @Test("a slab that a cleaner removed before its writer synced it is no reason to end")
  func cleaned() throws {
    let storage = SimulatedStorage()
    let writer = try writer(storage)
    for number in 0..<30 {
      try writer.append(SmallTopic.payload(UInt64(number), length: 700))
    }
    try writer.flush()
    let before = storage.slabs.count
    let cleaner = try SlabCleaner(
      topic: Topic(storage: storage), environment: fixedEnvironment())
    let report = try cleaner.clean(keeping: .nothing).removals
    #expect(report.count > 1)
    #expect(storage.slabs.count < before)
    try writer.syncLeftSlabs()
    try writer.append("last")
    try writer.sync()
    try writer.close()
    #expect(try readAll(Topic(storage: storage)).records.last?.text == "last")
  }

  @Test("a slab that was left and is missing between others was not cleaned")
  func hole() throws {
    let storage = SimulatedStorage()
    let writer = try writer(storage)
    for number in 0..<30 {
      try writer.append(SmallTopic.payload(UInt64(number), length: 700))
    }
    let middle = storage.slabs.keys.sorted()[2]
    try storage.remove(SlabName.string(middle))
    let error = queueError { try writer.syncLeftSlabs() }
    #expect(error?.code == .fileRemoved)
    #expect(error?.path == storage.path + "/" + SlabName.string(middle))
  }

  @Test("a name that the system cannot tell about is not taken for a good one")
  func unreported() throws {
    let storage = SimulatedStorage()
    let writer = try writer(storage)
    try writer.append("one")
    storage.setFault(
      SimulatedStorage.Fault(.fail(Errno.access), at: 1) {
        if case .identify = $0 { true } else { false }
      })
    let error = queueError { try writer.sync() }
    #expect(error?.code == .syncFailed)
    #expect(error?.errno == Errno.access)
    #expect(queueError { try writer.sync() }?.code == .syncFailed)
  }

  @Test("opening reports nothing as durable if a name was taken away meanwhile")
  func opening() throws {
    for name in [TopicLayout.lockName, "slab"] {
      let storage = SimulatedStorage()
      let first = try writer(storage)
      try first.append("one")
      try first.close()
      storage.setHook { [storage] call in
        guard call == .identify(TopicLayout.lockName) else { return }
        let taken = name == "slab" ? SlabName.string(storage.slabs.keys.max() ?? 0) : name
        try? storage.remove(taken)
      }
      #expect(queueError { _ = try writer(storage) }?.code == .fileRemoved, "\(name)")
      storage.setHook(nil)
      // The topic is not locked.
      try writer(storage).close()
    }
  }

  // MARK: In a directory

  @Test("what `rm` and `mv` take from a writer of a directory, whose names were looked at or not")
  func directory() throws {
    let victims = ["lock", "slabs", "topic", "replaced", "moved", "moved lock"]
    for (victim, isSettled) in victims.flatMap({ [($0, false), ($0, true)] }) {
      let directory = try TemporaryDirectory()
      let path = directory.path + "/topic"
      let clock = ManualClock(1)
      let storage = try PosixStorage(creating: path, permissions: .init()) { clock.now }
      let writer = try QueueWriter(topic: Topic(storage: storage))
      if isSettled {
        try settle(storage, clock)
        try writer.append("zero")
        try writer.sync()
        // From here on, a sync does not check each name.
        #expect(try storage.namesStamp() != nil)
      }
      try writer.append("one")
      try writer.sync()
      switch victim {
      case "lock": try removeFile(path + "/lock")
      case "moved": try moveFile(path + "/" + SlabName.string(0), to: path + "/old")
      case "moved lock": try moveFile(path + "/lock", to: path + "/old")
      case "slabs": try removeFile(path + "/" + SlabName.string(0))
      case "topic": try removeFile(path)
      default:
        try moveFile(path + "/" + SlabName.string(0), to: path + "/old")
        try writeFile(path + "/" + SlabName.string(0), try readFile(path + "/old"))
      }
      #expect(queueError { try writer.sync() }?.code == .fileRemoved, "\(victim)")
      let error = queueError { try writer.append("two") }
      #expect(error?.code == .fileRemoved, "\(victim)")
      #expect(error?.message.contains(victim == "replaced" ? "replaced" : "removed") == true)
      #expect(queueError { try writer.close() }?.code == .fileRemoved, "\(victim)")
      let next = try QueueWriter(topic: Topic(path))
      try next.append("three")
      try next.close()
      #expect(try readAll(Topic(path)).texts.last == "three")
    }
  }

  /// Waits until every further change of a name changes the directory's stamp.
  private func settle(_ storage: PosixStorage, _ clock: ManualClock) throws {
    try waitForFileTime(after: storage.path)
    _ = try storage.namesStamp()
    clock.advance(by: NamesStampSource.settlingNanoseconds)
    _ = try #require(try storage.namesStamp())
  }

  @Test("a topic that is moved as a whole goes on where it is")
  func moved() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/topic"
    let writer = try QueueWriter(topic: Topic(path))
    try writer.append("one")
    try moveFile(path, to: path + "2")
    try writer.append("two")
    try writer.close()
    #expect(try readAll(Topic(path + "2")).texts == ["one", "two"])
  }

  // MARK: Shards

  @Test(
    "the lock or the file of the shards is removed: sync and close say so",
    arguments: [TopicLayout.lockName, TopicLayout.shardsName])
  func shards(name: String) async throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/topic"
    for isAsynchronous in [false, true] {
      let writer = try ShardedWriter(topic: ShardedTopic(path, shards: 4))
      try writer.append("one", key: "a")
      try sync(writer)
      try moveFile(path + "/" + name, to: path + "/.kept")
      if isAsynchronous {
        #expect(await queueError { try await writer.sync() }?.code == .fileRemoved)
        #expect(await queueError { try await writer.close() }?.code == .fileRemoved)
      } else {
        #expect(queueError { try sync(writer) }?.code == .fileRemoved)
        #expect(queueError { try close(writer) }?.code == .fileRemoved)
      }
      try? removeFile(path + "/" + name)
      try moveFile(path + "/.kept", to: path + "/" + name)
    }
    let writer = try ShardedWriter(topic: ShardedTopic(path))
    try writer.append("last", key: "a")
    try close(writer)
    #expect(try ShardedTopic(path).shardCount() == 4)
  }
}
