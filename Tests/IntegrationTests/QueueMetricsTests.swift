// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import CoreMetrics
import DiskQueue
import DiskQueueMetrics
import DiskQueueTestSupport
import MetricsTestKit
import Testing

@Suite("What is measured of a topic")
struct QueueMetricsTests {
  private let factory = TestMetrics()
  private let directory: TemporaryDirectory
  private let topic: Topic
  private let metrics: QueueMetrics

  init() throws {
    directory = try TemporaryDirectory()
    topic = Topic(directory.path + "/topic")
    metrics = QueueMetrics(topic: topic, factory: factory)
  }

  private func count(_ name: String, _ more: [(String, String)] = []) throws -> Int64 {
    try factory.expectCounter("diskqueue_" + name, [("topic", "\(topic)")] + more).totalValue
  }

  private func gauge(_ name: String, _ more: [(String, String)] = []) throws -> Double? {
    try factory.expectGauge("diskqueue_" + name, [("topic", "\(topic)")] + more).lastValue
  }

  private func payload(_ number: Int) -> [UInt8] {
    Array("record \(number) ".utf8) + [UInt8](repeating: UInt8(number & 0xFF), count: 300)
  }

  @Test("a writer's counts go up by what it did since the last look, another one's from 0")
  func writer() throws {
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(4)
    options.onEvent = metrics.record
    let first = try QueueWriter(topic: topic, options: options)
    var payloads: Int64 = 0
    for number in 0..<30 {
      try first.append(payload(number))
      payloads += Int64(payload(number).count)
      metrics.record(first.statistics)
    }
    #expect(try count("records_appended_total") == 30)
    #expect(try count("payload_bytes_appended_total") == payloads)
    #expect(try gauge("unsynced_records") ?? 0 > 0)
    try first.close()
    metrics.record(first.statistics)
    let statistics = first.statistics
    #expect(try count("bytes_written_total") == Int64(statistics.writtenBytes))
    #expect(try count("syncs_total") == Int64(statistics.syncs))
    #expect(try count("flushes_total") == Int64(statistics.flushes))
    #expect(try count("slabs_rolled_total") == Int64(statistics.slabs))
    #expect(try gauge("unsynced_records") == 0)
    #expect(try gauge("buffered_bytes") == 0)
    let amplification = try #require(try gauge("write_amplification"))
    #expect(amplification > 1 && amplification < 2)

    let second = try QueueWriter(topic: topic, options: options)
    try second.append(payload(99))
    metrics.record(second.statistics)
    #expect(try count("records_appended_total") == 31)
    #expect(try count("recoveries_total") == 0)
    try second.close()
  }

  @Test("another writer that did more of one thing and less of another begins at 0 in all")
  func anotherWriter() throws {
    func run(_ records: Int, syncing: Bool) throws {
      let writer = try QueueWriter(topic: topic)
      for number in 0..<records {
        try writer.append(payload(number))
        if syncing { try writer.sync() }
      }
      try writer.close()
      metrics.record(writer.statistics)
    }
    try run(10, syncing: true)
    let syncs = try count("syncs_total")
    try run(200, syncing: false)
    #expect(try count("records_appended_total") == 210)
    #expect(try count("syncs_total") == syncs + 2)
  }

  @Test("a look that comes late counts nothing, and nothing twice")
  func lateLook() throws {
    let writer = try QueueWriter(topic: topic)
    for number in 0..<10 { try writer.append(payload(number)) }
    let early = writer.statistics
    for number in 10..<20 { try writer.append(payload(number)) }
    metrics.record(writer.statistics)
    metrics.record(early)
    metrics.record(writer.statistics)
    #expect(try count("records_appended_total") == 20)
    try writer.close()
    let next = try QueueWriter(topic: topic)
    try next.append(payload(20))
    metrics.record(next.statistics)
    metrics.record(writer.statistics)
    #expect(try count("records_appended_total") == 21)
    try next.close()
  }

