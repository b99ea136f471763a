// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@Suite("diskq verify")
struct VerifyTests {
  @Test("a sound topic has no damage")
  func sound() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    #expect(try Diskq.run("append", topic, Fixture.temperatures).status == 0)
    let verified = try Diskq.run("verify", topic)
    #expect(verified.status == 0)
    #expect(
      verified.lines == ["8760 records and 183948 payload bytes in 1 slab: no damage"])
    let summary = try object(try Diskq.run("verify", topic, "--json").lines[0])
    #expect(summary["kind"] as? String == "summary")
    #expect(summary["damaged"] as? Bool == false)
    #expect(summary["state"] as? String == "closed")
    #expect(summary["records"] as? Int == 8_760)
  }

  @Test("a flipped bit is one lost record, with its slab, range and count")
  func flippedBit() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 2_000, options: ["--slab-size", "8KiB"])
    let slab = try slabPaths(topic)[2]
    let base = try #require(Int((slab as NSString).lastPathComponent.dropLast(5)))
    let hit = try #require(addresses.firstIndex { $0 > base + 1_000 })
    try flipBit(slab, byte: addresses[hit] - base + 11)
    let before = try snapshot(topic)

    let verified = try Diskq.run("verify", topic)
    #expect(verified.status == 1)
    #expect(verified.errors.isEmpty)
    #expect(
      verified.lines.first
        == "\(addresses[hit]) up to \(addresses[hit + 1]): damaged, 1 record lost [\(slab)]")
    #expect(verified.lines.count == 2)
    #expect(verified.lines[1].hasPrefix("1999 records and "))
    #expect(verified.lines[1].hasSuffix(": 1 record lost in 1 damaged range"))

    let json = try Diskq.run("verify", topic, "--json")
    #expect(json.status == 1)
    #expect(
      json.lines.first
        == #"{"kind":"damaged","slab":"\#(slab)","from":\#(addresses[hit]),"#
        + #""to":\#(addresses[hit + 1]),"records":1}"#)
    let summary = try object(json.lines[1])
    #expect(summary["damagedRanges"] as? Int == 1)
    #expect(summary["damagedRecords"] as? Int == 1)
    #expect(summary["damageIsUncounted"] as? Bool == false)
    #expect(try snapshot(topic) == before)
  }

  @Test("a slab that is missing is damage, with its count")
  func missingSlab() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 2_000, options: ["--slab-size", "8KiB"])
    let files = try slabPaths(topic)
    let bases = try files.map { try #require(Int(($0 as NSString).lastPathComponent.dropLast(5))) }
    try FileManager.default.removeItem(atPath: files[2])
    let gone = addresses.count { $0 >= bases[2] && $0 < bases[3] }
    let verified = try Diskq.run("verify", topic)
    #expect(verified.status == 1)
    #expect(verified.lines.first?.hasPrefix("\(bases[2]) up to \(bases[3]): damaged, ") == true)
    #expect(verified.lines.first?.contains("\(gone) records lost") == true)
    #expect(verified.lines.last?.hasPrefix("\(2_000 - gone) records") == true)
  }

  @Test("the tail that a crash left is described, and no damage")
  func crashTail() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 100)
    let slab = try slabPaths(topic)[0]
    try truncateFile(slab, to: addresses[99] + 12)
    let verified = try Diskq.run("verify", topic)
    #expect(verified.status == 0)
    let payload = (0..<99).map { "record \($0)".utf8.count }.reduce(0, +)
    #expect(
      verified.lines == [
        "\(addresses[99]) up to \(addresses[99] + 12): after the end of the log, 12 bytes with"
          + " 0 sound records [\(slab)]",
        "the topic is not closed: the last writer ended without closing it, and the next one"
          + " recovers it [\(topic)]",
        "99 records and \(payload) payload bytes in 1 slab: no damage",
      ])
    let json = try Diskq.run("verify", topic, "--json")
    #expect(json.status == 0)
    let kinds = try json.lines.map { try object($0)["kind"] as? String }
    #expect(kinds == ["tail", "not-closed", "summary"])
  }

  @Test("a tail that recovery discarded is named for good, with the sound records in it")
  func discardedTail() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 100)
    let slab = try slabPaths(topic)[0]
    // A hole, as a power cut leaves it, and after it sound records that no mark proves.
    try flipBit(slab, byte: addresses[90] + 9)
    try truncateFile(slab, to: addresses[99] + 12)
    #expect(try Diskq.run("append", topic, input: "after\n").status == 0)
    let verified = try Diskq.run("verify", topic)
    #expect(verified.status == 0)
    #expect(
      verified.lines.first
        == "\(addresses[90]) up to \(addresses[99] + 12): discarded when the topic was recovered,"
        + " \(addresses[99] + 12 - addresses[90]) bytes with 8 sound records [\(slab)]")
    #expect(verified.lines.count == 2)
    #expect(verified.lines[1].hasPrefix("91 records and "))
    let tail = try object(try Diskq.run("verify", topic, "--json").lines[0])
    #expect(tail["kind"] as? String == "discarded-tail")
    #expect(tail["from"] as? Int == addresses[90])
    #expect(tail["records"] as? Int == 8)
  }

  @Test("files that are no part of a topic are named as ignored")
  func otherNames() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 1)
    try Data().write(to: URL(fileURLWithPath: topic + "/notes.txt"))
    let verified = try Diskq.run("verify", topic)
    #expect(verified.status == 0)
    #expect(verified.lines.first == "ignored: not part of a topic [\(topic)/notes.txt]")
    #expect(verified.lines.count == 2)
  }

  @Test("a slab under another name is told, and counts as damage")
  func renamedSlab() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 1_000, options: ["--slab-size", "8KiB"])
    let last = try #require(try slabPaths(topic).last)
    let base = try #require(Int((last as NSString).lastPathComponent.dropLast(5)))
    let renamed = topic + "/00000000000000999999.slab"
    try FileManager.default.moveItem(atPath: last, toPath: renamed)
    let verified = try Diskq.run("verify", topic)
    #expect(verified.status == 1)
    #expect(
      verified.lines.first
        == "renamed or copied: the header of this slab states \(base), so no record in it can be"
        + " read under this name [\(renamed)]")
    #expect(verified.lines.last?.hasSuffix("1 slab under another name") == true)
  }

  @Test("what queuefka wrote is verified, and damage in it has no count")
  func version1() throws {
    #expect(try Diskq.run("verify", Fixture.version1Topic).status == 0)
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try FileManager.default.copyItem(atPath: Fixture.version1Topic, toPath: topic)
    let slab = try slabPaths(topic)[1]
    try flipBit(slab, byte: 40_000)
    let verified = try Diskq.run("verify", topic)
    #expect(verified.status == 1)
    #expect(verified.lines.first?.hasPrefix("ignored") == true)
    #expect(verified.lines[1].contains(" up to 131080: damaged, an unknown number of records lost"))
    #expect(verified.lines[1].hasSuffix("[\(slab)]"))
    #expect(verified.lines[2].contains("an unknown number of records lost in 1 damaged range"))
  }
}
