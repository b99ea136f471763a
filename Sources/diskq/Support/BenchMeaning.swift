// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// What the figures mean for a program that writes to this disk.
struct BenchMeaning {
  /// Nanoseconds of a `write` and an `fdatasync`; of a record appended and synced alone, by many
  /// tasks at once, with `syncEvery`, and buffered.
  var rawSync: Double
  var syncedAlone: Double
  var syncedByTasks: Double
  var syncEvery: Double
  var buffered: Double
  /// Of the tasks.
  var syncsASecond: Double
  /// As the system calls it.
  var fileSystem: String?

  /// nil: not all of these rows were measured.
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

  /// Below so many nanoseconds no disk and no flash has taken in what was synced: 20 us.
  static let leastOfADisk: Double = 20_000

  private var isMemory: Bool { fileSystem == "tmpfs" || fileSystem == "ramfs" }

  /// Whether an `fdatasync` that succeeds here need not mean that anything is durable.
  var syncIsSuspect: Bool { isMemory || rawSync < Self.leastOfADisk }

  /// Where that is so, why.
  var warning: String? {
    if isMemory {
      return "Warning: this is \(fileSystem ?? "memory"), which is memory: nothing here survives a"
        + " power cut, whatever is synced, and these figures say nothing of a disk."
    }
    guard syncIsSuspect else { return nil }
    return
      "Warning: a write and fdatasync takes \(time(rawSync)) here, less than a disk or flash needs to"
      + " take anything in: it may well be a cache that answers, or a virtual disk that does not"
      + " wait. Unless that cache outlives a power cut, what is synced here does not."
  }

  /// Whether waiting together gains something.
  private var sharingPays: Bool { syncedByTasks * 1.2 < syncedAlone }

  /// One sentence or more each.
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
      + " each record before the next gets through \(rate(syncedAlone))."
  }

  private var shared: String {
    let tasks =
      "\(BenchRow.tasks) tasks that append at once, each waiting until its record is synced,"
    guard sharingPays else {
      return "\(tasks) get through \(rate(syncedByTasks)): where a sync takes so little, sharing it"
        + " gains nothing."
    }
    let wait = time(syncedByTasks * Double(BenchRow.tasks))
    return "\(tasks) share \(Figures.threeDigits(syncsASecond)) syncs a second: that is"
      + " \(rate(syncedByTasks)), and each task waits \(wait)."
  }

  private var lazily: String {
    let times = syncedAlone / buffered
    let compared =
      times >= 2
      ? "\(Figures.threeDigits(times)) times less than a synced one" : "as much as it does"
    return "An append that waits for nothing takes \(time(buffered)),"
      + " \(compared). Within 100 ms (flushEvery) its record survives the program, but no power cut:"
      + " for that it has to be synced."
  }

  private var everySecond: String {
    // Of little: what a second brings has to be written besides.
    let part = min(100, syncedAlone / 1e9 * 100)
    let percent = Layout.unbroken(
      part >= 0.01 ? Figures.ratio(part) + " %" : "less than 0.01 %")
    return
      "With syncEvery at 1 s, a power cut takes back the last second at the most, and what came"
      + " while a sync ran. That is one sync a second at the most, \(percent) of the time, on the"
      + " writer's own thread."
  }

  private var everyRecords: String {
    "With syncEvery at \(Figures.grouped(BenchRow.syncEveryRecords)) records or"
      + " \(BenchRow.syncEveryMilliseconds) ms, whichever comes first, a power cut takes back about"
      + " that much, and \(rate(syncEvery)) get through: the append that reaches the number waits for"
      + " the sync."
  }

  /// Which policy for which rate: as many records a second, in words, and what to do.
  var policies: [(rate: String, policy: String)] {
    // Half of what was measured: a disk has other work, and slower days.
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

  /// All of it, in lines.
  var text: String {
    var text = ""
    if let warning { text += Layout.wrapped(warning, width: BenchTable.width) + "\n\n" }
    text += "What that means:\n"
    for sentence in sentences {
      text += Layout.wrapped("- " + sentence, width: BenchTable.width, indent: 2) + "\n"
    }
    // Memory keeps nothing, whatever is chosen.
    guard !isMemory else { return text }
    text += "\nWhich policy, at half of what was measured:\n"
    for (rate, policy) in policies {
      text += "  " + Layout.left(rate, 28) + policy + "\n"
    }
    return text
  }
}
