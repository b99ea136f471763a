// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@Suite("diskq read")
struct ReadTests {
  @Test("what queuefka wrote is read, every line, and left as it is")
  func version1() throws {
    let before = try snapshot(Fixture.version1Topic)
    let read = try Diskq.run("read", Fixture.version1Topic)
    #expect(read.status == 0)
    #expect(read.lines.count == 8_759)
    #expect(read.lines == (try Fixture.readings()))
    #expect(try snapshot(Fixture.version1Topic) == before)
  }

  @Test("JSON has its keys in order, text where it is UTF-8, and base64 elsewhere")
  func json() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let texts = ["plain", "quote \" back \\ tab\t bell\u{7} nul\0", "été 🌡", ""]
    var input: [UInt8] = []
    for payload in texts.map({ Array($0.utf8) }) + [[0xFF], [0xFF, 0xFE], [0xFB, 0xEF, 0xBE]] {
      input += [UInt8(payload.count), 0, 0, 0] + payload
    }
    #expect(try Diskq.run(["append", topic, "--length-prefixed"], input: input).status == 0)
    let lines = try Diskq.run("read", topic, "--format", "json").lines
    #expect(lines.count == 7)
    #expect(lines[0] == #"{"address":128,"ordinal":0,"length":5,"text":"plain"}"#)
    for (number, text) in texts.enumerated() {
      let record = try object(lines[number])
      #expect(record["text"] as? String == text)
      #expect(record["ordinal"] as? Int == number)
      #expect(record["length"] as? Int == text.utf8.count)
    }
    #expect(lines[1].contains(#"quote \" back \\ tab\t bell\u0007 nul\u0000"#))
    #expect(lines[4].hasSuffix(#","length":1,"payload":"/w=="}"#))
    #expect(lines[5].hasSuffix(#","length":2,"payload":"//4="}"#))
    #expect(lines[6].hasSuffix(#","length":3,"payload":"++++"}"#))
  }

  @Test("raw puts nothing between records")
  func raw() throws {
    let directory = try TemporaryDirectory()
    try makeTopic(directory.at("topic"), records: 3)
    let read = try Diskq.run("read", directory.at("topic"), "--format", "raw")
    #expect(read.text == "record 0record 1record 2")
  }

  @Test("it begins where it is told to, and ends at the limit")
  func positions() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 50)
    func read(_ options: String...) throws -> [String] {
      let outcome = try Diskq.run(["read", topic] + options)
      #expect(outcome.status == 0)
      return outcome.lines
    }
    let all = (0..<50).map { "record \($0)" }
    #expect(try read() == all)
    #expect(try read("--from", "earliest") == all)
    #expect(try read("--from", "0") == all)
    #expect(try read("--from", "latest") == [])
    #expect(try read("--from", "\(addresses[48])") == ["record 48", "record 49"])
    #expect(try read("--from", "ordinal:47", "--limit", "2") == ["record 47", "record 48"])
    #expect(try read("--limit", "0") == [])
    for start in ["2h", "7d", "36h", "90s", "2010-01-01", "2010-01-01T00:00Z", "1969-12-31"] {
      #expect(try read("--from", start) == all)
    }
    #expect(try read("--from", "2099-01-01T00:00:00.5+02:00").count < 50)
  }

  @Test("it ends before the position of --to")
  func end() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 50)
    func read(_ options: String...) throws -> [String] {
      let outcome = try Diskq.run(["read", topic] + options)
      #expect(outcome.status == 0 && outcome.errors == "")
      return outcome.lines
    }
    #expect(try read("--to", "\(addresses[3])") == recordLines(0..<3))
    #expect(try read("--to", "\(addresses[3] + 1)") == recordLines(0..<4))
    #expect(try read("--to", "ordinal:7") == recordLines(0..<7))
    #expect(try read("--from", "ordinal:5", "--to", "ordinal:7") == recordLines(5..<7))
    #expect(try read("--from", "ordinal:7", "--to", "ordinal:5") == [])
    #expect(try read("--to", "ordinal:7", "--limit", "2") == recordLines(0..<2))
    for end in ["earliest", "0", "ordinal:0", "1w", "2010-01-01"] {
      #expect(try read("--to", end) == [], "\(end)")
    }
    for end in ["latest", "now", "2099-01-01", "ordinal:1000", "99999999"] {
      #expect(try read("--to", end) == recordLines(0..<50), "\(end)")
    }
  }

  @Test("a time as the end leaves out no record before it")
  func endTime() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    #expect(try Diskq.run("append", topic, input: "early\n").status == 0)
    let info = try Diskq.run("info", topic, "--json").lines
    let newest = try #require(try object(info[0])["newest"] as? String)
    #expect(try Diskq.run("append", topic, input: "late\n").status == 0)
    // The next mark after this time is the one with which the topic was opened again.
    #expect(try Diskq.run("read", topic, "--to", later(newest)).lines == ["early"])
    #expect(try Diskq.run("read", topic, "--from", later(newest)).lines == ["late"])
    // A record after the last mark is older than a time without a mark after it.
    let appender = try RunningDiskq("append", topic, "--ensure", "flushed", "--print-addresses")
    try appender.write("last\n")
    #expect(try appender.readLine() != nil)
    #expect(try Diskq.run("read", topic, "--to", "now").lines == ["early", "late", "last"])
    try appender.closeInput()
    #expect(try appender.outcome().status == 0)
  }

  @Test("--to with --follow takes no time")
  func endAndFollow() throws {
    let outcome = try Diskq.run("read", "topic", "--follow", "--to", "2099-01-01")
    #expect(outcome.status == 64)
    #expect(outcome.errors.contains("--to with --follow takes an address or ordinal:N"))
  }

  @Test("an address below the first record begins there, and the message says so")
  func belowFirst() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 5)
    let message =
      "diskq: no record starts at address 90: beginning at \(addresses[0]), after it [\(topic)]"
    let read = try Diskq.run("read", topic, "--from", "90")
    #expect(read.status == 0)
    #expect(read.lines == recordLines(0..<5))
    #expect(read.errorLines == [message])
    let consumed = try Diskq.run("consume", topic, "--consumer", "one", "--from", "90")
    #expect(consumed.status == 0)
    #expect(consumed.lines == recordLines(0..<5))
    #expect(consumed.errorLines == [message])
    // An existing consumer goes on from its own position.
    let again = try Diskq.run("consume", topic, "--consumer", "one", "--from", "90")
    #expect(again.errors == "" && again.output == [])
    #expect(try Diskq.run("read", topic, "--from", "0").errors == "")
  }

  @Test("a time and an age begin at the mark before them")
  func times() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    #expect(try Diskq.run("append", topic, input: "early\n").status == 0)
    let info = try Diskq.run("info", topic, "--json").lines
    let newest = try #require(try object(info[0])["newest"] as? String)
    #expect(try Diskq.run("append", topic, input: "late\n").status == 0)
    // The time is after the mark that closed the topic. The mark that opened it again is after this
    // time.
    let read = try Diskq.run("read", topic, "--from", later(newest))
    #expect(read.lines == ["late"])
    // The same hour in another zone.
    let read2 = try Diskq.run("read", topic, "--from", "1970-01-01T01:00:00,000+0100")
    #expect(read2.lines == ["early", "late"])
  }

  /// The stamp one nanosecond later, by its last digit before the zone.
  private func later(_ stamp: String) -> String {
    var digits = Array(stamp.utf8.dropLast())
    var place = digits.count - 1
    while place > 0, digits[place] == UInt8(ascii: "9") {
      digits[place] = UInt8(ascii: "0")
      place -= 1
    }
    digits[place] += 1
    return String(decoding: digits, as: UTF8.self) + "Z"
  }

  @Test("addresses that are none are refused")
  func wrongPositions() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 5)
    let inside = try Diskq.run("read", topic, "--from", "\(addresses[2] + 3)")
    #expect(inside.status == 2)
    #expect(inside.errorLines.count == 1)
    #expect(inside.errors.contains("It is inside the record that starts at \(addresses[2])"))
    let beyond = try Diskq.run("read", topic, "--from", "ordinal:6")
    #expect(beyond.status == 2)
    #expect(beyond.errors.contains("past the end of the topic"))
  }

  @Test("damage is skipped, told, and makes the status 1")
  func skipsDamage() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 100)
    let slab = try #require(try slabPaths(topic).first)
    try flipBit(slab, byte: addresses[40] + 10)
    let read = try Diskq.run("read", topic)
    #expect(read.status == 1)
    #expect(read.lines == (0..<100).filter { $0 != 40 }.map { "record \($0)" })
    #expect(
      read.errorLines == [
        "diskq: \(addresses[40]) up to \(addresses[41]): damaged, 1 record lost [\(topic)]"
      ])
  }

  @Test("told to stop at damage, it prints what comes before")
  func stopsAtDamage() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 3_000, options: ["--slab-size", "4KiB"])
    let slab = try slabPaths(topic)[1]
    let base = try #require(Int((slab as NSString).lastPathComponent.dropLast(5)))
    let hit = try #require(addresses.firstIndex { $0 > base + 500 })
    try flipBit(slab, byte: addresses[hit] - base + 9)
    let read = try Diskq.run("read", topic, "--damage", "stop")
    #expect(read.status == 1)
    #expect(read.errorLines.count == 1)
    #expect(read.errors.contains("damaged, 1 record lost"))
    // A loss is reported when the next known ordinal is reached, at the latest at the slab's end.
    #expect(read.lines.count < 3_000)
    #expect(read.lines.starts(with: (0..<hit).map { "record \($0)" }))
    #expect(!read.lines.contains("record \(hit)"))
  }

  @Test("a record above the reader's limit is reported and passed")
  func tooLarge() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let long = String(repeating: "x", count: 2_000)
    #expect(try Diskq.run("append", topic, input: "one\n\(long)\ntwo\n").status == 0)
    let read = try Diskq.run("read", topic, "--maximum-payload", "1KiB")
    #expect(read.status == 1)
    #expect(read.lines == ["one", "two"])
    #expect(read.errorLines.count == 1)
    #expect(read.errors.contains("a record of 2000 bytes is above this reader's limit of 1KiB"))
    let raised = try Diskq.run("read", topic, "--maximum-payload", "2KiB")
    #expect(raised.lines == ["one", long, "two"])
  }

  @Test("without a limit, read and consume give what any writer may have written")
  func noLimit() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    // The size is above the default limit of a reader in the library.
    let payload = [UInt8](repeating: 7, count: 17 << 20)
    #expect(
      try Diskq.run(
        ["append", topic, "--whole", "--maximum-payload", "32MiB"], input: payload
      ).status == 0)
    for command in [["read", topic], ["consume", topic, "--consumer", "one"]] {
      let read = try Diskq.run(command + ["--format", "raw"])
      #expect(read.status == 0 && read.output == payload && read.errors == "")
    }
  }

  @Test("that nobody reads to the end is no failure")
  func closedPipe() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 100_000)
    let read = try Diskq.shell(
      "{ \"$0\" read \"$1\"; echo \"status $?\" >&2; } | head -n 1", topic)
    #expect(read.lines == ["record 0"])
    #expect(read.errorLines == ["status 0"])
  }

  @Test("an output that takes no more is a failure")
  func fullOutput() throws {
    let directory = try TemporaryDirectory()
    try makeTopic(directory.at("topic"), records: 10)
    let read = try Diskq.shell("\"$0\" read \"$1\" >&-", directory.at("topic"))
    #expect(read.status == 2)
    #expect(read.errorLines == ["diskq: writing failed: Bad file descriptor [standard output]"])
  }
}
