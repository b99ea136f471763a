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
      The topic is made if there is none, and recovered if it was not closed. An empty line is an \
      empty record; a last line without its newline is a record, too.

      The times of --flush-every and --sync-every count from the first record that waits, and need no \
      further input.

      Ctrl-C, SIGTERM and SIGHUP stop it in order: the records that it took are stored and synced. \
      They are the end of a pipe or a terminal, and the status is then 0. A plain file has an end of \
      its own: stopped before that, or ended by an error such as a full disk, it says how many records \
      of which file are stored, and ends with another status than 0. If that is line 1000, tail -n \
      +1001 FILE prints the rest. A second signal, a second later or more, ends it at once.
      """)

  @Argument(help: "The topic's directory.", completion: .directory)
  var topic: String

  @Argument(
    help: "Files to take records from; - is standard input, as is none.", completion: .file())
  var files: [String] = []

  @Option(help: "What ends a record of the input: newline or nul. (default: newline)")
  var delimiter: Delimiter?

  @Flag(help: "Each record of the input stands behind its length, a u32 in little-endian order.")
  var lengthPrefixed = false

  @Flag(help: "Each file is one record.")
  var whole = false

  @Option(
    help: """
      When a record counts as taken: buffered, flushed (it survives this process) or synced (it \
      survives a power cut). Records are taken while input is ready, and share one sync. Ending \
      closes the topic, and so syncs, whatever the level.
      """)
  var ensure: Level = .buffered

  @Flag(help: "Print each record's address, a line each, once its level is reached.")
  var printAddresses = false

  @Option(
    help: ArgumentHelp(
      """
      Flush after so much: it is then visible to readers, and survives this process. A number of \
      records (1000), of bytes (64KiB) or a time (200ms, 1s, 5m), or several with commas between, \
      whichever comes first; or never. (default: \(Every(QueueWriter.Options().flushEvery).text))
      """, valueName: "interval"),
    transform: Every.parsed)
  var flushEvery = Every(QueueWriter.Options().flushEvery)

  @Option(
    help: ArgumentHelp(
      """
      Sync after so much, as for --flush-every: it then survives a power cut. (default: \
      \(Every(QueueWriter.Options().syncEvery).text))
      """, valueName: "interval"),
    transform: Every.parsed)
  var syncEvery = Every(QueueWriter.Options().syncEvery)

  @Option(
    help: ArgumentHelp(
      "What the slabs of the topic may hold together; 64KiB or more. (default: no bound)",
      valueName: "size"),
    transform: Size.parsed)
  var maximumBytes: Size?

  @Option(
    help: ArgumentHelp(
      "How many records the topic may hold; 2 or more. (default: no bound)",
      valueName: "count"))
  var maximumRecords: UInt64?

  @Option(
    help: """
      Where there is no room at --maximum-bytes or --maximum-records: fail; wait until a cleaner has made some; or make \
      some, also on a full disk, by removing the oldest slabs (drop-oldest), as far as all consumers \
      have acknowledged them (drop-oldest-acknowledged).
      """)
  var whenFull: WhenFull = .fail

  @Option(
    help: ArgumentHelp(
      """
      A slab is left for a new one beyond this size; at most a quarter of --maximum-bytes. \
      (default: \(QueueWriter.Options().slabSize), or that quarter where it is less)
      """, valueName: "size"),
    transform: Size.parsed)
  var slabSize: Size?

  @Option(
    help: ArgumentHelp(
      """
      A slab that holds a record is left for a new one once it is older than this (1h, 7d), so that \
      clean --keep-age reaches a topic that never fills a slab. (default: however old)
      """, valueName: "age"), transform: TimeSpan.parsed)
  var slabAge: TimeSpan?

  @Option(
    help: ArgumentHelp(
      "The largest payload that is taken. (default: \(QueueWriter.Options().maximumPayload))",
      valueName: "size"),
    transform: Size.parsed)
  var maximumPayload = Size(QueueWriter.Options().maximumPayload)

  private var options: QueueWriter.Options {
    var options = QueueWriter.Options()
    options.maximumBytes = maximumBytes?.count
    options.maximumRecords = maximumRecords
    if let slabSize {
      options.slabSize = slabSize.count
    } else if let maximumBytes {
      options.slabSize = min(
        options.slabSize, max(.kibibytes(4), .bytes(maximumBytes.count.bytes / 4)))
    }
    options.slabAge = slabAge?.duration
    options.maximumPayload = maximumPayload.count
    options.flushEvery = flushEvery.interval
    options.syncEvery = syncEvery.interval
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
    // Nobody would learn of a record that is appended after who reads the addresses has gone.
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
    do {
      try take(files, stop, &appending, &inputs)
    } catch {
      failures.append(error)
    }
    var stored = writer.statistics.records
    // Whatever happened, what was taken is kept, and said to be.
    do {
      try appending.finish()
    } catch {
      // A full disk, say, fails the record and the close alike: once is enough.
      if !failures.contains(where: { "\($0)" == "\(error)" }) { failures.append(error) }
      stored = storedRecords(of: writer, from: start, after: error)
    }
    guard !failures.isEmpty else { return }
    let sentence = "\(inputs.sentence(stored: stored)) [\(topic)]"
    if let interrupted = failures.first as? Interrupted, failures.count == 1 {
      Messages.say("\(interrupted): \(sentence)")
      throw interrupted
    }
    for failure in failures { Messages.say(failure) }
    Messages.say(sentence)
    throw ExitCode(Status.failed)
  }

  /// How many of the records that were appended are in the topic, which could not be closed.
  private func storedRecords(
    of writer: QueueWriter, from start: Address, after error: any Error
  ) -> UInt64 {
    let statistics = writer.statistics
    let synced = statistics.records - statistics.unsyncedRecords
    // A full disk takes nothing back that readers see. A failed sync may, and after a file was taken
    // away the topic may hold another writer's records in their place.
    let code = (error as? QueueError)?.code
    guard code != .syncFailed, code != .fileRemoved else { return synced }
    do {
      var reader = try QueueReader(topic: Topic(topic), from: .address(start))
      guard let first = try reader.nextCopy(),
        let next = try TopicInfo(of: Topic(topic)).nextOrdinal
      else { return synced }
      return next - first.ordinal
    } catch {
      // They were dropped, say: what is known is the least.
      return synced
    }
  }

  private func take(
    _ files: [String], _ stop: StopSignals, _ appending: inout Appending,
    _ inputs: inout AppendedInputs
  ) throws {
    for (index, file) in files.enumerated() {
      var input = try RecordInput(
        path: file, framing: framing, maximumPayload: Int(maximumPayload.count.bytes), stop: stop)
      defer { inputs.add(input.name, records: input.records) }
      while true {
        while let payload = try input.next() {
          guard try appending.append(payload) else {
            Messages.say(
              "the topic was full: \(input.lastPlace) waited for room, and was not taken [\(topic)]"
            )
            throw stop.interruption
          }
        }
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
