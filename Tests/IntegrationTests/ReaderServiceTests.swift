// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import AsyncAlgorithms
import DiskQueue
import DiskQueueLifecycle
import DiskQueueTestSupport
import Foundation
import Logging
import ServiceLifecycle
import ServiceLifecycleTestKit
import Synchronization
import Testing

@Suite("Readers in servers: services, time-outs, responses and operators")
struct ReaderServiceTests {
  private struct Stop: Error {}

  private func append(_ numbers: Range<Int>, to writer: QueueWriter) async throws {
    for number in numbers { try writer.append("record \(number)") }
    try await writer.flush()
  }

  private static func texts(_ numbers: Range<Int>) -> [String] { numbers.map { "record \($0)" } }

  /// Texts that several tasks collect, so that a test can wait for a number of them.
  private final class Taken: Sendable {
    private let texts = Mutex<[String]>([])
    private let signal = AsyncStream<Int>.makeStream()

    func add(_ more: some Sequence<String>) {
      let count = texts.withLock { texts in
        texts += more
        return texts.count
      }
      signal.continuation.yield(count)
    }

    var all: [String] { texts.withLock { $0 } }

    func wait(for count: Int) async {
      for await now in signal.stream where now >= count { return }
    }
  }

  private enum Kind: CaseIterable { case records, batches, values }

  /// A payload as a text.
  private struct TextCodec: PayloadCodec {
    func encode(_ value: String) -> [UInt8] { Array(value.utf8) }
    func decode(_ payload: [UInt8]) -> String { String(decoding: payload, as: UTF8.self) }
  }
  private enum Place: CaseIterable { case directory, memory }

  private func service(
    _ kind: Kind, _ topic: Topic, _ handle: @escaping @Sendable ([String]) async throws -> Void
  ) throws -> ReaderService {
    let reader = try QueueReader(topic: topic)
    return switch kind {
    case .records:
      ReaderService(reader.records(following: true)) { try await handle([$0.text ?? ""]) }
    case .batches:
      ReaderService(reader.batches(upTo: 2, following: true)) {
        try await handle($0.map { $0.text ?? "" })
      }
    case .values:
      ReaderService(reader.values(TextCodec(), following: true)) {
        try await handle([try $0.value()])
      }
    }
  }

  private func topic(_ place: Place, _ directory: TemporaryDirectory) -> Topic {
    place == .memory ? Topic.memory() : Topic(directory.path + "/topic")
  }

  @Test(
    "a service that waits for records ends at once at the shutdown",
    arguments: Kind.allCases, Place.allCases)
  private func waiting(_ kind: Kind, _ place: Place) async throws {
    let directory = try TemporaryDirectory()
    let topic = topic(place, directory)
    let writer = try QueueWriter(topic: topic)
    try await append(0..<5, to: writer)
    let taken = Taken()
    let group = ServiceGroup(
      services: [try service(kind, topic) { taken.add($0) }],
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { try await group.run() }
      await taken.wait(for: 5)
      try await append(5..<7, to: writer)
      await taken.wait(for: 7)
      await group.triggerGracefulShutdown()
      try await tasks.waitForAll()
    }
    #expect(taken.all == Self.texts(0..<7))
    try await writer.close()
  }

  @Test(
    "the record in hand at the shutdown is finished, and no other one is begun",
    arguments: Kind.allCases)
  private func inHand(_ kind: Kind) async throws {
    let directory = try TemporaryDirectory()
    let topic = topic(.directory, directory)
    let writer = try QueueWriter(topic: topic)
    try await append(0..<6, to: writer)
    let taken = Taken()
    try await testGracefulShutdown { trigger in
      try await service(kind, topic) { texts in
        trigger.triggerGracefulShutdown()
        #expect(!Task.isCancelled)
        taken.add(texts)
      }.run()
    }
    #expect(taken.all == Self.texts(0..<(kind == .batches ? 2 : 1)))
    try await writer.close()
  }

