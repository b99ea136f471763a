// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Synchronization
import Testing

@testable import DiskQueue

@Suite("The records of all shards as one sequence")
struct ShardedRecordsTests {
  /// The first byte of a key is its shard.
  private static let byFirstByte = ShardedTopic.Sharder.custom { key, _ in
    key.isEmpty ? -1 : Int(key[0])
  }

  private func make(
    _ place: ShardedPlace, shards: Int = 10
  ) throws -> (topic: ShardedTopic, directory: TemporaryDirectory?) {
    try place.make(shards: shards, by: Self.byFirstByte)
  }

  private func append(
    _ numbers: Range<Int>, toShard shard: Int, _ writer: ShardedWriter
  ) throws {
    for number in numbers { try writer.append("\(shard): \(number)", key: [UInt8(shard)]) }
    try writer.flush()
  }

  private func texts(_ numbers: Range<Int>, _ shard: Int) -> [String] {
    numbers.map { "\(shard): \($0)" }
  }

  /// Reads a sequence to its end. Returns the texts of each shard, and the order in which shards
  /// had their turns.
  private func collect(
    _ records: ShardedTopic.Records
  ) async throws -> (texts: [Int: [String]], turns: [(shard: Int, count: Int)]) {
    var texts: [Int: [String]] = [:]
    var turns: [(shard: Int, count: Int)] = []
    for try await found in records {
      texts[found.shard, default: []].append(found.record.text ?? "")
      if turns.last?.shard == found.shard {
        turns[turns.count - 1].count += 1
      } else {
        turns.append((found.shard, 1))
      }
    }
    return (texts, turns)
  }

