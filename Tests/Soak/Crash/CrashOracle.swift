// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// The content that a topic must have, by the lines that its victims printed before they were
/// killed.
struct CrashOracle {
  private struct Entry: Equatable {
    var number: UInt64
    var address: UInt64
  }

  private struct Attempt {
    var number: UInt64
    /// Nil: its append has not returned.
    var address: UInt64?
  }

  private let topic: String
  /// The records that are known to be in the log, from ordinal `first` on.
  private var log: [Entry] = []
  private var first: UInt64 = 0
  /// The highest address that an append returned or a read found.
  private var highest: UInt64 = 0
  /// The highest address that was returned or found in earlier lives.
  private var reported: UInt64 = 0
  /// The end of the acknowledgements of a consumer that returned, and the end of those that were
  /// requested.
  private var returned: UInt64 = 0
  private var asked: UInt64 = 0
  /// The bytes of each slab when the last life ended.
  private var slabs: [String: [UInt8]] = [:]

  // The current life.

  private var attempts: [Attempt] = []
  /// How many of these records were acknowledged as flushed, at least.
  private var flushed = 0
  private var isOpen = false
  private var wasClosed = false
  private var mayHaveRemoved = false
  /// The state in which the life first found the topic. Nil: not printed yet.
  private var found: String?
  private var hasDelivered = false
  private(set) var isAtPoint = false
  private(set) var hasEnded = false

  // The totals of all lives.

  private(set) var acknowledged: UInt64 = 0
  private(set) var kept: UInt64 = 0
  private(set) var dropped: UInt64 = 0
  private(set) var recoveries = 0

  init(_ topic: String) { self.topic = topic }

  /// The number of the next record.
  var nextNumber: UInt64 = 0

  /// Begins a life.
  mutating func begin() {
    attempts = []
    flushed = 0
    isOpen = false
    mayHaveRemoved = false
    found = nil
    hasDelivered = false
    isAtPoint = false
    hasEnded = false
  }

  // MARK: Lines of a victim

  mutating func take(_ line: String) throws(Broken) {
    let words = line.split(separator: " ")
    let numbers = words.dropFirst().compactMap { UInt64($0) }
    switch (words.first, numbers.count) {
    case ("opens", _):
      wasClosed = false
      isOpen = true
    case ("opened", 2): try open(String(words[1]), losses: numbers[1])
    case ("appends", 2):
      try check(
        numbers[0] == nextNumber, "it appends \(numbers[0]) where \(nextNumber) was to come")
      for number in numbers[0]..<numbers[0] + numbers[1] {
        attempts.append(Attempt(number: number))
      }
      nextNumber += numbers[1]
    case ("appended", 2):
      guard let index = attempts.firstIndex(where: { $0.number == numbers[0] }) else {
        throw Broken("it says: \(line)")
      }
      try check(
        numbers[1] > highest, "address \(numbers[1]) was given again, or is below \(highest)")
      attempts[index].address = numbers[1]
      // For a batch, the victim prints the first address.
      for later in attempts[index...].indices where attempts[later].address == nil {
        attempts[later].address = 0
      }
      highest = numbers[1]
    case ("refused", 1):
      attempts.removeAll { $0.number >= numbers[0] }
      nextNumber = numbers[0]
    case ("flushed", 1), ("synced", 1), ("closed", 1):
      flushed = attempts.count { $0.number < numbers[0] }
      if words[0] == "closed" {
        wasClosed = true
        isOpen = false
      }
    case ("closes", _), ("cleaned", _): break
    case ("consumes", _): hasDelivered = false
    case ("delivered", 3): try deliver(numbers[0], numbers[2])
    case ("asks", 1): asked = max(asked, numbers[0])
    case ("returned", 1): returned = max(returned, numbers[0])
    case ("cleans", _): mayHaveRemoved = true
    case ("at", _): isAtPoint = true
    case ("ends", _): hasEnded = true
    default: throw Broken("the victim says: \(line)")
    }
  }

