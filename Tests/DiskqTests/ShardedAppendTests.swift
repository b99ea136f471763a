// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Foundation
import Testing

@testable import diskq

@Suite("diskq append to a sharded topic")
struct ShardedAppendTests {
  /// Lines of JSON, numbered from 0. The customers take turns.
  private func orders(_ numbers: Range<Int>, customers: Int) -> [String] {
    numbers.map { "{\"customer\":{\"id\":\"c\($0 % customers)\"},\"order\":\($0)}" }
  }

  private func input(_ lines: [String]) -> [UInt8] { Array(lines.map { $0 + "\n" }.joined().utf8) }

  /// The texts of the shard of a key.
  private func texts(_ topic: String, key: String) throws -> [String] {
    var reader = try ShardedTopic(topic).reader(ofKey: key)
    var texts: [String] = []
    while let record = try reader.nextCopy() { texts.append(try #require(record.text)) }
    return texts
  }

  /// Reads the record that a line of `--print-addresses` names.
  private func record(_ topic: String, at line: String) throws -> [String] {
    let parts = line.split(separator: " ").map(String.init)
    try #require(parts.count == 2, "\(line)")
    return try Diskq.run("read", "\(topic)/\(parts[0])", "--from", parts[1], "--limit", "1").lines
  }

  // MARK: Keys

  @Test("a field of JSON is the key: the records of a key are in its shard, in order")
  func field() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let lines = orders(0..<300, customers: 12)
    // The number of shards is needed only once.
    for (part, options) in [(lines[..<150], ["--shards", "8"]), (lines[150...], [])] {
      let appended = try Diskq.run(
        ["append", topic, "--key-field", "customer.id"] + options, input: input(Array(part)))
      #expect(appended.status == 0 && appended.errors == "" && appended.output == [])
    }
    let read = try Diskq.run("read", topic)
    #expect(read.status == 0 && read.lines.sorted() == lines.sorted())
    for customer in 0..<12 {
      let own = lines.filter { $0.contains("\"c\(customer)\"") }
      #expect(own.count == 25)
      #expect(read.lines.filter(own.contains) == own)
      #expect(try texts(topic, key: "c\(customer)").filter(own.contains) == own)
    }
    let info = try object(try Diskq.run("info", topic, "--json").lines[0])
    #expect(info["shardCount"] as? Int == 8 && info["records"] as? Int == 300)
    let shards = try #require(info["shards"] as? [[String: Any]])
    #expect(shards.count > 3)
    for shard in shards {
      #expect((shard["info"] as? [String: Any])?["state"] as? String == "closed")
    }
  }

  @Test("one key leads all records to one shard, and they need not be JSON")
  func oneKey() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    for (key, lines) in [("north", ["n1", "", "n2"]), ("", ["e1", "e2"])] {
      let appended = try Diskq.run(
        ["append", topic, "--shards", "16", "--key", key, "--verbose"], input: input(lines))
      #expect(appended.status == 0)
      #expect(appended.errorLines == ["diskq: \(lines.count) records appended [\(topic)]"])
      #expect(try texts(topic, key: key) == lines)
    }
    #expect(try ShardedTopic(topic).shardCount() == 16)
  }

  @Test("a whole number is its digits, a name may hold a dot, and the last part is the key")
  func keysOfFields() throws {
    for (path, line, key) in [
      ("id", "{\"id\":17}", "17"), ("id", "{\"id\":\"17\"}", "17"), ("id", "{\"id\":-5}", "-5"),
      ("id", "{\"id\":18446744073709551615}", "18446744073709551615"),
      ("id", " { \"id\" : \"a\\u00e9\\n\" }\r", "aé\n"), ("id", "{\"id\":\"\"}", ""),
      ("a.b.c", "{\"a\":{\"b\":{\"c\":\"x\"},\"c\":\"y\"}}", "x"),
      ("a\\.b", "{\"a\":{\"b\":\"x\"},\"a.b\":\"y\"}", "y"), ("a\\\\", "{\"a\\\\\":\"z\"}", "z"),
      ("é", "{\"é\":\"w\"}", "w"),
    ] {
      let field = try #require(FieldPath(argument: path))
      let found = try Array(line.utf8).withUnsafeBytes { try field.text(in: $0) }
      #expect(found == key, "\(path) \(line)")
    }
    for path in ["", ".", "a.", ".a", "a..b", "a\\", "a\\b"] {
      #expect(FieldPath(argument: path) == nil, "\(path)")
    }
  }

