// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// Kills a consumer at random moments. Compares the lines that it printed with the deliveries to
/// its next life.
///
/// The victim prints which records were delivered, which it is about to acknowledge, and which of
/// these calls returned. It prints each line before it continues. Nothing that it holds in memory
/// counts.
///
/// A writer beside it rolls small slabs, closes and opens again, and cleans acknowledged records.
/// It is sometimes killed as well.
struct ConsumerKill: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "consumer-kill")
  static let consumer = "victim"

  @Argument var topic: String
  @Option(help: "Random where it is not given; printed.") var seed: UInt64?
  @Option var kills = 200
  @Option var records: UInt64 = 100_000

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
    // Make the consumer before anything is written, and so before anything is cleaned. Without the
    // consumer, nothing would be held.
    try { () throws(QueueError) in
      try QueueWriter(topic: Topic(topic)).close()
      try QueueConsumer(topic: Topic(topic), name: Self.consumer).close()
    }()
    var writer = try ConsumerKillWriter.start(topic, random.next())
    var writerKills = 0
    var allowed: UInt64 = 1_000
    writer.send("\(allowed)")
    _ = try writer.answer("the writer does not write")

    var oracle = DeliveryOracle(records: records)
    for kill in 0..<kills {
      // The last record comes after the last kill. Otherwise the cursor may already be at the end
      // although no call has returned, and the last life would get nothing to acknowledge.
      allowed = min(records - 1, UInt64(kill + 1) * records / UInt64(kills) + 1_000)
      writer.send("\(allowed)")
      let victim = try ConsumerKillVictim.start(topic, random.next(), records)
      oracle.begin()
      if random.chance(10) {
        // While it opens, or soon after that.
        Posix.sleep(microseconds: random.below(40_000))
      } else {
        let step = UInt64(random.below(Int(2 * records) / kills))
        let target = min(oracle.delivered + step, allowed)
        while oracle.delivered < target {
          try oracle.take(try victim.answer("the consumer delivers nothing"))
        }
        Posix.sleep(microseconds: random.below(3_000))
      }
      victim.killAndWait()
      while case .line(let line) = try victim.nextLine(within: 10_000) { try oracle.take(line) }
      if random.chance(10) {
        writer.killAndWait()
        writerKills += 1
        writer = try ConsumerKillWriter.start(topic, random.next())
      }
    }

    writer.send("\(records)")
    let last = try ConsumerKillVictim.start(topic, random.next(), records)
    oracle.begin()
    while oracle.acknowledged < records {
      try oracle.take(try last.answer("the consumer does not come to the end"))
    }
    last.killAndWait()
    oracle.begin()
    try check(oracle.isComplete, "a record was never delivered")
    let rest = try ConsumerKillVictim.start(topic, random.next(), records)
    let answer = try rest.nextLine(within: 300)
    try check(answer == .none, "delivered again behind the end: \(answer)")
    Posix.say(
      "kills: \(kills) of the consumer, \(writerKills) of the writer; records: \(records); given"
        + " again: \(oracle.repeated); acknowledgements behind the answer: \(oracle.ahead); seed:"
        + " \(seed); \(Figures.cost(since: start))")
  }
}

/// The records that a consumer may get, by the lines that its lives printed.
struct DeliveryOracle {
  /// The number after the last record that was delivered, in any life.
  private(set) var delivered: UInt64 = 0
  /// Every record below this number is acknowledged, and the call returned.
  private(set) var acknowledged: UInt64 = 0
  /// Deliveries of records that had been delivered before.
  private(set) var repeated: UInt64 = 0
  /// Lives that began above the number that was known to be acknowledged.
  private(set) var ahead = 0
  /// Every record below this number was in an acknowledgement, whether the call returned or not.
  private var requested: UInt64 = 0
  /// The number with which the next delivery of this life has to begin. Nil before the first one.
  private var expected: UInt64?
  private var requestedStretches: [Range<UInt64>] = []
  private var returnedStretches: [Range<UInt64>] = []
  private var seen: [Bool]

  init(records: UInt64) { seen = [Bool](repeating: false, count: Int(records)) }

  var isComplete: Bool { !seen.contains(false) }

  /// Begins a new life.
  mutating func begin() {
    expected = nil
    requestedStretches = []
    returnedStretches = []
  }

  /// Takes a line of a life: `delivered`, `asks` or `returned`, then the first number and the
  /// number after the last.
  mutating func take(_ line: String) throws(Broken) {
    let words = line.split(separator: " ")
    guard words.count == 3, let first = UInt64(words[1]), let end = UInt64(words[2]), first < end
    else { throw Broken("the consumer says: \(line)") }
    switch words[0] {
    case "delivered":
      try deliver(first..<end)
    case "asks":
      requestedStretches.append(first..<end)
      Self.advance(&requested, &requestedStretches)
    case "returned":
      returnedStretches.append(first..<end)
      Self.advance(&acknowledged, &returnedStretches)
    default:
      throw Broken("the consumer says: \(line)")
    }
  }

  private mutating func deliver(_ numbers: Range<UInt64>) throws(Broken) {
    if let expected {
      try check(
        numbers.lowerBound == expected,
        "\(numbers) was delivered where \(expected) was to come")
    } else {
      try check(
        numbers.lowerBound >= acknowledged,
        "\(numbers) was delivered, and \(acknowledged) is acknowledged durably")
      try check(
        numbers.lowerBound <= requested,
        "\(numbers) was delivered, and nobody acknowledged \(requested)")
      if numbers.lowerBound > acknowledged { ahead += 1 }
      // A life begins at the number that the cursor states.
      acknowledged = numbers.lowerBound
      requested = numbers.lowerBound
    }
    try check(numbers.upperBound <= UInt64(seen.count), "\(numbers) was never appended")
    for number in numbers {
      if seen[Int(number)] { repeated += 1 }
      seen[Int(number)] = true
    }
    expected = numbers.upperBound
    delivered = max(delivered, numbers.upperBound)
  }

  private static func advance(_ prefix: inout UInt64, _ stretches: inout [Range<UInt64>]) {
    while let next = stretches.first(where: { $0.lowerBound <= prefix && prefix < $0.upperBound }) {
      prefix = next.upperBound
      let reached = prefix
      stretches.removeAll { $0.upperBound <= reached }
    }
  }
}
