// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueInspection
import DiskQueueTestSupport
import Foundation
import Testing

@testable import diskq

/// A look at a topic of one slab, `seconds` after the first look.
private func look(
  at seconds: Double, records: UInt64? = 0, next: UInt64 = 0, slabs: [UInt64] = [0],
  consumers: [TopicLook.Consumer] = [], room: UInt64 = 1 << 40
) -> TopicLook {
  TopicLook(
    time: .milliseconds(Int64(seconds * 1000)), wallTime: 1_700_000_000_000_000_000,
    ending: .open, slabs: slabs, bytes: next, records: records, first: nil,
    next: Address(rawValue: next), nextOrdinal: records, newestStamp: 1_699_999_998_500_000_000,
    consumers: consumers, room: room)
}

private func reader(_ ordinal: UInt64?, behind: UInt64?) -> TopicLook.Consumer {
  TopicLook.Consumer(name: "reader", ordinal: ordinal, records: behind)
}

private func trend(_ looks: [TopicLook]) -> TopicTrend {
  var trend = TopicTrend(looks[0])
  for look in looks.dropFirst() { trend.add(look) }
  return trend
}

@Suite("What looks at a topic say together")
struct TopicTrendTests {
  @Test("one look has no rates, and says nothing of what comes")
  func one() {
    let trend = trend([look(at: 0, records: 7, consumers: [reader(3, behind: 4)])])
    #expect(trend.recordRates == nil)
    #expect(trend.byteRates == nil)
    #expect(trend.consumers[0].rates == nil)
    #expect(trend.consumers[0].outlook == .unknown)
    #expect(trend.diskIsFullIn == nil)
    #expect(trend.newestAge == 1.5)
  }

  @Test("a rate is that since the last look, and one over the last ten seconds")
  func rates() {
    // There are 100 records a second for a minute, and then 1,300 in one second.
    var looks: [TopicLook] = []
    for second: UInt64 in 0...60 {
      looks.append(look(at: Double(second), records: second * 100, next: second * 2_000))
    }
    looks.append(look(at: 61, records: 7_300, next: 146_000))
    let trend = trend(looks)
    #expect(trend.recordRates == Rates(now: 1_300, smooth: 220))
    #expect(trend.byteRates == Rates(now: 26_000, smooth: 4_400))
  }

  @Test("looks further apart than the window are smoothed over the last two")
  func sparse() {
    let trend = trend([
      look(at: 0, records: 0), look(at: 60, records: 600), look(at: 120, records: 6_600),
    ])
    #expect(trend.recordRates == Rates(now: 100, smooth: 100))
  }

  @Test("what counts less than before, or is not known, counts anew")
  func anew() {
    let looks = [look(at: 0, records: 500), look(at: 1, records: 600), look(at: 2, records: 10)]
    #expect(trend(looks).recordRates == nil)
    #expect(trend(looks + [look(at: 3, records: 30)]).recordRates == Rates(now: 20, smooth: 20))
    let unknown = looks.prefix(2) + [look(at: 2, records: nil), look(at: 3, records: 900)]
    #expect(trend(Array(unknown)).recordRates == nil)
  }

  @Test("two looks at one moment have no rate")
  func sameMoment() {
    #expect(trend([look(at: 1, records: 1), look(at: 1, records: 9)]).recordRates == nil)
  }

  @Test("the leap of addresses at a new epoch is nothing that was appended")
  func epoch() {
    let second = Epoch.firstAddress(1)
    let looks = [
      look(at: 0, records: 0, next: 100), look(at: 1, records: 5, next: 600),
      look(at: 2, records: 9, next: second + 200),
    ]
    #expect(trend(looks).byteRates == nil)
    #expect(trend(looks).recordRates == Rates(now: 4, smooth: 4.5))
    let later = trend(looks + [look(at: 4, records: 9, next: second + 800)])
    #expect(later.byteRates == Rates(now: 300, smooth: 300))
  }

  @Test("slabs that were seen and are gone were removed; new ones were not")
  func removed() {
    let trend = trend([
      look(at: 0, slabs: [0, 100, 200]), look(at: 1, slabs: [100, 200, 300]),
      look(at: 2, slabs: [300, 400]), look(at: 3, slabs: [300, 400]),
    ])
    #expect(trend.slabsRemoved == 3)
  }

