// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

extension Inject {
  // MARK: Creating

  /// Checks the consumers after a run of `consumers --create`: the new one has its position, or it
  /// does not exist. No other one is moved.
  func judgeCreated(_ scenario: InjectScenario, _ run: InjectRun, exists: Bool) async throws {
    let isThere = try checkConsumers(scenario, mustExist: run.ending == .exit(0))
    let next = try runAgain(scenario)
    try check(
      isThere || exists
        ? next.ending == .exit(2) && next.errors.contains("already has a consumer")
        : next.ending == .exit(0),
      "the next run ends with \(next.ending): \(next.errors)")
    guard try checkConsumers(scenario, mustExist: !exists) else { return }
    let consumer = try QueueConsumer(topic: Topic(topic), name: InjectScenario.created.name)
    let batch = try await consumer.nextBatch(upTo: 1, following: false)
    try check(
      Int(batch?[0].ordinal ?? 0) == InjectScenario.created.ordinal,
      "the new consumer is delivered record \(batch?[0].ordinal ?? 0)")
    try await consumer.close()
  }

  /// Returns whether there is the new consumer.
  private func checkConsumers(_ scenario: InjectScenario, mustExist: Bool) throws -> Bool {
    for name in try Posix.slabNames(ground + "/topic") { try checkFile(topic + "/" + name) }
    let created = InjectScenario.created
    let consumers = try QueueConsumer.consumers(of: Topic(topic))
    try check(
      try consumers.filter { $0.name != created.name }
        == QueueConsumer.consumers(of: Topic(ground + "/topic")), "another consumer has changed")
    // A kill may leave an empty file, which is no position yet.
    let consumer = consumers.first { $0.name == created.name && $0.state != .neverWritten }
    try check(!mustExist || consumer != nil, "it is done, and there is no consumer")
    guard let consumer else { return false }
    try check(
      consumer.state == .sound && consumer.ordinal.map { Int($0) } == created.ordinal,
      "the new consumer is: \(consumer)")
    return true
  }

  // MARK: Handing over

  /// Checks the consumer after a run of `consume --exec-batch`: the command has every record that
  /// is acknowledged.
  func judgeHandedOver(_ scenario: InjectScenario, _ run: InjectRun) throws {
    let first = try seenNumbers()
    try checkAcknowledged(first, isDone: run.ending == .exit(0))
    let next = try runAgain(scenario)
    try check(next.ending == .exit(0), "the next run ends with \(next.ending): \(next.errors)")
    let both = try seenNumbers()
    try checkAcknowledged(both, isDone: true)
    let missing = Set(0..<InjectScenario.groundRecords).subtracting(both)
    try check(missing.isEmpty, "the command never had: \(missing.sorted())")
    try recover(read(topic).texts)
    guard case .exec(let batch, jobs: 1) = scenario.verb else { return }
    let again = both.count - InjectScenario.groundRecords
    try check(again <= 2 * batch, "\(again) records came twice")
  }

  /// The numbers of the records that runs of the command had, with repetitions.
  private func seenNumbers() throws -> [Int] {
    var numbers: [Int] = []
    for name in try Posix.names(seen) ?? [] {
      let text = String(decoding: try Posix.contents(seen + "/" + name), as: UTF8.self)
      // After a kill, the rest after the last newline is no record.
      for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
        let number = line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? -1
        try check(line == InjectScenario.text(number), "the command had: \(line)")
        numbers.append(number)
      }
    }
    return numbers
  }

  private func checkAcknowledged(_ seen: [Int], isDone: Bool) throws {
    let consumer = try QueueConsumer.consumers(of: Topic(topic)).first {
      $0.name == InjectScenario.consumer
    }
    let cursor = Int(consumer?.ordinal ?? 0)
    let missing = Set(0..<cursor).subtracting(seen)
    try check(missing.isEmpty, "the command never had, below the cursor: \(missing.sorted())")
    try check(
      !isDone || cursor == InjectScenario.groundRecords,
      "it is done, and the cursor is at \(cursor)")
  }

  // MARK: Looking

  /// Checks a run of a program that only looks: nothing changes, and it reports success only with
  /// the whole result.
  func judgeLook(_ run: InjectRun, _ plain: InjectRun) throws {
    try check(try Posix.tree(place) == Posix.tree(ground), "a file has changed")
    // If a lock cannot be read, its holder is unknown.
    guard run.ending == .exit(0), !run.hits.contains(where: isOfHolder) else { return }
    try check(run.lines == plain.lines, "it prints: \(run.lines)")
  }
}
