// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

extension Inject {
  /// Checks the topic after a run of `append`, `read`, `consume` or `clean`.
  func judgeTopic(
    _ scenario: InjectScenario, _ run: InjectRun, _ tally: inout Tally
  ) async throws {
    let isDone = run.ending == .exit(0)
    let (texts, addresses, first) = try read(topic)
    for (index, text) in texts.enumerated() {
      try check(
        text == InjectScenario.text(first + index + (scenario.ground == .nothing ? 150 : 0)),
        "record \(first + index) is: \(text)")
    }
    let end = first + texts.count
    let before = scenario.before
    switch scenario.verb {
    case .append(let hasCap):
      try check(hasCap || first == 0, "records up to \(first) are gone")
      try check(
        end >= before && end <= before + InjectScenario.inputRecords,
        "\(end) records are there, \(before) were before")
      try check(!isDone || end == before + InjectScenario.inputRecords, "it is done, at \(end)")
      guard !hasCap else { break }
      try check(!isDone || run.lines.count == InjectScenario.inputRecords, "addresses are missing")
      if scenario.words.contains("synced") {
        try check(
          run.lines.count <= end - before, "\(run.lines.count) acknowledged, \(end - before) there")
        tally.acknowledged += run.lines.count
      }
      for (line, address) in zip(run.lines, addresses[before...]) {
        try check(UInt64(line) == address, "\(line) was printed for what is at \(address)")
      }
    case .read:
      try check(first == 0 && end == before, "records \(first) to \(end) are there")
      try compareOutput(run.lines, from: 0, isDone)
    case .consume:
      try check(first == 0 && end == before, "records \(first) to \(end) are there")
      try compareOutput(run.lines, from: scenario.firstDelivered, isDone)
      try await compareCursor(scenario, run, isDone)
      tally.acknowledged += run.lines.count
    case .clean:
      try check(end == before, "\(end) records are there of \(before)")
      // Every record that a consumer has not acknowledged stays.
      try check(first <= scenario.firstDelivered, "records up to \(first) are gone")
      let slabs = try Posix.slabNames(topic).count
      let removed = try Posix.slabNames(ground + "/topic").count - slabs
      let said = run.lines.count { $0.contains("removed") || $0.contains(".slab") }
      try check(
        said <= removed + 1, "it says: \(run.lines), and \(removed) slabs are gone")
      try check(!isDone || removed > 0, "nothing was removed")
    default: throw Broken("\(scenario.verb) is checked elsewhere")
    }
    try recover(texts)
  }

  private func compareOutput(_ lines: [String], from first: Int, _ isDone: Bool) throws {
    for (index, line) in lines.enumerated() {
      try check(line == InjectScenario.text(first + index), "it prints: \(line)")
    }
    let all = InjectScenario.groundRecords - first
    try check(isDone ? lines.count == all : lines.count <= all, "\(lines.count) lines of \(all)")
  }

  /// Checks that the cursor is not before its old position, and not after the last record that was
  /// printed. The next consumer begins at the cursor.
  private func compareCursor(_ scenario: InjectScenario, _ run: InjectRun, _ isDone: Bool)
    async throws
  {
    let start = scenario.firstDelivered
    let consumers = try QueueConsumer.consumers(of: Topic(topic))
    let cursor = Int(consumers.first { $0.name == InjectScenario.consumer }?.ordinal ?? 0)
    try check(
      cursor >= start && cursor <= start + run.lines.count,
      "the cursor is at \(cursor); from \(start) on \(run.lines.count) were printed")
    try check(!isDone || cursor == InjectScenario.groundRecords, "it is done, at \(cursor)")
    let consumer = try QueueConsumer(topic: Topic(topic), name: InjectScenario.consumer)
    let batch = try await consumer.nextBatch(upTo: 1, following: false)
    try check(
      cursor == InjectScenario.groundRecords ? batch == nil : Int(batch?[0].ordinal ?? 0) == cursor,
      "the cursor is at \(cursor), and \(batch?[0].ordinal ?? 0) is delivered")
    try await consumer.close()
  }

  /// All records of a topic. None if there is no topic.
  func read(_ topic: String) throws -> (texts: [String], addresses: [UInt64], first: Int) {
    var (texts, addresses, first): ([String], [UInt64], Int?) = ([], [], nil)
    do throws(QueueError) {
      var reader = try QueueReader(topic: Topic(topic))
      while let record = try reader.nextCopy() {
        first = first ?? Int(record.ordinal)
        texts.append(String(decoding: record.payload, as: UTF8.self))
        addresses.append(record.address.rawValue)
      }
    } catch {
      guard error.code == .noSuchTopic else { throw Broken("a reader is told: \(error)") }
    }
    return (texts, addresses, first ?? 0)
  }

  /// The next writer gets the topic at once, loses nothing, and continues.
  func recover(_ texts: [String]) throws {
    let writer = try QueueWriter(topic: Topic(topic))
    try check(writer.recovery.losses.isEmpty, "recovery found \(writer.recovery.losses)")
    try writer.append("after")
    try { () throws(QueueError) in try writer.close() }()
    let (now, _, _) = try read(topic)
    try check(now == texts + ["after"], "\(texts.count) records were there, now \(now.count)")
  }
}
