// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport

@testable import DiskQueue
@testable import DiskQueueInspection

extension FaultScenario {
  /// Reads a topic of two epochs from one kind of position.
  private static func reading(
    _ operation: PublicOperation, _ start: @escaping @Sendable (FaultStage) -> Topic.Position
  ) -> FaultScenario {
    FaultScenario(
      name: "\(operation)", covers: [operation], prepare: uncleanTopic
    ) { stage in try stage.read(from: start(stage)) }
  }

  @Sendable private static func address(_ index: Int, _ stage: FaultStage) -> Address {
    let records = EnginePass(Topic(storage: stage.storage.copy())).records
    return Address(rawValue: records[index].address)
  }

  static let readers: [FaultScenario] = [
    reading(.readEarliest) { _ in .earliest },
    reading(.readLatest) { _ in .latest },
    reading(.readFromAddress) { .address(address(12, $0)) },
    reading(.readFromOrdinal) { _ in .ordinal(17) },
    reading(.readFromTime) { .time(since1970: .nanoseconds(Int64($0.clock.now - 1))) },
    reading(.readAgo) { _ in .ago(.seconds(5)) },
    FaultScenario(
      name: "reading over damage", covers: [.readOverDamage], damaged: [4], prepare: damagedTopic
    ) { stage in
      try stage.read()
      try stage.read(from: .ordinal(7))
      try stage.read(from: .latest)
    },
    FaultScenario(
      name: "reading a version 1 topic", covers: [.readVersion1], prepare: version1Topic
    ) { stage in
      try stage.read()
      try stage.read(from: .ordinal(11))
      try stage.read(from: .latest)
    },
    FaultScenario(
      name: "looking a record up", covers: [.readRecordAt], prepare: uncleanTopic
    ) { stage in
      let addresses = [3, 13, 20].map { address($0, stage) }
      var reader = try stage.trying("opening a reader") {
        try QueueReader(
          topic: stage.topic, from: .earliest, options: SmallTopic.readerOptions,
          environment: stage.environment, onLoss: nil)
      }
      for address in addresses {
        let record = try stage.trying("record(at:)") { try reader.record(at: address).copy() }
        stage.note("\(record.ordinal) \(xxh3(record.payload))")
        // The reader's own position does not move.
        let next = try stage.trying("next") { try reader.nextCopy() }
        stage.note("\(next?.ordinal ?? 0)")
      }
    },
    FaultScenario(
      name: "reading as a sequence", covers: [.readThroughSequence], prepare: uncleanTopic
    ) { stage in
      let reader = try stage.trying("opening a reader") {
        try QueueReader(
          topic: stage.topic, from: .earliest, options: SmallTopic.readerOptions,
          environment: stage.environment, onLoss: nil)
      }
      let records = reader.records()
      var iterator = records.makeAsyncIterator()
      while true {
        // Unlike most sequences, this one continues after an error.
        let record = try await stage.awaiting("the sequence") { try await iterator.next() }
        guard let record else { break }
        stage.note("\(record.ordinal) \(xxh3(record.payload))")
      }
      stage.note("end")
    },
    FaultScenario(name: "waiting for more", covers: [.waitForMore], prepare: closedTopic) { stage in
      let writer = try stage.open()
      var reader = try stage.trying("opening a reader") {
        try QueueReader(
          topic: stage.topic, from: .latest, options: SmallTopic.readerOptions,
          environment: stage.environment, onLoss: nil)
      }
      for _ in 0..<3 {
        while let record = try stage.trying("next", { try reader.nextCopy() }) {
          stage.note("\(record.ordinal) \(xxh3(record.payload))")
        }
        try stage.append(writer, times: 4)
        try stage.flush(writer)
        try await reader.waitForMore()
      }
      try stage.close(writer)
    },
  ]

  // MARK: Inspecting a topic

  static let inspections: [FaultScenario] = [
    FaultScenario(
      name: "what a topic holds", covers: [.info, .describeSlabs], prepare: uncleanTopic
    ) { stage in
      let info = try stage.trying("info") { try TopicInfo(of: stage.topic) }
      stage.note("\(info.records ?? 0) \(info.bytes) \(info.next) \(info.ending) \(info.tailBytes)")
      stage.note("\(info.slabs.map(\.records))")
      let slabs = try stage.trying("slabs") { try SlabDescription.all(of: stage.topic) }
      stage.note("\(slabs)")
      let largest = try stage.trying("largest payload") {
        try SlabDescription.largestPayload(in: stage.topic)
      }
      stage.note("\(largest)")
      let extent = try stage.trying("extent") { try TopicExtent(of: stage.topic) }
      stage.note("\(extent.bytes)")
    },
    FaultScenario(
      name: "verifying a damaged topic", covers: [.verify], damaged: [4], prepare: damagedTopic
    ) { stage in
      var findings: [String] = []
      let verified = try stage.trying("verify") {
        findings = []
        return try TopicVerification(of: stage.topic) { findings.append("\($0)") }
      }
      stage.note("\(findings)")
      stage.note("\(verified.records) \(verified.damagedRecords) \(verified.end)")
    },
    FaultScenario(
      name: "what the consumers hold", covers: [.describeConsumers],
      prepare: { stage in
        try closedTopic(stage)
        for (name, ordinal) in [("one", UInt64(3)), ("two", 9)] {
          try stage.consumer(name, from: .ordinal(ordinal)).close()
          stage.stands(name, at: ordinal)
        }
      },
      act: { stage in
        let all = try stage.trying("consumers") { try ConsumerInfo.all(of: stage.topic) }
        stage.note("\(all.map { ($0.consumer, $0.records, $0.bytes) })")
      }),
    FaultScenario(
      name: "repairing into another topic", covers: [.dumpTo], damaged: [4],
      prepare: damagedTopic
    ) { stage in
      // Like `diskq repair`, appends every record that is read to a new topic.
      var reader = try stage.trying("opening a reader") {
        try QueueReader(
          topic: stage.topic, from: .earliest, options: SmallTopic.readerOptions,
          environment: stage.environment
        ) { stage.note("\($0)") }
      }
      let writer = try QueueWriter(
        topic: stage.topicAside, options: SmallTopic.options, environment: stage.environment)
      while let record = try stage.trying("next", { try reader.nextCopy() }) {
        try writer.append(record.payload)
        stage.note("\(record.ordinal)")
      }
      try writer.close()
      stage.note("\(EnginePass(stage.topicAside).records.count)")
    },
  ]
}
