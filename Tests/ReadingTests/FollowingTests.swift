// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("Waiting for more")
struct FollowingTests {
  private func writer(_ topic: Topic) throws -> QueueWriter {
    try QueueWriter(topic: topic, options: SmallTopic.options, environment: fixedEnvironment())
  }

  private func append(_ text: String, to writer: QueueWriter) throws {
    try writer.append(text)
    try writer.flush()
  }

  @Test("what comes between a look and the first wait, or any later one, is not waited for")
  func noneIsLost() async throws {
    let topic = Topic.memory()
    let writer = try writer(topic)
    var reader = try QueueReader(topic: topic)
    for number in 0..<5 {
      #expect(try reader.nextCopy() == nil)
      try append("record \(number)", to: writer)
      try await reader.waitForMore()
      #expect(try reader.nextCopy()?.text == "record \(number)")
    }
    // The same with a thread that waits.
    #expect(try reader.nextCopy() == nil)
    try append("last", to: writer)
    try reader.waitForMoreBlocking()
    #expect(try reader.nextCopy()?.text == "last")
  }

  @Test("who has looked since the last change waits, and who has not does not")
  func waitsOnlyAfterALook() throws {
    let topic = Topic.memory()
    let writer = try writer(topic)
    var reader = try QueueReader(topic: topic)
    // The reader has not looked since the watch was made.
    let ender = try reader.makeWaitEnder()
    #expect(try reader.follower.wait() == nil)
    #expect(try reader.nextCopy() == nil)
    let first = try #require(try reader.follower.wait())
    #expect(first.watch.generation == first.seen)
    try append("one", to: writer)
    let second = try #require(try reader.follower.wait())
    #expect(second.watch.generation > second.seen)
    #expect(try reader.nextCopy()?.text == "one")
    #expect(try reader.nextCopy() == nil)
    let third = try #require(try reader.follower.wait())
    #expect(third.watch.generation == third.seen)
    ender()
    #expect(queueError { try reader.waitForMoreBlocking() }?.code == .cancelled)
    #expect(try reader.nextCopy() == nil)
  }

  @Test("who waits twice without a look waits the second time, and who has read on does not")
  func waitsTwice() async throws {
    let topic = Topic.memory()
    let writer = try writer(topic)
    var reader = try QueueReader(topic: topic)
    // The first wait only starts the watch. The second one waits.
    try await reader.waitForMore()
    let first = try #require(try reader.follower.wait(at: reader.position.rawValue))
    #expect(first.watch.generation == first.seen)
    try append("one", to: writer)
    try append("two", to: writer)
    // This wait returns for both records. A second wait does not return for them again.
    try await reader.waitForMore()
    let second = try #require(try reader.follower.wait(at: reader.position.rawValue))
    #expect(second.watch.generation == second.seen)
    // After a record was read, another one may be there, so this wait returns at once.
    #expect(try reader.nextCopy()?.text == "one")
    try await reader.waitForMore()
    #expect(try reader.nextCopy()?.text == "two")
    #expect(try reader.nextCopy() == nil)
    let third = try #require(try reader.follower.wait(at: reader.position.rawValue))
    #expect(third.watch.generation == third.seen)
    try append("three", to: writer)
    try reader.waitForMoreBlocking()
    #expect(try reader.nextCopy()?.text == "three")
  }

  @Test("behind a torn tail it sleeps, and looks once for each change")
  func tornTail() throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    let writer = try QueueWriter(
      topic: topic, options: SmallTopic.options, environment: .simulated())
    try append("whole", to: writer)
    try append("torn", to: writer)
    writer.dieForTesting()
    let bytes = try #require(storage.slabs[0])
    storage.replace(slab: 0, with: Array(bytes.dropLast(2)))

    var reader = try QueueReader(topic: topic)
    _ = try reader.makeWaitEnder()
    #expect(try reader.nextCopy()?.text == "whole")
    storage.logCalls()
    func lists() -> Int { storage.calls.count { $0 == .list } }
    #expect(try reader.nextCopy() == nil)
    #expect(lists() == 1)
    for change in 1...5 {
      let asleep = try #require(try reader.follower.wait())
      #expect(asleep.watch.generation == asleep.seen)
      _ = try storage.create("change \(change)")
      try reader.waitForMoreBlocking()
      #expect(try reader.nextCopy() == nil)
      #expect(lists() == 1 + change)
    }
    let asleep = try #require(try reader.follower.wait())
    #expect(asleep.watch.generation == asleep.seen)
  }

  @Test("a record that a follower is woken for costs no listing; the look behind it costs one")
  func costOfAWake() throws {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    let writer = try QueueWriter(
      topic: topic, options: SmallTopic.options, environment: .simulated())
    var reader = try QueueReader(topic: topic)
    #expect(try reader.nextCopy() == nil)
    try reader.waitForMoreBlocking()
    #expect(try reader.nextCopy() == nil)
    for number in 0..<5 {
      try append("record \(number)", to: writer)
      try reader.waitForMoreBlocking()
      storage.logCalls()
      #expect(try reader.nextCopy()?.text == "record \(number)")
      #expect(!storage.calls.contains(.list))
      #expect(try reader.nextCopy() == nil)
      #expect(storage.calls.count { $0 == .list } == 1)
    }
  }

  @Test("a cancelled task stops waiting, and the reader goes on")
  func cancelled() async throws {
    let topic = Topic.memory()
    let writer = try writer(topic)
    for _ in 0..<100 {
      let task = Task { () -> QueueError.Code? in
        do throws(QueueError) {
          var reader = try QueueReader(topic: topic, from: .latest)
          while try reader.next() == nil { try await reader.waitForMore() }
          return nil
        } catch {
          return error.code
        }
      }
      task.cancel()
      #expect(await task.value == .cancelled)
    }
    try append("after", to: writer)
    let task = Task { () -> [String?] in
      withUnsafeCurrentTask { $0?.cancel() }
      var reader = try QueueReader(topic: topic)
      do throws(QueueError) {
        try await reader.waitForMore()
      } catch {
        return ["\(error.code)", try reader.nextCopy()?.text]
      }
      return []
    }
    #expect(try await task.value == ["cancelled", "after"])
  }

  @Test("a topic that is removed ends the wait with an error", arguments: [false, true])
  func removedTopic(isLockRemovedFirst: Bool) async throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/topic"
    let writer = try QueueWriter(topic: Topic(path))
    try append("only", to: writer)
    try await writer.close()
    var reader = try QueueReader(topic: Topic(path))
    #expect(try reader.nextCopy()?.text == "only")
    #expect(try reader.nextCopy() == nil)
    try await reader.waitForMore()
    #expect(try reader.nextCopy() == nil)
    let slab = path + "/" + SlabName.string(0)
    for file in isLockRemovedFirst ? [path + "/lock", slab] : [slab, path + "/lock"] {
      try removeFile(file)
    }
    try removeFile(path)
    var code: QueueError.Code?
    while code == nil {
      do throws(QueueError) {
        try await reader.waitForMore()
        #expect(try reader.nextCopy() == nil)
      } catch {
        code = error.code
      }
    }
    #expect(code == .noSuchTopic)
  }

  @Test("an empty directory is waited in for its first writer")
  func firstWriter() async throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path)
    var records = try QueueReader(topic: topic).records(following: true).makeAsyncIterator()
    let writer = Task {
      let writer = try QueueWriter(topic: topic)
      let address = try writer.append("first").address
      try await writer.close()
      return address
    }
    let record = try await records.next()
    #expect(record?.text == "first")
    #expect(record?.address == (try await writer.value))
  }
}
