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
/// - A copy is whole, or it is not there.
/// - The same program succeeds afterwards.
struct Inject: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "inject")

  @Argument(help: "Where topics are made, on a disk.") var directory: String
  @Option(help: "The program.") var diskq: String
  @Option(help: "From the sixth place on, only one in so many, at random, is made to fail.")
  var oneIn = 1
  @Option(
    help: """
      In scenarios of programs that copy, redrive, create, hand over or look, at how many places \
      each call is made to fail, at random.
      """)
  var places = 8
  @Option(help: "Only the scenarios with this in their names.") var only = ""
  @Option(help: "Random where it is not given; printed.") var seed: UInt64?

  private struct Fault: Sendable {
    enum Scope: Sendable {
      case everywhere
      /// Only on the paths of topics, because the start of a program makes other such calls.
      case topic
      /// Only on the output files, because threads wake each other by such calls, which do not
      /// fail.
      case output
    }

    var call: String
    var errors: [String]
    var scope = Scope.everywhere

    var strikes: [Strike] {
      errors.map { Strike(call: call, error: $0) }
        + [Strike(call: call, error: errors[0], isForGood: true), Strike(call: call)]
    }
  }

  private struct Strike {
    var call: String
    /// Nil if the call kills the program.
    var error: String?
    /// Whether all calls after it fail as well, as on a disk that is gone.
    var isForGood = false

    /// The text for strace.
    func injection(at place: Int) -> String {
      let action = error.map { "error=\($0)" } ?? "signal=KILL"
      return "\(call):\(action):when=\(place)\(isForGood ? "+" : "")"
    }
  }

  private static let faults = [
    Fault(call: "openat", errors: ["EIO", "ENOSPC", "EMFILE"], scope: .topic),
    Fault(call: "pwrite64", errors: ["EIO", "ENOSPC"]),
    Fault(call: "fdatasync", errors: ["EIO", "ENOSPC"]),
    Fault(call: "fsync", errors: ["EIO", "ENOSPC"]),
    Fault(call: "unlinkat", errors: ["EIO"]),
    Fault(call: "renameat2", errors: ["EIO", "ENOSPC"]),
    Fault(call: "rename", errors: ["EIO", "ENOSPC"]),
    Fault(call: "rmdir", errors: ["EIO"]),
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

  struct Tally {
    var random: Random
    var failures = 0
    var kills = 0
    var acknowledged = 0
    var tolerated = 0
    var calls: Set<String> = []
    var injected: [String: Int] = [:]
  }

  /// The directory of the topic, and of everything beside it. It is a copy of `ground`.
  var place: String { directory + "/place" }
  var ground: String { directory + "/ground" }
  var topic: String { place + "/topic" }
  var letters: String { topic + ".dead" }
  var snapshot: String { place + "/snapshot" }
  var seen: String { place + "/seen" }

  func run() async throws {
    let start = Posix.now()
    let seed = seed ?? UInt64.random(in: 0...UInt64.max)
    var tally = Tally(random: Random(seed: seed))
    try Posix.makeFile(directory + "/input", Array(input.utf8))
    let scenarios = InjectScenario.all.filter { only.isEmpty || $0.name.contains(only) }
    for scenario in scenarios {
      do {
        try await run(scenario, &tally)
      } catch {
        throw Broken("seed \(seed), \(scenario.name): \(error)")
      }
    }
    let unused = Self.watched.filter { !tally.calls.contains($0) }
    let counts = tally.injected.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
    Posix.say(
      "scenarios: \(scenarios.count); calls made to fail: \(tally.failures)"
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
    try Posix.makeDirectory(ground)
    try await scenario.prepare(ground)
    // A run without a fault shows the paths that calls are about.
    let plain = try run(scenario, strace: [])
    try check(
      plain.ending == .exit(scenario.status),
      "without a fault it ends with \(plain.ending): \(plain.errors)")
    try await judge(scenario, plain, plain, &tally)
    tally.calls.formUnion(plain.calls)
    for fault in Self.faults where plain.calls.contains(fault.call) {
      let aim = aim(fault, scenario, plain)
      for strike in fault.strikes {
        if scenario.isSampled {
          for place in aim.places.shuffled(using: &tally.random).prefix(places) {
            _ = try await run(scenario, plain, strike, at: place, aim.options, &tally)
          }
          continue
        }
        var place = 1
        while try await run(scenario, plain, strike, at: place, aim.options, &tally) {
          place += place < 6 ? 1 : 1 + tally.random.below(2 * oneIn - 1)
        }
        try check(
          place > 1 || fault.scope != .everywhere, "\(fault.call) was not reached")
      }
    }
  }

  /// The options of strace that select the calls of a fault, and the places of those calls in the
  /// run without a fault.
  private func aim(
    _ fault: Fault, _ scenario: InjectScenario, _ plain: InjectRun
  ) -> (options: [String], places: [Int]) {
    let trace = ["-e", "trace=\(fault.call)"]
    let (paths, count): ([String], Int)
    switch fault.scope {
    case .everywhere: return (trace, plain.places(of: fault.call))
    case .topic where scenario.makesCopy:
      // The name of an unfinished copy is random, so strace cannot select its calls by their paths.
      return (trace, plain.places(of: fault.call, below: place))
    case .topic:
      // The files, and the directories in which files are opened.
      paths = plain.paths(below: topic).union([topic, topic + "/consumers"]).sorted()
      count = plain.places(of: fault.call, below: topic).count
    case .output:
      paths = ["output", "errors"].map { directory + "/" + $0 }
      count = paths.map { plain.places(of: fault.call, below: $0).count }.reduce(0, +)
    }
    // strace counts only the calls on these paths.
    return (trace + paths.flatMap { ["-P", $0] }, Array(1..<count + 1))
  }

  /// Runs the program with a fault, and checks the result. Returns false if no call was struck.
  private func run(
    _ scenario: InjectScenario, _ plain: InjectRun, _ strike: Strike, at place: Int,
    _ options: [String], _ tally: inout Tally
  ) async throws -> Bool {
    let injection = strike.injection(at: place)
    do {
      let run = try run(scenario, strace: options + ["-e", "inject=\(injection)"])
      guard !run.hits.isEmpty || run.ending == .killed else {
        // The run ends as without a fault.
        try check(
          run.ending == .exit(scenario.status), "it ends with \(run.ending): \(run.errors)")
        return false
      }
      tally.injected[strike.call, default: 0] += 1
      if let error = strike.error {
        tally.failures += 1
        try judge(scenario, run, plain, error, isForGood: strike.isForGood, &tally)
      } else {
        try check(run.ending == .killed, "it ends with \(run.ending): \(run.errors)")
        tally.kills += 1
      }
      try await judge(scenario, run, plain, &tally)
      return true
    } catch {
      throw Broken("\(injection): \(error)")
    }
  }

  private func run(_ scenario: InjectScenario, strace: [String]) throws -> InjectRun {
    try Posix.removeTree(place)
    try Posix.copyTree(ground, to: place)
    return try InjectRun(diskq, words(scenario), strace: strace, files: directory)
  }

  /// Runs the program again, without a fault, on what the last run left.
  func runAgain(_ scenario: InjectScenario) throws -> InjectRun {
    try InjectRun(diskq, words(scenario), strace: nil, files: directory)
  }

  private func words(_ scenario: InjectScenario) -> [String] {
    let paths = [
      "TOPIC": topic, "INPUT": directory + "/input", "SNAPSHOT": snapshot, "SEEN": seen,
    ]
    return scenario.words.map { word in
      paths.reduce(word) { $0.replacing($1.key, with: $1.value) }
    }
  }

  // MARK: Messages

  /// Checks a run in which a call failed. The status reports the failure, and the message names the
  /// error and the path.
  private func judge(
    _ scenario: InjectScenario, _ run: InjectRun, _ plain: InjectRun, _ error: String,
    isForGood: Bool, _ tally: inout Tally
  ) throws {
    if run.hits.allSatisfy(isHarmless) {
      try check(run.ending == .exit(scenario.status), "it ends with \(run.ending): \(run.errors)")
      tally.tolerated += 1
      return
    }
    if run.ending == .exit(0), isTriedAgain(scenario, run, error, isForGood: isForGood) {
      tally.tolerated += 1
      return
    }
    // It fails for the reason of the run without a fault, which it found first.
    if scenario.status == 2, run.ending == .exit(2), run.errors == plain.errors {
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
      isOfOutput || run.errors.contains(place), "it does not say where: \(run.errors)")
  }

  /// Whether the program may succeed at a second attempt.
  private func isTriedAgain(
    _ scenario: InjectScenario, _ run: InjectRun, _ error: String, isForGood: Bool
  ) -> Bool {
    if scenario.reportsHolders, run.hits.allSatisfy(isOfHolder) { return true }
    guard !isForGood else { return false }
    switch scenario.verb {
    // On a full disk, a writer drops its oldest slabs, if its policy says so and it has any.
    case .append(let hasCap): return hasCap && error == "ENOSPC"
    // Records that were read before a failure are delivered first. Then the rest is read again.
    case .consume, .redrive, .exec:
      return run.hits.allSatisfy { ["openat", "pread64", "getdents64"].contains($0.call) }
    // Whether there are dead letters is found out by opening them.
    case .look:
      return run.hits.allSatisfy {
        $0.call == "newfstatat" && $0.arguments.contains(", \"\(letters)\"")
      }
    case .read, .clean, .snapshot, .restore, .create: return false
    }
  }

  /// Whether a call only finds out the holder of a lock. Without it the holder is unknown.
  func isOfHolder(_ hit: InjectRun.Hit) -> Bool {
    switch hit.call {
    case "openat": hit.arguments.contains("lock\", O_RDONLY")
    case "newfstatat", "pread64":
      hit.arguments.contains("lock\"") || hit.arguments.contains("lock>")
    default: false
    }
  }

  /// Whether a failure has no effect on the result.
  private func isHarmless(_ hit: InjectRun.Hit) -> Bool {
    // A message that cannot be written to standard error is dropped.
    if hit.call == "write", hit.arguments.hasPrefix("2<") { return true }
    // The process id in the lock of a writer or a consumer is only for people.
    let isOfLock = hit.arguments.contains("/lock>") || hit.arguments.contains(".lock>")
    if isOfLock, hit.call == "pwrite64" || hit.call == "ftruncate" { return true }
    return false
  }

  // MARK: The state after a run

  private func judge(
    _ scenario: InjectScenario, _ run: InjectRun, _ plain: InjectRun, _ tally: inout Tally
  ) async throws {
    switch scenario.verb {
    case .append, .read, .consume, .clean: try await judgeTopic(scenario, run, &tally)
    case .snapshot(let hasOlder): try judgeSnapshot(scenario, run, hasOlder: hasOlder)
    case .restore: try judgeRestored(scenario, run)
    case .redrive: try judgeRedriven(scenario, run)
    case .create(let exists): try await judgeCreated(scenario, run, exists: exists)
    case .exec: try judgeHandedOver(scenario, run)
    case .look: try judgeLook(run, plain)
    }
  }

  /// Checks that a directory is as it was.
  func checkUnchanged(_ path: String) throws {
    try check(try Posix.tree(path) == Posix.tree(before(path)), "\(path) has changed")
  }

  /// Checks that a file is as it was.
  func checkFile(_ path: String) throws {
    try check(try Posix.contents(path) == Posix.contents(before(path)), "\(path) has changed")
  }

  /// The path of a file of the place in the ground.
  private func before(_ path: String) -> String { ground + path.dropFirst(place.count) }
}
