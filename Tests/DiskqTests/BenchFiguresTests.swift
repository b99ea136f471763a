// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import diskq

@Suite("What diskq bench makes of what it measured")
struct BenchFiguresTests {
  // MARK: Numbers

  @Test(
    "a time has three digits, in the unit that suits it",
    arguments: [
      (0, "0.00 ns"), (9.4, "9.40 ns"), (44.34, "44.3 ns"), (99.96, "100 ns"), (999.4, "999 ns"),
      (999.6, "1.00 us"), (121_499, "121 us"), (3_720_000, "3.72 ms"), (2.5e9, "2.50 s"),
      (1.5e12, "1,500 s"), (.infinity, "1,000,000,000,000,000,000 s"), (.nan, "0.00 s"),
    ])
  func time(nanoseconds: Double, text: String) {
    #expect(Figures.time(nanoseconds: nanoseconds) == text)
  }

  @Test(
    "a rate has three digits, and commas between thousands",
    arguments: [
      (0.5, "0.50"), (269.4, "269"), (999.7, "1,000"), (8_061, "8,060"),
      (20_749_000, "20,700,000"), (123_456_789, "123,000,000"),
    ])
  func rate(number: Double, text: String) {
    #expect(Figures.threeDigits(number) == text)
  }

  @Test(
    "a small ratio has two digits that are not 0, as far as four behind the point",
    arguments: [
      (1.154, "1.15"), (29.04, "29.0"), (0.954, "0.95"), (0.0949, "0.095"), (0.0134, "0.013"),
      (0.00124, "0.0012"), (0.00003, "0.0000"), (12_345, "12,300"),
    ])
  func ratio(number: Double, text: String) {
    #expect(Figures.ratio(number) == text)
  }

  @Test(
    "what can be promised is rounded down",
    arguments: [(0.59, "0.5"), (9.99, "9.9"), (134.9, "130"), (4_099, "4,000"), (16_900, "16,000")])
  func atLeast(number: Double, text: String) {
    #expect(Figures.atLeast(number) == text)
  }

