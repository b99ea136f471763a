// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue
import DiskQueueInspection

struct AppendCommand: ParsableCommand {
  enum Delimiter: String, CaseIterable, ExpressibleByArgument {
    case newline, nul

    var byte: UInt8 { self == .nul ? 0 : UInt8(ascii: "\n") }
  }

  static let configuration = CommandConfiguration(
    commandName: "append",
    abstract: "Appends each line of standard input, or of files, as one record.",
    discussion: """
      If there is no topic, append makes one. If the topic was not closed, append recovers it. An \
      empty line is an empty record. A last line without a newline is a record too.

      append takes no sharded topic, because a key decides the shard of each record: a program \
      appends to it with the library.

      The times of --flush-every and --sync-every count from the first record that waits. They \
      need no further input.

      If standard error is a terminal, append shows its progress on files, and at the end how many \
      records it appended. --verbose reports the number anywhere.

      On Ctrl-C, SIGTERM or SIGHUP, append stores and syncs the records that it took, and ends. \
      For a pipe or a terminal, the signal is the end of the input, and the status is then 0. A \
      plain file has an end of its own. If a signal or an error, such as a full disk, stops append \
      before that end, append reports how many records of which file are stored. The status is \
      then not 0. If the report names line 1000, tail -n +1001 FILE prints the rest. A second \
      signal, a second later or more, ends append at once.
      """
        + Examples.section([
          "Each line of a file becomes a record.":
            "diskq append sensors readings.csv",
          "Store what a program prints, and print each address once it survives a power cut.":
            "vmstat 1 | diskq append load --ensure synced --print-addresses",
          "Names of files may contain newlines, so they end with a zero byte.":
            "find /data -print0 | diskq append files --delimiter nul",
          "Keep the newest 1 GiB at most, and begin a new slab every hour.":
            "diskq append log --maximum-bytes 1GiB --slab-age 1h --when-full drop-oldest",
          "Each file is one record.":
            "diskq append images --whole one.png two.png",
        ]))

  @Argument(help: "The topic's directory.", completion: .directory)
  var topic: String

  @Argument(
    help: "Files to take records from. Standard input is -, and is the default.",
    completion: .file())
  var files: [String] = []

  @Option(help: "The byte that ends a record of the input: newline or nul. (default: newline)")
  var delimiter: Delimiter?

  @Flag(help: "Before each record, the input holds its length, a u32 in little-endian order.")
  var lengthPrefixed = false

  @Flag(help: "Each file is one record.")
  var whole = false

  @Option(
    help: """
      When a record counts as taken: buffered, flushed (it survives this process) or synced (it \
      survives a power cut). Records are taken while input is ready, and share one sync. At its \
      end, append closes the topic, and so syncs it, whatever the level.
      """)
  var ensure: Level = .buffered

  @Flag(help: "Print the address of each record on a line once the record has reached its level.")
  var printAddresses = false

  @Flag(
    help: """
      At the end, report on standard error how many records were appended, also if it is no \
      terminal.
      """)
  var verbose = false

  @Option(
    help: ArgumentHelp(
      """
      Flush after so many records (1000), so many bytes (64KiB) or a time (200ms, 1s, 5m). Flushed \
      records are visible to readers, and survive this process. You may join several with commas: \
      the one that is reached first counts. Or write never. \
      (default: \(QueueWriter.Options().flushEvery.text))
      """, valueName: "interval"),
    transform: Threshold.parsed)
  var flushEvery = QueueWriter.Options().flushEvery

  @Option(
    help: ArgumentHelp(
      """
      Sync after so much, written as for --flush-every. Synced records survive a power cut. \
      (default: \(QueueWriter.Options().syncEvery.text))
      """, valueName: "interval"),
    transform: Threshold.parsed)
  var syncEvery = QueueWriter.Options().syncEvery

  @Option(
    help: ArgumentHelp(
      "How many bytes the slabs of the topic may hold together, 64KiB or more. (default: no bound)",
      valueName: "size"),
    transform: Size.parsed)
  var maximumBytes: Size?

  @Option(
    help: ArgumentHelp(
      "How many records the topic may hold, 2 or more. (default: no bound)",
      valueName: "count"),
    transform: Whole.parsed)
  var maximumRecords: UInt64?

  @Option(
    help: """
      What to do if --maximum-bytes or --maximum-records leaves no room: fail, or wait until a \
      cleaner has made room. drop-oldest makes room by removing the oldest slabs, also on a full \
      disk. drop-oldest-acknowledged removes only slabs that all consumers have acknowledged.
      """)
  var whenFull: WhenFull = .fail

  @Option(
    help: ArgumentHelp(
      """
      Begin a new slab after this size, at most a quarter of --maximum-bytes. \
      (default: \(Limits.largestAutomaticSlab), or a sixteenth of --maximum-bytes if that is less)
      """, valueName: "size"),
    transform: Size.parsed)
  var slabSize: Size?

  @Option(
    help: ArgumentHelp(
      """
      Begin a new slab once the current one holds a record and is older than this (1h, 7d). Then \
      clean --keep-age also works on a topic that never fills a slab. (default: no bound)
      """, valueName: "age"), transform: TimeSpan.parsed)
  var slabAge: TimeSpan?

  @Option(
    help: ArgumentHelp(
      "The largest payload that append takes. (default: \(QueueWriter.Options().maximumPayload))",
      valueName: "size"),
    transform: Size.parsed)
  var maximumPayload = Size(QueueWriter.Options().maximumPayload)

