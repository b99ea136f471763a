// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@testable import DiskQueue

@Suite("Descriptors in a program without standard input, output or error")
struct DescriptorTests {
  @Test(
    "a program that has closed some of them and prints does not print into a topic",
    arguments: [[0], [1], [2], [0, 1, 2]] as [[Int32]])
  func printing(closed: [Int32]) async throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/topic"
    await #expect(processExitsWith: .success) {
      [closed = closed as [Int32], path = path as String] in
      for descriptor in closed { close(descriptor) }
      let writer = try QueueWriter(topic: Topic(path))
      let consumer = try QueueConsumer(topic: Topic(path), name: "c", from: .earliest)
      for number in 0..<50 {
        try writer.append("record \(number)")
        try writer.sync()
        let line = Array("line \(number) of a program that prints\n".utf8)
        for descriptor: Int32 in 0...2 { _ = write(descriptor, line, line.count) }
      }
      try consumer.close()
      try writer.close()
    }
    let read = try readAll(Topic(path))
    #expect(read.records.map(\.text) == (0..<50).map { "record \($0)" })
    #expect(read.losses.isEmpty)
  }

  @Test("every call that makes a descriptor gives 3 or more while 0, 1 and 2 are free")
  func everyOpener() async throws {
    let directory = try TemporaryDirectory()
    try writeFile(directory.path + "/file", [1])
    try FileManager.default.createDirectory(
      atPath: directory.path + "/below", withIntermediateDirectories: false)
    await #expect(processExitsWith: .success) { [path = directory.path as String] in
      for descriptor: Int32 in 0...2 { close(descriptor) }
      let top = try Syscalls.openDirectory(path)
      let made = [
        top,
        try Syscalls.openAncestor(path),
        try Syscalls.openParent(ofDirectory: top),
        try Syscalls.openDirectory(inDirectory: top, "below"),
        try Syscalls.openFile(inDirectory: top, "file", writable: false),
        try Syscalls.createFile(
          inDirectory: top, "new", exclusive: true, permissions: 0o600),
        try Syscalls.makeChangeQueue(),
      ]
      #expect(made.allSatisfy { $0 >= 3 }, "\(made)")
      // Only here can the test see the descriptor of a listing's stream.
      let directory = try Syscalls.identity(of: top)
      var listings: [Int32] = []
      try Syscalls.forEachName(inDirectory: top) { _ in
        // The test runner itself may have taken one of the numbers.
        listings += (0...2).filter { (try? Syscalls.identity(of: $0)) == directory }
      }
      #expect(listings.isEmpty, "\(listings)")
      for descriptor in made { #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0) }
    }
  }
}
