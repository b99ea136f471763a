// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@Suite("diskq consumers")
struct ConsumersTests {
  @Test("it lists by name, for people and as JSON, and prints nothing where there is none")
  func list() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 10)
    let before = try snapshot(topic)
    let none = try Diskq.run("consumers", topic)
    #expect(none.status == 0 && none.output == [] && none.errors == "")
    #expect(try snapshot(topic) == before)
    for name in ["b", "a.long-name_1"] {
      #expect(try Diskq.run("consume", topic, "--consumer", name, "--limit", "4").status == 0)
    }
    try damageCursor("b", of: topic)
    let list = try Diskq.run("consumers", topic)
    #expect(list.status == 0)
    #expect(list.lines.map { String($0.prefix(4)) } == ["cons", "a.lo", "b   "])
    #expect(list.lines[2].hasSuffix("damaged: reset it to a position, or delete it"))
    let lines = try Diskq.run("consumers", topic, "--json").lines
    #expect(lines.count == 2)
    #expect(lines[0].hasPrefix("{\"name\":\"a.long-name_1\",\"state\":\"sound\",\"position\":"))
    let first = try object(lines[0])
    #expect(first["ordinal"] as? Int == 4)
    #expect(first["recordsLeft"] as? Int == 6)
    #expect((first["bytesLeft"] as? Int ?? 0) > 6 * 8)
    #expect(
      lines[1].hasPrefix(
        "{\"name\":\"b\",\"state\":\"damaged\",\"position\":null,\"ordinal\":null,"
          + "\"recordsLeft\":null,\"bytesLeft\":null,\"holder\":{\"pid\":"))
    #expect(lines[1].hasSuffix(",\"alive\":false}}"))
  }

  @Test("a consumer is set to a position, and printed there")
  func reset() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 10)
    #expect(try Diskq.run("consume", topic, "--consumer", "one", "--limit", "4").status == 0)
    #expect(try Diskq.run("consume", topic, "--consumer", "two", "--limit", "1").status == 0)
    for (position, ordinal) in [
      ("earliest", 0), ("ordinal:7", 7), ("\(addresses[3])", 3), ("latest", 10), ("1d", 0),
    ] {
      let reset = try Diskq.run("consumers", topic, "--reset", "one", "--to", position, "--json")
      #expect(reset.status == 0)
      #expect(reset.lines.count == 1)
      #expect(try object(reset.lines[0])["ordinal"] as? Int == ordinal)
      #expect(try consumer("one", of: topic)["ordinal"] as? Int == ordinal)
    }
    #expect(try consumer("two", of: topic)["ordinal"] as? Int == 1)
    let text = try Diskq.run("consumers", topic, "--reset", "one", "--to", "ordinal:2")
    #expect(text.lines.count == 2)
    #expect(
      try Diskq.run("consume", topic, "--consumer", "one").lines == recordLines(2..<10))
    for (name, position) in [("one", "\(addresses[3] + 1)"), ("none", "earliest")] {
      #expect(try Diskq.run("consumers", topic, "--reset", name, "--to", position).status == 2)
    }
    #expect(try consumer("one", of: topic)["ordinal"] as? Int == 10)
    #expect(try consumer("none", of: topic).isEmpty)
  }

  @Test("a consumer that was deleted begins anew")
  func delete() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 3)
    #expect(try Diskq.run("consume", topic, "--consumer", "one").lines.count == 3)
    let deleted = try Diskq.run("consumers", topic, "--delete", "one")
    #expect(deleted.status == 0 && deleted.output == [] && deleted.errors == "")
    let again = try Diskq.run("consumers", topic, "--delete", "one")
    #expect(again.status == 2)
    #expect(again.errors.contains("the topic has no consumer \"one\""))
    #expect(try Diskq.run("consume", topic, "--consumer", "one").lines == recordLines(0..<3))
  }

  @Test("while one is held, it is neither set nor deleted, and that is said")
  func held() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 3)
    let follower = try RunningDiskq("consume", topic, "--consumer", "one", "--follow")
    #expect(try follower.readLine() == "record 0")
    for options in [["--delete", "one"], ["--reset", "one", "--to", "earliest"]] {
      let refused = try Diskq.run(["consumers", topic] + options)
      #expect(refused.status == 2)
      #expect(refused.errorLines.count == 1)
      #expect(refused.errors.contains("another holder has the consumer \"one\" open"))
    }
    #expect(try Diskq.run("consumers", topic).lines.count == 2)
    follower.send(SIGTERM)
    #expect(try follower.outcome().status == 0)
  }

  @Test("a consumer is created at a position, without reading, and never over another one")
  func create() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 10)
    for (name, position, ordinal) in [
      ("first", "earliest", 0), ("second", "\(addresses[3])", 3), ("third", "latest", 10),
    ] {
      let created = try Diskq.run(
        "consumers", topic, "--create", name, "--at", position, "--json")
      #expect(created.status == 0)
      #expect(created.lines.count == 1)
      #expect(try object(created.lines[0])["ordinal"] as? Int == ordinal)
    }
    #expect(try Diskq.run("consume", topic, "--consumer", "second").lines == recordLines(3..<10))
    let again = try Diskq.run("consumers", topic, "--create", "second", "--at", "earliest")
    #expect(again.status == 2)
    #expect(again.errors.contains("the topic already has a consumer \"second\""))
    #expect(try consumer("second", of: topic)["ordinal"] as? Int == 10)
    let wrong = try Diskq.run(
      "consumers", topic, "--create", "fourth", "--at", "\(addresses[3] + 1)")
    #expect(wrong.status == 2)
    let names = try FileManager.default.contentsOfDirectory(atPath: topic + "/consumers")
    #expect(!names.contains { $0.hasPrefix("fourth") })
  }
}