  @Test(
    "what becomes of a consumer follows from how fast it is and how fast others append",
    arguments: [
      (nil, 1, 1, .unknown), (0, nil, nil, .caughtUp), (5, nil, 1, .unknown), (5, 1, nil, .unknown),
      (600, 110, 50, .caughtUpIn(seconds: 10)), (600, 50, 110, .fallsBehind),
      (600, 0, 1, .fallsBehind), (600, 100, 101, .keepsPace), (600, 101, 100, .keepsPace),
      (600, 100, 100, .keepsPace), (600, 0, 0, .standsStill), (1, 1, 0, .caughtUpIn(seconds: 1)),
    ] as [(UInt64?, Double?, Double?, Outlook)])
  func outlook(remaining: UInt64?, acknowledged: Double?, appended: Double?, outlook: Outlook) {
    #expect(
      Outlook(remaining: remaining, acknowledged: acknowledged, appended: appended) == outlook)
  }

  @Test("a consumer's rate is that of its ordinal, by its name")
  func consumers() {
    func other(_ ordinal: UInt64) -> TopicLook.Consumer {
      TopicLook.Consumer(name: "other", ordinal: ordinal, records: 0)
    }
    let trend = trend([
      look(at: 0, records: 1_000, consumers: [reader(0, behind: 1_000)]),
      look(at: 2, records: 1_100, consumers: [other(7), reader(500, behind: 600)]),
      look(at: 4, records: 1_200, consumers: [other(27), reader(1_000, behind: 200)]),
    ])
    #expect(trend.consumers.map(\.look.name) == ["other", "reader"])
    #expect(trend.consumers[0].rates == Rates(now: 10, smooth: 10))
    #expect(trend.consumers[0].outlook == .caughtUp)
    #expect(trend.consumers[1].rates == Rates(now: 250, smooth: 250))
    #expect(trend.consumers[1].outlook == .caughtUpIn(seconds: 1))
  }

  @Test("when the disk is full is said once it was watched for long enough, and only if it fills")
  func disk() {
    func filling(to seconds: Int, by rate: Int) -> TopicTrend {
      var looks: [TopicLook] = []
      for second in 0...seconds {
        looks.append(look(at: Double(second), room: UInt64(1_000_000 - second * rate)))
      }
      return trend(looks)
    }
    #expect(filling(to: 9, by: 1_000).diskIsFullIn == nil)
    #expect(filling(to: 10, by: 1_000).diskIsFullIn == 990)
    #expect(filling(to: 100, by: 1_000).diskIsFullIn == 900)
    #expect(filling(to: 20, by: 0).diskIsFullIn == nil)
    #expect(filling(to: 20, by: -1_000).diskIsFullIn == nil)
  }

  @Test(
    "looking takes a twentieth of the time at the most",
    arguments: [(1, 1_000), (50, 1_000), (51, 1_020), (2_000, 40_000)])
  func pause(look: Int, pause: Int) {
    #expect(
      Watching.pause(.seconds(1), afterLookOf: .milliseconds(look)) == .milliseconds(pause))
  }

  @Test(
    "a time has its two largest units",
    arguments: [
      (0, "0.0s"), (1.26, "1.3s"), (9.96, "10s"), (59.6, "1m"), (85, "1m 25s"), (3_600, "1h"),
      (7_999, "2h 13m"), (273_700, "3d 4h"), (1e12, "10 years or more"),
      (.infinity, "10 years or more"),
    ])
  func time(seconds: Double, text: String) {
    #expect(HumanTime.text(seconds) == text)
  }
}

@Suite("A watched topic on a screen, and as lines")
struct WatchScreenTests {
  /// Ten seconds, in which one consumer keeps up, one catches up, and one cannot be read.
  private static let busy: TopicTrend = {
    var looks: [TopicLook] = []
    for second: UInt64 in 0...10 {
      let records = 20_000 + second * 1_230
      let consumers = [
        TopicLook.Consumer(
          name: "archiver", ordinal: records, records: 0,
          holder: LockHolder(isAlive: true, process: 4711, processIsRunning: true)),
        TopicLook.Consumer(name: "lost", state: "damaged", remark: "damaged: reset it"),
        reader(second * 2_230, behind: 20_000 - second * 1_000),
      ]
      looks.append(
        look(
          at: Double(second), records: records, next: second << 20,
          slabs: second < 5 ? [0, 100, 200] : [200, 300], consumers: consumers,
          room: (100 - second) << 30))
    }
    return trend(looks)
  }()

