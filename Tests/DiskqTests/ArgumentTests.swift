// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Foundation
import Testing

@testable import diskq

@Suite("Values of the command line")
struct ArgumentTests {
  // MARK: Times

  @Test(
    "a time is one amount or several, from the largest unit on",
    arguments: [
      ("0s", 0), ("1ms", 0.001), ("1.5ms", 0.0015), ("200ms", 0.2), ("90s", 90), ("0.5s", 0.5),
      ("15m", 900), ("1.5h", 5_400), ("2h", 7_200), ("1h30m", 5_400), ("7d", 604_800),
      ("1w", 604_800), ("2.5w", 1_512_000), ("1d12h", 129_600), ("1d1.5h", 91_800),
      ("1w2d3h4m5s6ms", 788_645.006), ("1.25d", 108_000), ("007s", 7), ("0w0d1s", 1),
    ] as [(String, Double)])
  func times(text: String, seconds: Double) throws {
    let time = try #require(TimeSpan(argument: text))
    #expect(
      time.duration == .milliseconds(Int64((seconds * 1e6).rounded()) / 1000)
        + .microseconds(Int64((seconds * 1e6).rounded()) % 1000))
    let written = TimeSpan.text(time.duration)
    #expect(TimeSpan(argument: written)?.duration == time.duration, "\(written)")
  }

  @Test(
    "what is no time is refused",
    arguments: [
      "", "s", "1", "1.", "1.s", ".5s", "1,5h", "-1s", "+1s", "1 s", " 1s", "1s ", "1S", "1M", "1y",
      "1h1h", "1m1h", "1ms1s", "1.5", "1h30", "1e3s", "1.2.3s", "1.0000000001s", "0.0000001ms",
      "9223372036854775808s", "9223372036854775807m", "1µs", "١s", "1d12", "now", "never",
    ])
  func noTimes(text: String) {
    #expect(TimeSpan(argument: text) == nil)
    #expect(Start(argument: text) == nil || text == "1" || text == "now")
  }

  @Test("a time is written in the largest unit that divides it")
  func timeText() {
    for (time, text) in [
      (.seconds(0), "0s"), (.seconds(90), "90s"), (.seconds(5_400), "90m"),
      (.seconds(604_800), "7d"),
      (.milliseconds(1_500), "1.5s"), (.microseconds(1_500), "1.5ms"),
      (.nanoseconds(1), "0.000001ms"),
      (.seconds(Int64.max) + .nanoseconds(1), "9223372036854775807.000000001s"),
    ] as [(Duration, String)] {
      #expect(TimeSpan.text(time) == text)
      #expect(TimeSpan(argument: text)?.duration == time)
    }
  }

  // MARK: Sizes

  @Test(
    "a size is in bytes, or in a binary or a decimal unit",
    arguments: [
      ("0", 0), ("4096", 4_096), ("20B", 20), ("1KiB", 1_024), ("64MiB", 64 << 20),
      ("2GiB", 2 << 30),
      ("1TiB", 1 << 40), ("1k", 1_000), ("1kB", 1_000), ("10M", 10_000_000), ("10MB", 10_000_000),
      ("10MiB", 10 << 20), ("3G", 3_000_000_000), ("3GB", 3_000_000_000), ("1T", 1_000_000_000_000),
      ("1TB", 1_000_000_000_000), ("1.5KiB", 1_536), ("1.5G", 1_500_000_000), ("0.001k", 1),
      ("9223372036854775807", Int64.max), ("9223372036854775807TiB", Int64.max),
    ] as [(String, Int64)])
  func sizes(text: String, bytes: Int64) {
    #expect(Size(argument: text)?.count == .bytes(bytes))
    #expect(Size(argument: ByteCount.bytes(bytes).description)?.count == .bytes(bytes))
  }

  @Test(
    "what is no size is refused: no unit is guessed",
    arguments: [
      "", "B", "MiB", "-1", "+1", "1 MiB", " 1", "1b", "1K", "1KB", "1kb", "1kib", "1m", "1mb",
      "1MIB",
      "1g", "1t", "1P", "1.5", "1.5B", "0.0001k", "1.", ".5k", "1MiB1KiB", "1e6", "0x10",
      "9223372036854775808", "١", "64MiBs",
    ])
  func noSizes(text: String) { #expect(Size(argument: text) == nil) }

  // MARK: Intervals

  @Test("an interval is one of each kind; minutes are small, and megabytes capital")
  func intervals() throws {
    let both = try #require(Threshold(argument: "10m,10M,5"))
    #expect(both.time == .seconds(600))
    #expect(both.bytes == .bytes(10_000_000))
    #expect(both.records == 5)
    #expect(Threshold(argument: "1d12h")?.time == .seconds(129_600))
    #expect(Threshold(argument: "10m,10M,5")?.text == "5,10000000B,10m")
    for text in ["", ",", "1,", "1,2", "1k,1M", "1s,2ms", "never,1", "often", "1,5h,2"] {
      #expect(Threshold(argument: text) == nil, "\(text)")
    }
  }

  // MARK: Positions

  @Test("a time may have a small t and z, as RFC 3339 allows")
  func smallLetters() {
    let expected = Timestamp.parse("2026-11-21T12:00:00.5Z")
    #expect(expected != nil)
    for text in [
      "2026-11-21t12:00:00.5z", "2026-11-21T12:00:00.5z", "2026-11-21t12:00:00.5Z",
      "2026-11-21t13:00:00.5+01:00", "2026-11-21 12:00:00.5z",
    ] { #expect(Timestamp.parse(text) == expected, "\(text)") }
    for text in ["2026-11-21x12:00z", "2026-11-21t12:00y", "2026-11-21tz", "2026-11-21z"] {
      #expect(Timestamp.parse(text) == nil, "\(text)")
    }
  }

  @Test("now is a position, at which a reader finds what is appended then")
  func now() throws {
    #expect(Start(argument: "now")?.position == .ago(Age(.zero)))
    #expect(Start(argument: "1w")?.position == .ago(.days(7)))
    #expect(Start(argument: "Now") == nil && Start(argument: "now ") == nil)
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 3)
    #expect(try Diskq.run("read", topic, "--from", "now").status == 0)
    #expect(try Diskq.run("read", topic, "--from", "1w2d").lines == recordLines(0..<3))
  }

  // MARK: Messages

  @Test(
    "what is refused is said with what is legal, in every verb",
    arguments: [
      (["append", "TOPIC", "--slab-size", "4kb"], "KiB, MiB, GiB or TiB"),
      (["append", "TOPIC", "--maximum-bytes", "1K"], "k, M, G or T"),
      (["append", "TOPIC", "--maximum-payload", "1m"], "64MiB or 10M"),
      (["append", "TOPIC", "--slab-size", "1k"], "must be from 4KiB to 1TiB"),
      (
        ["append", "TOPIC", "--maximum-bytes", "1k"],
        "--maximum-bytes is 1000B, and must be 64KiB or more"
      ),
      (["append", "TOPIC", "--flush-every", "often"], "a time (200ms, 5m)"),
      (["append", "TOPIC", "--sync-every", "1,2"], "one of each kind"),
      (["clean", "TOPIC", "--keep-age", "1y"], "ms, s, m, h, d or w"),
      (["clean", "TOPIC", "--keep-bytes", "10 M"], "KiB, MiB, GiB or TiB"),
      (["clean", "TOPIC", "--keep-age", "1w", "--minimum-keep-bytes", "x"], "64MiB or 10M"),
      (
        ["read", "TOPIC", "--from", "yesterday"], "ordinal:N, a time (2026-11-21T12:00Z) or an age"
      ),
      (["read", "TOPIC", "--maximum-payload", "x"], "KiB, MiB, GiB or TiB"),
      (
        ["consume", "TOPIC", "--consumer", "a", "--from", "1y"], "earliest, latest, now, an address"
      ),
      (
        ["consume", "TOPIC", "--consumer", "a", "--exec", "cat", "--retry-delay", "1"],
        "1.5h or 1d12h"
      ),
      (["consumers", "TOPIC", "--reset", "a", "--to", "end"], "earliest, latest, now, an address"),
      (["info", "TOPIC", "--watch", "--interval", "1"], "ms, s, m, h, d or w"),
      (["bench", "TOPIC", "--payload", "1kb"], "KiB, MiB, GiB or TiB"),
    ] as [([String], String)])
  func legal(arguments: [String], part: String) throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let outcome = try Diskq.run(arguments.map { $0 == "TOPIC" ? topic : $0 })
    #expect(outcome.status == 64)
    #expect(outcome.errorLines.first?.contains(part) == true, "\(outcome.errors)")
    #expect(outcome.output.isEmpty)
  }

  @Test("the new units reach the queue")
  func used() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let made = try Diskq.run(
      "append", topic, "--slab-size", "8k", "--maximum-bytes", "0.1M", "--when-full", "drop-oldest",
      input: (0..<20_000).map { "record \($0)\n" }.joined())
    #expect(made.status == 0, "\(made.errors)")
    let sizes = try slabPaths(topic).map { try readFile($0).count }
    #expect(sizes.allSatisfy { $0 <= 8_300 } && sizes.reduce(0, +) <= 100_300)
    let cleaned = try Diskq.run(
      "clean", topic, "--keep-bytes", "20kB", "--keep-age", "1w", "--minimum-keep-bytes", "0")
    #expect(cleaned.status == 0)
    #expect(cleaned.lines.last == "\(topic): all that is left is within the bounds")
  }
}

