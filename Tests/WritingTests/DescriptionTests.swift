// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue
@testable import DiskQueueInspection

@Suite("What print shows of a value")
struct DescriptionTests {
  @Test("a record's payload is a text if it is a short line, and otherwise its size")
  func records() {
    func text(_ payload: [UInt8]) -> String {
      "\(QueueRecord(address: Address(rawValue: 345), ordinal: 12, payload: payload))"
    }
    #expect(text(Array("21.5 °C".utf8)) == "record 12 at address 345: \"21.5 °C\"")
    #expect(text([]) == "record 12 at address 345: \"\"")
    #expect(text([0xFF]) == "record 12 at address 345: 1 byte")
    for hidden in ["a\n", "a\u{1B}[2J", "a\u{7F}", "a\u{85}", "a\u{202E}b", "a\u{2028}b"] {
      #expect(text(Array(hidden.utf8)) == "record 12 at address 345: \(hidden.utf8.count) bytes")
    }
    #expect(text(Array(repeating: 0x61, count: 200)).hasSuffix("aaa\""))
    #expect(text(Array(repeating: 0x61, count: 201)) == "record 12 at address 345: 201 bytes")
  }

  @Test("a batch says how many records it has, and where it begins")
  func batches() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    try writer.append(contentsOf: ["one", "two", "three"])
    var reader = try QueueReader(topic: topic)
    let first = try #require(try reader.nextBatch(upTo: 2))
    let address = first[first.indices.lowerBound].address
    #expect("\(first)" == "2 records, from record 0 at address \(address) on")
    #expect(
      try #require(try reader.nextBatch()).description.hasPrefix("1 record, from record 2 at"))
    let consumer = try QueueConsumer(topic: topic, name: "uploader", from: .earliest)
    let batch = try #require(try await consumer.nextBatch(upTo: 3))
    #expect("\(batch)" == "3 records, from record 0 at address \(address) on")
    #expect("\(batch.dropFirst(2))".hasPrefix("1 record, from record 2 at address"))
    #expect("\(batch.prefix(0))" == "no record")
    try await batch.acknowledge()
    try await consumer.close()
    let described = try QueueConsumer.consumers(of: topic)
    let end = try #require(described.first?.position)
    #expect(
      "\(described[0])" == "uploader: everything before record 3 at address \(end) is acknowledged")
    #expect(
      try ConsumerInfo.all(of: topic).map { "\($0)" } == [
        "\(described[0]), 0 records, 0 bytes left"
      ])
    try await writer.close()
  }

  /// A payload as a text.
  private struct Text: PayloadCodec {
    func encode(_ value: String) -> [UInt8] { Array(value.utf8) }
    func decode(_ payload: [UInt8]) -> String { String(decoding: payload, as: UTF8.self) }
  }

  @Test("an object that has a topic open is its kind and the topic")
  func openObjects() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    try writer.append("one")
    #expect("\(writer)" == "writer of \(topic)")
    #expect("\(writer.values(Text()))" == "writer of \(topic)")
    #expect("\(try SlabCleaner(topic: topic))" == "cleaner of \(topic)")
    #expect("\(try QueueReader(topic: topic).records())" == "records of \(topic)")
    #expect("\(try QueueReader(topic: topic).batches())" == "batches of \(topic)")
    let values = try QueueReader(topic: topic).values(Text())
    #expect("\(values)" == "records of \(topic)")
    for try await found in values { #expect("\(found)" == "\(found.record)") }
    let consumer = try QueueConsumer(topic: topic, name: "uploader")
    #expect("\(consumer)" == "consumer uploader of \(topic)")
    #expect("\(consumer.values(Text()))" == "\(consumer)")
    #expect("\(consumer.batches(upTo: 1))" == "batches of \(consumer)")
    let decoded = consumer.values(Text()).batches(upTo: 1)
    #expect("\(decoded)" == "batches of \(consumer)")
    for try await batch in decoded { #expect("\(batch)" == "\(batch.raw)") }
    try await consumer.close()
    try await writer.close()
  }

  @Test("a channel is its topic, and a message its record")
  func channels() async throws {
    let topic = Topic.memory()
    let channel = try DiskChannel(topic: topic)
    #expect("\(channel)" == "channel of \(topic)")
    #expect("\(channel.values(Text()))" == "channel of \(topic)")
    try await channel.send("one")
    channel.finish()
    for try await message in channel.values(Text()) {
      #expect("\(message)" == "\(message.record)")
      #expect("\(message.raw)" == "\(message.record)")
    }
    try await channel.close()
  }

  @Test("a writer and the records of shards are their path")
  func shards() async throws {
    let topic = ShardedTopic.memory(shards: 2)
    let writer = try ShardedWriter(topic: topic)
    #expect("\(writer)" == "writer of the shards of \(topic)")
    #expect("\(try topic.records())" == "records of the shards of \(topic)")
    try await writer.close()
  }

  @Test("the report of an opening is a sentence")
  func recovery() {
    func text(
      _ state: RecoveryReport.State, _ unproven: UInt64 = 0, losses: [Loss] = [],
      discarded: UInt64 = 0
    ) -> String {
      let report = RecoveryReport(
        state: state, unprovenRecords: unproven, losses: losses, end: Address(rawValue: 99),
        discardedBytes: discarded)
      return "\(report)"
    }
    #expect(text(.created) == "there was no topic, and the writer created it")
    #expect(text(.clean) == "the last writer had closed the topic, it goes on at address 99")
    let range = Address(rawValue: 1)..<Address(rawValue: 5)
    #expect(
      text(
        .recovered, 1, losses: [Loss(cause: .damaged, addresses: range, records: 1)], discarded: 7)
        == "the last writer had not closed the topic, 1 record after the last proof of durability"
        + " is durable now, 7 bytes of a torn tail are no part of it, 1 damaged range, it goes on"
        + " at address 99")
    #expect(text(.migrated, 2).hasPrefix("queuefka wrote the topic, 2 records after"))
  }

  @Test("statistics are one line of names and numbers")
  func statistics() throws {
    let writer = try QueueWriter(
      topic: Topic(storage: SimulatedStorage()), options: .init(flushEvery: .never),
      environment: fixedEnvironment())
    try writer.append("one")
    let text = "\(writer.statistics)"
    #expect(text.hasPrefix("records: 1, payload bytes: 3, written bytes: "))
    #expect(text.hasSuffix("unsynced records: 1"))
    try writer.close()
  }

  @Test("a cleaning and each removal are a line")
  func cleaning() {
    let removal = SlabCleaner.Removal(
      slab: Address(rawValue: 4096), records: 40, bytes: .kibibytes(4), cause: .age(.days(7)))
    #expect("\(removal)" == "slab 4096: 40 records, 4KiB, older than 7 days")
    var unknown = removal
    unknown.records = nil
    unknown.cause = .bytes(.mebibytes(1))
    #expect("\(unknown)" == "slab 4096: an unknown number of records, 4KiB, before the newest 1MiB")
    let report = SlabCleaner.Report(removals: [removal, removal], stopReason: .withinBounds)
    #expect(
      "\(report)"
        == "2 slabs: 80 records, 8KiB. Then: all that is left is within the bounds")
    #expect(
      "\(SlabCleaner.Report(removals: [], stopReason: .consumer("slow")))"
        == "no slab: held by consumer slow")
  }

  @Test("a retention says what it keeps")
  func retention() {
    #expect("\(Retention())" == "keep everything")
    #expect(
      "\(Retention(bytes: .gibibytes(1)))"
        == "keep the newest 1GiB, at least 1MiB, and records that a consumer has not acknowledged")
    let all = Retention(age: .days(7), records: 1, minimumBytes: .bytes(0), consumers: .ignored)
    #expect(
      "\(all)" == "keep records of at most 7 days, within the newest 1 record, at least 0B")
    #expect(
      "\(Retention(records: 2, consumers: .except(["b", "a"])))".hasSuffix(
        "acknowledged, except a, b"))
    #expect("\(Retention(records: 2, consumers: .only(["b"])))".hasSuffix("not acknowledged: b"))
  }

  @Test("a summary and a verification of a topic are a line, and so are their parts")
  func inspection() throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    let writer = try QueueWriter(
      topic: topic, options: SmallTopic.options, environment: fixedEnvironment())
    for number in 0..<3 { try writer.append("record \(number)") }
    try writer.close()
    let info = try TopicInfo(of: topic)
    #expect(
      "\(info)" == "1 slab, 3 records, \(info.bytes) bytes, closed, next address \(info.next)")
    let path = info.slabs[0].file.path
    #expect(
      "\(info.slabs[0])" == "3 records in slab 0: version 2, \(info.bytes) bytes, sound [\(path)]")
    let verification = try TopicVerification(of: topic) { _ in }
    #expect("\(verification)" == "1 slab, 3 sound records, \(info.bytes) bytes, closed, no damage")
    let range = Address(rawValue: 8)..<Address(rawValue: 20)
    let tail = Tail(cause: .afterEnd, path: "x", addresses: range, records: nil)
    #expect(
      "\(tail)" == "8 up to 20: 12 bytes, an unknown number of records, past the end of the log [x]"
    )
    #expect("\(TopicVerification.Finding.otherName(path: "y"))" == "a name that is no slab's [y]")
    #expect("\(TopicVerification.Finding.tail(tail))" == "\(tail)")
  }
}
