// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@Suite("diskq snapshot and restore")
struct SnapshotVerbTests {
  @Test("a snapshot is a topic with the same records, addresses and consumers, and is updated")
  func snapshotTwice() throws {
    let directory = try TemporaryDirectory()
    let (topic, copy) = (directory.at("topic"), directory.at("copy"))
    try makeTopic(topic, records: 10)
    #expect(try Diskq.run("consume", topic, "--consumer", "reader", "--limit", "4").status == 0)
    for records in [10, 11] {
      let before = try snapshot(topic)
      let made = try Diskq.run("snapshot", topic, copy)
      #expect(made.status == 0 && made.output.isEmpty)
      #expect(made.errorLines.count == 1)
      #expect(made.errors.hasPrefix("diskq: \(records) records copied, "))
      #expect(try snapshot(topic) == before)
      #expect(
        try Diskq.run("read", copy, "--format", "json").output
          == Diskq.run("read", topic, "--format", "json").output)
      #expect(try consumer("reader", of: copy)["ordinal"] as? Int == 4)
      #expect(try Diskq.run("append", topic, input: "record \(records)\n").status == 0)
    }
  }

  @Test("a snapshot replaces nothing but an older snapshot of the topic")
  func otherPath() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 1)
    try makeTopic(directory.at("other"), records: 2)
    let before = try snapshot(directory.at("other"))
    let refused = try Diskq.run("snapshot", topic, directory.at("other"))
    #expect(refused.status == 2)
    #expect(refused.errorLines.count == 1)
    #expect(try snapshot(directory.at("other")) == before)
  }

  @Test("a restored topic has the records and the consumers, and takes more")
  func restore() throws {
    let directory = try TemporaryDirectory()
    let (topic, copy) = (directory.at("topic"), directory.at("copy"))
    let addresses = try makeTopic(topic, records: 5)
    #expect(try Diskq.run("consume", topic, "--consumer", "reader", "--limit", "2").status == 0)
    #expect(try Diskq.run("snapshot", topic, copy).status == 0)
    try FileManager.default.removeItem(atPath: topic)
    let restored = try Diskq.run("restore", copy, topic)
    #expect(restored.status == 0)
    #expect(restored.errors.hasPrefix("diskq: 5 records restored, "))
    #expect(try Diskq.run("append", topic, input: "more\n").status == 0)
    let records = try Diskq.run("read", topic, "--format", "json").lines.map { try object($0) }
    #expect(records.prefix(5).map { $0["address"] as? Int } == addresses)
    #expect(
      try Diskq.run("consume", topic, "--consumer", "reader").lines
        == recordLines(2..<5) + ["more"])
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).count == 2)
  }

  @Test(
    "a copy that is stopped or fails leaves nothing, and an error of its disk names the copy",
    arguments: ["snapshot", "restore"])
  func unfinished(verb: String) throws {
    let directory = try TemporaryDirectory()
    let (topic, copy) = (directory.at("topic"), directory.at("copy"))
    try makeTopic(topic, records: 3)
    // A hole: copying it takes long enough for a signal to come first.
    let slab = try FileHandle(forWritingTo: URL(fileURLWithPath: try slabPaths(topic)[0]))
    try slab.truncate(atOffset: 4 << 30)
    try slab.close()
    let running = try RunningDiskq(verb, topic, copy)
    while try FileManager.default.contentsOfDirectory(atPath: directory.path).count == 1 {}
    running.send(SIGTERM)
    let stopped = try running.outcome()
    #expect(stopped.status == 128 + SIGTERM)
    #expect(stopped.errorLines.count == 1)
    #expect(stopped.errors.contains("the unfinished copy was removed [\(copy)]"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["topic"])
    let full = try Diskq.shell(
      "ulimit -f 64; export TMPDIR=/dev/null; exec \"$0\" \"$1\" \"$2\" \"$3\"", verb, topic, copy)
    #expect(full.status == 2)
    #expect(full.errors.contains("[\(copy).partial-"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["topic"])
  }

  @Test("restore overwrites neither a topic, not even an older copy, nor a file")
  func restoreRefused() throws {
    let directory = try TemporaryDirectory()
    let (topic, copy) = (directory.at("topic"), directory.at("copy"))
    try makeTopic(topic, records: 3)
    for path in [copy, directory.at("older")] {
      #expect(try Diskq.run("snapshot", topic, path).status == 0)
    }
    try writeFile(directory.at("file"), [1, 2, 3])
    let before = try snapshot(directory.path)
    for path in [topic, directory.at("older"), directory.at("file")] {
      let refused = try Diskq.run("restore", copy, path)
      #expect(refused.status == 2)
      #expect(
        refused.errorLines == [
          "diskq: there is something at this path, and it is not overwritten: move it away, or"
            + " choose another path [\(path)]"
        ])
    }
    #expect(try Diskq.run("restore", directory.at("missing"), directory.at("new")).status == 2)
    #expect(try snapshot(directory.path) == before)
    try FileManager.default.createDirectory(
      atPath: directory.at("empty"), withIntermediateDirectories: false)
    #expect(try Diskq.run("restore", copy, directory.at("empty")).status == 0)
    #expect(try Diskq.run("read", directory.at("empty")).lines == recordLines(0..<3))
  }
}