  private func lines(
    _ columns: Int, _ rows: Int, topic: String = "queue", notice: String = "every 1s, q ends"
  ) -> [String] {
    WatchScreen.lines(
      Self.busy, topic: topic, notice: notice,
      size: WatchScreen.ScreenSize(columns: columns, rows: rows))
  }

  @Test("on 80 columns and 24 rows all is there")
  func whole() {
    #expect(
      lines(80, 24) == [
        "queue" + String(repeating: " ", count: 55) + "2023-11-14T22:13:20Z",
        "state    not closed: a writer has it open, or ended without closing it",
        "writer   unknown: the system does not report the lock to this user",
        "records  32,300",
        "slabs    2, 10.0 MiB, 2 removed since 2023-11-14T22:13:20Z",
        "first    none",
        "next     10485760",
        "newest   1.5s ago",
        "appended 1,230 records/s, 1.0 MiB/s now",
        "         1,230 records/s, 1.0 MiB/s over 10s",
        "disk     90.0 GiB left, full in 1m 30s",
        "",
        "consumer records left  records/s   holder  caught up",
        "archiver            0      1,230     4711  yes",
        "lost                ?          ?        ?  damaged: reset it",
        "reader         10,000      2,230        ?  in 10s",
        "",
        "every 1s, q ends",
      ])
  }

  @Test("on 40 columns and 10 rows what changes least is left out, and consumers are counted")
  func small() {
    #expect(
      lines(40, 10) == [
        "queue               2023-11-14T22:13:20Z",
        "records  32,300",
        "slabs    2, 10.0 MiB, 2 removed since 20",
        "appended 1,230 records/s, 1.0 MiB/s now",
        "         1,230 records/s, 1.0 MiB/s over",
        "disk     90.0 GiB left, full in 1m 30s",
        "",
        "consumer records left  records/s   holde",
        "and 3 more consumers",
        "every 1s, q ends",
      ])
    #expect(lines(40, 11)[8] == "archiver            0      1,230     471")
    #expect(lines(40, 11)[9] == "and 2 more consumers")
  }

  @Test("no size is exceeded, whatever the text")
  func sizes() {
    let topic = String(repeating: "sensors/", count: 20) + "\u{1B}[2J\n"
    for columns in [0, 1, 2, 7, 8, 20, 41, 79, 80, 200] {
      for rows in 0...30 {
        let lines = lines(columns, rows, topic: topic, notice: "a\nb\u{7}")
        #expect(lines.count <= rows)
        #expect(lines.allSatisfy { $0.count <= columns })
        let scalars = lines.joined().unicodeScalars
        #expect(!scalars.contains { $0.value < 0x20 || $0.value == 0x7F })
      }
    }
  }

  @Test("a long name leaves room for its numbers")
  func longName() {
    let name = String(repeating: "n", count: 64)
    let trend = trend([
      look(
        at: 0, consumers: [TopicLook.Consumer(name: name, ordinal: 1, records: 123_456)])
    ])
    let lines = WatchScreen.lines(
      trend, topic: "queue", notice: "", size: WatchScreen.ScreenSize(columns: 60, rows: 24))
    #expect(lines.contains(name.prefix(9) + "      123,456          ?        ?  ?"))
  }

  @Test("a look is one line, to be logged")
  func line() {
    #expect(
      WatchLine.text(Self.busy)
        == "2023-11-14T22:13:20Z not closed; writer ?; 32300 records; next 10485760;"
        + " 1,230 records/s; 1.0 MiB/s; 2 slabs, 10.0 MiB; 2 removed; 90.0 GiB left;"
        + " full in 1m 30s;"
        + " archiver: 0 left, 1,230 records/s, caught up yes;"
        + " lost: ? left, ? records/s, caught up ?;"
        + " reader: 10000 left, 2,230 records/s, caught up in 10s")
  }
}

