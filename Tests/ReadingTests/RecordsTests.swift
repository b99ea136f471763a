// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Synchronization
import Testing

@testable import DiskQueue

@Suite("Records as an asynchronous sequence")
struct RecordsTests {
  private static func texts(_ numbers: Range<Int>) -> [String] { numbers.map { "record \($0)" } }

  /// The storage decides what reads the records.
  ///
  /// - `memory`: the task, because nothing waits for a disk.
  /// - `simulated`: the thread, because the storage cannot report what waits for a disk.
  /// - `directory` and `cold`: both, because the system reports whether it has the bytes.
  enum Place: CaseIterable {
    case memory, simulated, directory, cold
  }

  /// A topic with records, and the objects that must live as long as it is used.
  private struct Sample {
    let topic: Topic
    let writer: QueueWriter
    let directory: TemporaryDirectory?
  }

  private func sample(_ place: Place, _ numbers: Range<Int>) throws -> Sample {
    let directory = place == .directory ? try TemporaryDirectory() : nil
    let topic =
      switch place {
      case .memory: Topic.memory()
      case .simulated: Topic(storage: SimulatedStorage())
      case .directory: Topic((directory?.path ?? "") + "/topic")
      case .cold: Topic(storage: ColdStorage())
      }
    let writer = try QueueWriter(topic: topic)
    try append(numbers, to: writer)
    return Sample(topic: topic, writer: writer, directory: directory)
  }

  private func append(_ numbers: Range<Int>, to writer: QueueWriter) throws {
    for text in Self.texts(numbers) { try writer.append(text) }
    try writer.flush()
  }

  @Test(
    "it gives what the reader gives, and ends at the end; a second loop goes on behind it",
    arguments: Place.allCases)
  func readsToTheEnd(place: Place) async throws {
    let sample = try sample(place, 0..<1_300)
    let (topic, writer) = (sample.topic, sample.writer)
    var reader = try QueueReader(topic: topic)
    #expect(try reader.nextCopy()?.text == "record 0")
    let records = reader.records()
    var read: [QueueRecord] = []
    for try await record in records { read.append(record) }
    let all = try readAll(topic)
    #expect(read == Array(all.records.dropFirst()))
    try append(1_300..<1_310, to: writer)
    var more: [String?] = []
    for try await record in records { more.append(record.text) }
    #expect(more == Self.texts(1_300..<1_310))
  }

  @Test(
    "a loop that is left, and iterators side by side, share one pass", arguments: Place.allCases)
  func singlePass(place: Place) async throws {
    let sample = try sample(place, 0..<1_000)
    let records = try QueueReader(topic: sample.topic).records()
    var read: [String?] = []
    for try await record in records {
      read.append(record.text)
      if read.count == 600 { break }
    }
    var first = records.makeAsyncIterator()
    var second = records.makeAsyncIterator()
    for _ in 0..<100 {
      read.append(try await first.next()?.text)
      read.append(try await second.next()?.text)
    }
    for try await record in records { read.append(record.text) }
    #expect(read == Self.texts(0..<1_000))
  }

