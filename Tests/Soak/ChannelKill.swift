// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// Kills a program that sends and receives through a channel, and lets it go on: nothing is missing
/// whose `send` returned, the order is kept, and a new life begins at the durable cursor.
struct ChannelKill: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "channel-kill")

  @Argument var topic: String
  @Option(help: "Random where it is not given; printed.") var seed: UInt64?
  @Option var kills = 25

  /// In nanoseconds: an acknowledgement of a `ChannelKillVictim` is durable behind it, on a slow
  /// disk, too.
  private static let durableWithin: UInt64 = 2_000_000_000

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
    for life in 0..<kills {
      let victim = try ChannelKillVictim.start(topic, life, random.next(), finishing: false)
      // Every fifth one lives long enough for its first acknowledgements to have to be durable.
      let most = life % 5 == 4 ? 3_000 : 5 + random.below(400)
      let end = Posix.now() + UInt64(most) * 1_000_000
      while Posix.now() < end {
        let left = Int((end - min(end, Posix.now())) / 1_000_000)
        switch try victim.nextLine(within: max(1, left)) {
        case .line(let line): try oracle.take(line, at: Posix.now())
        case .none: break
        case .end: throw Broken("life \(life) ended by itself")
        }
      }
      let killed = Posix.now()
      victim.killAndWait()
      while case .line(let line) = try victim.nextLine(within: 10_000) {
        try oracle.take(line, at: killed)
      }
      try oracle.die(cursor: try cursor(), durable: killed - Self.durableWithin)
    }
    let last = try ChannelKillVictim.start(topic, kills, random.next(), finishing: true)
    while true {
      let answer = try last.nextLine(within: 30_000)
      if answer == .end { break }
      guard case .line(let line) = answer else {
        last.abortAndWait()
        throw Broken("the channel does not come to its end")
      }
      try oracle.take(line, at: Posix.now())
    }
    try last.finish("the last life")
    try oracle.finish(cursor: try cursor())
    Posix.say(
      "kills: \(kills); received: \(oracle.received.count), given again: \(oracle.repeated); sends"
        + " whose return was not seen: \(oracle.unanswered); seed: \(seed);"
        + " \(Figures.seconds(since: start))")
  }

  /// What the channel's cursor says, from outside: how many messages were taken.
  private func cursor() throws -> UInt64? {
    do throws(QueueError) {
      return try QueueConsumer.consumers(of: Topic(topic))
        .first { $0.name == DiskChannel.consumerName }?.ordinal
    } catch {
      // Killed before it had made the topic.
      guard error.code == .noSuchTopic else { throw error }
      return nil
    }
  }
}

/// What a channel may deliver, by what its lives said before.
struct ChannelOracle {
  /// The message at each place of the log.
  private(set) var received: [UInt64] = []
  private(set) var repeated = 0
  private(set) var unanswered = 0
  /// How many sends returned, of each life.
  private var sent: [UInt64: UInt64] = [:]
  /// The place that has to come next.
  private var next: UInt64 = 0
  /// Everything before it was acknowledged, and when that was known.
  private var acknowledged: UInt64 = 0
  private var history: [(place: UInt64, time: UInt64)] = []
  /// Acknowledged out of order.
  private var early: Set<UInt64> = []

  /// Takes what a life said: `sent`, `received PLACE MESSAGE` or `acknowledges PLACE`.
  mutating func take(_ line: String, at time: UInt64) throws(Broken) {
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
      if history.last?.place != acknowledged { history.append((acknowledged, time)) }
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

  /// A life ended.
  ///
  /// - Parameters:
  ///   - cursor: nil: there is none.
  ///   - durable: what was acknowledged by then is durable.
  mutating func die(cursor: UInt64?, durable: UInt64) throws(Broken) {
    let cursor = cursor ?? 0
    let least = history.last { $0.time <= durable }?.place ?? 0
    try check(
      cursor >= least && cursor <= acknowledged,
      "the cursor is at \(cursor), and \(least) to \(acknowledged) were acknowledged")
    next = cursor
    acknowledged = cursor
    early = []
    history = []
  }

  /// All was received.
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
      // The last one may be there although its send had not returned.
      try check(
        there == said || there == said + 1, "life \(life) sent \(said), and \(there) are there")
      unanswered += Int(there - said)
    }
  }
}
