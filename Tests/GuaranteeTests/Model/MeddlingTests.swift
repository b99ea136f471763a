// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Synchronization
import Testing

@testable import DiskQueue

/// Another program removes or adds a file of the topic before any single call of a writer.
///
/// Each test repeats one program. It meddles before the first call, then before the second, and so
/// on until the program makes fewer calls than that.
@Suite("Another program meddles before any single call")
struct MeddlingTests {
  /// The state of a topic when the writer under test opens it.
  enum Beginning: CaseIterable, Sendable {
    case new, closed, unclean

    func make(_ laysOutRoom: Bool) throws -> SimulatedStorage {
      let storage = SimulatedStorage(laysOutRoom: laysOutRoom)
      guard self != .new else { return storage }
      let writer = try Self.writer(storage, seed: 1)
      for index in 0..<3 { _ = try writer.append("old \(index)") }
      try writer.sync()
      if self == .closed { try writer.close() } else { storage.kill() }
      return storage
    }

    static func writer(
      _ storage: SimulatedStorage, seed: UInt64, maximumBytes: ByteCount? = nil
    ) throws(QueueError) -> QueueWriter {
      var options = QueueWriter.Options()
      options.slabSize = .kibibytes(4)
      options.maximumPayload = .kibibytes(1)
      options.bufferSize = .kibibytes(4)
      if let maximumBytes {
        options.maximumBytes = maximumBytes
        options.whenFull = .dropOldest
      }
      return try QueueWriter(
        topic: Topic(storage: storage), options: options,
        environment: .simulated(seed: seed, background: .inline))
    }
  }

  /// One run of a program, and the records that were acknowledged to it as durable.
  final class Run: Sendable {
    let storage: SimulatedStorage
    /// By address: the records for which `sync` or `close` returned.
    let acknowledged = Mutex<[UInt64: String]>([:])
    private let number: Int
    private let left: Mutex<Int>
    private let hasMeddled = Mutex(false)
    private let failures = Mutex<[String]>([])

    init(_ storage: SimulatedStorage, at number: Int, _ meddle: @escaping @Sendable (Run) -> Void) {
      self.storage = storage
      self.number = number
      left = Mutex(number)
      storage.setHook { [weak self] _ in
        guard let self,
          self.left.withLock({
            $0 -= 1
            return $0 == 0
          })
        else { return }
        self.hasMeddled.withLock { $0 = true }
        meddle(self)
      }
    }

    /// Whether the program reached the call with this number.
    var cameToTheCall: Bool { hasMeddled.withLock { $0 } }

    /// Opens, appends, rolls, syncs and closes. Ends at the first error.
    ///
    /// - Returns: the error.
    @discardableResult
    func write(
      _ prefix: String, seed: UInt64, maximumBytes: ByteCount? = nil, records: Int = 24
    ) -> QueueError? {
      var pending: [UInt64: String] = [:]
      func acknowledge(_ body: () throws(QueueError) -> Void) throws(QueueError) {
        try body()
        acknowledged.withLock { [pending] in $0.merge(pending) { one, _ in one } }
        pending = [:]
      }
      do throws(QueueError) {
        let writer = try Beginning.writer(storage, seed: seed, maximumBytes: maximumBytes)
        for index in 0..<records {
          let text = "\(prefix) \(index) \(String(repeating: "x", count: 300))"
          pending[try writer.append(text).address.rawValue] = text
          if index % 4 == 1 { try acknowledge { () throws(QueueError) in try writer.sync() } }
        }
        try acknowledge { () throws(QueueError) in try writer.close() }
        return nil
      } catch {
        return error
      }
    }

    /// Forgets the acknowledged records from an address on, because the other program removed them.
    func forget(from address: UInt64) {
      acknowledged.withLock { $0 = $0.filter { $0.key < address } }
    }

    func fail(_ failure: String) { failures.withLock { $0.append(failure) } }

    /// The failures. Nil if the program made fewer calls.
    var result: [String]? { cameToTheCall ? failures.withLock { $0 } : nil }

    /// Every record that can be read, by its address.
    private func read(_ storage: SimulatedStorage) throws -> [UInt64: String] {
      if storage.slabs.isEmpty { return [:] }
      var reader = try QueueReader(topic: Topic(storage: storage)) { _ in }
      var found: [UInt64: String] = [:]
      while let record = try reader.nextCopy() {
        if found.updateValue(record.text ?? "", forKey: record.address.rawValue) != nil {
          fail("two records at \(record.address)")
        }
      }
      return found
    }

    /// The address of the first record that can be read. Meddling ends here.
    func firstAddress() throws -> UInt64 {
      storage.setHook(nil)
      return try read(storage).keys.min() ?? .max
    }

