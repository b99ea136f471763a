// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@Suite("diskq info")
struct InfoTests {
  @Test("a closed topic of several slabs is described, for people")
  func text() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 1_000, options: ["--slab-size", "8KiB"])
    let files = try slabPaths(topic)
    let bytes = try files.map { try readFile($0).count }.reduce(0, +)
    let info = try Diskq.run("info", topic)
    #expect(info.status == 0)
    #expect(info.errors.isEmpty)
    #expect(
      info.lines.prefix(4) == [
        "topic    \(topic)", "state    closed", info.lines[2], "slabs    \(files.count)",
      ])
    #expect(info.lines[2].hasPrefix("writer   none (the last one was process "))
    #expect(info.lines[3...4] == ["slabs    \(files.count)", "records  1000"])
    #expect(info.lines[5].hasPrefix("bytes    \(bytes) ("))
    #expect(info.lines[6] == "first    \(addresses[0])")
    #expect(info.lines[7] == "next     \(bytes)")
    #expect(info.lines.count == 12 + files.count)
  }

  @Test("JSON is one line, and counts each slab's records")
  func json() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 1_000, options: ["--slab-size", "8KiB"])
    let files = try slabPaths(topic)
    let lines = try Diskq.run("info", topic, "--json").lines
    #expect(lines.count == 1)
    #expect(lines[0].hasPrefix("{\"topic\":\""))
    let info = try object(lines[0])
    #expect(info["state"] as? String == "closed")
    #expect(info["records"] as? Int == 1_000)
    #expect(info["first"] as? Int == addresses[0])
    #expect(info["tailBytes"] as? Int == 0)
    let described = try #require(info["slabs"] as? [[String: Any]])
    #expect(described.count == files.count)
    let counts = described.compactMap { $0["records"] as? Int }
    #expect(counts.reduce(0, +) == 1_000)
    for (index, slab) in described.enumerated() {
      let base = try #require(slab["base"] as? Int)
      let end = base + (try readFile(files[index]).count)
      #expect(counts[index] == addresses.count { $0 >= base && $0 < end })
      #expect(slab["state"] as? String == "sound")
      #expect(slab["version"] as? Int == 2)
      #expect(slab["passedOver"] as? Bool == false)
    }
  }

  @Test("what queuefka wrote is walked and counted")
  func version1() throws {
    let info = try object(try Diskq.run("info", Fixture.version1Topic, "--json").lines[0])
    #expect(info["state"] as? String == "version-1")
    #expect(info["records"] as? Int == 8_759)
    #expect(info["first"] as? Int == 0)
    #expect(info["next"] as? Int == 196_620 + 57_391)
    #expect(info["oldest"] is NSNull)
    let described = try #require(info["slabs"] as? [[String: Any]])
    #expect(described.compactMap { $0["version"] as? Int } == [1, 1, 1, 1])
    #expect(described.compactMap { $0["records"] as? Int }.reduce(0, +) == 8_759)
  }

  @Test("a version 2 slab behind version 1 ones adds to the count")
  func migrated() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try FileManager.default.copyItem(atPath: Fixture.version1Topic, toPath: topic)
    #expect(try Diskq.run("append", topic, input: "one\ntwo\n").status == 0)
    let info = try object(try Diskq.run("info", topic, "--json").lines[0])
    #expect(info["records"] as? Int == 8_761)
    #expect(info["state"] as? String == "closed")
    let described = try #require(info["slabs"] as? [[String: Any]])
    #expect(described.last?["records"] as? Int == 2)
  }

  @Test("an empty directory is an empty topic")
  func empty() throws {
    let directory = try TemporaryDirectory()
    let info = try Diskq.run("info", directory.path)
    #expect(info.status == 0)
    #expect(
      info.lines[1...4] == [
        "state    empty", "writer   none", "slabs    0", "records  0",
      ])
    #expect(try snapshot(directory.path).isEmpty)
  }

  @Test("an end that a crash left is told, with the bytes behind it")
  func tail() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 100)
    try truncateFile(try slabPaths(topic)[0], to: addresses[99] + 12)
    let before = try snapshot(topic)
    let info = try object(try Diskq.run("info", topic, "--json").lines[0])
    #expect(info["state"] as? String == "open")
    #expect(info["records"] as? Int == 99)
    #expect(info["next"] as? Int == addresses[99])
    #expect(info["tailBytes"] as? Int == 12)
    #expect(try snapshot(topic) == before)
  }

  @Test("damaged records are counted, and a damaged header is named")
  func damaged() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 100)
    try flipBit(try slabPaths(topic)[0], byte: 20)
    try flipBit(try slabPaths(topic)[0], byte: addresses[50])
    let info = try object(try Diskq.run("info", topic, "--json").lines[0])
    #expect(info["records"] as? Int == 100)
    let described = try #require(info["slabs"] as? [[String: Any]])
    #expect(described[0]["state"] as? String == "header-damaged")
    #expect(try Diskq.run("info", topic).text.contains("header damaged"))
  }

  @Test("slabs that recovery passed over are marked, and hold no record")
  func passedOver() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 1_000, options: ["--slab-size", "8KiB"])
    let files = try slabPaths(topic)
    // Nothing sound is left of the last two slabs, as if they had never been written.
    for file in files.suffix(2) { try truncateFile(file, to: 10) }
    #expect(try Diskq.run("append", topic, input: "after\n").status == 0)
    let info = try object(try Diskq.run("info", topic, "--json").lines[0])
    let described = try #require(info["slabs"] as? [[String: Any]])
    #expect(described.count == files.count + 1)
    let passed = described.compactMap { $0["passedOver"] as? Bool }
    #expect(passed == files.dropLast(2).map { _ in false } + [true, true, false])
    let read = try Diskq.run("read", topic)
    #expect(info["records"] as? Int == read.lines.count)
  }

  @Test("consumers are listed with what is left for each, and a damaged one is named")
  func consumers() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 100)
    #expect(try !Diskq.run("info", topic).text.contains("consumer"))
    for name in ["alpha", "beta"] {
      let limit = name == "alpha" ? "40" : "0"
      #expect(try Diskq.run("consume", topic, "--consumer", name, "--limit", limit).status == 0)
    }
    try damageCursor("beta", of: topic)
    let info = try Diskq.run("info", topic)
    #expect(info.status == 0)
    let rows = info.lines.suffix(3).map { $0.split(separator: " ").map(String.init) }
    #expect(rows[0].first == "consumer")
    #expect(rows[1].prefix(1) + rows[1][2...3] == ["alpha", "40", "60"])
    #expect(rows[1].last == "none")
    #expect(rows[2].prefix(6) == ["beta", "?", "?", "?", "?", "none"])
    #expect(info.lines.last?.hasSuffix("damaged: reset it to a position, or delete it") == true)
    let object = try object(try Diskq.run("info", topic, "--json").lines[0])
    let described = try #require(object["consumers"] as? [[String: Any]])
    #expect(described.compactMap { $0["name"] as? String } == ["alpha", "beta"])
    #expect(described.compactMap { $0["state"] as? String } == ["sound", "damaged"])
    #expect(described[0]["recordsLeft"] as? Int == 60)
    #expect(described[0]["ordinal"] as? Int == 40)
    let left = try #require(described[0]["bytesLeft"] as? Int)
    let position = try #require(described[0]["position"] as? Int)
    #expect(object["next"] as? Int == position + left)
    #expect(described[1]["position"] is NSNull && described[1]["recordsLeft"] is NSNull)
  }

  @Test("a live writer is distinguished from one that crashed, and its process is named")
  func writer() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let writer = try RunningDiskq("append", topic, "--print-addresses")
    try writer.write("one\n")
    #expect(try writer.readLine() != nil)

    func described() throws -> (pid: Int?, alive: Bool?, state: String?, lines: [String]) {
      let line = try Diskq.run("info", topic, "--json").lines[0]
      let info = try object(line)
      let lock = try #require(info["writer"] as? [String: Any])
      return (
        lock["pid"] as? Int, lock["alive"] as? Bool, info["state"] as? String,
        try Diskq.run("info", topic).lines
      )
    }
    let live = try described()
    #expect(live.pid == writer.processID && live.alive == true && live.state == "open")
    #expect(live.lines[1] == "state    open: a writer has it open")
    #expect(live.lines[2] == "writer   process \(writer.processID)")
    #expect(
      try Diskq.run("verify", topic).lines[0]
        == "the topic is open: a writer has it open [\(topic)]")

    writer.send(SIGKILL)
    #expect(try writer.outcome().status == 128 + SIGKILL)
    let dead = try described()
    #expect(dead.pid == writer.processID && dead.alive == false && dead.state == "open")
    #expect(
      dead.lines[1] == "state    not closed: the last writer ended without closing it, and the next"
        + " one recovers it")
    #expect(dead.lines[2] == "writer   none (the last one was process \(writer.processID))")
    // Looking has locked nothing.
    #expect(try Diskq.run("append", topic, input: "two\n").status == 0)
    #expect(try described().state == "closed")
  }

  @Test("info and info --watch name the same writer and the same holder of a consumer")
  func holders() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 1)
    let holder = try RunningDiskq("consume", topic, "--consumer", "reader", "--follow")
    #expect(try holder.readLine() == "record 0")
    let watch = try RunningDiskq("info", topic, "--watch", "--json")
    let seen = try object(try #require(try watch.readLine()))
    watch.send(SIGTERM)
    #expect(try watch.outcome().status == 0)
    let info = try object(try Diskq.run("info", topic, "--json").lines[0])
    for look in [info, seen] {
      #expect((look["writer"] as? [String: Any])?["alive"] as? Bool == false)
      let consumers = try #require(look["consumers"] as? [[String: Any]])
      let lock = try #require(consumers[0]["holder"] as? [String: Any])
      #expect(lock["alive"] as? Bool == true)
      #expect(lock["pid"] as? Int == holder.processID)
    }
    let row = try #require(try Diskq.run("consumers", topic).lines.last)
    #expect(row.split(separator: " ").last.map(String.init) == "\(holder.processID)")
    holder.send(SIGTERM)
    #expect(try holder.outcome().status == 0)
  }
}