  @Test("a lag that is not known any more is no metric any more")
  func unknownLag() async throws {
    let writer = try QueueWriter(topic: topic)
    for number in 0..<10 { try writer.append(payload(number)) }
    try await writer.sync()
    let consumer = try QueueConsumer(topic: topic, name: "near")
    try await consumer.nextBatch(upTo: 5)?.acknowledge()
    try await consumer.close()
    try metrics.sample()
    #expect(try gauge("consumer_lag_records", [("consumer", "near")]) == 5)
    let cursor = topic.description + "/consumers/near.cursor"
    try writeFile(cursor, [UInt8](repeating: 0x5A, count: try readFile(cursor).count))
    try metrics.sample()
    #expect(factory.recorders(label: "diskqueue_consumer_lag_records").isEmpty)
    #expect(try gauge("records") == 10)
    try await writer.close()
  }

  @Test("each sync's duration is a value of its own")
  func syncs() throws {
    metrics.record(.synced(through: Address(rawValue: 1), took: .microseconds(120)))
    metrics.record(.synced(through: Address(rawValue: 2), took: .milliseconds(3)))
    let timer = try factory.expectTimer("diskqueue_sync_duration", [("topic", "\(topic)")])
    #expect(timer.values == [120_000, 3_000_000])
  }

  @Test("recoveries, drops and what ends a writer are counted as they happen")
  func events() throws {
    let loss = Loss(
      cause: .damaged, addresses: Address(rawValue: 1)..<Address(rawValue: 9), records: 5)
    metrics.record(
      .opened(
        RecoveryReport(
          state: .recovered, unprovenRecords: 1, losses: [loss], end: Address(rawValue: 9),
          discardedBytes: 0)))
    metrics.record(.dropped(slab: Address(rawValue: 0), records: 7, bytes: .bytes(10)))
    metrics.record(.dropped(slab: Address(rawValue: 1), records: nil, bytes: .bytes(10)))
    metrics.record(.failed(QueueError(.syncFailed, "refused")))
    metrics.record(QueueError(.system(errno: 5), "input/output error"))
    #expect(try count("recoveries_total") == 1)
    #expect(try count("records_dropped_total") == 7)
    #expect(try count("errors_total", [("code", "syncFailed")]) == 1)
    #expect(try count("errors_total", [("code", "system")]) == 1)
    // A reader reports these losses, and they are counted there.
    #expect(throws: (any Error).self) { try count("losses_total", [("cause", "damaged")]) }
  }

  @Test("losses are counted by their cause, also those that are thrown, and of unknown size")
  func losses() throws {
    let range = Address(rawValue: 1)..<Address(rawValue: 2)
    metrics.record(Loss(cause: .cleaned, addresses: range, records: 3))
    metrics.record(
      QueueError(.cleaned(Loss(cause: .cleaned, addresses: range, records: nil)), "gone"))
    metrics.record(Loss(cause: .discarded, addresses: range, records: 1))
    #expect(try count("losses_total", [("cause", "cleaned")]) == 2)
    #expect(try count("records_lost_total", [("cause", "cleaned")]) == 3)
    #expect(try count("records_lost_total", [("cause", "discarded")]) == 1)
  }