  private mutating func open(_ state: String, losses: UInt64) throws(Broken) {
    found = found ?? state
    let isNew = log.isEmpty && first == 0 && attempts.isEmpty
    try check(
      state == "clean" || state == "recovered" || state == "created" && isNew,
      "the topic was found \(state)")
    try check(losses == 0, "recovery found \(losses) losses, where nothing was damaged")
  }

  private mutating func deliver(_ ordinal: UInt64, _ number: UInt64) throws(Broken) {
    if !hasDelivered {
      try check(
        ordinal == returned, "record \(ordinal) was delivered first, and the cursor is \(returned)")
      hasDelivered = true
    }
    let end = first + UInt64(log.count)
    let expected: UInt64?
    if ordinal < end {
      try check(ordinal >= first, "record \(ordinal) was delivered, and is cleaned")
      expected = log[Int(ordinal - first)].number
    } else {
      let index = Int(ordinal - end)
      expected = index < attempts.count ? attempts[index].number : nil
    }
    try check(number == expected, "record \(ordinal) is \(number) for a consumer")
  }

  // MARK: The topic after a life

  /// Checks the topic that the life left, from outside.
  mutating func die() throws {
    if isOpen { wasClosed = false }
    mayHaveRemoved = mayHaveRemoved || !attempts.isEmpty
    let (pass, firstOrdinal) = try read()
    let cursor = try cursor()
    let end = first + UInt64(log.count)

    // The cursor has at most the requested acknowledgements, and at least those that returned.
    try check(
      cursor >= returned && cursor <= max(asked, returned),
      "the cursor is at \(cursor), and \(returned) to \(asked) were acknowledged")

    // Only records that a consumer has acknowledged were removed, from the front.
    let start = firstOrdinal ?? cursor
    try check(start >= first, "record \(start) is there again, and was removed")
    try check(
      start == first || mayHaveRemoved && start <= cursor,
      "the first record is \(start), and was \(first); the cursor is at \(cursor)")
    let total = max(start + UInt64(pass.count), firstOrdinal == nil ? end : 0)
    try check(cursor <= total, "the cursor is at \(cursor), and the log ends at \(total)")

    // Every known record is there, at its ordinal.
    try check(total >= end, "the log ended at record \(end), and ends at \(total)")
    for (index, entry) in pass.enumerated() {
      let ordinal = start + UInt64(index)
      if ordinal < end {
        let old = log[Int(ordinal - first)]
        try check(entry == old, "record \(ordinal) was \(old), and is \(entry)")
      }
    }
    // After these comes a prefix of the attempted records. It has at least the acknowledged ones.
    let landed = Int(total - end)
    try check(
      landed >= flushed, "\(flushed) records were acknowledged as flushed, and \(landed) are there")
    try check(landed <= attempts.count, "\(attempts.count) were appended, and \(landed) are there")
    let before = log.last?.address ?? 0
    for (index, entry) in pass.enumerated() where start + UInt64(index) >= end {
      let attempt = attempts[Int(start + UInt64(index) - end)]
      try check(
        entry.number == attempt.number,
        "record \(start + UInt64(index)) is \(entry.number), and \(attempt.number) was appended")
      try check(
        attempt.address ?? 0 == 0 || attempt.address == entry.address,
        "\(entry.number) is at \(entry.address), and \(attempt.address ?? 0) was told")
      try check(
        entry.address > before && entry.address > reported,
        "\(entry.number) is at \(entry.address), which was given before (\(reported))")
    }
    try compareSlabs(mayRemove: mayHaveRemoved, mayGrow: found != "recovered")

    acknowledged += UInt64(flushed)
    kept += UInt64(landed)
    dropped += UInt64(attempts.count - landed)
    // Records that were removed are not expected any more.
    log = pass
    first = start
    if firstOrdinal == nil { first = total }
    highest = max(highest, pass.last?.address ?? 0)
    reported = highest
    returned = cursor
    asked = cursor
    attempts = []
    flushed = 0
  }