  private var options: QueueWriter.Options {
    var options = QueueWriter.Options()
    options.maximumBytes = maximumBytes?.count
    options.maximumRecords = maximumRecords
    options.slabSize = slabSize?.count
    options.slabAge = slabAge.map { Age($0.duration) }
    options.maximumPayload = maximumPayload.count
    options.flushEvery = flushEvery
    options.syncEvery = syncEvery
    options.whenFull = whenFull.policy
    return options
  }

  private var framing: RecordInput.Framing {
    if lengthPrefixed { return .lengthPrefixed }
    return whole ? .whole : .delimiter((delimiter ?? .newline).byte)
  }

  func validate() throws {
    guard [delimiter != nil, lengthPrefixed, whole].count(where: { $0 }) <= 1 else {
      throw ValidationError("--delimiter, --length-prefixed and --whole exclude each other")
    }
    try checkUsage { () throws(QueueError) in try options.validate() }
  }

  func run() throws {
    let files = files.isEmpty ? ["-"] : files
    for file in files where file != "-" { try System.checkReadable(file) }
    // Once the reader of the addresses is gone, no later address could reach it: stop then.
    let stop = try StopSignals.caught(orClosedOutput: printAddresses)
    let writer = try QueueWriter(topic: Topic(topic), options: options)
    RecoveryMessages.say(writer.recovery, position: writer.position, path: topic)

    let start = writer.position
    var appending = Appending(
      writer, ensuring: ensure.durability, printsAddresses: printAddresses,
      waitingForRoomUntil: whenFull == .wait ? stop : nil)
    var inputs = AppendedInputs(
      total: files.count, isLines: framing == .delimiter(Delimiter.newline.byte))
    var failures: [any Error] = []
    let progress = ProgressBar(total: progressTotal(files))
    do {
      try take(files, stop, &appending, &inputs, progress)
    } catch {
      failures.append(error)
    }
    progress.clear()
    var stored = writer.statistics.records
    // Even after an error, the records that were taken are stored and reported.
    do {
      try appending.finish()
    } catch {
      // A full disk, for example, fails the record and the close alike: report it once.
      if !failures.contains(where: { "\($0)" == "\(error)" }) { failures.append(error) }
      stored = storedRecords(of: writer, from: start, after: error)
    }
    guard !failures.isEmpty else {
      if verbose || ProgressBar.isPossible {
        Messages.say("\(Count.text(stored, "record")) appended [\(topic)]")
      }
      return
    }
    let sentence = "\(inputs.sentence(stored: stored)) [\(topic)]"
    if let interrupted = failures.first as? Interrupted, failures.count == 1 {
      Messages.say("\(interrupted): \(sentence)")
      throw interrupted
    }
    for failure in failures { Messages.say(failure) }
    Messages.say(sentence)
    throw ExitCode(Status.failed)
  }

  /// How many of the appended records are in the topic, after the close failed.
  private func storedRecords(
    of writer: QueueWriter, from start: Address, after error: any Error
  ) -> UInt64 {
    let statistics = writer.statistics
    let synced = statistics.records - statistics.unsyncedRecords
    // A full disk takes back no record that readers see. A failed sync may. After a file was
    // removed, the topic may hold another writer's records at these addresses.
    let code = (error as? QueueError)?.code
    guard code != .syncFailed, code != .fileRemoved else { return synced }
    do {
      var reader = try QueueReader(topic: Topic(topic), from: .address(start))
      guard let first = try reader.nextCopy(),
        let next = try TopicInfo(of: Topic(topic)).nextOrdinal
      else { return synced }
      return next - first.ordinal
    } catch {
      // For example, they were dropped. Return the least number that is certain.
      return synced
    }
  }

  /// How many bytes all inputs hold, for the progress bar. 0, and so no bar, if some input is no
  /// plain file, or if the addresses on the terminal show the progress.
  private func progressTotal(_ files: [String]) -> UInt64 {
    let isSeen = printAddresses && System.isTerminal(System.standardOutput)
    guard ProgressBar.isPossible, !isSeen else { return 0 }
    var total: UInt64 = 0
    for file in files {
      guard let bytes = System.plainFileBytes(file) else { return 0 }
      total += bytes
    }
    return total
  }

  private func take(
    _ files: [String], _ stop: StopSignals, _ appending: inout Appending,
    _ inputs: inout AppendedInputs, _ progress: ProgressBar
  ) throws {
    var before: UInt64 = 0
    for (index, file) in files.enumerated() {
      var input = try RecordInput(
        path: file, framing: framing, maximumPayload: Int(maximumPayload.count.bytes), stop: stop)
      defer { inputs.add(input.name, records: input.records) }
      defer { before += input.taken }
      while true {
        while let payload = try input.next() {
          guard try appending.append(payload) else {
            progress.say(
              "the topic was full: \(input.lastPlace) waited for room and was not stored [\(topic)]"
            )
            throw stop.interruption
          }
        }
        progress.update(before + input.taken)
        guard !input.isAtEnd else { break }
        if !input.isReady { try appending.settleBeforeWaiting() }
        try input.fill()
      }
      guard input.isStopped else { continue }
      let isDone = input.isEndless && index == files.count - 1 && stop.cause != .closedOutput
      if isDone { return }
      throw stop.interruption
    }
  }
}
