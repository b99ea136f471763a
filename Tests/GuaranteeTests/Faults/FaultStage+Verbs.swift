// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport

@testable import DiskQueue

// The verbs of the scenarios. Each verb notes the promise that a successful call makes.

extension FaultStage {
  static func payload(_ number: Int, length: Int) -> [UInt8] {
    SmallTopic.payload(UInt64(number), length: length)
  }

  var nextPayload: [UInt8] { Self.payload(payloads.count, length: 40 + payloads.count % 7 * 90) }

  // MARK: Writing

  func open(
    _ options: QueueWriter.Options = SmallTopic.options,
    background: Environment.Background = .manual
  ) throws -> QueueWriter {
    try trying("opening") {
      try QueueWriter(
        topic: topic, options: options, environment: fixedEnvironment(clock, background: background)
      )
    }
  }

  /// Appends one record by `how`. If an error reports that the record was appended, it is in the
  /// log.
  func append(
    _ writer: QueueWriter, _ payload: [UInt8]? = nil,
    how: (QueueWriter, [UInt8]) throws -> Void = { _ = try $0.append($1) }
  ) throws {
    let payload = payload ?? nextPayload
    let count = payloads.count
    try checkingTheEnd(of: writer) {
      try trying("append") {
        guard payloads.count == count else { return }
        do {
          try how(writer, payload)
          didAppend(payload)
        } catch let error as QueueError {
          if error.appended == 1 { didAppend(payload) }
          throw error
        }
      }
    }
  }

  func append(_ writer: QueueWriter, times: Int) throws {
    for _ in 0..<times { try append(writer) }
  }

  func append(_ writer: QueueWriter, ensuring level: Durability) async throws {
    let payload = nextPayload
    let count = payloads.count
    do {
      try await awaiting("append(ensuring: \(level))") {
        if payloads.count > count {
          // The record is in the log. Only its level was not reached.
          return try await level == .synced ? writer.sync() : writer.flush()
        }
        do {
          try await writer.append(payload, ensuring: level)
          didAppend(payload)
        } catch let error as QueueError {
          if error.appended == 1 { didAppend(payload) }
          throw error
        }
      }
    } catch is Stopped {
      try checkEnded(writer)
      throw Stopped()
    }
    if level >= .flushed { didFlush() }
    if level == .synced { didSync() }
  }

  func appendBatch(_ writer: QueueWriter, count: Int) throws {
    let first = payloads.count
    let batch = (first..<first + count).map { Self.payload($0, length: 200) }
    try checkingTheEnd(of: writer) {
      try trying("append(contentsOf:)") {
        let rest = Array(batch[(payloads.count - first)...])
        do {
          try writer.append(contentsOf: rest)
          for payload in rest { didAppend(payload) }
        } catch let error as QueueError {
          for payload in rest.prefix(error.appended) { didAppend(payload) }
          throw error
        }
      }
    }
  }

  func flush(_ writer: QueueWriter) throws {
    try checkingTheEnd(of: writer) { try trying("flush") { try writer.flush() } }
    didFlush()
  }

  func sync(_ writer: QueueWriter) throws {
    try checkingTheEnd(of: writer) { try trying("sync") { try writer.sync() } }
    didSync()
  }

  func close(_ writer: QueueWriter) throws {
    try trying("close") { try writer.close() }
    didSync()
  }

  private func checkingTheEnd(of writer: QueueWriter, _ body: () throws -> Void) throws {
    do {
      try body()
    } catch is Stopped {
      try checkEnded(writer)
      throw Stopped()
    }
  }

