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
      record comes at least once. After a crash some come twice: up to 500 printed records, or one \
      record that a command was given. A record in a pipe counts as written when the pipe's reader \
      has taken it. A reader takes more than it shows: to take a few records, use --limit and not \
      head.

      /bin/sh runs the command of --exec with the record on its standard input. DISKQ_TOPIC, \
      DISKQ_CONSUMER, DISKQ_ADDRESS and DISKQ_ORDINAL name the topic, the consumer, and the \
      record's address and ordinal. If the command fails, consume runs it again after 1 s, 2 s, \
      and so on up to 60 s. If it has failed --retries times more, the exit status is 2, and the \
      record comes first the next time. With --dead-letter, consume instead puts the record aside \
      in the topic TOPIC.dead and goes on: read --dead-letters prints these records. If the shell \
      cannot run the command (126, 127), consume does not retry.

      consume reports every loss on standard error, and the exit status at the end is then 1. \
      Ctrl-C, SIGTERM and SIGHUP stop it at once, or after the running command. Acknowledged \
      records stay acknowledged. With --follow the status is then 0. Without it, consume ends by \
      the signal, unless it was done. A second signal, a second later or more, waits for nothing. \
      If the reader of standard output goes away, consume ends, also while it waits. The status is \
      then 0, or 1 after a loss.
      """)

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

  @Flag(help: "At the end, wait for more records, and take each as soon as it is flushed.")
  var follow = false

  @Option(help: "Take at most so many records. (default: no limit)")
  var limit: UInt64?

  @Option(help: "As read prints them: lines, json, hex, raw or length-prefixed. (default: lines)")
  var format: RecordFormat?

  @OptionGroup var jsonOptions: JSONOptions

  @Option(
    help: ArgumentHelp(
      "Print nothing: give each record to the standard input of this shell command.",
      valueName: "command"))
  var exec: String?

  @Option(help: "How many times to run the command again for a record. (default: 5)")
  var retries: UInt64?

  @Option(
    help: ArgumentHelp(
      "The wait before the first retry, from 1ms to 60s. (default: 1s)", valueName: "time"),
    transform: TimeSpan.parsed)
  var retryDelay: TimeSpan?

  @Flag(
    help: """
      Put aside in TOPIC.dead the records for which the command has used its retries, and records \
      above --maximum-payload.
      """)
  var deadLetter = false

  @Option(
    help: ArgumentHelp(
      """
      Stop before a record with a larger payload. With --dead-letter, put it aside instead, which \
      takes its size in memory. (default: no limit)
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
    guard let exec else { return .output(format ?? .lines) }
    return .command(
      RecordCommand(
        line: exec, retries: retries ?? 5, firstDelay: retryDelay?.duration ?? .seconds(1)))
  }

  func validate() throws {
    try checkConsumer(consumer)
    try jsonOptions.check(isJSON: format == .json, "--format json")
    if let exec {
      guard !exec.isEmpty else { throw ValidationError("--exec needs a command") }
      guard format == nil else { throw ValidationError("--format and --exec exclude each other") }
    } else if retries != nil || retryDelay != nil {
      throw ValidationError("--retries and --retry-delay need --exec")
    } else if deadLetter, maximumPayload == nil {
      throw ValidationError("--dead-letter needs --exec or --maximum-payload")
    }
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
    let consumer = try QueueConsumer(
      topic: Topic(topic), name: consumer, from: from?.position ?? .earliest, options: options)
    let consuming = Consuming(
      consumer: consumer, path: topic, target: target, putsAside: deadLetter, follows: follow,
      limit: limit ?? .max, jsonStrings: jsonOptions.jsonStrings, stop: stop)
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
    if ending.isCutShort, !follow, stop.cause != .closedOutput { throw stop.interruption }
    if ending.isLossy { throw leaveDamaged() }
  }
}