  @Test(
    "every record once, each shard in its own order, and shards in turn",
    arguments: ShardedPlace.allCases)
  func inTurn(_ place: ShardedPlace) async throws {
    let (topic, directory) = try make(place)
    let writer = try ShardedWriter(topic: topic)
    let counts = [0: 200, 1: 10, 4: 64, 7: 130]
    for (shard, count) in counts { try append(0..<count, toShard: shard, writer) }
    let records = try topic.records()
    let first = try await collect(records)
    #expect(first.texts == Dictionary(uniqueKeysWithValues: counts.map { ($0, texts(0..<$1, $0)) }))
    #expect(
      first.turns.map { "\($0.shard): \($0.count)" } == [
        "0: 64", "1: 10", "4: 64", "7: 64", "0: 64", "7: 64", "0: 64", "7: 2", "0: 8",
      ])
    // Another round gives the records that were appended since, also in new shards.
    try append(200..<203, toShard: 0, writer)
    try append(0..<2, toShard: 9, writer)
    let second = try await collect(records)
    #expect(second.texts == [0: texts(200..<203, 0), 9: texts(0..<2, 9)])
    #expect(try await collect(records).texts.isEmpty)
    try await writer.close()
    withExtendedLifetime(directory) {}
  }

  @Test("large records end a turn by their bytes, one at least", arguments: ShardedPlace.allCases)
  func largeRecords(_ place: ShardedPlace) async throws {
    let (topic, directory) = try make(place)
    let writer = try ShardedWriter(topic: topic)
    for number in 0..<6 {
      for shard in [2, 3] {
        let payload = [UInt8](repeating: UInt8(number), count: shard == 2 ? 200_000 : 30_000)
        try writer.append(payload, key: [UInt8(shard)])
      }
    }
    try await writer.flush()
    var turns: [Int] = []
    var numbers: [Int: [UInt8]] = [:]
    for try await found in try topic.records() {
      turns.append(found.shard)
      #expect(found.record.payload.allSatisfy { $0 == found.record.payload[0] })
      numbers[found.shard, default: []].append(found.record.payload[0])
    }
    #expect(numbers == [2: Array(0..<6), 3: Array(0..<6)])
    #expect(turns == [2, 3, 3, 3, 2, 3, 3, 3, 2, 2, 2, 2])
    try await writer.close()
    withExtendedLifetime(directory) {}
  }

  @Test("a topic that nothing was appended to is empty", arguments: ShardedPlace.allCases)
  func empty(_ place: ShardedPlace) async throws {
    let (topic, directory) = try make(place)
    if place == .disk {
      #expect(queueError { _ = try topic.records() }?.code == .noSuchTopic)
    }
    let writer = try ShardedWriter(topic: topic)
    #expect(try await collect(try topic.records()).texts.isEmpty)
    try await writer.close()
    withExtendedLifetime(directory) {}
  }

  @Test("starts are those that mean the same in every shard", arguments: ShardedPlace.allCases)
  func starts(_ place: ShardedPlace) async throws {
    let (topic, directory) = try make(place)
    let clock = ManualClock()
    let environment = Environment(
      now: { clock.now }, randomID: { 7 }, background: .inline)
    let options = ShardedWriter.Options(writer: .init(bufferSize: .kibibytes(4)))
    let writer = try ShardedWriter(topic: topic, options: options, environment: environment)
    for shard in [0, 5] { try append(0..<5, toShard: shard, writer) }
    try await writer.sync()
    clock.advance(by: 3_600_000_000_000)
    for shard in [0, 5] { try append(5..<8, toShard: shard, writer) }
    let latest = try topic.records(from: .latest)
    let since = try topic.records(
      from: .time(since1970: .nanoseconds(Int64(clock.now) - 1_000_000_000)))
    try append(8..<9, toShard: 5, writer)
    try append(0..<2, toShard: 6, writer)
    // In a shard that was made later, every record is new.
    #expect(try await collect(latest).texts == [5: texts(8..<9, 5), 6: texts(0..<2, 6)])
    // A time leads to the last mark before it, so some earlier records come as well.
    let found = try await collect(since).texts
    #expect(found[0]?.suffix(3) == texts(5..<8, 0)[...])
    #expect(found[5]?.suffix(4) == texts(5..<9, 5)[...])
    #expect(found[6] == texts(0..<2, 6))
    for start in [Topic.Position.address(Address(rawValue: 128)), .ordinal(0)] {
      #expect(queueError { _ = try topic.records(from: start) }?.code == .invalidOption)
    }
    #expect(
      try await collect(try topic.records(from: .address(Address(rawValue: 0)))).texts[0]
        == texts(0..<8, 0))
    #expect(try await collect(try topic.records(from: .ago(.days(100_000)))).texts.count == 3)
    try await writer.close()
    withExtendedLifetime(directory) {}
  }

  @Test(
    "a loop that is left, and iterators side by side, share one pass",
    arguments: ShardedPlace.allCases)
  func singlePass(_ place: ShardedPlace) async throws {
    let (topic, directory) = try make(place)
    let writer = try ShardedWriter(topic: topic)
    for shard in [1, 2] { try append(0..<300, toShard: shard, writer) }
    let records = try topic.records()
    var read: [Int: [String?]] = [:]
    var count = 0
    for try await found in records {
      read[found.shard, default: []].append(found.record.text)
      count += 1
      if count == 100 { break }
    }
    var first = records.makeAsyncIterator()
    var second = records.makeAsyncIterator()
    for _ in 0..<50 {
      for found in [try await first.next(), try await second.next()] {
        let found = try #require(found)
        read[found.shard, default: []].append(found.record.text)
      }
    }
    for try await found in records { read[found.shard, default: []].append(found.record.text) }
    #expect(read == [1: texts(0..<300, 1), 2: texts(0..<300, 2)])
    try await writer.close()
    withExtendedLifetime(directory) {}
  }

  // MARK: Many shards

  @Test(
    "more shards than may be open are parked, and go on where they stood",
    arguments: ShardedPlace.allCases)
  func parking(_ place: ShardedPlace) throws {
    let (topic, directory) = try make(place, shards: 9)
    let writer = try ShardedWriter(topic: topic)
    for shard in 0..<9 { try append(0..<200, toShard: shard, writer) }
    let reading = try MergedReading(
      topic, from: .earliest, options: .init(), isFollowing: false, environment: .system, limit: 3)
    var read: [Int: [String]] = [:]
    while let batch = reading.next() {
      #expect(batch.ending == nil && reading.openCount <= 3)
      read[batch.shard, default: []] += batch.records.map { $0.text ?? "" }
    }
    #expect(read == Dictionary(uniqueKeysWithValues: (0..<9).map { ($0, texts(0..<200, $0)) }))
    // Every shard is parked at its end, so nothing is held until the next round.
    #expect(reading.openCount == 0)
    for shard in [8, 0] { try append(200..<210, toShard: shard, writer) }
    read = [:]
    while let batch = reading.next() {
      read[batch.shard, default: []] += batch.records.map { $0.text ?? "" }
    }
    #expect(read == [0: texts(200..<210, 0), 8: texts(200..<210, 8)])
    try writer.close()
    withExtendedLifetime(directory) {}
  }

  @Test("one large record's buffer is given back")
  func largeBuffer() throws {
    let (topic, _) = try make(.memory)
    let writer = try ShardedWriter(topic: topic)
    try writer.append([UInt8](repeating: 1, count: 1 << 20), key: [1])
    try writer.append("small", key: [1])
    try writer.flush()
    let reading = try MergedReading(
      topic, from: .earliest, options: .init(), isFollowing: true, environment: .system)
    #expect(reading.next()?.records.map(\.payload.count) == [1 << 20])
    #expect(reading.openCount == 0)
    #expect(reading.next()?.records.map(\.text) == ["small"])
    #expect(reading.next() == nil)
    #expect(reading.openCount == 1)
  }

  /// Small slabs on simulated disks, so that cleaning has something to remove.
  private func cleaned(
    isParked: Bool
  ) throws -> (losses: [Int: [Loss]], read: [Int: [UInt64]], appended: [Int: UInt64]) {
    let shards = SimulatedShards()
    let topic = shards.topic(shards: 4, by: Self.byFirstByte)
    let writer = try ShardedWriter(
      topic: topic, options: .init(writer: SmallTopic.options), environment: .simulated())
    var appended: [Int: UInt64] = [:]
    func append(_ count: Int) throws {
      for _ in 0..<count {
        for shard in 0..<4 {
          let payload = SmallTopic.payload(appended[shard, default: 0], length: 300)
          try writer.append(payload, key: [UInt8(shard)])
          appended[shard, default: 0] += 1
        }
      }
      try writer.sync()
    }
    try append(10)
    let reading = try MergedReading(
      topic, from: .earliest, options: .init(), isFollowing: true, environment: .system,
      limit: isParked ? 1 : 4)
    var read: [Int: [UInt64]] = [:]
    var losses: [Int: [Loss]] = [:]
    func readOn() {
      while let batch = reading.next() {
        read[batch.shard, default: []] += batch.records.map(\.ordinal)
        switch batch.ending {
        case .loss(let loss, _): losses[batch.shard, default: []].append(loss)
        case .error(let error): Issue.record("\(error)")
        case .end, nil: break
        }
        #expect(reading.openCount <= (isParked ? 1 : 4))
      }
    }
    readOn()
    try append(100)
    var keeping = Retention(bytes: .bytes(1), minimumBytes: .bytes(1))
    keeping.consumers = .ignored
    for shard in [1, 3] {
      #expect(
        try !SlabCleaner(topic: topic.topic(ofShard: shard)).clean(keeping: keeping).removals
          .isEmpty)
    }
    readOn()
    try writer.close()
    return (losses, read, appended)
  }

  @Test(
    "what is cleaned before a shard's turn is counted exactly, open or parked",
    arguments: [false, true])
  func overtaken(isParked: Bool) throws {
    let (losses, read, appended) = try cleaned(isParked: isParked)
    for shard in [0, 2] {
      #expect(losses[shard] == nil)
      #expect(read[shard] == Array(0..<110))
    }
    for shard in [1, 3] {
      #expect(appended[shard] == 110)
      let loss = try #require(losses[shard]?.first)
      #expect(losses[shard]?.count == 1 && loss.cause == .cleaned)
      let lost = try #require(loss.records)
      #expect(lost > 50)
      // An open reader reads on in the slab that it has open, whether the slab was removed or not.
      let first = try #require(read[shard]?.indices.first { read[shard]?[$0] != UInt64($0) })
      #expect(isParked ? first == 10 : first >= 10)
      #expect(read[shard] == Array(0..<UInt64(first)) + Array((UInt64(first) + lost)..<110))
    }
  }

  @Test("parked or not, a pass tells the same", arguments: [1, 2, 3])
  func parkedAlike(seed: UInt64) throws {
    // There is damage in several places, and a parked reader must not forget it.
    let shards = SimulatedShards()
    let topic = shards.topic(shards: 4, by: Self.byFirstByte)
    let writer = try ShardedWriter(
      topic: topic, options: .init(writer: SmallTopic.options), environment: .simulated())
    var random = SeededGenerator(seed: seed)
    for number in 0..<300 {
      for shard in 0..<4 {
        try writer.append(
          SmallTopic.payload(UInt64(number), length: 20 + number % 60), key: [UInt8(shard)])
      }
      if number % 25 == 24 { try writer.sync() }
    }
    try writer.close()
    for shard in 0..<4 {
      for (base, bytes) in shards[shard].slabs.sorted(by: { $0.key < $1.key }) {
        for _ in 0..<2 {
          shards[shard].flip(
            bit: Int(random.next() % UInt64(bytes.count * 8)), ofSlab: base)
        }
      }
    }
    func pass(limit: Int) throws -> [Int: [String]] {
      let reading = try MergedReading(
        topic, from: .earliest, options: SmallTopic.readerOptions, isFollowing: false,
        environment: .system, limit: limit)
      var reported: [Int: [String]] = [:]
      while let batch = reading.next() {
        reported[batch.shard, default: []] += batch.records.map { "\($0.ordinal) at \($0.address)" }
        switch batch.ending {
        case .loss(let loss, _): reported[batch.shard, default: []].append("\(loss)")
        case .error(let error): reported[batch.shard, default: []].append("\(error)")
        case .end, nil: break
        }
      }
      return reported
    }
    let open = try pass(limit: 4)
    #expect(try pass(limit: 1) == open)
    // A reader of each shard reports the same, in the same order.
    for shard in 0..<4 {
      var reported: [String] = []
      var reader = try topic.reader(ofShard: shard, options: SmallTopic.readerOptions)
      var isAtEnd = false
      while !isAtEnd {
        do throws(QueueError) {
          if let record = try reader.nextCopy() {
            reported.append("\(record.ordinal) at \(record.address)")
          } else {
            isAtEnd = true
          }
        } catch {
          guard let loss = error.loss else { throw error }
          reported.append("\(loss)")
        }
      }
      #expect(open[shard] == reported)
      #expect(reported.contains { $0.contains("damaged") })
    }
  }

  // MARK: Losses and errors

  /// Two shards, one of them with a damaged record and a large one.
  private func damaged() throws -> ShardedTopic {
    let shards = SimulatedShards()
    let topic = shards.topic(shards: 3, by: Self.byFirstByte)
    let writer = try ShardedWriter(topic: topic, environment: .simulated())
    var addresses: [Address] = []
    for number in 0..<30 {
      addresses.append(try writer.append("0: \(number)", key: [0]).address)
      try writer.append(
        number == 20 ? String(repeating: "x", count: 5_000) : "2: \(number)", key: [2])
      if number % 10 == 9 { try writer.sync() }
    }
    try writer.close()
    shards[0].flip(bit: Int(addresses[13].rawValue + 9) * 8, ofSlab: 0)
    return topic
  }

  @Test("losses go to the closure with their shard, in order; or they are thrown, once each")
  func losses() async throws {
    let topic = try damaged()
    let log = Log()
    let handed = try topic.records { shard, loss in
      log.add("lost in \(shard): \(loss.records.map(String.init) ?? "unknown")")
    }
    for try await found in handed { log.add(found.record.text ?? "") }
    let reported = log.texts
    #expect(reported.count == 60)
    let place = try #require(reported.firstIndex(of: "lost in 0: 1"))
    #expect(reported[place - 1] == "0: 19" || reported[place - 1] == "0: 12")
    #expect(reported.filter { $0.hasPrefix("0: ") } == texts(0..<13, 0) + texts(14..<30, 0))

    var options = QueueReader.Options()
    options.maximumPayload = .bytes(1_000)
    let thrown = try topic.records(options: options)
    var read: [Int: Int] = [:]
    var errors: [QueueError] = []
    var isAtEnd = false
    while !isAtEnd {
      do {
        for try await found in thrown { read[found.shard, default: 0] += 1 }
        isAtEnd = true
      } catch {
        errors.append(error)
      }
    }
    #expect(read == [0: 29, 2: 29])
    #expect(errors.count == 2)
    #expect(errors.contains { $0.loss?.records == 1 && $0.loss?.cause == .damaged })
    #expect(errors.contains { $0.code == .payloadTooLarge })
  }

  @Test("a shard that cannot be read says so at each of its turns, and the others go on")
  func unreadable() throws {
    let shards = SimulatedShards()
    let topic = shards.topic(shards: 3, by: Self.byFirstByte)
    let writer = try ShardedWriter(topic: topic, environment: .simulated())
    for shard in 0..<3 { try append(0..<100, toShard: shard, writer) }
    try writer.close()
    shards[1].setFault(
      SimulatedStorage.Fault(.fail(Errno.io), at: 1, isLasting: true) {
        if case .read = $0 { true } else { false }
      })
    let reading = try MergedReading(
      topic, from: .earliest, options: .init(), isFollowing: false, environment: .system)
    var read: [Int: Int] = [:]
    var errors = 0
    while errors < 10, let batch = reading.next() {
      read[batch.shard, default: 0] += batch.records.count
      if case .error(let error) = batch.ending {
        #expect(error.code == .system(errno: Errno.io) && batch.shard == 1)
        errors += 1
      }
    }
    #expect(read == [0: 100, 1: 0, 2: 100] && errors == 10)
    shards[1].setFault(nil)
    var rest: [String] = []
    while let batch = reading.next() { rest += batch.records.map { $0.text ?? "" } }
    #expect(rest == texts(0..<100, 1))
  }

  // MARK: Following

  @Test(
    "who follows gets what is appended, also to shards that are made later",
    arguments: ShardedPlace.allCases)
  func following(_ place: ShardedPlace) async throws {
    let (topic, directory) = try make(place)
    let writer = try ShardedWriter(topic: topic)
    try append(0..<3, toShard: 1, writer)
    let records = try topic.records(following: true)
    var iterator = records.makeAsyncIterator()
    func expect(_ shard: Int, _ numbers: Range<Int>) async throws {
      for text in texts(numbers, shard) {
        let found = try await iterator.next()
        #expect(found?.shard == shard && found?.record.text == text)
      }
    }
    try await expect(1, 0..<3)
    for round in 0..<20 {
      // Appends to a shard that exists, to a new one, and to the first one again.
      try append(3 + round..<4 + round, toShard: 1, writer)
      try await expect(1, 3 + round..<4 + round)
      if round < 5 {
        try append(0..<2, toShard: 5 + round, writer)
        try await expect(5 + round, 0..<2)
      }
    }
    try await writer.close()
    withExtendedLifetime(directory) {}
  }

  @Test("a record that comes while the task waits wakes it", arguments: ShardedPlace.allCases)
  func wakeUp(_ place: ShardedPlace) async throws {
    let (topic, directory) = try make(place)
    let writer = try ShardedWriter(topic: topic)
    let reader = Task {
      var texts: [String] = []
      for try await found in try topic.records(following: true) {
        texts.append(found.record.text ?? "")
        if texts.count == 60 { break }
      }
      return texts
    }
    for number in 0..<20 {
      for shard in [0, 3, 9] {
        try append(number..<number + 1, toShard: shard, writer)
        await Task.yield()
      }
    }
    let read = try await reader.value
    for shard in [0, 3, 9] {
      #expect(read.filter { $0.hasPrefix("\(shard):") } == texts(0..<20, shard))
    }
    try await writer.close()
    withExtendedLifetime(directory) {}
  }

  @Test("where all shards are at their ends, a change has only that shard looked at")
  func looksOnlyWhereChanged() throws {
    let shards = SimulatedShards()
    let topic = shards.topic(shards: 5, by: Self.byFirstByte)
    let writer = try ShardedWriter(topic: topic, environment: .simulated())
    for shard in 0..<5 { try append(0..<3, toShard: shard, writer) }
    let reading = try MergedReading(
      topic, from: .earliest, options: .init(), isFollowing: true, environment: .system)
    while reading.next() != nil {}
    for shard in 0..<5 { shards[shard].logCalls() }
    let seen = try #require(reading.changes?.value)
    #expect(reading.next() == nil)
    #expect((0..<5).allSatisfy { shards[$0].calls.isEmpty })
    try append(3..<4, toShard: 3, writer)
    #expect((reading.changes?.value ?? 0) == seen + 1)
    for shard in 0..<5 { shards[shard].logCalls() }
    #expect(reading.next()?.records.map(\.text) == ["3: 3"])
    #expect(reading.next() == nil)
    #expect((0..<5).filter { !shards[$0].calls.isEmpty } == [3])
    try writer.close()
  }

  @Test(
    "a task that is cancelled while it waits is told so, and nothing is lost",
    arguments: ShardedPlace.allCases)
  func cancelled(_ place: ShardedPlace) async throws {
    let (topic, directory) = try make(place)
    let writer = try ShardedWriter(topic: topic)
    try append(0..<1, toShard: 4, writer)
    for number in 0..<20 {
      let records = try topic.records(following: true)
      let task = Task { () -> QueueError.Code? in
        do throws(QueueError) {
          var count = 0
          for try await _ in records {
            count += 1
            if count > number + 1 { return nil }
          }
          return nil
        } catch {
          return error.code
        }
      }
      for _ in 0..<number { await Task.yield() }
      task.cancel()
      #expect(await task.value == .cancelled)
      // The sequence continues after the last record that it gave, so the new record comes.
      try append(1 + number..<2 + number, toShard: 4, writer)
      var last: String?
      for try await found in records {
        last = found.record.text
        if last == "4: \(1 + number)" { break }
      }
      #expect(last == "4: \(1 + number)")
    }
    try await writer.close()
    withExtendedLifetime(directory) {}
  }

  /// The texts that several tasks have read.
  private final class Log: Sendable {
    private let log = Mutex<[String]>([])
    func add(_ text: String) { log.withLock { $0.append(text) } }
    var texts: [String] { log.withLock { $0 } }
  }

  @Test("a cancelled task that goes on gets every record once", arguments: ShardedPlace.allCases)
  func cancelledInBetween(_ place: ShardedPlace) async throws {
    let (topic, directory) = try make(place)
    let writer = try ShardedWriter(topic: topic)
    let records = try topic.records(following: true)
    let read = Log()
    for number in 0..<50 {
      let task = Task {
        do {
          for try await found in records {
            read.add(found.record.text ?? "")
          }
        } catch {
          #expect((error as? QueueError)?.code == .cancelled)
        }
      }
      try append(number..<number + 1, toShard: number % 3, writer)
      if number % 2 == 0 { await Task.yield() }
      task.cancel()
      await task.value
    }
    var iterator = records.makeAsyncIterator()
    while read.texts.count < 50 {
      let found = try #require(try await iterator.next())
      read.add(found.record.text ?? "")
    }
    let all = read.texts
    for shard in 0..<3 {
      #expect(
        all.filter { $0.hasPrefix("\(shard):") }
          == (0..<50).filter { $0 % 3 == shard }.map { "\(shard): \($0)" })
    }
    try await writer.close()
    withExtendedLifetime(directory) {}
  }

  @Test(
    "a shard that is removed while it is followed is told once; made anew it is read from its start"
  )
  func removedShard() async throws {
    let (topic, directory) = try make(.disk)
    let path = try #require(directory).path + "/topic"
    let writer = try ShardedWriter(topic: topic)
    for shard in [1, 2] { try append(0..<3, toShard: shard, writer) }
    try await writer.close()
    let reading = try MergedReading(
      topic, from: .earliest, options: .init(), isFollowing: true, environment: .system)
    var count = 0
    while let batch = reading.next() { count += batch.records.count }
    #expect(count == 6)
    try removeFile(path + "/0001")
    var codes: [QueueError.Code] = []
    // The shard's own watch reports the removal, on a thread of the library.
    while codes.isEmpty {
      let seen = try #require(reading.changes).value
      if let batch = reading.next() {
        if case .error(let error) = batch.ending { codes.append(error.code) }
      } else {
        await change(of: try #require(reading.changes), since: seen)
      }
    }
    #expect(codes == [.noSuchTopic])
    let second = try ShardedWriter(topic: topic)
    try append(7..<9, toShard: 1, second)
    var texts: [String] = []
    while texts.count < 2 {
      let seen = try #require(reading.changes).value
      if let batch = reading.next() {
        texts += batch.records.map { $0.text ?? "" }
        #expect(batch.shard == 1 && batch.ending == nil)
      } else {
        await change(of: try #require(reading.changes), since: seen)
      }
    }
    #expect(texts == ["1: 7", "1: 8"])
    try await second.close()
  }

  private func change(of changes: ShardChanges, since seen: UInt64) async {
    await withCheckedContinuation { continuation in
      changes.whenChanged(since: seen) { _ in continuation.resume() }
    }
  }

  @Test("a sequence that nobody wants any more ends its thread and its watches")
  func ends() async throws {
    let (made, gone) = (Progress(), Progress())
    let storage = WatchedStorage(onMade: { made.advance() }, onGone: { gone.advance() })
    let shards = SimulatedShards()
    let topic = ShardedTopic(root: shards.root, shards: 1, by: Self.byFirstByte) { _ in
      Topic(storage: storage)
    }
    let writer = try ShardedWriter(topic: topic, environment: .simulated())
    // The shard is listed by its name alone.
    _ = try shards.root.create("0000")
    try append(0..<2, toShard: 0, writer)
    do {
      var iterator = try topic.records(following: true).makeAsyncIterator()
      #expect(try await iterator.next()?.record.text == "0: 0")
      #expect(made.value == 1)
    }
    try await gone.wait(for: 1)
    #expect(gone.value == 1)
    try await writer.close()
  }
}
