// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@testable import DiskQueue

@Suite("The wait for a topic that does not exist yet", .timeLimit(.minutes(5)))
struct TopicArrivalTests {
  /// Waits on a thread. Returns the error of the wait, or nil.
  private func wait(_ arrival: TopicArrival) async -> QueueError? {
    await withCheckedContinuation { continuation in
      Thread.detachNewThread {
        do throws(QueueError) {
          try arrival.waitBlocking { _ in }
          continuation.resume(returning: nil)
        } catch {
          continuation.resume(returning: error)
        }
      }
    }
  }

  private func make(_ path: String) throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
  }

  @Test("no directory on the way is missed, whenever it is made, removed or renamed")
  func steps() async throws {
    for round in 0..<200 {
      let directory = try TemporaryDirectory()
      let path = directory.path + "/a/b/topic"
      let arrival = TopicArrival(at: path)
      async let error = wait(arrival)
      for _ in 0..<(round % 3) {
        try make(directory.path + "/a")
        try make(directory.path + "/a/b")
        try removeFile(directory.path + "/a")
      }
      if round.isMultiple(of: 2) {
        try make(directory.path + "/a")
        try make(directory.path + "/a/b")
        try make(path)
      } else {
        try make(directory.path + "/other")
        try make(directory.path + "/other/b")
        try make(directory.path + "/other/b/topic")
        try FileManager.default.moveItem(
          atPath: directory.path + "/other", toPath: directory.path + "/a")
      }
      let ended = await error
      #expect(ended == nil)
      #expect(FileManager.default.fileExists(atPath: path))
    }
  }

  /// Returns when something watches the directory.
  private func watchBegins(on path: String) async throws {
    let identity = try PosixStorage(path: path).identity
    while DirectoryWatcher.shared.watchCount(of: identity) == 0 { await Task.yield() }
  }

  @Test("a task learns of a new topic, and reads it from its first record on")
  func task() async throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/a/topic")
    async let isNew = topic.waitUntilCreated()
    try await watchBegins(on: directory.path)
    try make(directory.path + "/a")
    try await watchBegins(on: directory.path + "/a")
    let writer = try QueueWriter(topic: topic)
    #expect(try await isNew)
    var reader = try QueueReader(topic: topic, from: .earliest)
    try writer.append("the first")
    try await writer.close()
    #expect(try reader.nextCopy()?.text == "the first")
    #expect(try await topic.waitUntilCreated() == false)
  }

  @Test("there is no wait for memory, nor for a directory without files, which is an empty topic")
  func present() async throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path)
    #expect(try await topic.waitUntilCreated() == false)
    #expect(try await Topic.memory().waitUntilCreated() == false)
    var reader = try QueueReader(topic: topic)
    #expect(try reader.nextCopy() == nil)
  }

  @Test("a task that is cancelled stops waiting, whenever that happens")
  func cancelled() async throws {
    for round in 0..<50 {
      let directory = try TemporaryDirectory()
      let topic = Topic(directory.path + "/topic")
      let task = Task { try await topic.waitUntilCreated() }
      if round.isMultiple(of: 2) { try await watchBegins(on: directory.path) }
      task.cancel()
      let error = await #expect(throws: QueueError.self) { try await task.value }
      #expect(error?.code == .cancelled)
    }
  }

  @Test("the wait of a task ends with an error if a file is made in the place of the topic")
  func fileForTask() async throws {
    let directory = try TemporaryDirectory()
    let topic = Topic(directory.path + "/topic")
    let task = Task { try await topic.waitUntilCreated() }
    try await watchBegins(on: directory.path)
    try writeFile(directory.path + "/topic", [1])
    let error = await #expect(throws: QueueError.self) { try await task.value }
    #expect(error?.code == .notATopic)
  }

  @Test("a symbolic link may be on the way")
  func link() async throws {
    let directory = try TemporaryDirectory()
    try make(directory.path + "/real")
    try FileManager.default.createSymbolicLink(
      atPath: directory.path + "/link", withDestinationPath: "real")
    let arrival = TopicArrival(at: directory.path + "/link/topic/")
    async let error = wait(arrival)
    try make(directory.path + "/real/topic")
    #expect(await error == nil)
  }

  @Test("it ends with an error if a file is made in the place of the topic")
  func file() async throws {
    let directory = try TemporaryDirectory()
    let arrival = TopicArrival(at: directory.path + "/topic")
    async let error = wait(arrival)
    try writeFile(directory.path + "/topic", [1])
    #expect(await error?.code == .notATopic)
  }

  @Test("end ends every wait, before it begins and after")
  func end() async throws {
    let directory = try TemporaryDirectory()
    let arrival = TopicArrival(at: directory.path + "/topic")
    async let error = wait(arrival)
    arrival.end()
    #expect(await error?.code == .cancelled)
    #expect(await wait(arrival)?.code == .cancelled)
  }
}