@Suite("Messages of the command line")
struct MessageTests {
  @Test(
    "an empty path is said to be one",
    arguments: ["append", "read", "info", "verify", "consumers"])
  func emptyPath(verb: String) throws {
    let outcome = try Diskq.run([verb, ""], input: Array("x\n".utf8))
    #expect(outcome.status == 2)
    #expect(
      outcome.errorLines == ["diskq: a topic is a directory, but this path is empty: name one"])
  }

  @Test("one byte is no bytes")
  func oneByte() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    #expect(try Diskq.run("append", topic, input: "x\nlong\n").status == 0)
    let read = try Diskq.run("read", topic, "--maximum-payload", "0")
    #expect(read.status == 64 || !read.errors.contains("1 bytes"))
    let long = try Diskq.run("read", topic, "--maximum-payload", "1")
    #expect(long.errors.contains("a record of 4 bytes is above this reader's limit of 1B"))
  }

  @Test("info and info --watch say the same of a topic's state, as a sentence and as its beginning")
  func states() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try FileManager.default.createDirectory(atPath: topic, withIntermediateDirectories: true)
    func compare(_ state: String) throws {
      let info = try Diskq.run("info", topic)
      #expect(info.lines[1].hasPrefix("state    \(state)"))
      let watch = try RunningDiskq("info", topic, "--watch", "--interval", "1d")
      let line = try #require(try watch.readLine())
      #expect(line.contains("Z \(state); "), "\(line)")
      watch.send(SIGTERM)
      #expect(try watch.outcome().status == 0)
    }
    try compare("empty")
    let writer = try QueueWriter(topic: Topic(topic))
    try writer.append("one")
    try writer.flush()
    try compare("open")
    try writer.close()
    try compare("closed")
    let addresses = try makeTopic(directory.at("torn"), records: 3)
    try truncateFile(try slabPaths(directory.at("torn"))[0], to: addresses[2] + 3)
    try FileManager.default.removeItem(atPath: topic)
    try FileManager.default.moveItem(atPath: directory.at("torn"), toPath: topic)
    try compare("not closed")
  }

  @Test("a slab's range and a topic in shards are said without words of Swift")
  func noSwift() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let addresses = try makeTopic(topic, records: 100)
    try flipBit(try slabPaths(topic)[0], byte: addresses[40] + 10)
    for verb in ["read", "verify"] {
      let outcome = try Diskq.run(verb, topic)
      #expect(!(outcome.text + outcome.errors).contains("..<"))
      #expect(
        (outcome.text + outcome.errors).contains(
          "\(addresses[40]) up to \(addresses[41]): damaged, 1 record lost"))
    }
    let torn = directory.at("torn")
    let last = try makeTopic(torn, records: 100)[99]
    try truncateFile(try slabPaths(torn)[0], to: last + 12)
    let tail = try Diskq.run("verify", torn)
    #expect(tail.text.contains("\(last) up to \(last + 12): after the end"))
    let shards = ShardedTopic(directory.at("shards"), shards: 2)
    try ShardedWriter(topic: shards).close()
    let outcome = try Diskq.run("consumers", directory.at("shards"))
    #expect(outcome.status == 2)
    #expect(
      outcome.errors.contains("name one of them, such as \(directory.at("shards"))/0000"))
    #expect(!outcome.errors.contains("ShardedTopic"))
  }

  @Test("that nothing was removed is said with what is left")
  func nothingRemoved() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 3)
    let cleaned = try Diskq.run("clean", topic, "--keep-bytes", "1G", "--dry-run")
    #expect(cleaned.lines == ["\(topic): the last slab always stays"])
    #expect("\(SlabCleaner.StopReason.withinBounds)" == "all that is left is within the bounds")
  }
}

