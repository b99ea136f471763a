// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport

@testable import DiskQueue

extension FaultScenario {
  // MARK: Prepared topics

  /// Some records in at least two slabs, closed.
  @Sendable static func closedTopic(_ stage: FaultStage) throws {
    let writer = try stage.open()
    for number in 0..<14 {
      try stage.append(writer)
      if number == 5 { try stage.sync(writer) }
    }
    try stage.close(writer)
  }

  /// The same, and then the records of a killed writer: some synced, some only flushed.
  @Sendable static func uncleanTopic(_ stage: FaultStage) throws {
    try closedTopic(stage)
    let writer = try stage.open()
    try stage.append(writer, times: 9)
    try stage.sync(writer)
    try stage.append(writer, times: 4)
    try stage.flush(writer)
    writer.dieForTesting()
  }

  /// Two slabs as queuefka writes them.
  @Sendable static func version1Topic(_ stage: FaultStage) throws {
    var base: UInt64 = 0
    for range in [0..<9, 9..<15] {
      let slab = ConsumerTopic.version1Slab(range)
      stage.storage.replace(slab: base, with: slab)
      base += UInt64(slab.count)
      for number in range { stage.didAppend(Array(ConsumerTopic.text(number).utf8)) }
    }
    stage.didSync()
  }

  /// A closed topic. Its record 4 is damaged, and the mark or record after that is sound.
  @Sendable static func damagedTopic(_ stage: FaultStage) throws {
    try closedTopic(stage)
    let records = EnginePass(Topic(storage: stage.storage)).records
    let address = records[4].address
    let base = stage.storage.slabs.keys.filter { $0 <= address }.max() ?? 0
    stage.storage.flip(bit: Int(address - base + 9) * 8, ofSlab: base)
  }

  // MARK: Operations of a writer

  private static func options(_ change: (inout QueueWriter.Options) -> Void) -> QueueWriter.Options
  {
    var options = SmallTopic.options
    change(&options)
    return options
  }

  /// A cap for about twenty records of 3,000 bytes, each in a slab of its own.
  private static func cap(_ whenFull: QueueWriter.Options.WhenFull) -> QueueWriter.Options {
    options {
      $0.maximumBytes = .kibibytes(64)
      $0.whenFull = whenFull
    }
  }

  private static func appendLong(
    _ writer: QueueWriter, _ stage: FaultStage, times: Int
  ) throws {
    for _ in 0..<times {
      try stage.append(writer, FaultStage.payload(stage.payloads.count, length: 3000))
    }
  }

