// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@Suite("diskq dead-letters")
struct DeadLettersVerbTests {
  /// A topic of five records, of which a consumer has put aside two.
  private func makeLetters(_ topic: String) throws -> [Int] {
    let addresses = try makeTopic(topic, records: 5)
    let outcome = try Diskq.run(
      "consume", topic, "--consumer", "reader", "--retries", "0", "--dead-letter", "--exec",
      "read -r line; case $line in *1|*3) exit 7;; esac")
    #expect(outcome.status == 0)
    return addresses
  }

  @Test("each is listed with its reason, and with the ordinal and address that it had")
  func list() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeLetters(topic)
    let list = try Diskq.run("dead-letters", topic)
    #expect(list.status == 0)
    let rows = list.lines.map { $0.split(separator: " ").map(String.init) }
    #expect(rows.count == 3)
    #expect(rows[0] == ["address", "ordinal", "was", "at", "bytes", "reason"])
    for (row, number) in zip(rows.dropFirst(), [1, 3]) {
      #expect(row[1...3] == ["\(number)", "\(addresses[number])", "8"])
      #expect(row.dropFirst(4).contains("7"))
    }
    let json = try Diskq.run("dead-letters", topic, "--json", "--limit", "1").lines
    #expect(json.count == 1)
    let letter = try object(json[0])
    #expect(letter["originalAddress"] as? Int == addresses[1])
    #expect(letter["originalOrdinal"] as? Int == 1)
    #expect(letter["text"] as? String == "record 1")
    // The path of the dead letters themselves is accepted too.
    #expect(try Diskq.run("dead-letters", topic + ".dead/").lines == list.lines)
  }

  @Test("redriven records are in the topic again, and no longer on the list")
  func redrive() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    _ = try makeLetters(topic)
    let one = try Diskq.run("dead-letters", topic, "--redrive", "--limit", "1")
    #expect(one.status == 0 && one.output.isEmpty)
    #expect(one.errorLines == ["diskq: 1 record appended again [\(topic)]"])
    #expect(try Diskq.run("dead-letters", topic).lines.count == 2)
    let other = directory.at("other")
    let rest = try Diskq.run("dead-letters", topic, "--redrive", "--to", other)
    #expect(rest.errorLines == ["diskq: 1 record appended again [\(other)]"])
    #expect(try Diskq.run("read", topic).lines == recordLines(0..<5) + ["record 1"])
    #expect(try Diskq.run("read", other).lines == ["record 3"])
    let none = try Diskq.run("dead-letters", topic)
    #expect(none.status == 0 && none.output.isEmpty && none.errors.isEmpty)
    let again = try Diskq.run("dead-letters", topic, "--redrive")
    #expect(again.errorLines == ["diskq: 0 records appended again [\(topic)]"])
    #expect(try Diskq.run("read", topic + ".dead", "--dead-letters").lines.count == 2)
  }

  @Test("a topic without dead letters has an empty list, and a missing topic is an error")
  func none() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    for path in [topic, topic + ".dead"] {
      let missing = try Diskq.run("dead-letters", path)
      #expect(missing.status == 2)
      #expect(missing.errors.contains("there is no topic at this path"))
    }
    try makeTopic(topic, records: 1)
    for options in [[], ["--json"]] {
      for path in [topic, topic + ".dead", topic + ".dead/"] {
        let list = try Diskq.run(["dead-letters", path] + options)
        #expect(list.status == 0 && list.output.isEmpty && list.errors.isEmpty)
      }
    }
    #expect(try Diskq.run("dead-letters", topic, "--redrive").status == 0)
    #expect(try Diskq.run("read", topic).lines == recordLines(0..<1))
  }

  @Test(
    "records that are no dead letters are refused, and while a writer is at work nothing is done")
  func refused() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    _ = try makeLetters(topic)
    let writer = try RunningDiskq("append", topic, "--print-addresses")
    try writer.write("live\n")
    #expect(try writer.readLine() != nil)
    let locked = try Diskq.run("dead-letters", topic, "--redrive")
    #expect(locked.status == 2)
    #expect(locked.errors.contains("another writer"))
    #expect(try Diskq.run("dead-letters", topic).lines.count == 3)
    try writer.closeInput()
    #expect(try writer.outcome().status == 0)
    try makeTopic(directory.at("plain.dead"), records: 1)
    let plain = try Diskq.run("dead-letters", directory.at("plain"))
    #expect(plain.status == 2)
    #expect(plain.errors.contains("plain.dead"))
    let read = try Diskq.run("read", directory.at("plain.dead"), "--dead-letters")
    #expect(read.status == 2)
    #expect(read.errors.contains("[\(directory.at("plain.dead"))] [address "))
  }

  @Test("a damaged dead letter is reported once, and the later ones are redriven")
  func damaged() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    _ = try makeLetters(topic)
    let first = try #require(
      try object(Diskq.run("dead-letters", topic, "--json").lines[0])["address"] as? Int)
    try flipBit(try slabPaths(topic + ".dead")[0], byte: first + 20)
    let list = try Diskq.run("dead-letters", topic)
    #expect(list.status == 1 && list.lines.count == 2)
    let redriven = try Diskq.run("dead-letters", topic, "--redrive")
    #expect(redriven.status == 1)
    #expect(redriven.errorLines.count == 2)
    #expect(redriven.errorLines.first?.contains("damaged, 1 record lost") == true)
    #expect(redriven.errorLines.last == "diskq: 1 record appended again [\(topic)]")
    #expect(try Diskq.run("read", topic).lines == recordLines(0..<5) + ["record 3"])
    let again = try Diskq.run("dead-letters", topic, "--redrive")
    #expect(again.status == 0)
    #expect(again.errorLines == ["diskq: 0 records appended again [\(topic)]"])
  }
}
