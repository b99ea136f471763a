// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// One victim after another, on one topic after another.
struct CrashRun {
  var random: Random
  private let directory: String
  private var topics = 0
  private var livesOfTopic = 0
  private var oracle: CrashOracle
  private var kills = 0
  private var ends = 0
  private var acknowledged: UInt64 = 0
  private var kept: UInt64 = 0
  private var dropped: UInt64 = 0
  private var recoveries = 0

  private init(_ directory: String, seed: UInt64) {
    self.directory = directory
    random = Random(seed: seed)
    oracle = CrashOracle(directory + "/topic")
  }

  private var topic: String { directory + "/topic" }

  /// Runs a check in a directory, and prints its result. A failure includes the seed.
  static func run(
    _ directory: String, _ seed: UInt64?, _ body: (inout CrashRun) throws -> String
  ) throws {
    let seed = seed ?? UInt64.random(in: 0...UInt64.max)
    let start = Posix.now()
    var run = CrashRun(directory, seed: seed)
    do {
      try run.startTopic()
      let what = try body(&run)
      run.count()
      Posix.say(
        "\(what); kills: \(run.kills), lives to the end: \(run.ends), topics: \(run.topics);"
          + " records acknowledged as flushed or synced: \(run.acknowledged), kept: \(run.kept),"
          + " attempted and not kept: \(run.dropped); recoveries from outside: \(run.recoveries);"
          + " seed: \(seed); \(Figures.cost(since: start))")
    } catch {
      throw Broken("seed \(seed), topic \(run.topics), life \(run.livesOfTopic): \(error)")
    }
  }

  private mutating func startTopic() throws {
    count()
    try Posix.removeTree(topic)
    try Posix.makeDirectory(topic)
    oracle = CrashOracle(topic)
    topics += 1
    livesOfTopic = 0
  }

  private mutating func count() {
    acknowledged += oracle.acknowledged
    kept += oracle.kept
    dropped += oracle.dropped
    recoveries += oracle.recoveries
  }

  private mutating func start(
    steps: Int, point: (index: Int, occurrence: Int)?
  ) throws -> Child {
    livesOfTopic += 1
    oracle.begin()
    return try CrashVictim.start(
      topic, seed: random.next(), first: oracle.nextNumber, steps: steps, point: point)
  }

  /// Kills a victim at a point. Returns whether the victim reached it.
  mutating func kill(at point: Int, _ occurrence: Int) throws -> Bool {
    let setting = CrashPoint.all[point].setting
    if setting == .newTopic && livesOfTopic > 0 || livesOfTopic >= 40 { try startTopic() }
    if setting == .uncleanTopic { try oracle.recover(closing: false) }
    // A victim reaches a point with a setting of its own only once.
    let victim = try start(steps: 200, point: (point, setting == .any ? occurrence : 1))
    loop: while true {
      switch try victim.nextLine(within: 60_000) {
      case .line(let line): try oracle.take(line)
      case .end: break loop
      case .none:
        throw victim.hangs("point \(point): the victim hangs")
      }
    }
    try judge(victim.ending(), isKilled: oracle.isAtPoint)
    return oracle.isAtPoint
  }

  mutating func killAnywhere() throws {
    if livesOfTopic >= 40 { try startTopic() }
    let victim = try start(steps: 1_000_000, point: nil)
    // From before the victim has opened anything to well after that.
    let longest = [8_000, 30_000, 150_000][random.below(3)]
    let end = Posix.now() + UInt64(random.below(longest)) * 1_000
    while Posix.now() < end {
      let left = Int((end - min(end, Posix.now())) / 1_000_000)
      switch try victim.nextLine(within: left) {
      case .line(let line): try oracle.take(line)
      case .none: break
      case .end:
        try judge(victim.ending(), isKilled: false)
        throw Broken("the victim ended by itself")
      }
    }
    victim.kill()
    loop: while true {
      switch try victim.nextLine(within: 10_000) {
      case .line(let line): try oracle.take(line)
      case .end: break loop
      case .none: throw victim.hangs("the victim does not die")
      }
    }
    try judge(victim.ending(), isKilled: true)
  }

  private mutating func judge(_ ending: Child.Ending, isKilled: Bool) throws {
    guard isKilled else {
      try check(ending == .exit(0) && oracle.hasEnded, "the victim ended with \(ending)")
      ends += 1
      return try look()
    }
    try check(ending == .killed, "the victim ended with \(ending)")
    kills += 1
    try look()
  }

  private mutating func look() throws {
    try oracle.die()
    // The next victim finds the topic as this one left it, or as a writer left it after that.
    let choice = random.below(4)
    if choice < 3 { try oracle.recover(closing: choice > 0) }
  }
}

extension CrashPoint {
  enum Setting {
    case any
    /// There is no topic, or no consumer.
    case newTopic
    /// There is a topic that was not closed.
    case uncleanTopic
  }

  /// The setting that a victim needs to reach the point.
  var setting: Setting {
    switch call {
    case .syncParent, .createFirstSlab, .writeFirstSlab, .syncFirstSlab, .syncFirstName,
      .openConsumers, .lockCursor, .writeFirstPosition:
      .newTopic
    case .createEpochSlab, .writeEpochSlab, .syncEpochSlab, .syncEpochName: .uncleanTopic
    default: .any
    }
  }
}