  /// Opens the topic as the next writer would. Then closes it, or leaves it unclosed.
  mutating func recover(closing: Bool) throws {
    let writer: QueueWriter
    do throws(QueueError) {
      writer = try QueueWriter(topic: Topic(topic))
    } catch {
      throw Broken("the topic does not open: \(error)")
    }
    let state = writer.recovery.state
    switch state {
    case .clean: break
    case .created:
      try check(log.isEmpty && first == 0, "a topic with records was found created")
    case .recovered: recoveries += 1
    default: throw Broken("the topic was found \(state)")
    }
    try check(
      wasClosed ? state == .clean : true, "the topic was closed, and was found \(state)")
    try check(writer.recovery.losses.isEmpty, "recovery found \(writer.recovery.losses)")
    try check(
      writer.position.rawValue > reported,
      "it goes on at \(writer.position), and \(reported) was told")
    try compareSlabs(mayRemove: false, mayGrow: state == .clean)
    if closing { try writer.close() } else { writer.dieForTesting() }
    wasClosed = closing
    let (pass, _) = try read()
    try check(pass == log, "recovery changed what is read: \(log.count) records, now \(pass.count)")
    try compareSlabs(mayRemove: false, mayGrow: true)
  }

  private func read() throws -> (pass: [Entry], first: UInt64?) {
    var pass: [Entry] = []
    var firstOrdinal: UInt64?
    do throws(QueueError) {
      var reader = try QueueReader(topic: Topic(topic))
      while let record = try reader.nextCopy() {
        let number: UInt64
        do throws(Broken) {
          number = try CrashPayload.number(of: record.payload)
        } catch {
          throw QueueError(.notCoded, "\(error)", path: topic)
        }
        let expected = (firstOrdinal ?? record.ordinal) + UInt64(pass.count)
        guard record.ordinal == expected, record.address.rawValue > pass.last?.address ?? 0 else {
          throw QueueError(
            .notCoded, "record \(record.ordinal) came where \(expected) was to come", path: topic)
        }
        firstOrdinal = firstOrdinal ?? record.ordinal
        pass.append(Entry(number: number, address: record.address.rawValue))
      }
    } catch {
      // The victim was killed before it made anything.
      guard error.code == .noSuchTopic, log.isEmpty, attempts.isEmpty else {
        throw Broken("a reader is told: \(error)")
      }
    }
    return (pass, firstOrdinal)
  }

  /// How many records the consumer has acknowledged, read from outside.
  private func cursor() throws -> UInt64 {
    let consumers: [QueueConsumer.Description]
    do throws(QueueError) {
      consumers = try QueueConsumer.consumers(of: Topic(topic))
    } catch {
      guard error.code == .noSuchTopic else { throw Broken("\(error)") }
      return 0
    }
    for consumer in consumers {
      try check(
        consumer.state == .sound || consumer.state == .neverWritten,
        "the cursor \(consumer.name) is \(consumer.state)")
    }
    return consumers.first { $0.name == CrashVictim.consumer }?.ordinal ?? 0
  }

  /// Checks that all old bytes are still there. Only the last slab may have grown, after a clean
  /// end. Slabs may only be missing at the front, and only if a call may have removed them.
  private mutating func compareSlabs(mayRemove: Bool, mayGrow: Bool) throws(Broken) {
    var now: [String: [UInt8]] = [:]
    if try Posix.names(topic) != nil {
      for name in try Posix.slabNames(topic) { now[name] = try Posix.contents(topic + "/" + name) }
    }
    let names = slabs.keys.sorted()
    var isAfterRemoved = false
    for name in names {
      guard let old = slabs[name] else { continue }
      guard let new = now[name] else {
        try check(mayRemove && !isAfterRemoved, "slab \(name) is gone")
        continue
      }
      isAfterRemoved = true
      try check(
        new.count >= old.count && new[..<old.count] == old[...],
        "slab \(name) had \(old.count) bytes, which are no more what they were")
      try check(
        mayGrow && name == names.last || new.count == old.count,
        "slab \(name) had \(old.count) bytes, and was not to grow to \(new.count)")
    }
    slabs = now
  }
}
