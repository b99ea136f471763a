// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@testable import DiskQueue

@Suite("Restoring a snapshot")
struct RestoreTests {
  private func texts(_ path: String) throws -> [String?] {
    try readAll(Topic(path)).records.map(\.text)
  }

  @Test("a restored topic continues with the records, the identity and the consumers")
  func restored() throws {
    let directory = try TemporaryDirectory()
    let source = Topic.memory()
    let writer = try QueueWriter(topic: source)
    for text in ["one", "two", "three"] { try writer.append(text) }
    try QueueConsumer.create("reader", of: source, at: .ordinal(1))
    try source.snapshot(to: directory.path + "/snapshot")
    try writer.append("after the snapshot")
    try writer.close()

    let topic = Topic(directory.path + "/topic/")
    try topic.restore(from: directory.path + "/snapshot")
    #expect(try texts(directory.path + "/topic") == ["one", "two", "three"])
    let consumers = try QueueConsumer.consumers(of: topic)
    #expect(consumers.map(\.name) == ["reader"] && consumers.map(\.ordinal) == [1])
    let next = try QueueWriter(topic: topic)
    try next.append("four")
    try next.close()
    #expect(try texts(directory.path + "/topic") == ["one", "two", "three", "four"])
    #expect(try texts(directory.path + "/snapshot") == ["one", "two", "three"])
  }

  @Test("nothing is overwritten, not even an older copy of the same topic")
  func refused() throws {
    let directory = try TemporaryDirectory()
    let source = Topic(directory.path + "/source")
    let writer = try QueueWriter(topic: source)
    try writer.append("one")
    try writer.close()
    for name in ["snapshot", "copy"] { try source.snapshot(to: directory.path + "/" + name) }
    try writeFile(directory.path + "/file", [7])
    let before = try snapshot(directory.path)
    for name in ["source", "copy", "file"] {
      let error = queueError {
        try Topic(directory.path + "/" + name).restore(from: directory.path + "/snapshot")
      }
      #expect(error?.code == .alreadyExists, "\(name)")
    }
    let new = Topic(directory.path + "/new")
    #expect(queueError { try new.restore(from: directory.path + "/none") }?.code == .noSuchTopic)
    #expect(
      queueError { try Topic.memory().restore(from: directory.path + "/snapshot") }?.code
        == .notATopic)
    #expect(try snapshot(directory.path) == before)
  }

  @Test("after a crash at any step there is nothing at the path, or the whole topic")
  func crashes() throws {
    let directory = try TemporaryDirectory()
    let images = try TemporaryDirectory()
    let source = Topic(directory.path + "/source")
    let writer = try QueueWriter(topic: source)
    for text in ["one", "two"] { try writer.append(text) }
    try writer.close()
    var seen: [SnapshotPath.SnapshotStep] = []
    try source.snapshot(to: directory.path + "/topic", replacing: false) { step in
      seen.append(step)
      do {
        // A crash at this step would leave exactly these files.
        try FileManager.default.copyItem(
          atPath: directory.path, toPath: images.path + "/\(seen.count)")
      } catch {
        Issue.record(error)
      }
    }
    #expect(seen == SnapshotPath.SnapshotStep.allCases)
    for (number, step) in seen.enumerated() {
      let image = images.path + "/\(number + 1)"
      if step == .copied {
        #expect(!FileManager.default.fileExists(atPath: image + "/topic"))
        // The next attempt succeeds from this state.
        try Topic(image + "/topic").restore(from: image + "/source")
      }
      #expect(try texts(image + "/topic") == ["one", "two"], "\(step)")
    }
  }
}
