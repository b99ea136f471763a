// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("G9: cleaning a full disk")
struct FullDiskCleaningTests {
  @Test("what was acknowledged durably goes, though no slab had room to state a sync")
  func acknowledgedAndUnstated() async throws {
    let topic = Topic(storage: MemoryStorage(capacity: 64 << 10))
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(4)
    options.bufferSize = .kibibytes(4)
    // No slab that the writer has left is synced before the disk is full.
    let writer = try QueueWriter(
      topic: topic, options: options, environment: fixedEnvironment(background: .manual))
    // Both slots of the cursor exist before the disk is full.
    let consumer = try {
      try writer.append("before")
      try writer.append("before, too")
      try writer.flush()
      return try QueueConsumer(topic: topic, name: "reader")
    }()
    for _ in 0..<2 {
      try await consumer.nextBatch(upTo: 1, following: false)?.acknowledge()
    }
    var appended = 0
    var refusal: QueueError?
    while refusal == nil {
      do {
        try writer.append("record \(appended) " + String(repeating: "x", count: 100))
        appended += 1
      } catch {
        refusal = error
      }
    }
    #expect(refusal?.code == .noSpace)

    while let batch = try await consumer.nextBatch(upTo: 100, following: false) {
      try await batch.acknowledge()
    }
    // The writer's thread would do this. A slab that waits for its sync is held open, and so is its
    // disk space.
    try writer.syncLeftSlabs()
    let report = try SlabCleaner(topic: topic)
      .clean(keeping: Retention(records: 0, minimumBytes: .bytes(0)))
    #expect(report.removals.count > 8, "stopped: \(report.stopReason)")

    try writer.append("the next one")
    try await writer.close()
    var texts: [String] = []
    while let batch = try await consumer.nextBatch(upTo: 100, following: false) {
      texts += batch.map { $0.text ?? "" }
    }
    #expect(texts.last == "the next one")
    try await consumer.close()
  }
}
