// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueLogging
import DiskQueueTestSupport
import InMemoryLogging
import Logging
import Testing

@Suite("What is logged of a topic")
struct QueueLogTests {
  private let handler = InMemoryLogHandler()
  private var log: QueueLog {
    var logger = Logger(label: "test") { _ in handler }
    logger.logLevel = .trace
    return QueueLog(logger, topic: "sensors")
  }

  /// Each entry's level, message and metadata. The topic is left out, because all entries have it.
  private var entries: [String] {
    handler.entries.map { entry in
      var metadata = entry.metadata
      #expect(metadata.removeValue(forKey: "diskqueue.topic") == "sensors")
      let pairs = metadata.map { key, value in
        #expect(key.hasPrefix("diskqueue."))
        return "\(key.dropFirst("diskqueue.".count))=\(value)"
      }
      return "\(entry.level): \(entry.message) \(pairs.sorted().joined(separator: " "))"
    }
  }

  @Test("each event is a sentence, with what it says as metadata")
  func events() {
    let error = QueueError(.syncFailed, "the disk refused", path: "a/b", address: 7, errno: 5)
    log.record(.rolled(to: Address(rawValue: 4096)))
    log.record(.synced(through: Address(rawValue: 5000), took: .microseconds(1500)))
    log.record(.dropped(slab: Address(rawValue: 0), records: 12, bytes: .bytes(4096)))
    log.record(.dropped(slab: Address(rawValue: 9), records: nil, bytes: .bytes(10)))
    log.record(.failed(error))
    log.record(.polling(error))
    log.record(.closed)
    #expect(
      entries == [
        "debug: a new slab was started address=4096",
        "trace: everything before the end is on stable storage end=5000 milliseconds=1.5",
        "warning: the oldest slab was removed to make room address=0 bytes=4096 records=12",
        "warning: the oldest slab was removed to make room address=9 bytes=10",
        "error: the disk refused address=7 errno=5 path=a/b",
        "warning: polling for changes four times a second reason=\(error)",
        "debug: the topic is closed: all of it is on stable storage ",
      ])
  }

  @Test("a topic that was recovered is a notice, with its losses; any other is information")
  func openings() {
    let loss = Loss(
      cause: .damaged, addresses: Address(rawValue: 128)..<Address(rawValue: 300), records: 2)
    log.record(.opened(report(.created)))
    log.record(.opened(report(.clean)))
    log.record(.opened(report(.recovered, losses: [loss])))
    log.record(.opened(report(.migrated, records: 1, bytes: 1)))
    #expect(
      entries == [
        "info: a new topic was created end=500 state=created",
        "info: the topic is open end=500 state=clean",
        "notice: the topic was not closed: 3 records were not known to be on stable storage,"
          + " 17 bytes of a torn tail were discarded"
          + " discarded_bytes=17 end=500 state=recovered unproven_records=3",
        "error: records are lost: \(loss) address=128 cause=damaged end=300 records=2",
        "notice: queuefka wrote the topic: 1 record was not known to be on stable storage,"
          + " 1 byte of a torn tail was discarded"
          + " discarded_bytes=1 end=500 state=migrated unproven_records=1",
      ])
  }

  private func report(
    _ state: RecoveryReport.State, records: UInt64 = 3, bytes: UInt64 = 17, losses: [Loss] = []
  ) -> RecoveryReport {
    RecoveryReport(
      state: state, unprovenRecords: records, losses: losses, end: Address(rawValue: 500),
      discardedBytes: bytes)
  }

  @Test("an error that tells a loss is logged as the loss, at the level of its cause")
  func losses() {
    let range = Address(rawValue: 1)..<Address(rawValue: 2)
    let cleaned = Loss(cause: .cleaned, addresses: range, records: nil)
    let discarded = Loss(cause: .discarded, addresses: range, records: 4)
    log.record(QueueError(.cleaned(cleaned), "gone"))
    log.record(discarded)
    #expect(
      entries == [
        "warning: records are lost: \(cleaned) address=1 cause=cleaned end=2",
        "warning: records are lost: \(discarded) address=1 cause=discarded end=2 records=4",
      ])
  }

  @Test("a round of cleaning is information where something went, with why no more did")
  func cleaning() throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(4)
    let writer = try QueueWriter(topic: topic, options: options)
    let filler = String(repeating: "x", count: 400)
    for number in 0..<40 { try writer.append("record \(number) \(filler)") }
    try writer.close()
    let cleaner = try SlabCleaner(topic: topic)
    let retention = Retention(bytes: .kibibytes(8), minimumBytes: .bytes(0))
    log.record(try cleaner.clean(keeping: retention))
    log.record(try cleaner.clean(keeping: retention))
    #expect(entries.count == 2)
    #expect(entries[0].hasPrefix("info: the oldest slabs were removed bytes="))
    #expect(
      entries[0].contains("stop_reason=all that is left is within the bounds")
        && entries[0].contains("records="))
    #expect(
      entries[1] == "trace: nothing was cleaned stop_reason=all that is left is within the bounds")
  }

  @Test("the article lists the keys of each message")
  func keys() throws {
    let logs = (0..<4).map { _ in QueueLogTests() }
    logs[0].events()
    logs[1].openings()
    logs[2].losses()
    try logs[3].cleaning()
    let documented = try documentedKeys()
    var logged = [Set<String>](repeating: [], count: documented.count)
    for entry in logs.flatMap(\.handler.entries) {
      let row = documented.firstIndex { row in
        row.messages.contains { entry.message.description.hasPrefix($0) }
      }
      // The last row is that of errors, which have messages of their own.
      logged[row ?? documented.count - 1].formUnion(entry.metadata.keys)
    }
    for (row, keys) in zip(documented, logged) {
      #expect(keys == row.keys.union(["diskqueue.topic"]), "\(row.messages)")
    }
  }

  /// The rows of the article's table, each with the beginnings of its messages. Cells without a
  /// message belong to the row above.
  private func documentedKeys() throws -> [(messages: [String], keys: Set<String>)] {
    let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    let article = String(
      decoding: try readFile("/\(root)/Sources/DiskQueue/DiskQueue.docc/Operating.md"),
      as: UTF8.self)
    let table = article.split(separator: "<!-- keys -->\n")[1].split(separator: "\n\n")[0]
    var rows: [(messages: [String], keys: Set<String>)] = []
    for line in table.split(separator: "\n").dropFirst(2) {
      let cells = line.split(separator: "|", omittingEmptySubsequences: false)
      if cells[1] != " " {
        // Every second part is between quotation marks.
        let parts = cells[1].split(separator: "\"", omittingEmptySubsequences: false)
        let messages = parts.indices.filter { !$0.isMultiple(of: 2) }.map { index in
          String(parts[index].prefix { $0 != "…" })
        }
        rows.append((messages, []))
      }
      let keys = cells[2].split(separator: ",").map { $0.filter { $0 != "`" && $0 != " " } }
      rows[rows.count - 1].keys.formUnion(keys.filter { $0 != "" }.map { "diskqueue.\($0)" })
    }
    return rows
  }

  @Test("handed to a writer and a reader, it hears of all from opening to closing")
  func handedOver() throws {
    let directory = try TemporaryDirectory()
    var options = QueueWriter.Options()
    options.onEvent = log.record
    let writer = try QueueWriter(topic: Topic(directory.path + "/topic"), options: options)
    try writer.append("one")
    try writer.sync()
    try writer.close()
    var reader = try QueueReader(
      topic: Topic(directory.path + "/topic"), onLoss: log.record)
    #expect(try reader.nextCopy()?.text == "one")
    #expect(handler.entries.map(\.level) == [.info, .trace, .debug])
  }
}
