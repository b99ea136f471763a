// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@Suite("diskq dump")
struct DumpTests {
  /// The word after the address in each line.
  private func kinds(_ lines: [String]) -> [String] {
    lines.map { line in
      line.split(separator: " ", omittingEmptySubsequences: true).dropFirst().first.map(String.init)
        ?? ""
    }
  }

  @Test("the header, the marks and the records of a slab are printed in order")
  func dump() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 3)
    let slab = try slabPaths(topic)[0]
    let dumped = try Diskq.run("dump", slab)
    #expect(dumped.status == 0)
    let bytes = try readFile(slab).count
    #expect(
      dumped.lines[0].hasPrefix(
        "slab 00000000000000000000.slab: version 2, \(bytes) bytes, topic "))
    #expect(
      kinds(Array(dumped.lines.dropFirst()))
        == ["header", "mark", "record", "record", "record", "mark"])
    #expect(dumped.lines[1].contains("ordinal 0, made 20"))
    #expect(dumped.lines[1].hasSuffix("synced 0, kept 0, largest payload 16777216"))
    #expect(
      dumped.lines[4].split(separator: " ", maxSplits: 1).map(String.init)
        == ["\(addresses[1])", " record  ordinal 1, 8 bytes: \"record 1\""])
    #expect(dumped.lines[6].hasSuffix("closes the topic"))
  }

  @Test("what is no frame is shown as a stretch, and the frames behind it as well")
  func damaged() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 5)
    let slab = try slabPaths(topic)[0]
    try flipBit(slab, byte: addresses[2] + 10)
    let dumped = try Diskq.run("dump", slab)
    #expect(dumped.status == 0)
    #expect(
      kinds(Array(dumped.lines.dropFirst()))
        == ["header", "mark", "record", "record", "-", "record", "record", "mark"])
    #expect(dumped.lines[5].hasSuffix("16 bytes that make no sound frame"))
    // Until the next mark, the number of records is unknown.
    #expect(dumped.lines[6].hasSuffix("record  8 bytes: \"record 3\""))
  }

  @Test("without its header a slab still tells its frames")
  func damagedHeader() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 2)
    let slab = try slabPaths(topic)[0]
    try flipBit(slab, byte: 30)
    let dumped = try Diskq.run("dump", slab)
    #expect(dumped.lines[0].hasSuffix("; header damaged"))
    #expect(
      kinds(Array(dumped.lines.dropFirst())) == ["-", "mark", "record", "record", "mark"])
  }

  @Test("a slab that queuefka wrote is told by its first frame")
  func version1() throws {
    let slab = Fixture.version1Topic + "/00000000000000065540.slab"
    let dumped = try Diskq.run("dump", slab)
    #expect(dumped.status == 0)
    #expect(dumped.lines[0] == "slab 00000000000000065540.slab: version 1, 65540 bytes")
    #expect(dumped.lines[1].contains("               65540  record  21 bytes: \"2010/"))
    #expect(Set(kinds(Array(dumped.lines.dropFirst()))) == ["record"])
  }

  @Test("bytes that are no text are printed in hexadecimal, and long payloads are cut")
  func payloads() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let long = String(repeating: "é", count: 10_000)
    let input = Array("tab\there\n".utf8) + [0xFF, 0x01, 0x0A] + Array("x\(long)\n".utf8)
    #expect(try Diskq.run(["append", topic], input: input).status == 0)
    let lines = try Diskq.run("dump", try slabPaths(topic)[0]).lines
    #expect(lines.contains { $0.hasSuffix(#"8 bytes: "tab\there""#) })
    #expect(lines.contains { $0.hasSuffix("2 bytes: ff01") })
    // The text is cut between two bytes of a character, and neither byte is shown.
    let cut = "x" + String(repeating: "é", count: 31)
    #expect(lines.contains { $0.hasSuffix("20001 bytes: \"\(cut)\"…") })
  }

  @Test("what is no slab is refused")
  func noSlab() throws {
    let directory = try TemporaryDirectory()
    let named = try Diskq.run("dump", Fixture.temperatures)
    #expect(named.status == 2)
    #expect(named.errors.contains("a slab's name is 20 decimal digits and .slab"))
    let missing = directory.at("00000000000000000000.slab")
    let dumped = try Diskq.run("dump", missing)
    #expect(dumped.status == 2)
    #expect(dumped.errorLines == ["diskq: there is no slab at this path: check it [\(missing)]"])
    let nothing = try Diskq.run("dump", directory.at("topic"))
    #expect(nothing.status == 2)
    #expect(
      nothing.errorLines == [
        "diskq: there is no topic and no slab at this path: check it [\(directory.at("topic"))]"
      ])
  }

  @Test("of a topic, all slabs are printed in order")
  func topic() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 1_000, options: ["--slab-size", "8KiB"])
    let slabs = try slabPaths(topic)
    try #require(slabs.count > 2)
    let dumped = try Diskq.run("dump", topic + "/")
    #expect(dumped.status == 0)
    let each = try slabs.map { try Diskq.run("dump", $0).text }
    #expect(dumped.text == each.joined())
    let empty = try Diskq.run("dump", directory.path)
    #expect(empty.status == 2)
    #expect(empty.errors.contains("the directory holds other files and no topic"))
  }
}
