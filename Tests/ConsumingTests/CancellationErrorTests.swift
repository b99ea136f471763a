// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("CancellationError in the place of the code cancelled")
struct CancellationErrorTests {
  @Test("a waiting task that is cancelled throws it")
  func waiting() async throws {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    let consumer = try QueueConsumer(topic: topic, name: "waits")
    let task = Task {
      try await withCancellationError {
        try await consumer.nextBatch(upTo: 1, following: true)?.count
      }
    }
    task.cancel()
    await #expect(throws: CancellationError.self) { try await task.value }
    try await consumer.close()
    try await writer.close()
  }

  @Test("every other error stays as it is, and a result is passed on")
  func others() async throws {
    struct Other: Error {}
    await #expect(throws: Other.self) { try await withCancellationError { throw Other() } }
    let error = await #expect(throws: QueueError.self) {
      try await withCancellationError { _ = try QueueReader(topic: "") }
    }
    #expect(error?.code == .notATopic)
    #expect(error?.cancellation == nil)
    #expect(try await withCancellationError { 7 } == 7)
  }

  @Test("the closure runs on the actor of the caller")
  @MainActor func isolation() async throws {
    var number = 1
    try await withCancellationError {
      MainActor.assertIsolated()
      number += 1
    }
    #expect(number == 2)
  }
}