  @Test("a text is broken between words, and behind the first line indented")
  func wrapping() {
    #expect(
      Layout.wrapped("- one two three four", width: 9, indent: 2) == "- one two\n  three\n  four")
    #expect(Layout.wrapped("unbreakable", width: 3) == "unbreakable")
    #expect(
      Layout.wrapped("takes \(Layout.unbroken("3.5 ms")) here", width: 9) == "takes\n3.5 ms\nhere")
  }

  @Test("the file system is the one that mountinfo names for the device")
  func mounts() {
    let text = """
      22 1 254:0 / / rw,relatime - ext4 /dev/root rw,discard
      24 22 0:21 / /proc rw,nosuid shared:5 master:2 - proc proc rw
      31 22 0:27 / /dev/shm rw - tmpfs
      32 22 0:28 / /cut rw -
      """
    #expect(Mounts.fileSystem(ofDevice: "254:0", in: text) == "ext4")
    #expect(Mounts.fileSystem(ofDevice: "0:21", in: text) == "proc")
    #expect(Mounts.fileSystem(ofDevice: "0:27", in: text) == "tmpfs")
    #expect(Mounts.fileSystem(ofDevice: "0:28", in: text) == nil)
    #expect(Mounts.fileSystem(ofDevice: "8:1", in: text) == nil)
  }

  // MARK: Rounds

  @Test("the figures are medians, and the ratios those of the rounds")
  func medians() throws {
    var results = BenchResults()
    for (raw, own) in [(100, 110), (200, 180), (100, 150)] as [(Double, Double)] {
      results.add(BenchSample(records: 10, seconds: raw / 1e8), to: .rawSync)
      results.add(
        BenchSample(records: 10, seconds: own / 1e8, syncs: 2), to: .appendSyncedByTasks)
    }
    let raw = try #require(results.figures(of: .rawSync))
    #expect(raw.time == BenchSpread(median: 100, least: 100, most: 200))
    #expect(raw.ratio == nil)
    #expect(raw.syncsASecond == nil)
    let own = try #require(results.figures(of: .appendSyncedByTasks))
    #expect(own.time == BenchSpread(median: 150, least: 110, most: 180))
    #expect(own.ratio == BenchSpread(median: 1.1, least: 0.9, most: 1.5))
    #expect(own.recordsASync == 5)
    #expect(results.figures(of: .append) == nil)
    #expect(results.figures.map(\.row) == [.rawSync, .appendSyncedByTasks])
    #expect(BenchSpread(of: [4, 1, 2, 3]) == BenchSpread(median: 2.5, least: 1, most: 4))
    #expect(BenchMeaning(results, fileSystem: nil) == nil)
  }

  // MARK: The table

  private func figures(
    _ row: BenchRow, _ time: Double, _ ratio: BenchSpread? = nil, syncs: Double? = nil,
    recordsASync: Double? = nil
  ) -> BenchFigures {
    BenchFigures(
      row: row, time: BenchSpread(median: time, least: time, most: time), ratio: ratio,
      syncsASecond: syncs, recordsASync: recordsASync)
  }

  @Test("the table stands in columns, and says the syncs where records share them")
  func table() {
    let text = BenchTable.text([
      figures(.rawBufferedWrite, 38.1),
      figures(.append, 44, BenchSpread(median: 1.154, least: 1.02, most: 1.38)),
      figures(.rawRead, 9.09),
      figures(.rawSync, 121_000),
      figures(
        .appendSync, 124_000, BenchSpread(median: 1.03, least: 0.98, most: 1.1), syncs: 8_060,
        recordsASync: 1),
      figures(
        .appendSyncedByTasks, 3_100, BenchSpread(median: 0.026, least: 0.0214, most: 0.031),
        syncs: 5_160, recordsASync: 62.4),
      figures(
        .appendSyncEvery, 170, BenchSpread(median: 0.0014, least: 0.0011, most: 0.0028),
        syncs: 5_880, recordsASync: 1_000),
    ])
    #expect(
      text == """
                                            a record   records/s  ratio    least - most
        to the system's cache
          raw write of 256 KiB at a time     38.1 ns  26,200,000
          append                             44.0 ns  22,700,000   1.15     1.02 - 1.38
        from the system's cache
          raw read of 256 KiB at a time      9.09 ns 110,000,000
        to stable storage
          raw write and fdatasync of each     121 us       8,260
          append and sync of each             124 us       8,060   1.03     0.98 - 1.10
          append by 64 tasks, synced         3.10 us     323,000  0.026   0.021 - 0.031
            5,160 syncs/s, 62.4 records each
          append, sync every 1,000 / 100 ms   170 ns   5,880,000 0.0014 0.0011 - 0.0028
            5,880 syncs/s, 1,000 records each

        """)
  }

  @Test("every row's title fits its column")
  func titles() {
    for row in BenchRow.allCases { #expect(row.title.count <= 33, "\(row.title)") }
  }

  // MARK: Meaning

  private let disk = BenchMeaning(
    rawSync: 121_000, syncedAlone: 124_000, syncedByTasks: 3_100, syncEvery: 170, buffered: 44,
    syncsASecond: 5_160, fileSystem: "ext4")

  @Test("on a disk, it says what a sync costs, alone and shared, and which policy suits which rate")
  func meaningOfADisk() {
    #expect(disk.warning == nil)
    #expect(!disk.syncIsSuspect)
    #expect(
      disk.text == """
        What that means:
        - One write and fdatasync takes 121 us here. A program that syncs each record
          before the next stores 8,060 records a second.
        - 64 tasks that append at once, each waiting until its record is synced, share
          5,160 syncs a second: that is 323,000 records a second, and each task waits
          198 us.
        - An append that waits for nothing takes 44.0 ns, 2,820 times less than a
          synced one. Within 100 ms (flushEvery) its record survives the program. To
          survive a power cut, it must be synced.
        - With syncEvery at 1 s, a power cut takes back at most the last second, and
          the records that were appended while a sync ran. That is at most one sync a
          second, 0.012 % of the time, on the writer's own thread.
        - With syncEvery at 1,000 records or 100 ms, whichever comes first, a power cut
          takes back about that much. The writer stores 5,880,000 records a second. The
          append that reaches the number waits for the sync.

        Which policy, at half of the measured rate:
          up to 4,000 a second        sync each: --ensure synced, or ensuring: .synced
          up to 160,000 a second      the same, from many tasks at once
          more, or to spare the disk  sync now and then: --sync-every 1s, or syncEvery

        """)
  }

  @Test("in memory, it warns that nothing is durable, and recommends no policy")
  func meaningOfMemory() throws {
    var memory = disk
    memory.fileSystem = "tmpfs"
    #expect(memory.syncIsSuspect)
    let warning = try #require(memory.warning)
    #expect(warning.hasPrefix("Warning: this is tmpfs, which is memory: nothing here survives"))
    #expect(memory.text.hasPrefix("Warning: this is tmpfs, which is memory"))
    #expect(memory.text.contains("What that means:"))
    #expect(!memory.text.contains("Which policy"))
  }

  @Test("where a sync returns sooner than a disk can, it warns of a cache")
  func meaningOfACache() throws {
    var cache = disk
    cache.rawSync = 19_900
    #expect(cache.syncIsSuspect)
    let warning = try #require(cache.warning)
    #expect(warning.hasPrefix("Warning: a write and fdatasync takes \(Layout.unbroken("19.9 us"))"))
    #expect(cache.text.contains("Which policy"))
    cache.rawSync = 20_000
    #expect(!cache.syncIsSuspect)
    #expect(cache.warning == nil)
    cache.fileSystem = nil
    #expect(!cache.syncIsSuspect)
  }

  @Test("where sharing a sync gains nothing, it says so, and does not recommend it")
  func sharingGainsNothing() {
    var fast = disk
    fast.syncedAlone = 2_000
    fast.syncedByTasks = 1_900
    #expect(
      fast.sentences[1] == "64 tasks that append at once, each waiting until its record is synced,"
        + " store 526,000 records a second: if a sync takes so little, sharing it gains nothing.")
    #expect(fast.policies.count == 2)
    #expect(fast.policies[0].rate == "up to 250,000 a second")
  }

  @Test(
    "figures that no disk should have are put into words, too")
  func extremes() {
    var slow = disk
    slow.syncedAlone = 5e9
    slow.syncedByTasks = 5e9
    slow.buffered = 5e9
    #expect(slow.sentences[2].contains("takes \(Layout.unbroken("5.00 s")), as much as a synced"))
    #expect(slow.sentences[3].contains(Layout.unbroken("100 %") + " of the time"))
    #expect(slow.policies[0].rate == "up to 0.1 a second")
    for line in slow.text.split(separator: "\n") { #expect(line.count <= 79, "\(line)") }
  }
}