  @Test("large records come one by one, and all of them")
  func largeRecords() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    for number in 0..<20 {
      try writer.append([UInt8](repeating: UInt8(number), count: number * 60_000))
    }
    try await writer.flush()
    var counts: [Int] = []
    for try await record in try QueueReader(topic: topic).records() {
      #expect(record.payload.allSatisfy { $0 == UInt8(counts.count) })
      counts.append(record.payload.count)
    }
    #expect(counts == (0..<20).map { $0 * 60_000 })
  }

  /// A topic with damage, and with a record above the limit of the returned options.
  private func damaged() throws -> (Topic, addresses: [Address], options: QueueReader.Options) {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    let writer = try QueueWriter(topic: topic, options: .init(), environment: .simulated())
    var addresses: [Address] = []
    for number in 0..<100 {
      addresses.append(
        try writer.append(
          number == 70 ? String(repeating: "x", count: 5_000) : "record \(number)"
        ).address)
      if number % 10 == 9 { try writer.sync() }
    }
    try writer.close()
    for number in [33, 55] { storage.flip(bit: Int(addresses[number].rawValue + 9) * 8, ofSlab: 0) }
    var options = QueueReader.Options()
    options.maximumPayload = .bytes(1_000)
    return (topic, addresses, options)
  }

  /// The outcome of a read in words, to compare with a reader that has no thread.
  private func words(_ record: QueueRecord) -> String { "record \(record.ordinal)" }

  private func words(_ error: QueueError, _ addresses: [Address]) -> String {
    let number = addresses.firstIndex { $0 == error.address } ?? -1
    return (error.loss == nil ? "passed" : "lost") + " at \(number)"
  }

  @Test(
    "records that come one by one, and many at a time, are all received, in order",
    arguments: Place.allCases)
  func followed(place: Place) async throws {
    let sample = try sample(place, 0..<1)
    let (topic, writer) = (sample.topic, sample.writer)
    let reached = Progress()
    let task = Task { () throws(QueueError) -> [String?] in
      var read: [String?] = []
      for try await record in try QueueReader(topic: topic).records(following: true) {
        read.append(record.text)
        reached.advance()
        if read.count == 3_001 { break }
      }
      return read
    }
    var next = 1
    while next < 3_001 {
      // Waits for the last record, or appends while the loop is reading.
      if next % 3 == 0 { try await reached.wait(for: UInt64(next)) }
      let end = min(3_001, next + [1, 2, 15, 16, 17, 600, 1][next % 7])
      try append(next..<end, to: writer)
      next = end
    }
    #expect(try await task.value == Self.texts(0..<3_001))
  }

  @Test("errors come where the reader throws them, once, and the next loop goes on")
  func errors() async throws {
    let (topic, addresses, options) = try damaged()
    var expected: [String] = []
    var reader = try QueueReader(topic: topic, options: options)
    var isAtEnd = false
    while !isAtEnd {
      do throws(QueueError) {
        if let record = try reader.nextCopy() {
          expected.append(words(record))
        } else {
          isAtEnd = true
        }
      } catch {
        expected.append(words(error, addresses))
      }
    }
    #expect(expected.count { $0.hasPrefix("lost") } == 2 && expected.contains("passed at 70"))

    let records = try QueueReader(topic: topic, options: options).records()
    var seen: [String] = []
    isAtEnd = false
    while !isAtEnd {
      do throws(QueueError) {
        for try await record in records { seen.append(words(record)) }
        isAtEnd = true
      } catch {
        seen.append(words(error, addresses))
      }
    }
    #expect(seen == expected)
  }

  @Test("with a closure losses go to it, where the reader would hand them to it")
  func losses() async throws {
    let (topic, _, _) = try damaged()
    let expected = Mutex<[String]>([])
    var reader = try QueueReader(topic: topic) { loss in
      expected.withLock { $0.append("\(loss)") }
    }
    while let record = try reader.nextCopy() { expected.withLock { $0.append(words(record)) } }
    #expect(expected.withLock { $0.count } == 100)

    let seen = Mutex<[String]>([])
    let records = try QueueReader(topic: topic) { loss in seen.withLock { $0.append("\(loss)") } }
      .records()
    for try await record in records { seen.withLock { $0.append(words(record)) } }
    #expect(seen.withLock { $0 } == expected.withLock { $0 })
  }

  /// Reads some records, cancels the task, and asks for one more.
  private static func readThenCancel(
    _ records: QueueReader.Records, _ count: Int
  ) async throws(QueueError) -> (QueueError.Code?, [String?]) {
    var iterator = records.makeAsyncIterator()
    var read: [String?] = []
    while read.count < count { read.append(try await iterator.next()?.text) }
    withUnsafeCurrentTask { $0?.cancel() }
    do throws(QueueError) {
      _ = try await iterator.next()
    } catch {
      return (error.code, read)
    }
    return (nil, read)
  }

  @Test("a cancelled loop says so, and loses nothing", arguments: [false, true], Place.allCases)
  func cancelled(following: Bool, place: Place) async throws {
    let sample = try sample(place, 0..<700)
    let (topic, writer) = (sample.topic, sample.writer)
    // The task is cancelled between two records, at the end of a batch, and while it waits.
    for count in [0, 1, 300, 511, 512, 513, 699, following ? 700 : 698] {
      let records = try QueueReader(topic: topic).records(following: following)
      // Uses a task of its own, because a cancelled task stays cancelled.
      var (code, read) = try await Task { try await Self.readThenCancel(records, count) }.value
      var iterator = records.makeAsyncIterator()
      while read.count < 700 { read.append(try await iterator.next()?.text) }
      #expect(code == .cancelled, "behind \(count)")
      #expect(read == Self.texts(0..<700), "behind \(count)")
    }
    try await writer.close()
  }

  @Test(
    "a task that waits at the end is woken by cancellation, whenever that comes",
    arguments: Place.allCases)
  func cancelledWhileWaiting(place: Place) async throws {
    let sample = try sample(place, 0..<3)
    let topic = sample.topic
    for _ in 0..<100 {
      let reached = Progress()
      let task = Task { () -> QueueError.Code? in
        do throws(QueueError) {
          for try await _ in try QueueReader(topic: topic).records(following: true) {
            reached.advance()
          }
          return nil
        } catch {
          return error.code
        }
      }
      try await reached.wait(for: 3)
      task.cancel()
      #expect(await task.value == .cancelled)
    }
  }

  @Test(
    "a sequence may be dropped at any moment, also while its thread reads",
    arguments: Place.allCases)
  func dropped(place: Place) async throws {
    let sample = try sample(place, 0..<2_000)
    let topic = sample.topic
    var first: [String?] = []
    for count in 0..<300 {
      let records = try QueueReader(topic: topic).records(following: true)
      let task = Task {
        var iterator = records.makeAsyncIterator()
        for _ in 0..<count % 3 { _ = try await iterator.next() }
        return try await iterator.next()
      }
      // Sometimes the task leaves the thread alone with the batch that the thread is reading.
      if count % 2 == 0 { task.cancel() }
      first.append((try? await task.value)?.text ?? "cancelled")
    }
    #expect(first.count { $0 == "cancelled" } <= 150)
    #expect(first.allSatisfy { $0?.hasPrefix("record") ?? false || $0 == "cancelled" })
  }

  @Test("a sequence that is dropped while it waits goes with its watch; what comes reaches others")
  func droppedWhileWaiting() async throws {
    let (made, gone) = (Progress(), Progress())
    let storage = WatchedStorage(onMade: { made.advance() }, onGone: { gone.advance() })
    let topic = Topic(storage: storage)
    let writer = try QueueWriter(topic: topic)
    try append(0..<3, to: writer)
    for round in 0..<100 {
      let reached = Progress()
      let task = Task {
        for try await _ in try QueueReader(topic: topic).records(following: true) {
          reached.advance()
        }
      }
      try await reached.wait(for: 3)
      // The thread makes the watch when it finds the end, while the task has its records.
      try await made.wait(for: UInt64(round + 1))
      // Half of the sequences are woken once more, and read while they are dropped.
      if round % 2 == 0 { try append(3..<4, to: writer) }
      task.cancel()
      #expect(await queueError { try await task.value }?.code == .cancelled)
    }
    // Whatever the threads are doing, they end and release the last reference.
    try await gone.wait(for: 100)
    #expect(made.value == 100)
    try append(4..<5, to: writer)
    #expect(gone.value == 100)
  }

  @Test(
    "changes without a record do not end the wait, and the record behind them comes",
    arguments: Place.allCases)
  func spuriousChanges(place: Place) async throws {
    let sample = try sample(place, 0..<1)
    let (topic, writer) = (sample.topic, sample.writer)
    let storage = try topic.openForReading()
    let reached = Progress()
    let task = Task { () throws(QueueError) -> [String?] in
      var read: [String?] = []
      for try await record in try QueueReader(topic: topic).records(following: true) {
        read.append(record.text)
        reached.advance()
        if read.count == 51 { break }
      }
      return read
    }
    for number in 1...50 {
      try await reached.wait(for: UInt64(number))
      for change in 0..<3 { _ = try storage.create("change \(number) \(change)") }
      try append(number..<number + 1, to: writer)
    }
    #expect(try await task.value == Self.texts(0..<51))
  }

  @Test("a follower of a topic that is removed while it waits is told, each time that it asks")
  func removedWhileWaiting() async throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/topic"
    let writer = try QueueWriter(topic: Topic(path))
    try append(0..<1, to: writer)
    try await writer.close()
    let reached = Progress()
    let task = Task { () -> [QueueError.Code?] in
      var codes: [QueueError.Code?] = []
      var iterator = try QueueReader(topic: Topic(path)).records(following: true)
        .makeAsyncIterator()
      while codes.count < 2 {
        do throws(QueueError) {
          _ = try await iterator.next()
          reached.advance()
        } catch {
          codes.append(error.code)
        }
      }
      return codes
    }
    try await reached.wait(for: 1)
    for file in [path + "/lock", path + "/" + SlabName.string(0), path] { try removeFile(file) }
    #expect(try await task.value == [.noSuchTopic, .noSuchTopic])
  }

  @Test("a follower sees every record across rolls and epochs", arguments: [0, 1, 7])
  func followsTheWriter(flushEvery: Int) async throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path)
    let count = 600
    let following = Task { () throws(QueueError) -> [String?] in
      var read: [String?] = []
      for try await record in try QueueReader(topic: topic).records(following: true) {
        read.append(record.text)
        if read.count == count { break }
      }
      return read
    }
    for epoch in 0..<3 {
      let writer = try QueueWriter(topic: topic, options: SmallTopic.options)
      for number in epoch * 200..<(epoch + 1) * 200 {
        try writer.append("record \(number)")
        if flushEvery > 0, number % flushEvery == 0 { try await writer.flush() }
      }
      try await writer.flush()
      // One end is clean. The other ends make the next writer begin an epoch.
      if epoch == 1 { try await writer.close() } else { writer.dieForTesting() }
    }
    #expect(try await following.value == Self.texts(0..<count))
  }

  @Test("a follower that the cleaner overtakes is told of each record, or gets it")
  func followsTheCleaner() async throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path)
    let writer = try QueueWriter(topic: topic, options: SmallTopic.options)
    try append(0..<5_000, to: writer)
    var ordinals: [UInt64] = []
    let reported = Reported()
    let records = try QueueReader(topic: topic, options: SmallTopic.readerOptions) {
      reported.take($0)
    }.records(following: true)
    var iterator = records.makeAsyncIterator()
    for _ in 0..<10 { ordinals.append(try #require(try await iterator.next()).ordinal) }
    let all = try slabPaths(directory.path)
    #expect(all.count > 5)
    for path in all.dropLast(2) { try removeFile(path) }
    try append(5_000..<5_200, to: writer)
    while ordinals.last != 5_199 {
      ordinals.append(try #require(try await iterator.next()).ordinal)
    }
    #expect(zip(ordinals, ordinals.dropFirst()).allSatisfy { $0 < $1 })
    #expect(reported.losses.allSatisfy { $0.cause == .cleaned })
    let lost = reported.losses.reduce(0) { $0 + ($1.records ?? 0) }
    #expect(lost > 0 && lost + UInt64(ordinals.count) == 5_200)
  }

  /// The paths of a directory's slabs, in order.
  private func slabPaths(_ directory: String) throws -> [String] {
    try slabs(directory).keys.sorted().map { directory + "/" + SlabName.string($0) }
  }
}