    /// Compares the readable records with the acknowledged ones, now and after a power cut.
    func compare(_ when: String) throws {
      storage.setHook(nil)
      try compare(when, in: storage)
      var random = SeededGenerator(seed: UInt64(number))
      try compare("\(when) and a power cut", in: storage.powerCut(using: &random))
    }

    private func compare(_ when: String, in storage: SimulatedStorage) throws {
      let found = try read(storage)
      for (address, text) in acknowledged.withLock({ $0 }) where found[address] != text {
        fail("\(when), \(text.prefix(8)) at \(address) is \(found[address]?.prefix(8) ?? "gone")")
      }
    }
  }

  /// Repeats a program, and meddles one call later each time. Stops after the first few failures.
  ///
  /// - Parameter body: runs the program. Returns its failures, or nil if it made fewer calls.
  private func atEachCall(_ body: (_ number: Int) throws -> [String]?) rethrows {
    var failures: [String] = []
    var number = 1
    while failures.count < 5, let found = try body(number) {
      failures += found.map { "call \(number): \($0)" }
      number += 1
    }
    #expect(failures == [])
    #expect(number > 20)
  }

  @Test(
    "G1, G4, G8: the lock's file is removed, and another writer opens, appends and closes",
    arguments: Beginning.allCases, [false, true])
  func lockRemoved(_ beginning: Beginning, laysOutRoom: Bool) throws {
    try atEachCall { number in
      let run = Run(try beginning.make(laysOutRoom), at: number) { run in
        run.storage.takeAway(TopicLayout.lockName)
        if let error = run.write("other", seed: 3, records: 6) {
          run.fail("the other writer: \(error)")
        }
      }
      run.write("mine", seed: 2)
      try run.compare("at once")
      if let error = run.write("next", seed: 4, records: 2) { run.fail("next: \(error)") }
      try run.compare("after the next writer")
      return run.result
    }
  }

  @Test(
    "G1: once the slabs and the lock are removed, nothing more is acknowledged as durable",
    arguments: Beginning.allCases)
  func allRemoved(_ beginning: Beginning) throws {
    try atEachCall { number in
      let run = Run(try beginning.make(false), at: number) { run in
        for base in run.storage.slabs.keys { run.storage.takeAway(SlabName.string(base)) }
        run.storage.takeAway(TopicLayout.lockName)
        run.forget(from: 0)
      }
      run.write("mine", seed: 2)
      try run.compare("afterwards")
      return run.result
    }
  }

  @Test(
    "G1: once the slab that is written is removed, nothing in it is acknowledged as durable",
    arguments: Beginning.allCases)
  func slabRemoved(_ beginning: Beginning) throws {
    try atEachCall { number in
      let run = Run(try beginning.make(false), at: number) { run in
        // If the first slab is gone, it looks cleaned.
        guard let last = run.storage.slabs.keys.max(), run.storage.slabs.count > 1 else { return }
        run.storage.takeAway(SlabName.string(last))
        run.forget(from: last)
      }
      run.write("mine", seed: 2)
      try run.compare("afterwards")
      return run.result
    }
  }

  @Test(
    "G6: a slab of another topic comes in, and a writer that drops the oldest drops its own alone",
    arguments: Beginning.allCases, [UInt64(1) << 30, 1 << 41, 40])
  func foreignSlab(_ beginning: Beginning, base: UInt64) throws {
    var forge = SlabForge(base: base, ordinal: 9, synced: base, topicID: 0xF0)
    forge.putRecord(Array("foreign".utf8))
    forge.putClosingMark()
    let foreign = forge.bytes
    try atEachCall { number in
      let isThere = Mutex(false)
      let run = Run(try beginning.make(false), at: number) { run in
        // If this slab is alone in the directory, it is the topic.
        guard !run.storage.slabs.isEmpty else { return }
        run.storage.replace(slab: base, with: foreign)
        isThere.withLock { $0 = true }
      }
      run.write("mine", seed: 2, maximumBytes: .kibibytes(64), records: 260)
      if isThere.withLock({ $0 }), run.storage.slabs[base] != foreign {
        run.fail("it was changed")
      }
      run.storage.replace(slab: base, with: nil)
      // The remaining records are the last of the acknowledged ones, without a hole.
      let first = try run.firstAddress()
      let dropped = run.acknowledged.withLock { acknowledged in
        defer { acknowledged = acknowledged.filter { $0.key >= first } }
        return acknowledged.keys.filter { $0 < first }.count
      }
      try run.compare("without it")
      // The cap never requires the writer to drop the last two slabs of 4 KiB.
      let bytes = run.storage.slabs.values.reduce(0) { $0 + $1.count }
      if dropped > 0, bytes < 8 << 10 {
        run.fail("\(dropped) records are gone, \(bytes) bytes left")
      }
      return run.result
    }
  }
}
