// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Foundation
import Testing

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
