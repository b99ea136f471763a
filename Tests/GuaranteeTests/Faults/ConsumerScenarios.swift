// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport

@testable import DiskQueue

extension FaultScenario {
  /// A closed topic, and several slabs after it that are flushed, but not synced.
  @Sendable private static func flushedTopic(_ stage: FaultStage) throws {
    try closedTopic(stage)
    let writer = try stage.open()
    try stage.append(writer, times: 30)
    try stage.flush(writer)
    writer.dieForTesting()
  }

  /// A topic with a consumer at an ordinal.
  private static func standing(_ ordinal: UInt64) -> @Sendable (FaultStage) throws -> Void {
    { stage in
      try flushedTopic(stage)
      try stage.consumer("reader", from: .ordinal(ordinal)).close()
      stage.stands("reader", at: ordinal)
    }
  }

  static let consumption: [FaultScenario] = [
    FaultScenario(
      name: "a new consumer, from the beginning to the end",
      covers: [.openConsumer, .nextBatch, .acknowledge, .closeConsumer], prepare: flushedTopic
    ) { stage in
      let consumer = try stage.consumer()
      while let batch = try await stage.next(consumer, upTo: 9) {
        try await stage.acknowledge(consumer, to: batch[batch.endIndex - 1].ordinal + 1, "all") {
          try await batch.acknowledge()
        }
      }
      try await stage.awaiting("close") { try await consumer.close() }
      stage.note("\(consumer.ordinal)")
    },
    FaultScenario(
      name: "a new consumer from the middle", covers: [.openConsumer],
      prepare: { stage in
        try flushedTopic(stage)
        stage.wants("reader", at: 0)
        stage.wants("reader", at: 20)
      },
      act: { stage in
        let consumer = try stage.consumer("reader", from: .ordinal(20))
        stage.stands("reader", at: 20)
        stage.note("\(consumer.ordinal)")
        _ = try await stage.next(consumer, upTo: 3)
        try await stage.awaiting("close") { try await consumer.close() }
      }),
    FaultScenario(
      name: "a consumer that is there, and acknowledges in each way",
      covers: [.acknowledgeThrough, .acknowledgeOnly], prepare: standing(7)
    ) { stage in
      let consumer = try stage.consumer()
      let batch = try await stage.nextWhole(consumer, count: 15, standing: 7)
      try await stage.acknowledge(consumer, to: 10, "through") {
        try await batch.acknowledge(through: 2)
      }
      try await stage.acknowledge(consumer, to: 10, "only one behind") {
        try await batch.acknowledge(only: 4)
      }
      try await stage.acknowledge(consumer, to: 12, "only the one between") {
        try await batch.acknowledge(only: 3)
      }
      try await stage.acknowledge(consumer, to: 12, "a range behind") {
        try await batch.acknowledge(only: 8..<15)
      }
      try await stage.acknowledge(consumer, to: 22, "and what was between") {
        try await batch.acknowledge(only: 5..<8)
      }
      try await stage.awaiting("close") { try await consumer.close() }
    },
    FaultScenario(
      name: "acknowledging without waiting, and settling",
      covers: [.acknowledgeWithin, .settleConsumer], prepare: standing(7)
    ) { stage in
      let consumer = try stage.consumer()
      let batch = try await stage.nextWhole(consumer, count: 15, standing: 7)
      try await stage.acknowledge(consumer, to: 12, "the first five") {
        try batch[..<3].acknowledge(within: .seconds(3600))
        try batch[..<5].acknowledge(within: .seconds(3600))
        try await consumer.settle()
      }
      try await stage.acknowledge(consumer, to: 12, "later ones") {
        try batch.acknowledge(only: 8..<15, within: .seconds(3600))
        try await consumer.settle()
      }
      try await stage.acknowledge(consumer, to: 22, "the ones in between") {
        try batch.acknowledge(only: 5..<8, within: .seconds(3600))
        try await consumer.settle()
      }
      try await stage.awaiting("close") { try await consumer.close() }
    },
    FaultScenario(
      name: "resetting a consumer that is open", covers: [.resetConsumer], prepare: standing(7)
    ) { stage in
      let consumer = try stage.consumer()
      for ordinal in [UInt64(30), 2] {
        try await stage.acknowledge(consumer, to: ordinal, "reset") {
          try await consumer.reset(to: .ordinal(ordinal))
        }
        _ = try await stage.next(consumer, upTo: 4)
      }
      try await stage.awaiting("close") { try await consumer.close() }
    },
    FaultScenario(
      name: "resetting, listing and deleting consumers by name",
      covers: [.resetByName, .listConsumers, .deleteConsumer], prepare: standing(7)
    ) { stage in
      stage.wants("reader", at: 25)
      try stage.trying("reset") {
        try QueueConsumer.reset(
          "reader", of: stage.topic, to: .ordinal(25), environment: stage.environment)
      }
      stage.stands("reader", at: 25)
      let all = try stage.trying("consumers") { try QueueConsumer.consumers(of: stage.topic) }
      stage.note("\(all.map { ($0.name, $0.state, $0.ordinal) })")
      // From here on the consumer may be gone, and then begins anew.
      stage.wants("reader", at: 0)
      var isTriedAgain = false
      try stage.trying("delete") {
        do {
          try QueueConsumer.delete("reader", of: stage.topic)
        } catch let error as QueueError where isTriedAgain && error.code == .noSuchConsumer {
          // The first call removed the consumer. Only its sync failed.
        } catch {
          isTriedAgain = true
          throw error
        }
      }
      stage.stands("reader", at: 0)
      let left = try stage.trying("consumers") { try QueueConsumer.consumers(of: stage.topic) }
      stage.note("\(left)")
    },
    deadLetters(isAside: false), deadLetters(isAside: true),
  ]

  private static func deadLetters(isAside: Bool) -> FaultScenario {
    FaultScenario(
      name: "putting records aside, with a fault \(isAside ? "there" : "here")",
      covers: [.deadLetter], isAside: isAside, prepare: standing(7)
    ) { stage in
      let consumer = try stage.consumer()
      let batch = try await stage.nextWhole(consumer, count: 6, standing: 7)
      var aside = 0
      do {
        for index in 0..<3 {
          try await stage.acknowledge(consumer, to: UInt64(8 + index), "aside") {
            try await batch.deadLetter(index, reason: "number \(index)")
            aside = index + 1
          }
        }
        try await stage.awaiting("close") { try await consumer.close() }
      } catch {
        try checkAside(stage, least: aside, "stopped")
        throw error
      }
      try checkAside(stage, least: aside, "done")
    }
  }

  /// Every record that was put aside is there, synced: once, or twice if the call was repeated.
  private static func checkAside(_ stage: FaultStage, least: Int, _ what: String) throws {
    for seed in UInt64(1)...2 {
      var random = SeededGenerator(seed: seed)
      let cut = stage.aside.powerCut(using: &random)
      let records = EnginePass(Topic(storage: cut)).records
      let numbers = Set(
        records.compactMap { record in
          (0..<3).first { number in
            String(decoding: record.payload, as: UTF8.self).contains("number \(number)")
          }
        })
      guard numbers.isSuperset(of: 0..<least), records.count <= 6 else {
        throw Complaint("\(what): of \(least) put aside there are \(numbers)")
      }
    }
  }
}