@Suite("diskq info --watch")
struct WatchTests {
  @Test("each look is one JSON object, with what was appended since, until the pipe is closed")
  func json() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 100, options: ["--slab-size", "4KiB"])
    let outcome = try Diskq.run("consume", topic, "--consumer", "reader", "--limit", "40")
    #expect(outcome.status == 0)
    let running = try RunningDiskq("info", topic, "--watch", "--interval", "100ms", "--json")
    let first = try object(try #require(try running.readLine()))
    #expect(first["records"] as? Int == 100)
    #expect(first["state"] as? String == "closed")
    #expect(first["slabCount"] as? Int == (try slabPaths(topic)).count)
    #expect(first["recordsPerSecond"] is NSNull)
    #expect(first["diskLeft"] as? Int ?? 0 > 0)
    let consumer = try #require((first["consumers"] as? [[String: Any]])?.first)
    #expect(consumer["name"] as? String == "reader")
    #expect(consumer["recordsLeft"] as? Int == 60)
    #expect(consumer["outlook"] as? String == "unknown")

    #expect(try Diskq.run("append", topic, input: "one\ntwo\n").status == 0)
    // One of the looks is the first to see the records, and so it shows their rate.
    while true {
      let look = try object(try #require(try running.readLine()))
      guard look["records"] as? Int == 102 else { continue }
      #expect(look["recordsPerSecond"] as? Double ?? 0 > 0)
      break
    }
    try running.closeOutput()
    #expect(try running.outcome().status == 0)
  }

  @Test("SIGTERM ends it with 0, also between looks that are far apart")
  func stopped() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 3)
    let running = try RunningDiskq("info", topic, "--watch", "--interval", "1d")
    let line = try #require(try running.readLine())
    #expect(line.contains("Z closed; writer none; 3 records; next "))
    running.send(SIGTERM)
    let outcome = try running.outcome()
    #expect(outcome.status == 0)
    #expect(outcome.errors.isEmpty)
  }

  #if os(Linux)
    @Test("a terminal gets its screen, its cursor and its wrapping back when q is typed")
    func terminal() throws {
      let directory = try TemporaryDirectory()
      let topic = directory.at("topic")
      try makeTopic(topic, records: 3)
      // script(1) makes a terminal, and types its own input there.
      let outcome = try Diskq.shell(
        #"""
        printf q | TERM=xterm script -qec "stty rows 24 cols 80; '$0' info '$1' --watch; stty -a" \
          /dev/null
        """#, topic)
      #expect(outcome.status == 0)
      let taken = "\u{1B}[?1049h\u{1B}[?25l\u{1B}[?7l"
      let givenBack = "\u{1B}[?7h\u{1B}[?25h\u{1B}[?1049l"
      let start = try #require(outcome.text.firstRange(of: taken))
      let end = try #require(outcome.text.firstRange(of: givenBack))
      let screen = outcome.text[start.upperBound..<end.lowerBound]
      #expect(screen.contains("records  3"))
      #expect(screen.contains("every 1s, q ends"))
      let after = outcome.text[end.upperBound...]
      #expect(!after.contains("-icanon"))
      #expect(after.contains(" echo "))
    }
  #endif

  @Test("a closed pipe ends it, also between looks that are far apart")
  func closed() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    try makeTopic(topic, records: 3)
    let running = try RunningDiskq("info", topic, "--watch", "--interval", "1d")
    _ = try running.readLine()
    try running.closeOutput()
    let outcome = try running.outcome()
    #expect(outcome.status == 0)
    #expect(outcome.errors.isEmpty)
  }

  @Test("a topic that is put aside is told once, and watched on once it is back")
  func away() throws {
    let directory = try TemporaryDirectory()
    let (topic, aside) = (directory.at("topic"), directory.at("aside"))
    try makeTopic(topic, records: 3)
    let running = try RunningDiskq("info", topic, "--watch", "--interval", "100ms", "--json")
    _ = try running.readLine()
    try FileManager.default.moveItem(atPath: topic, toPath: aside)
    let reported = "there is no topic at this path"
    while !(try #require(try running.readErrorLine())).contains(reported) {}
    try makeTopic(topic, records: 5)
    while try object(try #require(try running.readLine()))["records"] as? Int != 5 {}
    running.send(SIGTERM)
    let outcome = try running.outcome()
    #expect(outcome.status == 0)
    #expect(!outcome.errors.contains(reported))
  }

  @Test("a topic that is none is refused, as without --watch")
  func none() throws {
    let directory = try TemporaryDirectory()
    let watched = try Diskq.run("info", directory.at("topic"), "--watch")
    #expect(watched.status == 2)
    #expect(watched.errors == (try Diskq.run("info", directory.at("topic")).errors))
    #expect(watched.output.isEmpty)
  }

  @Test(
    "an interval needs --watch, and is from 100ms to a day",
    arguments: [
      ["--interval", "1s"], ["--watch", "--interval", "99ms"], ["--watch", "--interval", "2d"],
      ["--watch", "--interval", "soon"],
    ])
  func usage(options: [String]) throws {
    #expect(try Diskq.run(["info", "topic"] + options).status == 64)
  }
}
