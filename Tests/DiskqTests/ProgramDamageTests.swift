// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Foundation
import Testing

/// Damages the topic in a few of the ways that the library's tests try exhaustively, and runs the
/// program.
@Suite("Damage, through the program")
struct ProgramDamageTests {
  let directory: TemporaryDirectory
  let topic: String
  let lines: [String]

  init() throws {
    directory = try TemporaryDirectory()
    topic = directory.path + "/topic"
    lines = (0..<500).map { "record \($0) of the topic that is hit" }
    let outcome = try Diskq.run(
      ["append", topic, "--slab-size", "8KiB"],
      input: Array(lines.map { $0 + "\n" }.joined().utf8))
    #expect(outcome.status == 0)
  }

  @Test("a flipped bit costs at most the record it hits, is named once, and verify exits 1")
  func flips() throws {
    var random = SeededGenerator(seed: 2026)
    let files = try slabs(topic)
    let bases = files.keys.sorted()
    let last = try #require(bases.last)
    let closingMark = last + UInt64(files[last]?.count ?? 0) - 48
    for _ in 0..<200 {
      let base = bases[random.below(bases.count)]
      let bit = random.below((files[base]?.count ?? 0) * 8)
      let path = topic + "/" + SlabName.string(base)
      try flipBit(path, byte: bit / 8, bit: bit % 8)
      let read = try Diskq.run("read", topic)
      let verified = try Diskq.run("verify", topic, "--json")
      let place = "bit \(bit) of slab \(base)"
      let printed = read.lines
      let found = Set(printed)
      let missing = lines.filter { !found.contains($0) }
      #expect(printed == lines.filter { found.contains($0) }, "\(place)")
      if base + UInt64(bit / 8) >= closingMark {
        #expect(read.status == 0 && verified.status == 0 && missing.isEmpty, "\(place)")
        #expect(verified.text.contains("not-closed"), "\(place)")
      } else {
        #expect(read.status == 1 && verified.status == 1, "\(place)")
        #expect(missing.count <= 1, "\(place)")
        let losses = verified.lines.filter { $0.contains("\"kind\":\"damaged\"") }
        #expect(losses.count == 1, "\(place)")
        #expect(losses.first?.contains("\"records\":\(missing.count)") == true, "\(place)")
      }
      try flipBit(path, byte: bit / 8, bit: bit % 8)
    }
  }

  @Test("a cut of the last slab costs what does not end before it, is a tail, and verify exits 0")
  func cuts() throws {
    var random = SeededGenerator(seed: 2027)
    let base = try #require(try slabs(topic).keys.max())
    let path = topic + "/" + SlabName.string(base)
    let bytes = try readFile(path)
    let records = try readAll(Topic(topic)).records
    for _ in 0..<30 {
      let length = random.below(bytes.count)
      try writeFile(path, Array(bytes.prefix(length)))
      let kept = records.filter {
        $0.address.rawValue + 8 + UInt64($0.payload.count) <= base + UInt64(length)
      }
      let read = try Diskq.run("read", topic)
      #expect(read.status == 0, "cut at \(length)")
      #expect(read.lines == kept.map { $0.text ?? "" }, "cut at \(length)")
      let verified = try Diskq.run("verify", topic)
      #expect(verified.status == 0, "cut at \(length): \(verified.text)")
    }
    // A writer reports the unclean end, and goes on.
    let appended = try Diskq.run("append", topic, input: "behind the cut\n")
    #expect(appended.status == 0)
    #expect(appended.errors.contains("had not been closed"))
    #expect(try Diskq.run("read", topic).lines.last == "behind the cut")
  }
}
