// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport

@testable import DiskQueue

// The steps of a program with its consumers.

extension ConsumerProgram {
  func open(_ model: ModelConsumer) throws {
    let reported = Reported()
    var options = ConsumerTopic.options
    options.maximumBatchBytes = .bytes([1, 300, 4000, 100_000][random.below(4)])
    options.deadLetters = deadLetters
    let consumer = try QueueConsumer(
      topic: topic, name: model.name, from: .earliest, options: options,
      environment: .simulated(), onLoss: { reported.take($0) })
    model.consumer = consumer
    model.reported = reported
    let ordinal = Int(consumer.ordinal)
    note("opened \(model.name) at \(ordinal)")
    try expect(ordinal <= count, "\(model.name) at \(ordinal) of \(count)")
    if model.exists {
      try expect(
        (model.floor...model.ceiling).contains(ordinal),
        "\(model.name) at \(ordinal), not in \(model.floor)...\(model.ceiling)")
    }
    model.exists = true
    model.begin(at: ordinal)
    tally.count("consumers opened")
  }

  func close(_ model: ModelConsumer) async throws {
    guard let consumer = model.consumer else { return }
    try await consumer.close()
    model.floor = model.cursor
    try expect(Int(consumer.ordinal) == model.cursor, "\(model.name) closed at another place")
    model.end()
  }

  func take(_ batch: QueueConsumer.Batch, _ model: ModelConsumer) throws {
    var last = model.delivered.last
    for record in batch {
      try check(record)
      if let last {
        try expect(
          record.ordinal > last.ordinal && record.address > last.address,
          "\(model.name) was given \(record.ordinal) behind \(last.ordinal)")
      }
      try expect(
        Int(record.ordinal) >= model.start,
        "\(model.name) was given \(record.ordinal), before its cursor at \(model.start)")
      last = record
    }
    model.take(batch)
    tally.count("records delivered", batch.count)
  }

  /// Reads to the end. The delivered records and the missed ones must add up to all records.
  func drain(_ model: ModelConsumer, _ writer: QueueWriter) async throws {
    guard let consumer = model.consumer else { return }
    try await writer.flush()
    while let batch = try await consumer.nextBatch(upTo: 1 + random.below(40), following: false) {
      try take(batch, model)
    }
    let losses = model.reported.losses
    try expect(
      losses.allSatisfy { $0.cause == .cleaned && $0.records != nil },
      "\(model.name) was told of \(losses)")
    if model.name == "a", isProtected {
      try expect(losses.isEmpty, "\(model.name) is protected, and was told of \(losses)")
    }
    let missed = losses.reduce(0) { $0 + Int($1.records ?? 0) }
    try expect(
      model.delivered.count + missed == count - model.start,
      "\(model.name) was given \(model.delivered.count) and missed \(missed) of"
        + " \(count - model.start): \(losses)")
    note("drained \(model.name)")
    tally.count("records missed", missed)
  }

  func acknowledge(_ model: ModelConsumer) async throws {
    guard let consumer = model.consumer, !model.batches.isEmpty else { return }
    let (batch, start) = model.batches[random.below(model.batches.count)]
    let index = random.below(batch.count)
    let hasMoved: Bool
    switch random.below(6) {
    case 0:
      hasMoved = model.acknowledge(0..<start + batch.count)
      try await batch.acknowledge()
    case 1, 2:
      hasMoved = model.acknowledge(0..<start + index + 1)
      try await batch.acknowledge(through: index)
    case 3:
      hasMoved = model.acknowledge(start + index..<start + index + 1)
      try await batch.acknowledge(only: index)
    case 4:
      let range = index..<index + 1 + random.below(batch.count - index)
      hasMoved = model.acknowledge(start + range.lowerBound..<start + range.upperBound)
      try await batch.acknowledge(only: range)
    default:
      hasMoved = model.acknowledge(start + index..<start + index + 1)
      try await putAside(index, of: batch)
    }
    note("\(model.name) acknowledged, up to \(model.cursor)")
    if hasMoved { model.floor = max(model.floor, model.cursor) }
    try expect(
      (model.floor...model.cursor).contains(Int(consumer.ordinal)),
      "\(model.name) acknowledged \(model.floor)...\(model.cursor), and is at \(consumer.ordinal)")
    tally.count("acknowledgements")
  }

  private func putAside(_ index: Int, of batch: QueueConsumer.Batch) async throws {
    let reason = "no use for \(batch[index].ordinal)"
    let address = try await batch.deadLetter(index, reason: reason)
    var reader = try QueueReader(topic: deadLetters)
    let letter = try DeadLetter(reader.record(at: address).copy().payload)
    try expect(letter == DeadLetter(batch[index], reason: reason), "another letter: \(letter)")
  }

  func reset(_ model: ModelConsumer, _ writer: QueueWriter) async throws {
    guard let consumer = model.consumer else { return }
    try await writer.flush()
    let first = try firstOrdinal()
    let position: Topic.Position
    let target: Int
    switch random.below(4) {
    case 0:
      position = .earliest
      target = first
    case 1:
      position = .latest
      target = count
    case 2:
      target = first + random.below(count - first + 1)
      position = .ordinal(UInt64(target))
    default:
      target = Int(consumer.ordinal)
      position = .address(consumer.position)
      // Records that were cleaned after the cursor would be reported a second time.
      guard target >= first, model.reported.losses.isEmpty else { return }
    }
    model.floor = min(model.floor, target)
    model.ceiling = max(model.ceiling, target)
    try await consumer.reset(to: position)
    note("reset \(model.name) to \(target)")
    try expect(Int(consumer.ordinal) == target, "\(model.name) was reset to \(consumer.ordinal)")
    model.reported.forget()
    model.begin(at: target)
    tally.count("resets")
  }
}
