// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// Many tasks in several processes open a topic for writing at the same moment. Exactly one gets
/// it, and the others get an error at once. This also holds for a new topic, and if the holder is
/// killed just then.
struct OpenRace: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "open-race")

  @Argument(help: "Where topics are made.") var directory: String
  @Option(help: "Random where it is not given; printed.") var seed: UInt64?
  @Option var rounds = 600

  /// How many processes race, and how many tasks each has.
  private static let racers = 3
  static let tasks = 2

  private struct Tally {
    var refused = 0
    var newTopics = 0
    var kills = 0
    /// The records that must be in the topic for which there are many races.
    var records: [UInt64] = []
  }

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
    var tally = Tally()
    let racers = try (0..<Self.racers).map { _ in try Child(["open-racer"]) }
    let topic = directory + "/topic"
    for round in 0..<rounds {
      switch random.below(3) {
      case 0:
        let new = directory + "/new"
        let number = UInt64(round)
        try race(racers, new, number, &tally)
        tally.newTopics += 1
        try compare(new, [number])
        try Posix.removeTree(new)
      case 1:
        try race(racers, topic, UInt64(round), &tally)
        tally.records.append(UInt64(round))
      default:
        try raceForTheDead(racers, topic, UInt64(round), &random, &tally)
      }
    }
    try compare(topic, tally.records)
    for racer in racers {
      racer.send("end")
      try racer.finish("a racer")
    }
    try check(tally.newTopics > 0 && tally.kills > 0, "too few rounds for every kind")
    Posix.say(
      "rounds: \(rounds), of a new topic: \(tally.newTopics), of a holder killed just then:"
        + " \(tally.kills); \(Self.racers) processes with \(Self.tasks) tasks: one had it each"
        + " time, \(tally.refused) were refused; seed: \(seed); \(Figures.cost(since: start))")
  }

  private func answer(_ child: Child) throws(Broken) -> [Substring] {
    try child.answer("a racer does not answer").split(separator: " ")
  }

  /// All tasks try once, at the same moment. The winner holds the topic until all have tried.
  private func race(
    _ racers: [Child], _ topic: String, _ number: UInt64, _ tally: inout Tally
  ) throws(Broken) {
    let moment = Posix.now() + 300_000
    for racer in racers { racer.send("once \(topic) \(moment)") }
    var winner: Child?
    for racer in racers {
      for _ in 0..<Self.tasks {
        let answer = try answer(racer)
        switch answer.first {
        case "won":
          try check(winner == nil, "two writers have \(topic)")
          winner = racer
        case "locked": tally.refused += 1
        default: throw Broken("a racer was told: \(answer.joined(separator: " "))")
        }
      }
    }
    guard let winner else { throw Broken("nobody got \(topic)") }
    try use(winner, number)
  }

  private func use(_ winner: Child, _ number: UInt64) throws(Broken) {
    winner.send("append \(number)")
    winner.send("close")
    let answer = try answer(winner)
    try check(answer == ["closed"], "the winner was told: \(answer.joined(separator: " "))")
  }

  /// One process holds the topic and is killed while the others try again and again.
  private func raceForTheDead(
    _ racers: [Child], _ topic: String, _ number: UInt64, _ random: inout Random,
    _ tally: inout Tally
  ) throws(Broken) {
    let holder = try Child(["open-racer"])
    holder.send("until \(topic) 0")
    try check(try answer(holder).first == "won", "the holder does not get the topic")
    holder.send("append \(number << 32)")
    holder.send("flush")
    try check(try answer(holder) == ["flushed"], "the holder does not flush")
    tally.records.append(number << 32)

    let moment = Posix.now() + 300_000
    for racer in racers { racer.send("until \(topic) \(moment)") }
    let kill = moment - 200_000 + UInt64(random.below(1_000_000))
    while Posix.now() < kill {}
    let killed = Posix.now()
    holder.kill()
    // Each racer sends one line: that it has won, or, after `stop`, that it has not.
    var winner: Child?
    while winner == nil {
      for racer in racers where winner == nil {
        if case .line(let line) = try racer.nextLine(within: 1) {
          let words = line.split(separator: " ")
          try check(words.first == "won" && words.count == 2, "a racer was told: \(line)")
          try check(
            UInt64(words[1]) ?? 0 >= killed, "somebody had the topic before its holder was killed")
          winner = racer
        }
      }
      try check(Posix.now() < killed + 30_000_000_000, "nobody got the topic of a dead holder")
    }
    for racer in racers where racer !== winner {
      racer.send("stop")
      let answer = try answer(racer)
      try check(answer.first == "stopped", "two had it: \(answer.joined(separator: " "))")
      tally.refused += answer.count > 1 ? Int(answer[1]) ?? 0 : 0
    }
    holder.killAndWait()
    guard let winner else { return }
    try use(winner, number)
    tally.records.append(number)
    tally.kills += 1
  }

  /// Checks that the topic has every record of each winner, in order, and no other.
  private func compare(_ topic: String, _ expected: [UInt64]) throws {
    var numbers: [UInt64] = []
    var reader = try QueueReader(topic: Topic(topic))
    while let record = try reader.nextCopy() {
      numbers.append(try Payload.number(of: record.payload))
    }
    try check(
      numbers == expected, "\(numbers.count) records are there of \(expected.count), or others")
  }
}

/// A process that opens a topic when a line of its input requests it.
struct OpenRacer: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "open-racer", shouldDisplay: false)

  func run() async throws {
    var orders = LineReader(0)
    var writer: QueueWriter?
    while case .line(let line) = try orders.next(within: 60_000) {
      let words = line.split(separator: " ")
      switch words.first {
      case "once":
        let (topic, moment) = (String(words[1]), UInt64(words[2]) ?? 0)
        let won = await withTaskGroup(of: QueueWriter?.self) { group in
          for _ in 0..<OpenRace.tasks {
            group.addTask { Self.open(topic, at: moment) }
          }
          var won: QueueWriter?
          // The winner holds the topic until all have tried.
          for await one in group where one != nil { won = one }
          return won
        }
        writer = won
      case "until":
        let (topic, moment) = (String(words[1]), UInt64(words[2]) ?? 0)
        while Posix.now() < moment {}
        var refusals = 0
        while writer == nil {
          do throws(QueueError) {
            writer = try QueueWriter(topic: Topic(topic))
            Posix.say("won \(Posix.now())")
          } catch {
            guard error.code == .locked else {
              Posix.say("\(error)")
              break
            }
            refusals += 1
            if try orders.next(within: 0) == .line("stop") {
              Posix.say("stopped \(refusals)")
              break
            }
          }
        }
      case "append": try writer?.append(Payload.make(UInt64(words[1]) ?? 0))
      case "flush":
        try await writer?.flush()
        Posix.say("flushed")
      case "close":
        try await writer?.close()
        writer = nil
        Posix.say("closed")
      default: return
      }
    }
  }

  private static func open(_ topic: String, at moment: UInt64) -> QueueWriter? {
    while Posix.now() < moment {}
    do throws(QueueError) {
      let writer = try QueueWriter(topic: Topic(topic))
      Posix.say("won")
      return writer
    } catch {
      Posix.say(error.code == .locked ? "locked" : "\(error)")
      return nil
    }
  }
}
