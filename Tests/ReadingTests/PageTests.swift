// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Synchronization
import Testing

@testable import DiskQueue

@Suite("A page of a topic")
struct PageTests {
  private static func texts(_ numbers: Range<Int>) -> [String] { numbers.map { "record \($0)" } }

  private func append(_ numbers: Range<Int>, to writer: QueueWriter) throws {
    for text in Self.texts(numbers) { try writer.append(text) }
    try writer.flush()
  }

  /// All pages of a topic, each from the end of the one before.
  private func pages(
    _ topic: Topic, upTo count: Int, _ options: Topic.Page.Options = .init()
  ) async throws -> [Topic.Page] {
    var pages: [Topic.Page] = []
    var start = Topic.Position.earliest
    while pages.last?.isAtEnd != true {
      let page = try await topic.page(from: start, upTo: count, options: options)
      start = .address(page.next)
      pages.append(page)
    }
    return pages
  }

  enum Place: CaseIterable { case memory, simulated, directory }

  @Test(
    "pages of any size have all records once, across slabs and epochs",
    arguments: Place.allCases, [1, 7, 100, 1000])
  func inOrder(place: Place, count: Int) async throws {
    let directory = try TemporaryDirectory()
    let topic =
      switch place {
      case .memory: Topic.memory()
      case .simulated: Topic(storage: SimulatedStorage())
      case .directory: Topic(directory.path + "/topic")
      }
    for epoch in 0..<3 {
      let writer = try QueueWriter(topic: topic, options: SmallTopic.options)
      try append(epoch * 100..<(epoch + 1) * 100, to: writer)
      if epoch == 1 { try await writer.close() } else { writer.dieForTesting() }
    }
    let pages = try await pages(topic, upTo: count)
    #expect(pages.flatMap(\.records) == (try readAll(topic).records))
    #expect(pages.flatMap(\.records).map(\.text) == Self.texts(0..<300))
    #expect(pages.dropLast().allSatisfy { $0.records.count == count && !$0.isAtEnd })
    #expect(pages.allSatisfy { $0.losses.isEmpty && $0.oversized.isEmpty })
    // The position after the last record stays valid when records come.
    let next = try #require(pages.last).next
    let writer = try QueueWriter(topic: topic, options: SmallTopic.options)
    try append(300..<305, to: writer)
    let more = try await topic.page(from: .address(next), upTo: 100)
    #expect(more.records.map(\.text) == Self.texts(300..<305) && more.isAtEnd)
    try await writer.close()
  }