  @Test("a sample has the topic's size, and how far behind each consumer is while it is there")
  func sample() async throws {
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(4)
    let writer = try QueueWriter(topic: topic, options: options)
    for number in 0..<30 { try writer.append(payload(number)) }
    try await writer.sync()
    let near = try QueueConsumer(topic: topic, name: "near")
    let far = try QueueConsumer(topic: topic, name: "far")
    try await near.nextBatch(upTo: 25)?.acknowledge()
    try await far.nextBatch(upTo: 4)?.acknowledge()
    try metrics.sample()
    let files = try slabs(topic.description)
    #expect(try gauge("slabs") == Double(files.count))
    #expect(try gauge("size_bytes") == Double(files.values.reduce(0) { $0 + $1.count }))
    #expect(try gauge("records") == 30)
    #expect(try gauge("consumer_lag_records", [("consumer", "near")]) == 5)
    #expect(try gauge("consumer_lag_records", [("consumer", "far")]) == 26)
    let (nearBytes, farBytes) = (
      try gauge("consumer_lag_bytes", [("consumer", "near")]),
      try gauge("consumer_lag_bytes", [("consumer", "far")])
    )
    #expect(try #require(nearBytes) > 5 * 300)
    #expect(try #require(farBytes) > 26 * 300)

    try await far.close()
    try QueueConsumer.delete("far", of: topic)
    try metrics.sample()
    let names = factory.recorders(label: "diskqueue_consumer_lag_records").map {
      $0.dimensions.last?.1
    }
    #expect(names == ["near"])
    try await near.close()
    try await writer.close()
  }

  @Test("what a cleaner removed is counted")
  func cleaning() throws {
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(4)
    let writer = try QueueWriter(topic: topic, options: options)
    for number in 0..<30 { try writer.append(payload(number)) }
    try writer.close()
    let report = try SlabCleaner(topic: topic).clean(
      keeping: Retention(bytes: .kibibytes(4), minimumBytes: .bytes(0)))
    metrics.record(report)
    #expect(!report.removals.isEmpty)
    #expect(try count("slabs_removed_total") == Int64(report.removals.count))
    let left = try readAll(topic).records.count
    #expect(try count("records_removed_total") == Int64(30 - left))
    #expect(
      try count("bytes_removed_total") == report.removals.reduce(0) { $0 + $1.bytes.bytes })
  }

  @Test("a sample of what is no topic throws, and sets nothing")
  func noTopic() throws {
    #expect(throws: QueueError.self) { try metrics.sample() }
    #expect(try gauge("slabs") == nil)
  }
}

@Suite("The table of metrics in the documentation")
struct MetricsTableTests {
  @Test("it has every metric that is made, with its kind and its dimensions, and no other one")
  func table() async throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    let factory = TestMetrics()
    let metrics = QueueMetrics(topic: topic, factory: factory)
    let writer = try QueueWriter(topic: topic)
    try writer.append("one")
    try await writer.sync()
    let consumer = try QueueConsumer(topic: topic, name: "uploader")
    try await consumer.nextBatch(upTo: 1)?.acknowledge()
    metrics.record(QueueError(.closed, "closed"))
    metrics.record(
      Loss(
        cause: .damaged, addresses: Address(rawValue: 1)..<Address(rawValue: 2), records: 1))
    try metrics.sample()
    try await consumer.close()
    try await writer.close()

    func row(_ label: String, _ kind: String, _ dimensions: [(String, String)]) -> String {
      "\(label) \(kind) \(dimensions.map(\.0).filter { $0 != "topic" }.joined(separator: ","))"
    }
    let made = Set(
      factory.counters.map { row($0.label, "counter", $0.dimensions) }
        + factory.recorders.map { row($0.label, "gauge", $0.dimensions) }
        + factory.timers.map { row($0.label, "timer", $0.dimensions) })
    #expect(Set(try documented()) == made)
  }

  /// The rows of the article's table: name, kind, and the dimensions in backquotes, which end at a
  /// colon or with the cell.
  private func documented() throws -> [String] {
    let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    let article = String(
      decoding: try readFile("/\(root)/Sources/DiskQueue/DiskQueue.docc/Operating.md"),
      as: UTF8.self)
    let table = article.split(separator: "<!-- metrics -->\n")[1].split(separator: "\n\n")[0]
    return table.split(separator: "\n").dropFirst(2).map { line in
      let cells = line.split(separator: "|", omittingEmptySubsequences: false).map {
        $0.filter { $0 != "`" && $0 != " " }
      }
      return "\(cells[1]) \(cells[2]) \(cells[3].prefix { $0 != ":" })"
    }
  }
}
