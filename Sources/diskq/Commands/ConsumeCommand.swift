// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

struct ConsumeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "consume",
    abstract: "Prints records from a consumer's position, and acknowledges them.",
    discussion: """
      consume stores the position durably in the topic, under the consumer's name. It acknowledges \
      a record once it has written the record to standard output, or once the command of --exec \
      has exited with 0. A record that was not acknowledged comes again the next time. So every \
      record comes at least once. After a crash some come twice: up to --batch printed records, \
      one record that a command was given, or those of two runs with --exec-batch. With --jobs, \
      all that was handed over after the first unfinished record may come again. A record in a \
      pipe counts as written when the pipe's reader has taken it. A reader takes more than it \
      shows: to take a few records, use --limit and not head.

      /bin/sh runs the command of --exec with the record on its standard input. DISKQ_TOPIC, \
      DISKQ_CONSUMER, DISKQ_ADDRESS and DISKQ_ORDINAL name the topic, the consumer, and the \
      record's address and ordinal. With --exec-batch, these two are the first record's. \
      DISKQ_COUNT is the number of records. DISKQ_FIRST_ADDRESS, DISKQ_LAST_ADDRESS, \
      DISKQ_FIRST_ORDINAL and DISKQ_LAST_ORDINAL name the first and the last one.

      If the command fails, consume runs it again after 1 s, 2 s, and so on up to 60 s. If it has \
      failed --retries times more, the exit status is 2, and the records come first the next time. \
      With --dead-letter, consume instead appends the record to the topic TOPIC.dead as a dead \
      letter, and goes on: read --dead-letters prints these records. If the command had several \
      records, it gets each half of them, and so on, until the records are found for which it \
      fails alone. If the shell cannot run the command (126, 127), consume does not retry.

      consume reports every loss on standard error, and the exit status at the end is then 1. \
      Ctrl-C, SIGTERM and SIGHUP stop it at once, or after the running commands. Acknowledged \
      records stay acknowledged. With --follow the status is then 0. Without it, consume ends by \
      the signal, unless it was done. A second signal, a second later or more, waits for nothing. \
      If the reader of standard output goes away, consume ends, also while it waits. The status is \
      then 0, or 1 after a loss.
      """
        + Examples.section([
          "Print each new record once, as it comes.":
            "diskq consume sensors --consumer screen --follow",
          "Move all records to a file, with few syncs.":
            "diskq consume sensors --consumer copy --batch 10000 >> sensors.csv",
          "Send each record to a service, and go on after one that it refuses.":
            "diskq consume jobs --consumer send --exec 'curl -fsT - $URL' --dead-letter",
          "Send up to 500 records at a time, with four commands at once.":
            "diskq consume jobs --consumer send --exec ./send --exec-batch 500 --jobs 4",
          "Wait up to two seconds until there are 99 records to send.":
            "diskq consume t --consumer s --exec ./s --exec-batch 99 --follow --linger 2s",
        ]))

  @Argument(help: "The topic's directory.", completion: .directory)
  var topic: String

  @Option(help: "The consumer's name. If there is none, consume makes it. One process may hold it.")
  var consumer: String

  @Option(
    help: ArgumentHelp(
      "The start of a new consumer, written as for read --from. An existing one goes on from its"
        + " position. (default: earliest)", valueName: "start"),
    transform: Start.parsed)
  var from: Start?

  @Flag(
    help: """
      At the end, wait for more records, and take each as soon as it is flushed. Also wait for a \
      topic that does not exist yet.
      """)
  var follow = false

  @Option(help: "Take at most so many records. (default: no limit)", transform: Whole.parsed)
  var limit: UInt64?

  @Option(
    help: ArgumentHelp(
      """
      Acknowledge up to so many printed records with one sync, or 4MiB of them. The first batches \
      into a pipe are smaller. (default: 500)
      """, valueName: "count"),
    transform: Whole.parsedCount)
  var batch: Int?

  @Option(
    help: ArgumentHelp(
      """
      With --follow, the longest wait for a batch to be filled, after its first record. \
      (default: none)
      """, valueName: "time"),
    transform: TimeSpan.parsed)
  var linger: TimeSpan?

  @Option(
    help: """
      As read prints them: lines, json, hex, raw or length-prefixed. With --exec-batch, the format \
      on the command's standard input. (default: lines)
      """)
  var format: RecordFormat?

  @OptionGroup var jsonOptions: JSONOptions

  @Option(
    help: ArgumentHelp(
      "Print nothing: give each record to the standard input of this shell command.",
      valueName: "command"))
  var exec: String?

  @Option(
    help: ArgumentHelp(
      """
      Give each run of the command up to so many records, or 4MiB of them, in the format of \
      --format. Without it, the command gets the bytes of one record.
      """, valueName: "count"),
    transform: Whole.parsedCount)
  var execBatch: Int?

  @Option(
    help: ArgumentHelp(
      """
      Run so many commands at once, from 1 to 1000, each with its own records. They may end in \
      any order. (default: 1)
      """, valueName: "count"),
    transform: Whole.parsedJobs)
  var jobs: Int?

  @Option(
    help: "How many times to run the command again for the same records. (default: 5)",
    transform: Whole.parsed)
  var retries: UInt64?

  @Option(
    help: ArgumentHelp(
      "The wait before the first retry, from 1ms to 60s. (default: 1s)", valueName: "time"),
    transform: TimeSpan.parsed)
  var retryDelay: TimeSpan?

  @Flag(
    help: """
      Append to the topic TOPIC.dead, as dead letters, the records for which the command has used \
      its retries, and records above --maximum-payload.
      """)
  var deadLetter = false

  @Option(
    help: ArgumentHelp(
      """
      Stop before a record with a larger payload. With --dead-letter, make it a dead letter \
      instead, which takes its size in memory. (default: no limit)
      """, valueName: "size"),
    transform: Size.parsed)
  var maximumPayload: Size?

  private var options: QueueConsumer.Options {
    var options = QueueConsumer.Options()
    // The default refuses no record: the header of each slab states its largest payload.
    options.maximumPayload = maximumPayload?.count ?? Consuming.everyPayload
    return options
  }

  private var target: Consuming.Target {
    guard let exec else { return .output(format, batch: batch ?? 500) }
    let command = RecordCommand(
      line: exec, format: execBatch == nil ? .raw : format ?? .lines, batch: execBatch ?? 1,
      retries: retries ?? 5, firstDelay: retryDelay?.duration ?? .seconds(1),
      jsonStrings: jsonOptions.jsonStrings)
    return .command(command, jobs: jobs ?? 1)
  }

  func validate() throws {
    try checkConsumer(consumer)
    try jsonOptions.check(isJSON: format == .json, "--format json")
    if let exec {
      // The shell runs a blank command without an error, and every record would be acknowledged.
      guard exec.contains(where: { !$0.isWhitespace }) else {
        throw ValidationError("--exec needs a command")
      }
      guard format == nil || execBatch != nil else {
        throw ValidationError("--format and --exec exclude each other without --exec-batch")
      }
      guard batch == nil else {
        throw ValidationError("--batch and --exec exclude each other: use --exec-batch")
      }
    } else if let option = [
      ("--retries", retries != nil), ("--retry-delay", retryDelay != nil),
      ("--exec-batch", execBatch != nil), ("--jobs", jobs != nil),
    ].first(where: \.1)?.0 {
      throw ValidationError("\(option) needs --exec")
    } else if deadLetter, maximumPayload == nil {
      throw ValidationError("--dead-letter needs --exec or --maximum-payload")
    }
    guard linger == nil || follow else { throw ValidationError("--linger needs --follow") }
    if let delay = retryDelay?.duration {
      guard delay >= .milliseconds(1), delay <= .seconds(60) else {
        throw ValidationError("--retry-delay must be from 1ms to 60s")
      }
    }
    try checkUsage { () throws(QueueError) in try options.validate() }
  }

  func run() throws {
    // Order: before any thread is started.
    let stop = try StopSignals.caught(orClosedOutput: exec == nil)
    let topic = Topic(topic)
    let arrival = follow ? try Arrival.wait(for: self.topic, until: stop) : .wasThere
    guard arrival != .stopped else { return }
    let isNew = try from?.address == nil || isNew(in: topic)
    let losses = Losses(of: self.topic)
    let consumer = try QueueConsumer(
      topic: topic, name: consumer, from: from?.position(in: arrival) ?? .earliest,
      options: options)
    if isNew { from?.reportLaterStart(at: consumer.position, path: self.topic) }
    let consuming = Consuming(
      consumer: consumer, path: self.topic, target: target, putsAside: deadLetter, follows: follow,
      lingering: linger?.duration ?? .zero, limit: limit ?? .max,
      jsonStrings: jsonOptions.jsonStrings, stop: stop, losses: losses)
    let ending: Consuming.ConsumeResult
    do {
      ending = try runTask(cancelledBy: stop) { try await consuming.run() }
    } catch {
      // Even after an error, closing stores the acknowledgements.
      do throws(QueueError) {
        try consumer.close()
      } catch let second {
        // A full disk, for example, fails an acknowledgement and the close alike: report it once.
        if "\(second)" != "\(error)" { Messages.say(second) }
      }
      throw error
    }
    try consumer.close()
    // If the reader of standard output is gone, the work is done.
    if ending.isCutShort, !follow, case .signal = stop.cause { throw stop.interruption }
    if ending.isLossy { throw leaveDamaged() }
  }

  /// Whether the consumer does not exist yet, and so begins at `--from`.
  private func isNew(in topic: Topic) throws(QueueError) -> Bool {
    try QueueConsumer.consumers(of: topic).allSatisfy {
      $0.name != consumer || $0.state == .neverWritten
    }
  }
}
