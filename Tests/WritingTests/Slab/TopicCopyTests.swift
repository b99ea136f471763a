// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("A topic's files are copied as they are")
struct TopicCopyTests {
  /// A topic with two epochs, several slabs and a consumer in the middle. Its last records were
  /// flushed, but not synced.
  private func sample() async throws -> (storage: SimulatedStorage, writer: QueueWriter) {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(4)
    options.bufferSize = .kibibytes(4)
    func fill(_ writer: QueueWriter, _ numbers: Range<Int>) throws {
      for number in numbers { try writer.append("record \(number)") }
    }
    let first = try QueueWriter(topic: topic, options: options, environment: fixedEnvironment())
    try fill(first, 0..<500)
    first.dieForTesting()
    let writer = try QueueWriter(topic: topic, options: options, environment: fixedEnvironment())
    try fill(writer, 500..<1000)
    try await writer.sync()
    let consumer = try QueueConsumer(topic: topic, name: "reader")
    try await consumer.nextBatch(upTo: 10, following: false)?.acknowledge()
    try await consumer.close()
    try fill(writer, 1000..<1100)
    try await writer.flush()
    return (storage, writer)
  }

  @Test("a power cut behind it keeps all that was flushed before it, and the cursors")
  func isDurable() async throws {
    let (source, writer) = try await sample()
    let records = try readAll(Topic(storage: source)).records
    #expect(records.last?.text == "record 1099")
    let target = SimulatedStorage()
    try TopicCopy.copy(source, to: target)
    // The caller that makes the directory also makes it durable.
    try target.syncParent()
    for seed in 0..<20 as Range<UInt64> {
      var random = SeededGenerator(seed: seed)
      let disk = target.powerCut(using: &random)
      let found = try readAll(Topic(storage: disk))
      #expect(found.records == records)
      #expect(found.losses.isEmpty)
      let consumer = try QueueConsumer(topic: Topic(storage: disk), name: "reader")
      #expect(try await consumer.nextBatch(upTo: 1, following: false)?.first == records[10])
      try await consumer.close()
    }
    try await writer.close()
  }

  @Test("any call of it that fails is said, and the source stays as it was")
  func everyCallFails() async throws {
    let (source, writer) = try await sample()
    let before = source.slabs
    for target in [false, true] {
      var failed = 0
      while true {
        let copy = SimulatedStorage()
        let faulty = target ? copy : source
        faulty.setFault(SimulatedStorage.Fault(.fail(Errno.io), at: failed + 1) { _ in true })
        let error = queueError { try TopicCopy.copy(source, to: copy) }
        faulty.setFault(nil)
        guard let error else { break }
        #expect(error.errno == Errno.io)
        failed += 1
      }
      #expect(failed > 20)
    }
    #expect(source.slabs == before)
    try await writer.close()
  }

  @Test("slabs that are cleaned meanwhile leave no hole: the copy is what is left")
  func cleanedMeanwhile() async throws {
    let (source, writer) = try await sample()
    let records = try readAll(Topic(storage: source)).records
    let opened = Progress()
    source.setHook { call in
      guard case .open = call else { return }
      opened.advance()
      // Cleans in the middle of the copy.
      if opened.value == 6 {
        do {
          try SlabCleaner(topic: Topic(storage: source)).clean(
            keeping: Retention(records: 400, minimumBytes: .bytes(0), consumers: .ignored))
        } catch {
          Issue.record(error)
        }
      }
    }
    let target = SimulatedStorage()
    try TopicCopy.copy(source, to: target)
    source.setHook(nil)
    let found = try readAll(Topic(storage: target))
    #expect(found.losses.isEmpty)
    #expect(found.records == Array(records.suffix(found.records.count)))
    #expect(found.records.count >= 400)
    #expect(found.records.count < records.count)
    try await writer.close()
  }
}