  /// G7: after a failed sync of the writer, each of its calls fails, and none changes the disk.
  private func checkEnded(_ writer: QueueWriter) throws {
    guard let last = errors.last, last.hasSuffix("\(QueueError.Code.syncFailed)") else { return }
    let hits = plan?.hits.count ?? 0
    storage.logCalls()
    let calls: [() throws -> Void] = [
      { try writer.append("more") }, { try writer.flush() }, { try writer.sync() },
      { try writer.append(contentsOf: ["one", "two"]) }, { try writer.close() },
    ]
    for call in calls {
      let error = queueError { try call() }
      guard error?.code == .syncFailed else {
        throw Complaint("behind a failed sync: \(error.map { "\($0)" } ?? "it goes on")")
      }
    }
    guard storage.calls.allSatisfy({ !$0.changes }), hits == plan?.hits.count ?? 0 else {
      throw Complaint("behind a failed sync: \(storage.calls)")
    }
  }

  // MARK: Reading

  /// Reads to the end, and notes each record and each loss.
  func read(
    from start: Topic.Position = .earliest, options: QueueReader.Options = SmallTopic.readerOptions
  ) throws {
    let reported = Reported()
    var reader = try trying("opening a reader") {
      try QueueReader(
        topic: topic, from: start, options: options, environment: environment
      ) { reported.take($0) }
    }
    while let record = try trying("next", { try reader.nextCopy() }) {
      for loss in reported.losses { note("\(loss)") }
      reported.forget()
      note("\(record.ordinal) \(record.payload.count) \(xxh3(record.payload))")
    }
    for loss in reported.losses { note("\(loss)") }
    note("end")
  }

  // MARK: Consuming

  func consumer(
    _ name: String = "reader", from start: Topic.Position = .earliest
  ) throws -> QueueConsumer {
    var options = ConsumerTopic.options
    options.deadLetters = topicAside
    if consumers[name] == nil { wants(name, at: 0) }
    return try trying("opening a consumer") { [self] in
      try QueueConsumer(
        topic: topic, name: name, from: start, options: options, environment: environment
      ) { [self] in note("\($0)") }
    }
  }

  func next(_ consumer: QueueConsumer, upTo count: Int) async throws -> QueueConsumer.Batch? {
    let batch = try await awaiting("nextBatch") {
      try await consumer.nextBatch(upTo: count, following: false)
    }
    // If a read fails after the first record, the batch is shorter. The next call finds the
    // failure.
    for record in batch.map(Array.init) ?? [] { note("\(record.ordinal) \(xxh3(record.payload))") }
    return batch
  }

  /// A batch of `count` records. If a failure made it shorter, resets the consumer to `ordinal`,
  /// and reads again.
  func nextWhole(
    _ consumer: QueueConsumer, count: Int, standing ordinal: UInt64
  ) async throws -> QueueConsumer.Batch {
    for _ in 0..<3 {
      let batch = try await awaiting("nextBatch") {
        try await consumer.nextBatch(upTo: count, following: false)
      }
      if let batch, batch.count == count {
        note("\(batch.map(\.ordinal))")
        return batch
      }
      try await acknowledge(consumer, to: ordinal, "reset") {
        try await consumer.reset(to: .ordinal(ordinal))
      }
    }
    throw Complaint("no batch of \(count) records is to be had")
  }

  /// Acknowledges by `how`, which moves the cursor to an ordinal.
  func acknowledge(
    _ consumer: QueueConsumer, to ordinal: UInt64, _ what: String,
    how: () async throws -> Void
  ) async throws {
    wants(consumer.name, at: ordinal)
    do {
      try await awaiting(what, how)
    } catch is Stopped {
      if errors.last?.hasSuffix("\(QueueError.Code.syncFailed)") ?? false,
        plan?.hits.allSatisfy({ $0.makesDurable || $0.looksAtName }) ?? false, aside.hits == 0
      {
        let error = await queueError {
          _ = try await consumer.nextBatch(upTo: 1, following: false)
        }
        guard error?.code == .syncFailed else {
          throw Complaint("a consumer goes on behind a failed sync")
        }
      }
      throw Stopped()
    }
    stands(consumer.name, at: ordinal)
    guard consumer.ordinal == ordinal else {
      throw Complaint("\(what): it stands at \(consumer.ordinal), not at \(ordinal)")
    }
  }
}