  @Test("a service ends with its sequence, and with the error of its closure")
  func ends() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    try await append(0..<6, to: writer)
    let taken = Taken()
    try await ReaderService(try QueueReader(topic: topic).records()) { taken.add([$0.text ?? ""]) }
      .run()
    #expect(taken.all == Self.texts(0..<6))
    await #expect(throws: Stop.self) {
      try await ReaderService(try QueueReader(topic: topic).batches(following: true)) { _ in
        throw Stop()
      }.run()
    }
    try await writer.close()
  }

  @Test("a service of all shards ends at once at the shutdown")
  func shards() async throws {
    let directory = try TemporaryDirectory()
    let topic = ShardedTopic(directory.path + "/shards", shards: 4)
    let writer = try ShardedWriter(topic: topic)
    for number in 0..<20 { try writer.append("record \(number)", key: "key \(number)") }
    try await writer.flush()
    let taken = Taken()
    let records = try topic.records(following: true)
    try await testGracefulShutdown { trigger in
      try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask {
          try await ReaderService(records) { taken.add([$0.record.text ?? ""]) }.run()
        }
        await taken.wait(for: 20)
        trigger.triggerGracefulShutdown()
        try await tasks.waitForAll()
      }
    }
    #expect(taken.all.sorted() == Self.texts(0..<20).sorted())
    try await writer.close()
  }

  @Test("a loop ends with cancelOnGracefulShutdown(), also while it waits")
  func cancelOnShutdown() async throws {
    let directory = try TemporaryDirectory()
    let topic = topic(.directory, directory)
    let writer = try QueueWriter(topic: topic)
    try await append(0..<5, to: writer)
    let records = try QueueReader(topic: topic).records(following: true)
    let taken = Taken()
    try await testGracefulShutdown { trigger in
      try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask {
          for try await record in records.cancelOnGracefulShutdown() {
            taken.add([record.text ?? ""])
          }
        }
        await taken.wait(for: 5)
        trigger.triggerGracefulShutdown()
        try await tasks.waitForAll()
      }
    }
    #expect(taken.all == Self.texts(0..<5))
    try await writer.close()
  }

  /// A server streams so: it reports each loss at its place, and begins a new loop after it.
  @Test("after each loss, a new loop with cancelOnGracefulShutdown() misses and repeats nothing")
  func newLoops() async throws {
    let directory = try TemporaryDirectory()
    let topic = topic(.directory, directory)
    let writer = try QueueWriter(topic: topic)
    var addresses: [Address] = []
    for number in 0..<200 {
      addresses.append(try writer.append("record \(number)").address)
      // A mark after each ten records bounds the damage.
      if number % 10 == 9 { try await writer.sync() }
    }
    let slab = try #require(
      FileManager.default.contentsOfDirectory(atPath: topic.description).first {
        $0.hasSuffix(".slab")
      })
    let damaged = stride(from: 5, to: 200, by: 20)
    for number in damaged {
      try flipBit(topic.description + "/" + slab, byte: Int(addresses[number].rawValue) + 9)
    }
    // A loss is counted at the next mark, and reported there.
    var expected: [String] = []
    for group in stride(from: 0, to: 200, by: 10) {
      let numbers = group..<group + 10
      expected += numbers.filter { !damaged.contains($0) }.map { "record \($0)" }
      if damaged.contains(where: numbers.contains) { expected.append("lost: 1") }
    }
    for count in [1, 3, 100] {
      let batches = try QueueReader(topic: topic).batches(upTo: count, following: true)
      let taken = Taken()
      try await testGracefulShutdown { trigger in
        try await withThrowingTaskGroup(of: Void.self) { tasks in
          tasks.addTask {
            while true {
              do {
                for try await batch in batches.cancelOnGracefulShutdown() {
                  taken.add(batch.map { $0.text ?? "" })
                }
                return
              } catch let error as QueueError {
                guard let loss = error.loss else { throw error }
                taken.add(["lost: \(loss.records ?? 0)"])
              }
            }
          }
          await taken.wait(for: 200)
          trigger.triggerGracefulShutdown()
          try await tasks.waitForAll()
        }
      }
      #expect(taken.all == expected, "batches of \(count)")
    }
    try await writer.close()
  }

  @Test("two topics merged, and records in chunks of a time: the operators take the sequences")
  func operators() async throws {
    let directory = try TemporaryDirectory()
    let topics = [Topic.memory(), topic(.directory, directory)]
    for (number, topic) in topics.enumerated() {
      let writer = try QueueWriter(topic: topic)
      try await append(number * 10..<number * 10 + 10, to: writer)
      try await writer.close()
    }
    var texts: [String] = []
    let both = merge(
      try QueueReader(topic: topics[0]).records(), try QueueReader(topic: topics[1]).records())
    for try await record in both { texts.append(record.text ?? "") }
    #expect(texts.sorted() == Self.texts(0..<20).sorted())
    #expect(texts.filter { Self.texts(0..<10).contains($0) } == Self.texts(0..<10))

    var chunked: [String] = []
    let chunks = try QueueReader(topic: topics[1]).records().chunks(ofCount: 3)
    for try await chunk in chunks {
      #expect(chunk.count <= 3)
      chunked += chunk.map { $0.text ?? "" }
    }
    #expect(chunked == Self.texts(10..<20))
    var last: [String] = []
    let settled = try QueueReader(topic: topics[1]).batches().debounce(for: .milliseconds(1))
    for try await batch in settled { last = batch.map { $0.text ?? "" } }
    #expect(last == Self.texts(10..<20))
  }

  @Test("a reader in a task group with a time-out: the other task wins, and the reader goes on")
  func timeOut() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    try await append(0..<1, to: writer)
    let records = try QueueReader(topic: topic).records(following: true)
    let waits = AsyncStream<Void>.makeStream()
    for round in 0..<10 {
      let (first, second) = try await withThrowingTaskGroup(of: String?.self) { group in
        group.addTask {
          var iterator = records.makeAsyncIterator()
          let first = try await iterator.next()?.text
          waits.continuation.yield()
          do throws(QueueError) {
            _ = try await iterator.next()
            return "a record that was not appended"
          } catch {
            #expect(error.code == .cancelled)
            return first
          }
        }
        group.addTask {
          // In place of a sleep.
          for await _ in waits.stream { break }
          return nil
        }
        let first = try await group.next()
        group.cancelAll()
        return (first ?? "none", try await group.next())
      }
      #expect(first == .some(nil) && second == "record \(round)")
      try await append(round + 1..<round + 2, to: writer)
    }
    try await writer.close()
  }

  /// A response's body, as a server's framework takes it: chunks of bytes that another task sends.
  private struct Body<Chunks: AsyncSequence & Sendable>: Sendable where Chunks.Element == [UInt8] {
    let chunks: Chunks

    @concurrent func send() async throws -> [UInt8] {
      var sent: [UInt8] = []
      for try await chunk in chunks { sent += chunk }
      return sent
    }
  }

  @MainActor
  @Test("a reader is a response's body, which another task sends")
  func body() async throws {
    let directory = try TemporaryDirectory()
    let topic = topic(.directory, directory)
    let writer = try QueueWriter(topic: topic)
    try await append(0..<1000, to: writer)
    let reader = try QueueReader(topic: topic)
    let body = Body(
      chunks: reader.batches(upTo: 100).map { batch -> [UInt8] in
        batch.indices.reduce(into: []) { bytes, index in
          let payload = batch.borrowed(at: index).payload
          for at in payload.indices { bytes.append(payload[at]) }
          bytes.append(10)
        }
      })
    let sent = try await Task.detached { try await body.send() }.value
    let expected = Self.texts(0..<1000).map { $0 + "\n" }.joined()
    #expect(String(decoding: sent, as: UTF8.self) == expected)
    try await writer.close()
  }
}