@Suite("JSON with addresses and ordinals")
struct JSONNumberTests {
  /// An ordinal above 2^53. A double has no odd numbers there.
  private static let ordinal: UInt64 = 9_007_199_254_740_993

  private func topic(_ directory: TemporaryDirectory) throws -> String {
    let path = directory.at("topic")
    var options = QueueWriter.Options()
    options.firstOrdinal = Self.ordinal
    let writer = try QueueWriter(topic: Topic(path), options: options)
    for number in 0..<10 { try writer.append("record \(number)") }
    try writer.close()
    let consumed = try Diskq.run("consume", path, "--consumer", "one", "--limit", "3")
    #expect(consumed.status == 0)
    return path
  }

  @Test("they are exact above 2^53, as numbers and as strings")
  func exact() throws {
    let directory = try TemporaryDirectory()
    let topic = try topic(directory)
    var reader = try QueueReader(topic: Topic(topic))
    let address = try #require(try reader.nextCopy()).address
    let read = ["read", topic, "--format", "json", "--limit", "1"]
    #expect(
      try Diskq.run(read).lines == [
        "{\"address\":\(address),\"ordinal\":9007199254740993,\"length\":8,\"text\":\"record 0\"}"
      ])
    #expect(
      try Diskq.run(read + ["--json-strings"]).lines == [
        "{\"address\":\"\(address)\",\"ordinal\":\"9007199254740993\",\"length\":8,"
          + "\"text\":\"record 0\"}"
      ])
  }

  /// Keys whose value is an address or an ordinal.
  private static let places: Set<String> = [
    "address", "ordinal", "originalAddress", "originalOrdinal", "position", "first", "next", "base",
    "from", "to", "end", "stated",
  ]

  /// Counts the addresses and ordinals in a value. Each must be a string if `areText` is true, and
  /// no string otherwise.
  private func count(_ value: Any, areText: Bool) -> Int {
    if let list = value as? [Any] { return list.reduce(0) { $0 + count($1, areText: areText) } }
    guard let object = value as? [String: Any] else { return 0 }
    return object.reduce(0) { sum, member in
      guard Self.places.contains(member.key) else {
        return sum + count(member.value, areText: areText)
      }
      #expect((member.value is String) == areText, "\(member.key)")
      return sum + 1
    }
  }

  @Test("--json-strings makes them strings in every verb, and other numbers none")
  func everyVerb() throws {
    let directory = try TemporaryDirectory()
    let topic = try topic(directory)
    let fail = try Diskq.run(
      "consume", topic, "--consumer", "two", "--limit", "1", "--exec", "exit 1", "--retries", "0",
      "--dead-letter")
    #expect(fail.status == 0)
    try flipBit(try slabPaths(topic)[0], byte: 300)
    for (verb, least) in [
      (["read", topic, "--format", "json"], 18),
      (["read", topic + ".dead", "--format", "json", "--dead-letters"], 4),
      (["consume", topic, "--consumer", "three", "--format", "json"], 18),
      (["consumers", topic, "--json"], 6), (["info", topic, "--json"], 10),
      (["verify", topic, "--json"], 3),
      (["clean", topic, "--keep-records", "1", "--json"], 0),
    ] as [([String], Int)] {
      for areText in [false, true] {
        if verb[0] == "consume" { _ = try Diskq.run("consumers", topic, "--delete", "three") }
        let outcome = try Diskq.run(verb + (areText ? ["--json-strings"] : []))
        let found = try outcome.lines.map { count(try object($0), areText: areText) }.reduce(0, +)
        #expect(found >= least, "\(verb) \(outcome.text)")
        #expect(outcome.status <= 1)
      }
    }
    let watch = try RunningDiskq(["info", topic, "--watch", "--json", "--json-strings"])
    #expect(count(try object(try #require(try watch.readLine())), areText: true) >= 8)
    watch.send(SIGTERM)
    #expect(try watch.outcome().status == 0)
  }

  @Test(
    "--json-strings needs an output in JSON",
    arguments: [
      ["read", "t"], ["read", "t", "--format", "hex"], ["consume", "t", "--consumer", "a"],
      ["consumers", "t"], ["info", "t"], ["info", "t", "--watch"], ["verify", "t"],
      ["clean", "t", "--keep-age", "1d"],
    ])
  func alone(arguments: [String]) throws {
    let outcome = try Diskq.run(arguments + ["--json-strings"])
    #expect(outcome.status == 64)
    #expect(outcome.errors.contains("--json-strings needs"))
    #expect(try Diskq.run(arguments[0], "--help").text.contains("2^53"))
  }
}
