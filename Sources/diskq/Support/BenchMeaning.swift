// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The meaning of the figures for a program that writes to this disk.
struct BenchMeaning {
  /// Nanoseconds of a `write` and an `fdatasync`.
  var rawSync: Double
  /// Nanoseconds of a record that is appended and synced alone.
  var syncedAlone: Double
  /// Nanoseconds of a record that many tasks append and sync at once.
  var syncedByTasks: Double
  /// Nanoseconds of a record with `syncEvery`.
  var syncEvery: Double
  /// Nanoseconds of a record that is only buffered.
  var buffered: Double
  /// The syncs a second of the tasks.
  var syncsASecond: Double
  /// The system's name of the file system.
  var fileSystem: String?

  /// Returns nil unless all of these rows were measured.
  init?(_ results: BenchResults, fileSystem: String?) {
    guard let rawSync = results.figures(of: .rawSync),
      let alone = results.figures(of: .appendSync),
      let tasks = results.figures(of: .appendSyncedByTasks),
      let every = results.figures(of: .appendSyncEvery),
      let buffered = results.figures(of: .append)
    else { return nil }
    self.init(
      rawSync: rawSync.time.median, syncedAlone: alone.time.median,
      syncedByTasks: tasks.time.median, syncEvery: every.time.median,
      buffered: buffered.time.median, syncsASecond: tasks.syncsASecond ?? 0,
      fileSystem: fileSystem)
  }

  init(
    rawSync: Double, syncedAlone: Double, syncedByTasks: Double, syncEvery: Double,
    buffered: Double, syncsASecond: Double, fileSystem: String?
  ) {
    self.rawSync = rawSync
    self.syncedAlone = syncedAlone
    self.syncedByTasks = syncedByTasks
    self.syncEvery = syncEvery
    self.buffered = buffered
    self.syncsASecond = syncsASecond
    self.fileSystem = fileSystem
  }

  /// No disk and no flash stores anything in fewer nanoseconds than this: 20 us.
  static let leastOfADisk: Double = 20_000

  private var isMemory: Bool { fileSystem == "tmpfs" || fileSystem == "ramfs" }

  /// Whether data may be lost in a power cut here even after an `fdatasync` that succeeded.
  var syncIsSuspect: Bool { isMemory || rawSync < Self.leastOfADisk }

  /// Why the sync is suspect, or nil if it is not.
  var warning: String? {
    if isMemory {
      return "Warning: this is \(fileSystem ?? "memory"), which is memory: nothing here survives a"
        + " power cut, even if it is synced. These figures say nothing about a disk."
    }
    guard syncIsSuspect else { return nil }
    return
      "Warning: a write and fdatasync takes \(time(rawSync)) here, less than a disk or flash needs"
      + " to store anything. A cache may answer here, or a virtual disk that does not wait. Unless"
      + " that cache survives a power cut, synced records do not survive it either."
  }

  /// Whether tasks gain something by sharing a sync.
  private var sharingPays: Bool { syncedByTasks * 1.2 < syncedAlone }

  /// The statements of the text, each of one sentence or more.
  var sentences: [String] {
    [alone, shared, lazily, everySecond, everyRecords]
  }

  private func time(_ nanoseconds: Double) -> String {
    Layout.unbroken(Figures.time(nanoseconds: nanoseconds))
  }

  private func rate(_ nanoseconds: Double) -> String {
    Figures.threeDigits(1e9 / nanoseconds) + " records a second"
  }

  private var alone: String {
    "One write and fdatasync takes \(time(rawSync)) here. A program that syncs"
      + " each record before the next stores \(rate(syncedAlone))."
  }

  private var shared: String {
    let tasks =
      "\(BenchRow.tasks) tasks that append at once, each waiting until its record is synced,"
    guard sharingPays else {
      return "\(tasks) store \(rate(syncedByTasks)): if a sync takes so little, sharing it gains"
        + " nothing."
    }
    let wait = time(syncedByTasks * Double(BenchRow.tasks))
    return "\(tasks) share \(Figures.threeDigits(syncsASecond)) syncs a second: that is"
      + " \(rate(syncedByTasks)), and each task waits \(wait)."
  }

  private var lazily: String {
    let times = syncedAlone / buffered
    let compared =
      times >= 2
      ? "\(Figures.threeDigits(times)) times less than a synced one" : "as much as a synced one"
    return "An append that waits for nothing takes \(time(buffered)),"
      + " \(compared). Within 100 ms (flushEvery) its record survives the program. To survive a"
      + " power cut, it must be synced."
  }

  private var everySecond: String {
    // For a low rate: at a higher one, the sync also writes the records of the last second.
    let part = min(100, syncedAlone / 1e9 * 100)
    let percent = Layout.unbroken(
      part >= 0.01 ? Figures.ratio(part) + " %" : "less than 0.01 %")
    return
      "With syncEvery at 1 s, a power cut takes back at most the last second, and the records that"
      + " were appended while a sync ran. That is at most one sync a second, \(percent) of the"
      + " time, on the writer's own thread."
  }

  private var everyRecords: String {
    "With syncEvery at \(Figures.grouped(BenchRow.syncEveryRecords)) records or"
      + " \(BenchRow.syncEveryMilliseconds) ms, whichever comes first, a power cut takes back about"
      + " that much. The writer stores \(rate(syncEvery)). The append that reaches the number waits"
      + " for the sync."
  }

  /// Which policy suits which rate: the records a second in words, and the policy.
  var policies: [(rate: String, policy: String)] {
    // Half of the measured rate: a disk has other work, and is slower at times.
    func half(_ nanoseconds: Double) -> String {
      Figures.atLeast(0.5e9 / nanoseconds)
    }
    var policies = [
      (
        "up to \(half(syncedAlone)) a second",
        "sync each: --ensure synced, or ensuring: .synced"
      )
    ]
    if sharingPays {
      policies.append(
        ("up to \(half(syncedByTasks)) a second", "the same, from many tasks at once"))
    }
    policies.append(
      ("more, or to spare the disk", "sync now and then: --sync-every 1s, or syncEvery"))
    return policies
  }

  /// The whole text, in lines.
  var text: String {
    var text = ""
    if let warning { text += Layout.wrapped(warning, width: BenchTable.width) + "\n\n" }
    text += "What that means:\n"
    for sentence in sentences {
      text += Layout.wrapped("- " + sentence, width: BenchTable.width, indent: 2) + "\n"
    }
    // In memory no policy makes records durable.
    guard !isMemory else { return text }
    text += "\nWhich policy, at half of the measured rate:\n"
    for (rate, policy) in policies {
      text += "  " + Layout.left(rate, 28) + policy + "\n"
    }
    return text
  }
}
