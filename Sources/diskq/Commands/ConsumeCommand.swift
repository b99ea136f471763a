// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

struct ConsumeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "consume",
    abstract: "Prints records from a consumer's position, and acknowledges them.",
    discussion: """
      The position is kept in the topic under the consumer's name, durably. A record is acknowledged \
      once it was written to standard output, or once the command of --exec has exited with 0; what \
      was not acknowledged comes again the next time. So every record comes at least once, and after \
      a crash some come twice: up to 500 that were printed, one that was handed to a command. A record \
      that was written to a pipe is handed over when its reader has taken it. A reader takes more than \
      it shows: use --limit, and not head, to take a few.

      A command is run by /bin/sh, with the record on its standard input, and its topic, address and \
      ordinal in DISKQ_TOPIC, DISKQ_ADDRESS and DISKQ_ORDINAL. Where it fails, it is run again after \
      1 s, 2 s, and so on up to 60 s. Where it has failed --retries times more, the exit status is 2, \
      and the record comes first the next time; with --dead-letter it is put aside to the topic \
      TOPIC.dead, and the next one comes: read --dead-letters prints what is there. A command that \
      the shell cannot run (126, 127) is not tried again.

      Every loss is told on standard error, and the exit status is then 1 at the end. Ctrl-C, SIGTERM \
      and SIGHUP stop it at once, or after the command that runs: what was acknowledged is kept. With \
      --follow the status is then 0; without it the command ends by the signal, unless it was done. A \
      second signal, a second later or more, waits for nothing. When nobody reads standard output any \
      more, it ends with 0, also while it waits.
      """)

  @Argument(help: "The topic's directory.", completion: .directory)
  var topic: String

  @Option(help: "The consumer's name; it is made if there is none. One process may hold it.")
  var consumer: String

  @Option(
    help: ArgumentHelp(
      "Where a new consumer begins, as read takes it. One that is there goes on where it was."
        + " (default: earliest)", valueName: "start"),
    transform: Start.parsed)
  var from: Start?

  @Flag(help: "Go on with what is appended, as soon as it is flushed.")
  var follow = false

  @Option(help: "Take so many records at the most. (default: no limit)")
  var limit: UInt64?

  @Option(help: "As read prints them: lines, json, hex, raw or length-prefixed. (default: lines)")
  var format: RecordFormat?

  @OptionGroup var jsonOptions: JSONOptions

  @Option(
    help: ArgumentHelp(
      "Print nothing: hand each record to the standard input of this line of shell.",
      valueName: "command"))
  var exec: String?

  @Option(help: "How often the command is run again for a record that it fails for. (default: 5)")
  var retries: UInt64?

  @Option(
    help: ArgumentHelp(
      "How long the first of these waits is, from 1ms to 60s. (default: 1s)", valueName: "time"),
    transform: TimeSpan.parsed)
  var retryDelay: TimeSpan?

  @Flag(
    help: """
      Put aside to TOPIC.dead what the command has failed for so often, and records above \
      --maximum-payload.
      """)
  var deadLetter = false

  @Option(
    help: ArgumentHelp(
      """
      Stop before a record with a larger payload; with --dead-letter, put it aside, which takes its \
      size in memory. (default: no limit)
      """, valueName: "size"),
    transform: Size.parsed)
  var maximumPayload: Size?

  private var options: QueueConsumer.Options {
    var options = QueueConsumer.Options()
    // No record is larger than the header of its slab states.
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
      guard !exec.isEmpty else { throw ValidationError("--exec names no command") }
      guard format == nil else { throw ValidationError("--format and --exec exclude each other") }
    } else if retries != nil || retryDelay != nil {
      throw ValidationError("--retries and --retry-delay go with --exec")
    } else if deadLetter, maximumPayload == nil {
      throw ValidationError("--dead-letter goes with --exec or --maximum-payload")
    }
    if let delay = retryDelay?.duration {
      guard delay >= .milliseconds(1), delay <= .seconds(60) else {
        throw ValidationError("--retry-delay is from 1ms to 60s")
      }
    }
    try checkUsage { () throws(QueueError) in try options.validate() }
  }

  func run() throws {
    // Before any thread.
    let stop = try StopSignals.caught(orClosedOutput: exec == nil)
    let consumer = try QueueConsumer(
      topic: Topic(topic), name: consumer, from: from?.position ?? .earliest, options: options)
    let consuming = Consuming(
      consumer: consumer, path: topic, target: target, putsAside: deadLetter, follows: follow,
      limit: limit ?? .max, jsonStrings: jsonOptions.jsonStrings, stop: stop)
    let ending: Consuming.Ending
    do {
      ending = try runTask(cancelledBy: stop) { try await consuming.run() }
    } catch {
      // Whatever happened, what was acknowledged is kept.
      do throws(QueueError) {
        try consumer.close()
      } catch let second {
        // A full disk, say, fails an acknowledgement and the close alike: once is enough.
        if "\(second)" != "\(error)" { Messages.say(second) }
      }
      throw error
    }
    try consumer.close()
    if ending.isCutShort, !follow, stop.cause != .closedOutput { throw stop.interruption }
    if ending.isLossy { throw leaveDamaged() }
  }
}
