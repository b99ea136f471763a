// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

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

      In a sharded topic, the key of a record decides its shard. Records with the same key are in \
      one shard, in order. --key-field takes the key from each record, and --key is one key for \
      all records. --shards makes the topic. append assigns keys by their hash, as the library \
      does, and stores no key. The options of flushes, syncs, caps and slabs apply to each shard. \
      --print-addresses prints the shard before the address. At most 64 shards are open at once. \
      To open one more, append syncs and closes another.

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
          "Records of JSON, over 16 shards. The orders of a customer stay in order.":
            "diskq append orders new.json --shards 16 --key-field customer.id",
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
    help: ArgumentHelp(
      """
      The number of shards of a sharded topic, which append makes if there is none. It is fixed \
      then. It needs --key-field or --key. (default: the number that the topic has)
      """, valueName: "count"),
    transform: Whole.parsedShards)
  var shards: Int?

  @Option(
    help: ArgumentHelp(
      """
      For a sharded topic: each record is an object of JSON, and this field is its key. The field \
      is text or a whole number, and 17 is the same key as "17". Dots lead into objects, as in \
      customer.id. A dot in a name is \\. and a backslash is \\\\.
      """, valueName: "path"),
    transform: FieldPath.parsed)
  var keyField: FieldPath?

  @Option(help: "For a sharded topic: the key of all records. It is any text.")
  var key: String?

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

  private var recordKey: RecordKey? { key.map { .same($0) } ?? keyField.map { .field($0) } }

  private var framing: RecordInput.Framing {
    if lengthPrefixed { return .lengthPrefixed }
    return whole ? .whole : .delimiter((delimiter ?? .newline).byte)
  }

  func validate() throws {
    guard [delimiter != nil, lengthPrefixed, whole].count(where: { $0 }) <= 1 else {
      throw ValidationError("--delimiter, --length-prefixed and --whole exclude each other")
    }
    guard key == nil || keyField == nil else {
      throw ValidationError("--key and --key-field exclude each other")
    }
    guard shards == nil || recordKey != nil else {
      throw ValidationError(
        "--shards needs --key-field or --key, because a key decides the shard of each record")
    }
    try checkUsage { () throws(QueueError) in try options.validate() }
  }

  func run() throws {
    let files = files.isEmpty ? ["-"] : files
    for file in files where file != "-" { try System.checkReadable(file) }
    // Once the reader of the addresses is gone, no later address could reach it: stop then.
    let stop = try StopSignals.caught(orClosedOutput: printAddresses)
    let progress = ProgressBar(total: progressTotal(files))
    guard let recordKey else {
      return try append(files, to: try TopicTarget(topic, options: options), stop, progress)
    }
    let target = try ShardedTarget(
      topic, shards: shards, key: recordKey, options: options, progress: progress)
    try append(files, to: target, stop, progress)
  }

  private func append(
    _ files: [String], to target: some AppendTarget, _ stop: StopSignals, _ progress: ProgressBar
  ) throws {
    var appending = Appending(
      target, ensuring: ensure.durability, printsAddresses: printAddresses,
      waitingForRoomUntil: whenFull == .wait ? stop : nil)
    var inputs = AppendedInputs(
      total: files.count, isLines: framing == .delimiter(Delimiter.newline.byte))
    var failures: [any Error] = []
    do {
      try take(files, stop, &appending, &inputs, progress)
    } catch {
      failures.append(error)
    }
    progress.clear()
    var stored = StoredRecords(first: appending.target.records)
    // Even after an error, the records that were taken are stored and reported.
    do {
      try appending.finish()
    } catch {
      // A full disk, for example, fails the record and the close alike: report it once.
      if !failures.contains(where: { "\($0)" == "\(error)" }) { failures.append(error) }
      stored = appending.target.storedRecords(after: error)
    }
    guard !failures.isEmpty else {
      if verbose || ProgressBar.isPossible {
        Messages.say("\(Count.text(stored.first, "record")) appended [\(topic)]")
      }
      return
    }
    let report = inputs.sentence(stored: stored.first, hasOthers: stored.hasOthers)
    let sentence = "\(report) [\(topic)]"
    if let interrupted = failures.first as? Interrupted, failures.count == 1 {
      Messages.say("\(interrupted): \(sentence)")
      throw interrupted
    }
    for failure in failures { Messages.say(failure) }
    Messages.say(sentence)
    throw ExitCode(Status.failed)
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

  private func take<Target>(
    _ files: [String], _ stop: StopSignals, _ appending: inout Appending<Target>,
    _ inputs: inout AppendedInputs, _ progress: ProgressBar
  ) throws {
    var before: UInt64 = 0
    for (index, file) in files.enumerated() {
      var input = try RecordInput(
        path: file, framing: framing, maximumPayload: Int(maximumPayload.count.bytes), stop: stop)
      defer { inputs.add(input.name, records: input.records) }
      defer { before += input.taken }
      do {
        while true {
          while let payload = try input.next() {
            guard try appending.append(payload) else {
              progress.say(
                "the topic was full: \(input.lastPlace) waited for room and was not stored"
                  + " [\(topic)]")
              throw stop.interruption
            }
          }
          progress.update(before + input.taken)
          guard !input.isAtEnd else { break }
          if !input.isReady { try appending.settleBeforeWaiting() }
          try input.fill()
        }
      } catch let refusal as FieldPath.Refusal {
        throw Failure(
          "\(input.lastRecord) \(refusal.text): correct it, or append it with --key",
          path: input.name)
      }
      guard input.isStopped else { continue }
      let isDone = input.isEndless && index == files.count - 1 && stop.cause != .closedOutput
      if isDone { return }
      throw stop.interruption
    }
  }
}