  // MARK: Options

  @Test(
    "each line of addresses is a shard and an address, which read that record",
    arguments: ["buffered", "flushed", "synced"])
  func addresses(level: String) throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let lines = orders(0..<120, customers: 9)
    let appended = try Diskq.run(
      [
        "append", topic, "--shards", "4", "--key-field", "customer.id", "--print-addresses",
        "--ensure", level,
      ], input: input(lines))
    #expect(appended.status == 0 && appended.errors == "")
    #expect(appended.lines.count == 120 && Set(appended.lines).count == 120)
    for number in [0, 1, 2, 60, 119] {
      #expect(try record(topic, at: appended.lines[number]) == [lines[number]])
    }
  }

  @Test("the address is printed when the record has its level, while the input is still open")
  func slowInput() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let running = try RunningDiskq(
      "append", topic, "--shards", "4", "--key-field", "customer.id", "--print-addresses",
      "--ensure", "synced", "--flush-every", "never")
    for line in orders(0..<12, customers: 5) {
      try running.write(line + "\n")
      #expect(try record(topic, at: try #require(try running.readLine())) == [line])
    }
    try running.closeInput()
    #expect(try running.outcome().status == 0)
  }

  @Test(
    "records become visible by the time, the number or the bytes of the options",
    arguments: [
      ["--flush-every", "10ms"], ["--flush-every", "never", "--sync-every", "10ms"],
      ["--flush-every", "1"], ["--flush-every", "1B"], [],
    ])
  func due(policy: [String]) async throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try await ShardedWriter(topic: ShardedTopic(topic, shards: 4)).close()
    let reader = try RunningDiskq("read", topic, "--follow")
    let appender = try RunningDiskq(
      ["append", topic, "--key-field", "customer.id"] + policy)
    for line in orders(0..<4, customers: 3) {
      try appender.write(line + "\n")
      #expect(try reader.readLine() == line)
    }
    try appender.closeInput()
    #expect(try appender.outcome().status == 0)
    reader.send(SIGTERM)
    #expect(try reader.outcome().status == 0)
  }

  @Test("a cap, a slab's size and a policy apply to each shard")
  func caps() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let lines = orders(0..<12_000, customers: 2)
    let options = ["--shards", "2", "--key-field", "customer.id", "--maximum-bytes", "64KiB"]
    let full = try Diskq.run(["append", topic] + options, input: input(lines))
    #expect(full.status == 2)
    #expect(full.errorLines.count == 2)
    #expect(full.errorLines.first?.contains("the topic is at its --maximum-bytes") == true)
    #expect(full.errorLines.first?.contains("[\(topic)/000") == true)
    let stored = try Diskq.run("read", topic).lines
    #expect(stored.sorted() == lines[..<stored.count].sorted())
    #expect(
      full.errorLines.last
        == "diskq: stored \(stored.count) records of standard input, up to line \(stored.count),"
        + " and nothing of the rest [\(topic)]")
    let dropping = try Diskq.run(
      ["append", topic, "--when-full", "drop-oldest", "--slab-size", "8KiB"] + options,
      input: input(lines))
    #expect(dropping.status == 0 && dropping.errors == "")
    let kept = Set(try Diskq.run("read", topic).lines)
    for customer in 0..<2 {
      let own = lines.filter { $0.contains("\"c\(customer)\"") }
      #expect(own.suffix(300).allSatisfy(kept.contains))
      #expect(!own.prefix(300).contains(where: kept.contains))
    }
    let bounded = directory.at("bounded")
    let refused = try Diskq.run(
      ["append", bounded, "--shards", "2", "--key", "a", "--maximum-records", "5"],
      input: input(lines))
    #expect(refused.errors.contains("the topic is at its --maximum-records"))
    #expect(try Diskq.run("read", bounded).lines == Array(lines[..<5]))
  }

  @Test("every framing can hold JSON, and a large record of JSON is one")
  func framings() throws {
    let directory = try TemporaryDirectory()
    let large = "{\n\"id\":\"b\",\"text\":\"\(String(repeating: "z", count: 700_000))\"\n}"
    try writeFile(directory.at("large"), Array(large.utf8))
    let framings: [(options: [String], input: [UInt8], records: [String])] = [
      (
        ["--delimiter", "nul"], Array("{\n\"id\":1}\0{\"id\":2}".utf8),
        ["{\n\"id\":1}", "{\"id\":2}"]
      ),
      (["--length-prefixed"], [8, 0, 0, 0] + Array("{\"id\":3}".utf8), ["{\"id\":3}"]),
      (["--whole", directory.at("large")], [], [large]),
    ]
    for (number, framing) in framings.enumerated() {
      let topic = directory.at("topic \(number)")
      let appended = try Diskq.run(
        ["append", topic, "--shards", "3", "--key-field", "id"] + framing.options,
        input: framing.input)
      #expect(appended.status == 0, "\(appended.errors)")
      let read = try Diskq.run("read", topic, "--format", "json").lines.map {
        try object($0)["text"] as? String ?? ""
      }
      #expect(read.sorted() == framing.records.sorted())
    }
  }

  @Test("more shards than can be open at once take turns")
  func manyShards() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let lines = orders(0..<400, customers: 200)
    let appended = try Diskq.run(
      [
        "append", topic, "--shards", "200", "--key-field", "customer.id", "--print-addresses",
        "--ensure", "flushed",
      ], input: input(lines))
    #expect(appended.status == 0 && appended.errors == "")
    #expect(Set(appended.lines.map { $0.prefix(4) }).count > 64)
    #expect(try Diskq.run("read", topic).lines.sorted() == lines.sorted())
    #expect(try record(topic, at: appended.lines[0]) == [lines[0]])
  }

  // MARK: Errors

  @Test(
    "a record without a usable key ends it, and names the line. The records before it are kept",
    arguments: [
      ("not JSON", "is not JSON, and so has no field customer.id"),
      ("", "is not JSON, and so has no field customer.id"),
      ("{\"customer\":{\"id\":\"c1\"}", "is not JSON, and so has no field customer.id"),
      ("{\"customer\":{\"id\":\"\\q\"}}", "is not JSON, and so has no field customer.id"),
      (String(repeating: "[", count: 100_000), "is not JSON, and so has no field customer.id"),
      ("17", "has no field customer.id"), ("[1]", "has no field customer.id"),
      ("null", "has no field customer.id"), ("{}", "has no field customer.id"),
      ("{\"customer\":17}", "has no field customer.id"),
      ("{\"customer\":null}", "has no field customer.id"),
      ("{\"customer.id\":\"c1\"}", "has no field customer.id"),
      ("{\"customer\":{\"id\":null}}", "neither text nor a whole number of 64 bits"),
      ("{\"customer\":{\"id\":true}}", "neither text nor a whole number of 64 bits"),
      ("{\"customer\":{\"id\":1.5}}", "neither text nor a whole number of 64 bits"),
      ("{\"customer\":{\"id\":[\"c1\"]}}", "neither text nor a whole number of 64 bits"),
      (
        "{\"customer\":{\"id\":18446744073709551616}}", "neither text nor a whole number of 64 bits"
      ),
    ])
  func refused(line: String, reason: String) throws {
    let directory = try TemporaryDirectory()
    let (topic, first, second) = (
      directory.at("topic"), directory.at("first"), directory.at("second")
    )
    let good = orders(0..<5, customers: 3)
    try writeFile(first, input(Array(good[..<3])))
    try writeFile(second, input(Array(good[3...]) + [line, "{\"customer\":{\"id\":\"after\"}}"]))
    let appended = try Diskq.run(
      "append", topic, first, second, "--shards", "4", "--key-field", "customer.id")
    #expect(appended.status == 2)
    #expect(appended.errorLines.count == 2)
    #expect(appended.errorLines.first?.hasPrefix("diskq: line 3 ") == true, "\(appended.errors)")
    #expect(
      appended.errorLines.first?.hasSuffix(
        "\(reason): correct it, or append it with --key [\(second)]") == true)
    #expect(
      appended.errorLines.last
        == "diskq: stored all of the input before, and 2 records of \(second), up to line 2, and"
        + " nothing of the rest [\(topic)]")
    #expect(try Diskq.run("read", topic).lines.sorted() == good.sorted())
  }

  @Test("a refused record that is no line is named by its number and its byte")
  func refusedRecord() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    for (options, name) in [
      (["--delimiter", "nul"], "record 2, which starts at byte 9, has no field id"),
      (["--whole"], "the input is not JSON"),
    ] {
      let appended = try Diskq.run(
        ["append", topic, "--shards", "2", "--key-field", "id"] + options,
        input: Array("{\"id\":1}\0{}".utf8))
      #expect(appended.status == 2)
      #expect(appended.errorLines.first?.hasPrefix("diskq: \(name)") == true, "\(appended.errors)")
    }
    #expect(try Diskq.run("read", topic).lines == ["{\"id\":1}"])
  }

  @Test("a sharded topic without a key is refused, with the options to use")
  func noKey() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    #expect(
      try Diskq.run("append", topic, "--shards", "4", "--key", "a", input: "one\n").status == 0)
    let refused = try Diskq.run("append", topic, input: "two\n")
    #expect(refused.status == 2)
    #expect(
      refused.errorLines == [
        "diskq: the topic is sharded, and a key decides the shard of each record: add --key-field"
          + " PATH, the field of JSON records that is their key, or add --key KEY, one key for all"
          + " records [\(topic)]"
      ])
    #expect(try Diskq.run("read", topic).lines == ["one"])
  }

  @Test(
    "a key is refused for an ordinary topic", arguments: [["--key", "a"], ["--key-field", "id"]],
    [[], ["--shards", "4"]])
  func ordinary(key: [String], shards: [String]) throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 2)
    let refused = try Diskq.run(
      ["append", topic] + key + shards, input: Array("{\"id\":1}\n".utf8))
    #expect(refused.status == 2)
    #expect(
      refused.errorLines == [
        "diskq: the topic is an ordinary one, and a key needs a sharded topic: leave out --shards,"
          + " --key and --key-field, or take another path [\(topic)]"
      ])
    #expect(try Diskq.run("read", topic).lines == recordLines(0..<2))
  }

  @Test("nothing is made without a number of shards, or from an input that is missing")
  func nothingMade() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let missing = try Diskq.run("append", topic, "--key", "a", input: "one\n")
    #expect(missing.status == 2 && missing.errorLines.count == 1)
    #expect(missing.errors.contains("add --shards N to make a topic of N shards [\(topic)]"))
    let input = try Diskq.run("append", topic, directory.at("none"), "--key", "a", "--shards", "2")
    #expect(input.status == 2)
    #expect(try snapshot(directory.path).isEmpty)
    try writeFile(directory.at("other"), [1])
    let other = try Diskq.run(
      "append", directory.path, "--key", "a", "--shards", "2", input: "one\n")
    #expect(other.status == 2)
    #expect(other.errors.contains("the directory holds other files"))
    #expect(try snapshot(directory.path).count == 1)
  }

  @Test("another number of shards is refused, and the same one is not")
  func otherNumber() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    for (shards, status) in [("4", 0), ("5", 2), ("4", 0)] as [(String, Int32)] {
      let appended = try Diskq.run(
        "append", topic, "--shards", shards, "--key", "a", input: "with \(shards)\n")
      #expect(appended.status == status)
      guard status == 2 else { continue }
      #expect(
        appended.errorLines == [
          "diskq: --shards is 5, and the topic was made with 4 shards, which is fixed: leave"
            + " --shards out, or take another path [\(topic)]"
        ])
    }
    #expect(try Diskq.run("read", topic).lines == ["with 4", "with 4"])
  }

  @Test("a topic whose keys a program assigns in its own way is refused")
  func otherSharder() async throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try await ShardedWriter(topic: ShardedTopic(topic, shards: 2, by: .keys(["a", "b"]))).close()
    let refused = try Diskq.run("append", topic, "--key", "a", input: "one\n")
    #expect(refused.status == 2 && refused.errorLines.count == 1)
    #expect(refused.errors.contains("append with that program [\(topic)]"))
  }

  @Test(
    "options that contradict each other, or are out of their bounds, are wrong usage",
    arguments: [
      (["--shards", "4"], "--shards needs --key-field or --key"),
      (["--key", "a", "--key-field", "b"], "--key and --key-field exclude each other"),
      (["--key", "a", "--shards", "0"], "it takes a whole number from 1 to 10000"),
      (["--key", "a", "--shards", "10001"], "it takes a whole number from 1 to 10000"),
      (["--key", "a", "--shards", "-1"], "it takes a whole number from 1 to 10000"),
      (["--key-field", ""], "a field is a name"), (["--key-field", "a..b"], "a field is a name"),
      (["--key", "a", "--shards", "2", "--slab-size", "1"], "--slab-size"),
    ])
  func usage(options: [String], reason: String) throws {
    let directory = try TemporaryDirectory()
    let outcome = try Diskq.run(["append", directory.at("topic")] + options)
    #expect(outcome.status == 64)
    #expect(outcome.errors.contains(reason), "\(outcome.errors)")
    #expect(try snapshot(directory.path).isEmpty)
  }

  @Test("a second writer is refused while the first one has the shards open")
  func twoWriters() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let first = try RunningDiskq(
      "append", topic, "--shards", "4", "--key", "a", "--print-addresses", "--ensure", "flushed")
    try first.write("first\n")
    #expect(try first.readLine()?.hasSuffix(" 128") == true)
    let second = try Diskq.run("append", topic, "--key", "b", input: "second\n")
    #expect(second.status == 2 && second.errorLines.count == 1)
    #expect(second.errors.hasPrefix("diskq: another writer (process \(first.processID)"))
    try first.closeInput()
    #expect(try first.outcome().status == 0)
    #expect(try Diskq.run("read", topic).lines == ["first"])
  }

  // MARK: Ends

  @Test(
    "a signal is the end of a pipe, and the records that it took are stored",
    arguments: [SIGINT, SIGTERM, SIGHUP])
  func signals(number: Int32) throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let running = try RunningDiskq(
      "append", topic, "--shards", "4", "--key-field", "customer.id", "--print-addresses",
      "--flush-every", "never")
    let lines = orders(0..<6, customers: 6)
    try running.write(lines.map { $0 + "\n" }.joined() + "{\"customer\":")
    for _ in lines { #expect(try running.readLine() != nil) }
    running.send(number)
    let outcome = try running.outcome()
    #expect(outcome.status == 0 && outcome.errors == "")
    #expect(try Diskq.run("read", topic).lines.sorted() == lines.sorted())
    #expect(!(try Diskq.run("info", topic).text.contains("not closed")))
  }

  @Test("a signal in the middle of a file is no success, and names the line that it reached")
  func stoppedFile() throws {
    let directory = try TemporaryDirectory()
    let (topic, pipe) = (directory.at("topic"), directory.at("endless"))
    #expect(try Diskq.shell("truncate -s 1T \"$1\"", pipe).status == 0)
    let running = try RunningDiskq(
      "append", topic, "--shards", "4", "--key", "a", "--delimiter", "nul", "--print-addresses",
      pipe)
    #expect(try running.readLine()?.hasSuffix(" 128") == true)
    running.send(SIGTERM)
    let outcome = try running.outcome()
    #expect(outcome.status == 128 + SIGTERM)
    let stored = outcome.lines.count + 1
    #expect(
      outcome.errorLines == [
        "diskq: stopped by SIGTERM: stored \(stored) records of \(pipe), and nothing of the rest"
          + " [\(topic)]"
      ])
    let info = try object(try Diskq.run("info", topic, "--json").lines[0])
    #expect(info["records"] as? Int == stored)
  }

  @Test("a signal ends a wait for room, and the record that waited is named")
  func stoppedWait() throws {
    let directory = try TemporaryDirectory()
    let (topic, file) = (directory.at("topic"), directory.at("input"))
    let lines = orders(0..<20_000, customers: 2)
    try writeFile(file, input(lines))
    let appender = try RunningDiskq(
      "append", topic, file, "--shards", "2", "--key-field", "customer.id", "--maximum-bytes",
      "64KiB", "--when-full", "wait", "--print-addresses", "--ensure", "flushed")
    // The first addresses are printed when the program first waits.
    #expect(try appender.readLine()?.hasSuffix(" 128") == true)
    appender.send(SIGTERM)
    let outcome = try appender.outcome()
    #expect(outcome.status == 128 + SIGTERM)
    let taken = outcome.lines.count + 1
    #expect(try Diskq.run("read", topic).lines.sorted() == lines[..<taken].sorted())
    #expect(outcome.errorLines.count == 2)
    #expect(outcome.errors.contains("the topic was full: record \(taken + 1) of \(file),"))
    #expect(outcome.errors.contains("stored \(taken) records of \(file), up to line \(taken),"))
  }

  @Test("after a wait for room, the record goes to the shard of its key")
  func wait() throws {
    let directory = try TemporaryDirectory()
    let (topic, file) = (directory.at("topic"), directory.at("input"))
    // Their addresses fit into the pipe, which is read at the end.
    let lines = orders(0..<5_000, customers: 2)
    try writeFile(file, input(lines))
    let appender = try RunningDiskq(
      "append", topic, file, "--shards", "2", "--key-field", "customer.id", "--maximum-bytes",
      "64KiB", "--when-full", "wait", "--print-addresses", "--ensure", "flushed")
    let first = try #require(try appender.readLine())
    var rounds = 0
    while rounds < 1_000, appender.isRunning {
      rounds += 1
      let cleaned = try Diskq.run(
        "clean", topic, "--keep-bytes", "20KiB", "--minimum-keep-bytes", "0")
      #expect(cleaned.status == 0, "\(cleaned.errors)")
    }
    if appender.isRunning { appender.send(SIGKILL) }
    let outcome = try appender.outcome()
    #expect(outcome.status == 0 && outcome.errors == "")
    #expect(Set([first] + outcome.lines).count == 5_000)
    #expect(try record(topic, at: try #require(outcome.lines.last)) == [lines[4_999]])
  }

  @Test("after a kill the shards are recovered, and acknowledged records are in them")
  func kill() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    var acknowledged: [String: String] = [:]
    for run in 0..<20 {
      let running = try RunningDiskq(
        "append", topic, "--shards", "4", "--key-field", "customer.id", "--print-addresses",
        "--ensure", "synced", "--slab-size", "16KiB")
      let lines = orders(run * 1_000..<run * 1_000 + 400, customers: 7)
      try running.write(lines[..<8].map { $0 + "\n" }.joined())
      for line in lines[..<8] { acknowledged[try #require(try running.readLine())] = line }
      try running.write(lines[8...].map { $0 + "\n" }.joined())
      running.send(SIGKILL)
      var answered = 8
      while let place = try running.readLine() {
        #expect(acknowledged[place] == nil)
        acknowledged[place] = lines[answered]
        answered += 1
      }
      let outcome = try running.outcome()
      #expect(outcome.status == 128 + SIGKILL)
      for line in outcome.errorLines {
        #expect(line.hasPrefix("diskq: the topic had not been closed:"))
        #expect(line.contains(" [\(topic)/000"))
      }
      // Each of the first eight records opens a shard, and the run before closed none.
      #expect((run > 0) == !outcome.errorLines.isEmpty)
    }
    let all = try Diskq.run("read", topic)
    #expect(all.status == 0)
    #expect(Set(all.lines).count == all.lines.count)
    for (place, line) in acknowledged { #expect(try record(topic, at: place) == [line]) }
    #expect(try Diskq.run("verify", topic).status == 0)
    let after = try Diskq.run("append", topic, "--key", "c1", input: "after\n")
    #expect(after.status == 0)
    #expect(try Diskq.run("read", topic).lines.count == all.lines.count + 1)
  }

  @Test("the report states if records after the first missing one may be stored")
  func sentences() {
    var inputs = AppendedInputs(total: 2, isLines: true)
    inputs.add("a", records: 10)
    #expect(
      inputs.sentence(stored: 4, hasOthers: true)
        == "stored 4 records of a, up to line 4, and perhaps some records of the rest")
  }

  @Test("after a failed close, the records before the first missing one count as stored")
  func stored() async throws {
    // The command syncs on its own thread, and waits there. A thread of tasks must not wait.
    try await withCheckedThrowingContinuation { continuation in
      Thread { continuation.resume(with: Result { try checkStored() }) }.start()
    }
  }

  private func checkStored() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let (buffered, failed) = (Failure("full"), QueueError(.syncFailed, "the sync failed"))
    var options = QueueWriter.Options()
    options.flushEvery = .never
    var target = try ShardedTarget(
      topic, shards: 8, key: .field(try #require(FieldPath(argument: "key"))), options: options,
      progress: ProgressBar(total: 0))
    func append(_ key: String, bytes: Int = 1) throws {
      let text = String(repeating: "x", count: bytes)
      try Array("{\"key\":\"\(key)\",\"text\":\"\(text)\"}".utf8).withUnsafeBytes {
        _ = try target.append($0)
      }
    }
    let shard = try ShardedTopic(topic).shard(of: "a")
    let other = try #require(
      try ["b", "c", "d", "e", "f", "g"].first { try ShardedTopic(topic).shard(of: $0) != shard })
    func expect(_ first: UInt64, hasOthers: Bool, after error: any Error) {
      let stored = target.storedRecords(after: error)
      #expect(stored.first == first && stored.hasOthers == hasOthers)
    }
    try append(other)
    try target.sync()
    for _ in 0..<3 { try append("a") }
    try target.flush()
    expect(4, hasOthers: false, after: buffered)
    expect(1, hasOthers: true, after: failed)
    // No shard has these in its slabs yet.
    for key in ["a", other, "a"] { try append(key) }
    expect(4, hasOthers: false, after: buffered)
    // A record that is larger than the buffer is written at once, in its shard alone.
    try append(other, bytes: 200_000)
    expect(4, hasOthers: true, after: buffered)
    try append("a", bytes: 200_000)
    expect(9, hasOthers: false, after: buffered)
    try target.close()
    #expect(target.records == 9)
  }

  #if os(Linux)
    @Test("on a full disk, the line that it names is the first that is missing")
    func fullDisk() throws {
      let (disk, other) = (try SmallDisk(), try TemporaryDirectory())
      let (topic, file) = (disk.at("topic"), other.at("input"))
      let lines = orders(0..<60_000, customers: 5)
      try writeFile(file, input(lines))
      let appended = try disk.run(
        "append", topic, file, "--shards", "3", "--key-field", "customer.id", "--slab-size",
        "64KiB")
      #expect(appended.status == 2)
      #expect(appended.errors.contains("free some space, and try again"))
      let report = try #require(appended.errorLines.last)
      let stored = Set(try disk.run("read", topic).lines)
      let first = try #require(lines.firstIndex { !stored.contains($0) })
      #expect(first > 1_000)
      let hasOthers = stored.count > first
      #expect(
        report
          == "diskq: stored \(first) records of \(file), up to line \(first), and "
          + (hasOthers ? "perhaps some records of the rest" : "nothing of the rest")
          + " [\(topic)]")
    }
  #endif
}
