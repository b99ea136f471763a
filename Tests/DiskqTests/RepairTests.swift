// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@Suite("diskq repair")
struct RepairTests {
  @Test("every sound record is copied in order, what is lost is told, and the old stays as it is")
  func damaged() throws {
    let directory = try TemporaryDirectory()
    let (topic, new) = (directory.at("topic"), directory.at("new"))
    let addresses = try makeTopic(topic, records: 1_000)
    try flipBit(try slabPaths(topic)[0], byte: addresses[500] + 8)
    let before = try snapshot(topic)
    let repaired = try Diskq.run("repair", topic, new)
    #expect(repaired.status == 1)
    #expect(repaired.output.isEmpty)
    #expect(
      repaired.errorLines == [
        "diskq: \(addresses[500]) up to \(addresses[501]): damaged, 1 record lost [\(topic)]",
        "diskq: 999 records copied, 1 record lost in 1 damaged range [\(new)]",
      ])
    #expect(try snapshot(topic) == before)
    let read = try Diskq.run("read", new)
    #expect(read.status == 0)
    #expect(read.lines == (0..<1_000).filter { $0 != 500 }.map { "record \($0)" })
    #expect(try Diskq.run("verify", new).lines.count == 1)
    #expect(try Diskq.run("info", new).text.contains("state    closed\n"))
  }

  @Test("a sound topic is copied whole, into an empty directory as well")
  func sound() throws {
    let directory = try TemporaryDirectory()
    let new = try TemporaryDirectory()
    #expect(try Diskq.run("append", directory.at("topic"), Fixture.temperatures).status == 0)
    let repaired = try Diskq.run("repair", directory.at("topic"), new.path)
    #expect(repaired.status == 0)
    #expect(repaired.errorLines == ["diskq: 8760 records copied, none lost [\(new.path)]"])
    let (old, copy) = try (
      Diskq.run("read", directory.at("topic")), Diskq.run("read", new.path)
    )
    #expect(old.output == copy.output)
    #expect(!copy.output.isEmpty)
  }

  @Test("records above the default limit are copied, too")
  func largeRecords() throws {
    let directory = try TemporaryDirectory()
    let (topic, new) = (directory.at("topic"), directory.at("new"))
    let large = [UInt8](repeating: 0x4C, count: 17 << 20)
    let appended = try Diskq.run(
      ["append", topic, "--whole", "--maximum-payload", "20MiB"], input: large)
    #expect(appended.status == 0)
    #expect(try Diskq.run("repair", topic, new).status == 0)
    let read = try Diskq.run("read", new, "--format", "raw", "--maximum-payload", "20MiB")
    #expect(read.output == large)
  }

  @Test("what queuefka wrote becomes a version 2 topic")
  func version1() throws {
    let directory = try TemporaryDirectory()
    #expect(try Diskq.run("repair", Fixture.version1Topic, directory.at("new")).status == 0)
    #expect(try Diskq.run("read", directory.at("new")).lines == Fixture.readings())
    let info = try object(try Diskq.run("info", directory.at("new"), "--json").lines[0])
    #expect(info["state"] as? String == "closed")
  }

  @Test("a new topic that is the old one, lies in it, or holds something is refused")
  func refused() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 3)
    try FileManager.default.createDirectory(
      atPath: directory.at("full"), withIntermediateDirectories: false)
    try Data("mine".utf8).write(to: URL(fileURLWithPath: directory.at("full/file")))
    try FileManager.default.createSymbolicLink(
      atPath: directory.at("link"), withDestinationPath: topic)
    let before = try snapshot(topic)
    for new in [
      "topic", "topic/", "topic/new", "link/new/er", "topic/../topic", "full", "full/file",
    ] {
      let repaired = try Diskq.run("repair", topic, directory.at(new))
      #expect(repaired.status == 2, "\(new)")
      #expect(repaired.errorLines.count == 1)
      #expect(repaired.errors.hasSuffix(" [\(directory.at(new))]\n"))
    }
    #expect(try snapshot(topic) == before)
    #expect(try snapshot(directory.at("full")) == ["file": Array("mine".utf8)])
  }

  @Test("an empty topic cannot be repaired onto itself")
  func emptyOntoItself() throws {
    let directory = try TemporaryDirectory()
    let repaired = try Diskq.run("repair", directory.path, directory.path)
    #expect(repaired.status == 2)
    #expect(repaired.errors.contains("the new topic is inside the old one"))
    #expect(try snapshot(directory.path).isEmpty)
  }
}