  static let writing: [FaultScenario] = [
    FaultScenario(
      name: "a new topic, appended to, flushed, synced and closed",
      covers: [.openNewTopic, .append, .flush, .sync, .closeWriter]
    ) { stage in
      let writer = try stage.open()
      try stage.append(writer, times: 3)
      try stage.flush(writer)
      try stage.append(writer, times: 2)
      try stage.sync(writer)
      try stage.append(writer, times: 2)
      try stage.close(writer)
      stage.note("\(writer.recovery.state)")
    },
    FaultScenario(
      name: "a topic that was closed, gone on with", covers: [.openCleanTopic], prepare: closedTopic
    ) { stage in
      let writer = try stage.open()
      try stage.append(writer, times: 3)
      try stage.close(writer)
      stage.note("\(writer.position.rawValue > 0)")
    },
    FaultScenario(
      name: "a topic that was not closed, recovered", covers: [.openUncleanTopic],
      prepare: uncleanTopic
    ) { stage in
      let writer = try stage.open()
      // Recovery does not keep records that a failed sync lost. No sync failed here before.
      stage.note("\(writer.recovery.state)")
      try stage.append(writer, times: 3)
      try stage.close(writer)
    },
    FaultScenario(
      name: "a version 1 topic, gone on with", covers: [.openVersion1Topic], prepare: version1Topic
    ) { stage in
      let writer = try stage.open()
      try stage.append(writer, times: 3)
      try stage.close(writer)
    },
    FaultScenario(
      name: "a damaged topic, gone on with", covers: [.openOverDamage], damaged: [4],
      prepare: damagedTopic
    ) { stage in
      let writer = try stage.open()
      try stage.append(writer, times: 3)
      try stage.close(writer)
    },
    FaultScenario(
      name: "batches over several slabs", covers: [.appendBatch, .roll], prepare: closedTopic
    ) { stage in
      let writer = try stage.open()
      try stage.appendBatch(writer, count: 30)
      try stage.flush(writer)
      try stage.appendBatch(writer, count: 30)
      try stage.sync(writer)
      try stage.close(writer)
    },
    FaultScenario(
      name: "rolls whose slabs are synced when they are left", covers: [.roll],
      prepare: closedTopic
    ) { stage in
      let writer = try stage.open(background: .inline)
      try stage.append(writer, times: 35)
      try stage.flush(writer)
      try stage.close(writer)
    },
    FaultScenario(
      name: "records longer than the buffer and the slab", covers: [.appendLongRecord],
      prepare: closedTopic
    ) { stage in
      let writer = try stage.open()
      for length in [5000, 70_000, 100] {
        try stage.append(writer, FaultStage.payload(stage.payloads.count, length: length))
      }
      try stage.close(writer)
    },
    FaultScenario(
      name: "appends at each level", covers: [.appendEnsuring], prepare: closedTopic
    ) { stage in
      let writer = try stage.open()
      for level in [Durability.buffered, .flushed, .synced, .buffered, .synced, .flushed] {
        try await stage.append(writer, ensuring: level)
      }
      try stage.close(writer)
    },
    FaultScenario(name: "a flush behind every record", covers: [.flushEvery]) { stage in
      let writer = try stage.open(options { $0.flushEvery = .records(1) })
      for _ in 0..<12 {
        try stage.append(writer)
        stage.didFlush()
      }
      try stage.close(writer)
    },
    FaultScenario(name: "a sync behind every other record", covers: [.syncEvery]) { stage in
      let writer = try stage.open(options { $0.syncEvery = .records(2) })
      for number in 1...12 {
        try stage.append(writer)
        if number % 2 == 0 { stage.didSync() }
      }
      try stage.close(writer)
    },
    FaultScenario(name: "flushes and syncs when a time has come", covers: [.flushAndSyncByTime]) {
      stage in
      let writer = try stage.open(
        options {
          $0.flushEvery = .milliseconds(10)
          $0.syncEvery = .milliseconds(50)
        })
      for _ in 0..<4 {
        try stage.append(writer, times: 2)
        stage.clock.advance(by: 60_000_000)
        // If this fails, the next call finds the failure.
        writer.runDueWork()
      }
      try stage.flush(writer)
      try stage.close(writer)
    },
    FaultScenario(name: "appends up to a cap", covers: [.appendIfRoom, .appendAtCap]) { stage in
      let writer = try stage.open(cap(.fail))
      var isFull = false
      while !isFull, stage.payloads.count < 100 {
        let payload = FaultStage.payload(stage.payloads.count, length: 3000)
        let count = stage.payloads.count
        let address = try stage.trying("appendIfRoom") { () -> Address? in
          // If an error reported that the record was appended, it is already in the log.
          guard stage.payloads.count == count else { return Address(rawValue: 0) }
          let address = try writer.appendIfRoom(payload.span.bytes)?.address
          if address != nil { stage.didAppend(payload) }
          return address
        }
        isFull = address == nil
      }
      stage.note("\(stage.payloads.count)")
      try stage.trying("append at the cap") {
        do {
          try writer.append(FaultStage.payload(1, length: 3000))
          throw Complaint("it fits")
        } catch let error as QueueError where error.code == .noSpace && error.errno == nil {
          stage.note("full")
        }
      }
      // Before a cap refuses a record, the writer syncs all records before it.
      stage.didSync()
      try stage.close(writer)
    },
    FaultScenario(
      name: "the oldest slabs dropped at a cap", covers: [.dropOldest], removes: true
    ) { stage in
      let writer = try stage.open(cap(.dropOldest))
      try appendLong(writer, stage, times: 26)
      try stage.sync(writer)
      try stage.close(writer)
    },
    FaultScenario(
      name: "the oldest acknowledged slabs dropped at a cap", covers: [.dropOldestAcknowledged],
      removes: true,
      prepare: { stage in
        try closedTopic(stage)
        let consumer = try stage.consumer("reader", from: .latest)
        stage.stands("reader", at: consumer.ordinal)
        try consumer.close()
      },
      act: { stage in
        let writer = try stage.open(cap(.dropOldestAcknowledged))
        // The last of these records needs the room of one slab.
        try appendLong(writer, stage, times: 20)
        try stage.sync(writer)
        try stage.close(writer)
      }),
  ]
}