  @Test("with any byte flipped, the pages have the records and losses of one reader, each once")
  func damaged() async throws {
    let small = try SmallTopic()
    for (base, bytes) in small.storage.slabs {
      for bit in stride(from: 3, to: bytes.count * 8, by: 8 * 211 + 1) {
        small.storage.flip(bit: bit, ofSlab: base)
        let expected = try readAll(small.topic)
        for count in [1, 5] {
          let pages = try await pages(small.topic, upTo: count)
          #expect(pages.flatMap(\.records).map(\.payload) == expected.records.map(\.payload))
          let losses = pages.flatMap(\.losses)
          #expect(
            losses.map(\.addresses.lowerBound) == expected.losses.map(\.addresses.lowerBound),
            "slab \(base), bit \(bit), pages of \(count)")
          #expect(losses.map(\.cause) == expected.losses.map(\.cause))
        }
        small.storage.flip(bit: bit, ofSlab: base)
      }
    }
  }

  @Test("a page ends before it exceeds its bytes; a larger record is a page by itself")
  func bytes() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    for count in [10, 10, 200, 10, 10, 10] {
      try writer.append([UInt8](repeating: UInt8(count), count: count))
    }
    try await writer.close()
    let pages = try await pages(topic, upTo: 100, .init(maximumBytes: .bytes(40)))
    #expect(pages.map { $0.records.map(\.payload.count) } == [[10, 10], [200], [10, 10], [10]])
  }

  @Test("a record above the limit is named and passed over")
  func oversized() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    try writer.append("before")
    let large = try writer.append("long enough to be refused").address
    try writer.append("after")
    try await writer.close()
    let options = Topic.Page.Options(maximumPayload: .bytes(10))
    let page = try await topic.page(upTo: 10, options: options)
    #expect(page.records.map(\.text) == ["before", "after"])
    #expect(page.oversized == [large])
    let pages = try await pages(topic, upTo: 1, options)
    #expect(pages.flatMap(\.records).map(\.text) == ["before", "after"])
    #expect(pages.flatMap(\.oversized) == [large])
  }

  @Test("positions and bounds that are not valid are refused")
  func refused() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    let first = try writer.append("a record").address
    try writer.append("another")
    try await writer.flush()
    func code(_ start: Topic.Position, _ count: Int = 1) async -> QueueError.Code? {
      await queueError { _ = try await topic.page(from: start, upTo: count) }?.code
    }
    #expect(await code(.address(Address(rawValue: first.rawValue + 1))) == .notARecord)
    #expect(await code(.address(Address(rawValue: 1 << 30))) == .beyondLatest)
    #expect(await code(.ordinal(3)) == .beyondLatest)
    #expect(await code(.earliest, 0) == .invalidOption)
    let missing = Topic("/nowhere/at/all")
    let error = await queueError { _ = try await missing.page(upTo: 1) }
    #expect(error?.code == .noSuchTopic)
    let options = Topic.Page.Options(maximumBytes: .bytes(0))
    let refused = await queueError { _ = try await topic.page(upTo: 1, options: options) }
    #expect(refused?.code == .invalidOption)
  }

  @Test("a page that waits has the record that comes", arguments: Place.allCases)
  func waits(place: Place) async throws {
    let directory = try TemporaryDirectory()
    let topic =
      switch place {
      case .memory: Topic.memory()
      case .simulated: Topic(storage: SimulatedStorage())
      case .directory: Topic(directory.path + "/topic")
      }
    let writer = try QueueWriter(topic: topic)
    let reached = Progress()
    let task = Task { () throws(QueueError) -> [String?] in
      var texts: [String?] = []
      var start = Topic.Position.earliest
      while texts.count < 20 {
        let page = try await topic.page(from: start, upTo: 5, waiting: .seconds(600))
        start = .address(page.next)
        texts += page.records.map(\.text)
        reached.advance(to: UInt64(texts.count))
      }
      return texts
    }
    for number in 0..<20 {
      try append(number..<number + 1, to: writer)
      // Half of the pages begin to wait before the record comes.
      if number % 2 == 0 { try await reached.wait(for: UInt64(number + 1)) }
    }
    #expect(try await task.value == Self.texts(0..<20))
    try await writer.close()
  }

  @Test("a page that waits in vain is empty; a cancelled one says so")
  func waitsInVain() async throws {
    let topic = Topic(storage: SimulatedStorage())
    let writer = try QueueWriter(topic: topic)
    try append(0..<3, to: writer)
    let page = try await topic.page(from: .latest, upTo: 5, waiting: .milliseconds(1))
    #expect(page.records.isEmpty && page.isAtEnd)
    for _ in 0..<20 {
      let task = Task { try await topic.page(from: .latest, upTo: 5, waiting: .seconds(600)) }
      task.cancel()
      #expect(await queueError { _ = try await task.value }?.code == .cancelled)
    }
    try append(3..<4, to: writer)
    #expect(
      try await topic.page(from: .address(page.next), upTo: 5).records.map(\.text) == ["record 3"])
    try await writer.close()
  }

  @Test("a page may wait for the longest time that there is")
  func waitsForever() async {
    await #expect(processExitsWith: .success) {
      for time in [Duration.seconds(Int64.max), Duration(attoseconds: .max)] {
        let storage = HookedStorage(SimulatedStorage())
        let topic = Topic(storage: storage)
        let writer = try QueueWriter(topic: topic)
        let listings = Progress()
        storage.atEach(.listed) { listings.advance() }
        let page = Task { try await topic.page(upTo: 1, waiting: time) }
        // After the second look, the page waits.
        try await listings.wait(for: 2)
        try writer.append("a record")
        try await writer.flush()
        #expect(try await page.value.records.map(\.text) == ["a record"])
        try await writer.close()
      }
    }
  }

  enum Call: CaseIterable {
    case page, address, ordinal

    func text(_ number: UInt64, at address: Address, of topic: Topic) async throws -> String? {
      switch self {
      case .page: try await topic.page(from: .ordinal(number), upTo: 1).records.first?.text
      case .address: try await topic.record(at: address).text
      case .ordinal: try await topic.record(ordinal: number).text
      }
    }
  }

  @Test(
    "a thousand pages or lookups of a disk that hangs block no thread of the pool",
    arguments: Call.allCases)
  func poolStaysFree(call: Call) async throws {
    let storage = HookedStorage(SimulatedStorage())
    let topic = Topic(storage: storage)
    let writer = try QueueWriter(topic: topic)
    let addresses = try Self.texts(0..<10).map { try writer.append($0).address }
    try await writer.flush()
    // The first page to list the topic hangs, and so do those after it.
    let gate = Gate()
    storage.atEach(.listed) { gate.pass() }
    let pages = Task {
      try await withThrowingTaskGroup(of: String?.self) { group in
        for number in 0..<1000 {
          group.addTask {
            try await call.text(UInt64(number % 10), at: addresses[number % 10], of: topic)
          }
        }
        var texts: [String?] = []
        for try await text in group { texts.append(text) }
        return texts
      }
    }
    await gate.reached(1)
    // Each of these tasks needs a thread of the pool.
    let sum = await withTaskGroup(of: Int.self) { group in
      for number in 0..<1000 {
        group.addTask {
          await Task.yield()
          return number
        }
      }
      return await group.reduce(0, +)
    }
    #expect(sum == 499_500)
    #expect(SharedThreads.pages.threadCount <= 16)
    // A cancelled call does not wait for the disk.
    let cancelled = Task { try await call.text(0, at: addresses[0], of: topic) }
    cancelled.cancel()
    #expect(await queueError { _ = try await cancelled.value }?.code == .cancelled)
    gate.open()
    let texts = try await pages.value
    #expect(texts.count == 1000)
    #expect(Set(texts) == Set(Self.texts(0..<10)))
    storage.atEach(.listed) {}
    try await writer.close()
  }

  /// Holds threads until it is opened.
  private final class Gate: Sendable {
    private let arrivals = Progress()
    private let opening = Progress()

    func pass() {
      arrivals.advance()
      try? opening.waitBlocking(for: 1)
    }

    func reached(_ count: UInt64) async { try? await arrivals.wait(for: count) }

    func open() { opening.advance() }
  }
}
