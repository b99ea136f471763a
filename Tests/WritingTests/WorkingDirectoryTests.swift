// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@testable import DiskQueue

@Suite("A program that changes its working directory, and what an error advises")
struct WorkingDirectoryTests {
  @Test("what is opened later of a relative path is where the topic is")
  func relative() async throws {
    let directory = try TemporaryDirectory()
    let path = directory.path
    for name in ["here", "elsewhere"] {
      try FileManager.default.createDirectory(
        atPath: path + "/" + name, withIntermediateDirectories: false)
    }
    await #expect(processExitsWith: .success) { [path = path as String] in
      #expect(chdir(path + "/here") == 0)
      let writer = try QueueWriter(topic: "topic")
      try writer.append("one")
      try writer.append("two")
      try await writer.flush()
      var options = QueueConsumer.Options()
      options.deadLetters = "aside"
      let consumer = try QueueConsumer(topic: "topic", name: "c", from: .earliest)
      let other = try QueueConsumer(
        topic: "topic", name: "d", from: .earliest, options: options)
      let sharded = try ShardedWriter(topic: ShardedTopic("sharded", shards: 8))
      #expect(chdir(path + "/elsewhere") == 0)
      for consumer in [consumer, other] {
        let batch = try await consumer.nextBatch(upTo: 1, following: false)
        try await batch?.deadLetter(0, reason: "a test")
        try await consumer.close()
      }
      for key in 0..<20 { try sharded.append("one", key: "\(key)") }
      try await sharded.close()
      try await writer.close()
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: path + "/elsewhere") == [])
    let here = try FileManager.default.contentsOfDirectory(atPath: path + "/here")
    #expect(here.sorted() == ["aside", "sharded", "topic", "topic.dead"])
    #expect(try readAll(Topic(path + "/here/topic.dead")).records.count == 1)
    #expect(try readAll(Topic(path + "/here/aside")).records.count == 1)
    #expect(try ShardedTopic(path + "/here/sharded").shardCount() == 8)
  }

  @Test("what to do about a full disk, and about a file system that cannot sync a directory")
  func advice() {
    func message(_ errno: Int32, _ call: StaticString) -> String {
      QueueError.system(SystemError(errno: errno, call: call), doing: "a test", path: "p").message
    }
    #expect(message(Errno.noSpace, "openat").contains("inodes"))
    #expect(message(Errno.noSpace, "mkdirat").contains("inodes"))
    #expect(!message(Errno.noSpace, "pwrite").contains("inodes"))
    #expect(message(Errno.noSpace, "pwrite").contains("free some space"))
    #expect(message(Errno.notSupported, "openat").contains("regular file"))
    #expect(!message(Errno.notSupported, "fsync").contains("regular file"))
    #expect(message(Errno.notSupported, "fsync").contains("file system"))
    let sync = QueueError.syncFailed(
      SystemError(errno: Errno.notSupported, call: "fsync"), path: "p")
    #expect(sync.message.contains("file system does not support"))
  }
}
