// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Synchronization
import Testing

@testable import DiskQueue

/// A system that refuses every watch, and a timer that the test controls.
private final class Refusal: Sendable {
  private let jobs = Mutex<[@Sendable () -> Void]>([])
  /// How many times the interval has begun.
  private let begun = Atomic(0)

  var count: Int { begun.load(ordering: .relaxed) }

  var watcher: DirectoryWatcher {
    DirectoryWatcher(
      makeSource: { () throws(SystemError) in
        throw SystemError(errno: Errno.tooManyFiles, call: "inotify_init1")
      },
      // A job holds the watcher. The watcher must not hold the jobs as well.
      later: { [weak self] job in
        guard let self else { return }
        begun.add(1, ordering: .relaxed)
        jobs.withLock { $0.append(job) }
      })
  }

  /// Lets the interval pass.
  func tick() {
    let due = jobs.withLock { jobs in
      defer { jobs = [] }
      return jobs
    }
    for job in due { job() }
  }
}

private final class Flag: Sendable {
  private let value = Mutex(false)
  var isSet: Bool { value.withLock { $0 } }
  func set() { value.withLock { $0 = true } }
}

@Suite("Without a watch of the system's, changes are looked for")
struct PollingTests {
  private let directory: TemporaryDirectory
  private let path: String
  private let refusal = Refusal()

  init() throws {
    directory = try TemporaryDirectory()
    path = directory.path + "/topic"
    try QueueWriter(topic: Topic(path)).close()
  }

  private func topic() throws -> Topic {
    Topic(storage: try PosixStorage(path: path, watcher: refusal.watcher))
  }

  private func flush(_ text: String, _ writer: QueueWriter) throws {
    try writer.append(text)
    try writer.flush()
  }

  @Test("a reader that follows sees what another program appends, and says why it looks")
  func follows() async throws {
    let writer = try QueueWriter(topic: Topic(path))
    var reader = try QueueReader(topic: topic())
    let before = reader.pollingReason()
    #expect(before?.code == nil)
    while try reader.nextCopy() != nil {}
    // The first wait only starts the watch.
    try await reader.waitForMore()
    #expect(try reader.nextCopy() == nil)
    for number in 0..<5 {
      try flush("record \(number)", writer)
      refusal.tick()
      try await reader.waitForMore()
      #expect(try reader.nextCopy()?.text == "record \(number)")
      #expect(try reader.nextCopy() == nil)
    }
    let found = reader.pollingReason()
    let reason = try #require(found)
    #expect(reason.message.contains("fs.inotify.max_user_instances"))
    #expect(reason.message.contains("four times a second"))
    #expect(reason.errno == Errno.tooManyFiles)
  }

  @Test("nothing is looked for when the last watch has gone")
  func ends() throws {
    var watch: TopicWatch? = try TopicWatch(
      PosixStorage(path: path, watcher: refusal.watcher))
    refusal.tick()
    refusal.tick()
    #expect(watch?.generation == 2)
    #expect(refusal.count == 3)
    watch = nil
    refusal.tick()
    #expect(refusal.count == 3)
  }

  @Test("a consumer that follows gets what another program appends")
  func consumes() async throws {
    let consumer = try QueueConsumer(topic: topic(), name: "c", from: .earliest)
    #expect(try consumer.beginWatching() != nil)
    let done = Flag()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        let batch = try await consumer.nextBatch(upTo: 1, following: true)
        #expect(batch?.first?.text == "late")
        done.set()
      }
      let writer = try QueueWriter(topic: Topic(path))
      try flush("late", writer)
      while !done.isSet {
        refusal.tick()
        await Task.yield()
      }
      try await group.waitForAll()
    }
    try await consumer.close()
  }

  @Test("a channel is opened, sends and receives, and tells of it once")
  func channel() async throws {
    let reported = Mutex<[QueueError]>([])
    var options = DiskChannel.Options()
    options.writer.onEvent = { event in
      if case .polling(let reason) = event { reported.withLock { $0.append(reason) } }
    }
    let channel = try DiskChannel(topic: topic(), options: options)
    for number in 0..<10 { try await channel.send("message \(number)".utf8) }
    channel.finish()
    var received: [String] = []
    for try await message in channel {
      received.append(message.text ?? "")
      try message.acknowledge()
    }
    #expect(received == (0..<10).map { "message \($0)" })
    try await channel.close()
    #expect(reported.withLock { $0.count } == 1)
    #expect(reported.withLock { $0.first?.errno } == Errno.tooManyFiles)
  }

  @Test("a writer that waits for room finds what another program has cleaned")
  func room() async throws {
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(4)
    options.maximumBytes = .kibibytes(64)
    options.whenFull = .wait
    let reported = Mutex<[QueueError]>([])
    options.onEvent = { event in
      if case .polling(let reason) = event { reported.withLock { $0.append(reason) } }
    }
    let writer = try QueueWriter(topic: topic(), options: options)
    let done = Flag()
    let payload = [UInt8](repeating: 7, count: 700)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        for _ in 0..<100 { _ = try await writer.append(payload, ensuring: .flushed) }
        done.set()
      }
      let cleaner = try SlabCleaner(topic: Topic(path))
      while !done.isSet {
        // The cleaner starts only after the writer has begun to wait.
        if reported.withLock({ !$0.isEmpty }) { _ = try cleaner.clean(keeping: .nothing) }
        refusal.tick()
        await Task.yield()
      }
      try await group.waitForAll()
    }
    try await writer.close()
    #expect(reported.withLock { $0.count } == 1)
  }
}
