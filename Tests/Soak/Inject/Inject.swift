// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// Makes each system call of the program fail in turn, and kills the program in each. Checks these
/// rules:
///
/// - The message names the error and the path.
/// - The exit status is not 0.
/// - The program does not crash.
/// - Everything that it acknowledged is there.
struct Inject: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "inject")

  @Argument(help: "Where topics are made, on a disk.") var directory: String
  @Option(help: "The program.") var diskq: String
  @Option(help: "From the sixth place on, only one in so many, at random, is made to fail.")
  var oneIn = 1
  @Option(help: "Random where it is not given; printed.") var seed: UInt64?

  private struct Fault: Sendable {
    enum Scope: Sendable {
      case everywhere
      /// Only on the topic's paths, because the start of a program makes other such calls.
      case topic
      /// Only on the output files, because threads wake each other by such calls, which do not
      /// fail.
      case output
    }

    var call: String
    var errors: [String]
    var scope = Scope.everywhere
  }

  private static let faults = [
    Fault(call: "openat", errors: ["EIO", "ENOSPC", "EMFILE"], scope: .topic),
    Fault(call: "pwrite64", errors: ["EIO", "ENOSPC"]),
    Fault(call: "fdatasync", errors: ["EIO", "ENOSPC"]),
    Fault(call: "fsync", errors: ["EIO", "ENOSPC"]),
    Fault(call: "unlinkat", errors: ["EIO"]),
    Fault(call: "renameat2", errors: ["EIO", "ENOSPC"]),
    Fault(call: "newfstatat", errors: ["EIO"], scope: .topic),
    Fault(call: "mkdir", errors: ["EIO", "ENOSPC"]),
    Fault(call: "mkdirat", errors: ["EIO", "ENOSPC"]),
    Fault(call: "ftruncate", errors: ["EIO"]),
    Fault(call: "getdents64", errors: ["EIO"]),
    Fault(call: "pread64", errors: ["EIO"], scope: .topic),
    Fault(call: "write", errors: ["EIO", "ENOSPC"], scope: .output),
  ]

  /// The check prints which of these calls the program does not use.
  private static let watched = [
    "write", "pwrite64", "fdatasync", "fsync", "openat", "unlink", "unlinkat", "fallocate",
  ]

  private static let messages = [
    "EIO": "Input/output error", "ENOSPC": "No space left on device",
    "EMFILE": "Too many open files",
  ]

  private struct Tally {
    var random: Random
    var failures = 0
    var kills = 0
    var acknowledged = 0
    var tolerated = 0
    var calls: Set<String> = []
    var injected: [String: Int] = [:]
  }

  private var topic: String { directory + "/topic" }
  private var ground: String { directory + "/ground" }

  func run() async throws {
    let start = Posix.now()
    let seed = seed ?? UInt64.random(in: 0...UInt64.max)
    var tally = Tally(random: Random(seed: seed))
    try Posix.makeFile(directory + "/input", Array(input.utf8))
    for scenario in InjectScenario.all {
      do {
        try await run(scenario, &tally)
      } catch {
        throw Broken("seed \(seed), \(scenario.name): \(error)")
      }
    }
    let unused = Self.watched.filter { !tally.calls.contains($0) }
    let counts = tally.injected.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
    Posix.say(
      "scenarios: \(InjectScenario.all.count); calls made to fail: \(tally.failures)"
        + " (harmless: \(tally.tolerated)); kills in a call: \(tally.kills);"
        + " \(counts.joined(separator: ", ")); records acknowledged and there:"
        + " \(tally.acknowledged); not used by the program: \(unused.joined(separator: ", "));"
        + " seed: \(seed); \(Figures.cost(since: start))")
  }

  private var input: String {
    let first = InjectScenario.groundRecords
    return (first..<first + InjectScenario.inputRecords)
      .map { InjectScenario.text($0) + "\n" }.joined()
  }

  private func run(_ scenario: InjectScenario, _ tally: inout Tally) async throws {
    try Posix.removeTree(ground)
    try await scenario.prepare(ground)
    // A run without a fault shows the paths that calls are about.
    let plain = try run(scenario, strace: [])
    try check(
      plain.ending == .exit(0), "without a fault it ends with \(plain.ending): \(plain.errors)")
    try await judge(scenario, plain, &tally)
    tally.calls.formUnion(plain.calls)
    // The files, and the directories in which files are opened.
    let paths = plain.paths(below: topic).union([topic, topic + "/consumers"]).sorted()
    for fault in Self.faults where plain.calls.contains(fault.call) {
      let places =
        switch fault.scope {
        case .everywhere: [String]()
        case .topic: paths
        case .output: ["output", "errors"].map { directory + "/" + $0 }
        }
      let trace = ["-e", "trace=\(fault.call)"] + places.flatMap { ["-P", $0] }
      // One call. Or that call and all after it, as on a disk that is gone.
      let actions =
        fault.errors.map { ("error=\($0)", "") } + [("error=\(fault.errors[0])", "+")]
        + [("signal=KILL", "")]
      for (action, suffix) in actions {
        var place = 1
        while true {
          let what = "\(fault.call):\(action):when=\(place)\(suffix)"
          do {
            let run = try run(scenario, strace: trace + ["-e", "inject=\(what)"])
            guard !run.hits.isEmpty || run.ending == .killed else {
              // The fault did not strike any more, so the run ends as without it.
              try check(run.ending == .exit(0), "it ends with \(run.ending): \(run.errors)")
              break
            }
            tally.injected[fault.call, default: 0] += 1
            if action == "signal=KILL" {
              try check(run.ending == .killed, "it ends with \(run.ending): \(run.errors)")
              tally.kills += 1
            } else {
              tally.failures += 1
              try judge(
                scenario, run, String(action.dropFirst(6)), isForGood: suffix == "+", &tally)
            }
            try await judge(scenario, run, &tally)
          } catch {
            throw Broken("\(what): \(error)")
          }
          place += place < 6 ? 1 : 1 + tally.random.below(2 * oneIn - 1)
        }
        try check(
          place > 1 || fault.scope != .everywhere, "\(fault.call) was not reached")
      }
    }
  }

  private func run(_ scenario: InjectScenario, strace: [String]) throws -> InjectRun {
    try Posix.removeTree(topic)
    if scenario.ground != .nothing { try Posix.copyTree(ground, to: topic) }
    let words = scenario.words.map { word in
      word == "TOPIC" ? topic : word == "INPUT" ? directory + "/input" : word
    }
    return try InjectRun(diskq, words, strace: strace, files: directory)
  }

  // MARK: Messages

  /// Checks a run in which a call failed. The status reports the failure, and the message names the
  /// error and the path.
  private func judge(
    _ scenario: InjectScenario, _ run: InjectRun, _ error: String, isForGood: Bool,
    _ tally: inout Tally
  ) throws {
    if run.hits.allSatisfy(isHarmless) {
      try check(run.ending == .exit(0), "it ends with \(run.ending): \(run.errors)")
      tally.tolerated += 1
      return
    }
    if run.ending == .exit(0), isTriedAgain(scenario, run, error, isForGood: isForGood) {
      tally.tolerated += 1
      return
    }
    try check(run.ending == .exit(2), "it ends with \(run.ending): \(run.errors)")
    // A program that cannot write to standard error reports the failure by its status alone.
    guard !run.hits.contains(where: { $0.call == "write" && $0.arguments.hasPrefix("2<") }) else {
      return
    }
    let message = Self.messages[error] ?? error
    try check(run.errors.contains(message), "it says: \(run.errors)")
    let isOfOutput = run.hits.contains { $0.call == "write" }
    try check(
      isOfOutput || run.errors.contains(topic), "it does not say where: \(run.errors)")
  }

  /// Whether the program may succeed at a second attempt.
  private func isTriedAgain(
    _ scenario: InjectScenario, _ run: InjectRun, _ error: String, isForGood: Bool
  ) -> Bool {
    guard !isForGood else { return false }
    switch scenario.verb {
    // On a full disk, a writer drops its oldest slabs, if its policy says so and it has any.
    case .append(let hasCap): return hasCap && error == "ENOSPC"
    // Records that were read before a failure are delivered first. Then the rest is read again.
    case .consume:
      return run.hits.allSatisfy { ["openat", "pread64", "getdents64"].contains($0.call) }
    case .read, .clean: return false
    }
  }

  /// Whether a failure has no effect on the result.
  private func isHarmless(_ hit: InjectRun.Hit) -> Bool {
    // A message that cannot be written to standard error is dropped.
    if hit.call == "write", hit.arguments.hasPrefix("2<") { return true }
    // The process id in the lock of a writer or a consumer is only for people.
    let isOfLock =
      hit.arguments.contains("<\(topic)/lock>")
      || hit.arguments.contains("<\(topic)/consumers/") && hit.arguments.contains(".lock>")
    if isOfLock, hit.call == "pwrite64" || hit.call == "ftruncate" { return true }
    return false
  }

  // MARK: The topic after a run

  private func judge(
    _ scenario: InjectScenario, _ run: InjectRun, _ tally: inout Tally
  ) async throws {
    let isDone = run.ending == .exit(0)
    let (texts, addresses, first) = try read()
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
      let removed = try Posix.slabNames(ground).count - slabs
      let said = run.lines.count { $0.contains("removed") || $0.contains(".slab") }
      try check(
        said <= removed + 1, "it says: \(run.lines), and \(removed) slabs are gone")
      try check(!isDone || removed > 0, "nothing was removed")
    }
    try recover(scenario, texts, end)
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

  private func read() throws -> (texts: [String], addresses: [UInt64], first: Int) {
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
  private func recover(_ scenario: InjectScenario, _ texts: [String], _ end: Int) throws {
    let writer = try QueueWriter(topic: Topic(topic))
    try check(writer.recovery.losses.isEmpty, "recovery found \(writer.recovery.losses)")
    try writer.append("after")
    try { () throws(QueueError) in try writer.close() }()
    let (now, _, _) = try read()
    try check(now == texts + ["after"], "\(texts.count) records were there, now \(now.count)")
  }
}
