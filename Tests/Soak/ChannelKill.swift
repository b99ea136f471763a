// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// Kills a program that sends and receives through a channel, and starts it again.
///
/// No message is missing after its `send` returned. The order is kept. Each new life begins at the
/// durable cursor.
struct ChannelKill: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "channel-kill")

  @Argument var topic: String
  @Option(help: "Random where it is not given; printed.") var seed: UInt64?
  @Option var kills = 25

  /// How long it may take until the cursor has an acknowledgement, in nanoseconds. This is a guard,
  /// not a measurement: the time that it took is printed.
  private static let guardTime: UInt64 = 60_000_000_000

  func run() throws {
    let seed = seed ?? UInt64.random(in: 0...UInt64.max)
    do {
      try run(seed)
    } catch {
      throw Broken("seed \(seed): \(error)")
    }
  }

  private func run(_ seed: UInt64) throws {
    var random = Random(seed: seed)
    let start = Posix.now()
    var oracle = ChannelOracle()
    var slowest: UInt64 = 0
    for life in 0..<kills {
      let victim = try ChannelKillVictim.start(topic, life, random.next(), finishing: false)
      let end = Posix.now() + UInt64(5 + random.below(400)) * 1_000_000
      while Posix.now() < end {
        try take(from: victim, within: Int((end - min(end, Posix.now())) / 1_000_000), &oracle)
      }
      // Every fifth life lasts until the cursor has everything that is acknowledged by now.
      if life % 5 == 4 { slowest = max(slowest, try waitForCursor(victim, &oracle)) }
      // The cursor must not be below this position after the kill.
      let least = try cursor() ?? 0
      victim.killAndWait()
      while case .line(let line) = try victim.nextLine(within: 10_000) { try oracle.take(line) }
      try oracle.die(cursor: try cursor(), least: least)
    }
    let last = try ChannelKillVictim.start(topic, kills, random.next(), finishing: true)
    loop: while true {
      switch try last.nextLine(within: 30_000) {
      case .line(let line): try oracle.take(line)
      case .end: break loop
      case .none: throw last.hangs("the channel does not come to its end")
      }
    }
    try last.finish("the last life")
    try oracle.finish(cursor: try cursor())
    Posix.say(
      "kills: \(kills); received: \(oracle.received.count), given again: \(oracle.repeated); sends"
        + " whose return was not seen: \(oracle.unanswered); slowest from an acknowledgement to the"
        + " cursor: \(Figures.milliseconds(slowest)); seed: \(seed);"
        + " \(Figures.cost(since: start))")
  }

  private func take(
    from victim: Child, within milliseconds: Int, _ oracle: inout ChannelOracle
  ) throws(Broken) {
    switch try victim.nextLine(within: max(1, milliseconds)) {
    case .line(let line): try oracle.take(line)
    case .none: break
    case .end: throw Broken("a life ended by itself")
    }
  }

  /// Waits until the cursor has everything that is acknowledged now. Returns how long that took.
  private func waitForCursor(_ victim: Child, _ oracle: inout ChannelOracle) throws -> UInt64 {
    // First take the lines that the victim has printed. A pipe holds fewer lines than this.
    for _ in 0..<10_000 {
      guard case .line(let line) = try victim.nextLine(within: 0) else { break }
      try oracle.take(line)
    }
    let (start, place) = (Posix.now(), oracle.acknowledged)
    while try cursor() ?? 0 < place {
      guard Posix.now() - start < Self.guardTime else {
        throw victim.hangs("the cursor does not come to \(place), which is acknowledged")
      }
      // The victim continues only while its lines are taken.
      try take(from: victim, within: 5, &oracle)
    }
    return Posix.now() - start
  }

  /// The channel's cursor, read from outside: how many messages were acknowledged.
  private func cursor() throws -> UInt64? {
    do throws(QueueError) {
      return try QueueConsumer.consumers(of: Topic(topic))
        .first { $0.name == DiskChannel.consumerName }?.ordinal
    } catch {
      // The victim was killed before it made the topic.
      guard error.code == .noSuchTopic else { throw error }
      return nil
    }
  }
}

/// The messages that a channel may deliver, by the lines that its lives printed.
struct ChannelOracle {
  /// The messages of the log, by their ordinals.
  private(set) var received: [UInt64] = []
  private(set) var repeated = 0
  private(set) var unanswered = 0
  /// How many sends of each life returned.
  private var sent: [UInt64: UInt64] = [:]
  /// The ordinal that has to come next.
  private var next: UInt64 = 0
  /// Every message before it was acknowledged.
  private(set) var acknowledged: UInt64 = 0
  /// The ordinals that were acknowledged out of order.
  private var early: Set<UInt64> = []

  /// Takes a line of a life: `sent MESSAGE`, `received PLACE MESSAGE` or `acknowledges PLACE`.
  /// `PLACE` is an ordinal.
  mutating func take(_ line: String) throws(Broken) {
    let words = line.split(separator: " ")
    let numbers = words.dropFirst().compactMap { UInt64($0) }
    switch (words.first, numbers.count) {
    case ("sent", 1):
      let (life, number) = ChannelKillVictim.parts(of: numbers[0])
      try check(number == sent[life, default: 0], "life \(life) says that it sent \(number)")
      sent[life] = number + 1
    case ("received", 2):
      try receive(numbers[1], at: numbers[0])
    case ("acknowledges", 1):
      early.insert(numbers[0])
      while early.remove(acknowledged) != nil { acknowledged += 1 }
    default:
      throw Broken("the channel says: \(line)")
    }
  }

  private mutating func receive(_ message: UInt64, at place: UInt64) throws(Broken) {
    try check(place == next, "place \(place) was delivered where \(next) was to come")
    next += 1
    if place < received.count {
      try check(received[Int(place)] == message, "another message is at place \(place)")
      repeated += 1
    } else {
      received.append(message)
    }
  }

  /// Ends a life.
  ///
  /// - Parameters:
  ///   - cursor: nil if there is none.
  ///   - least: the cursor's position before the kill.
  mutating func die(cursor: UInt64?, least: UInt64) throws(Broken) {
    let cursor = cursor ?? 0
    try check(
      cursor >= least && cursor <= acknowledged,
      "the cursor is at \(cursor), and \(least) to \(acknowledged) were acknowledged")
    next = cursor
    acknowledged = cursor
    early = []
  }

  /// Checks the messages after all were received.
  mutating func finish(cursor: UInt64?) throws(Broken) {
    try check(
      cursor == UInt64(received.count), "the cursor is at \(cursor ?? 0) of \(received.count)")
    var present: [UInt64: UInt64] = [:]
    var lastLife: UInt64 = 0
    for message in received {
      let (life, number) = ChannelKillVictim.parts(of: message)
      try check(
        life >= lastLife && number == present[life, default: 0],
        "message \(number) of life \(life) stands behind life \(lastLife)")
      lastLife = life
      present[life] = number + 1
    }
    for life in Set(sent.keys).union(present.keys) {
      let (said, there) = (sent[life, default: 0], present[life, default: 0])
      // The last message may be there although its send had not returned.
      try check(
        there == said || there == said + 1, "life \(life) sent \(said), and \(there) are there")
      unanswered += Int(there - said)
    }
  }
}
