// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue
import DiskQueueInspection

struct DeadLettersCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dead-letters",
    abstract: "Lists the records that consumers put aside, or appends them to a topic again.",
    discussion: """
      The dead letters of TOPIC are in the topic TOPIC.dead. The list has the address of each one \
      there, the ordinal and the address of the record that it was, its size, and the reason. \
      read --dead-letters prints the records themselves.

      With --redrive, the command appends the records to TOPIC again, in order and durably, and \
      removes them from the list. Every record is appended at least once: after a crash or an \
      error, up to 512 of them twice. They are new records with new addresses, and every consumer \
      of the topic receives them. So if the topic has several consumers, give --to a topic of its \
      own for the one that failed. The topic must not be open in another writer.

      Redriven dead letters stay in TOPIC.dead until clean removes them. consumers TOPIC.dead \
      --reset redrive --to earliest puts all of them on the list again.
      """
        + Examples.section([
          "List the dead letters of queue.":
            "diskq dead-letters queue",
          "Count them by reason.":
            "diskq dead-letters queue --json | jq -r .reason | sort | uniq -c",
          "Append them to the topic again.":
            "diskq dead-letters queue --redrive",
          "Process 100 of them in a topic of their own.":
            "diskq dead-letters queue --redrive --to queue.again --limit 100",
        ]))

  @Argument(help: "The topic's directory, or that of its dead letters.", completion: .directory)
  var topic: String

  @Flag(help: "Append the records to the topic again, and remove them from the list.")
  var redrive = false

  @Option(
    help: ArgumentHelp("With --redrive, the topic to append to.", valueName: "topic"),
    completion: .directory)
  var to: String?

  @Option(
    help: ArgumentHelp("List or redrive at most so many. (default: no limit)", valueName: "count"),
    transform: Whole.parsed)
  var limit: UInt64?

  @Flag(help: "Print one JSON object a line, as read --dead-letters --format json does.")
  var json = false

  @OptionGroup var jsonOptions: JSONOptions

  func validate() throws {
    guard to == nil || redrive else { throw ValidationError("--to needs --redrive") }
    guard !json || !redrive else {
      throw ValidationError("--redrive prints no list: leave out --json")
    }
    guard limit != 0 else { throw ValidationError("--limit must be at least 1") }
    try jsonOptions.check(isJSON: json, "--json")
  }

  /// The path of the dead letters, and that of the topic.
  private var paths: (letters: String, topic: String) {
    get throws(QueueError) {
      let path = TopicPath.trimmed(topic)
      guard path.hasSuffix(Topic.deadLetterSuffix) else {
        return (try Topic(path).deadLetters.description, path)
      }
      return (path, String(path.dropLast(Topic.deadLetterSuffix.count)))
    }
  }

  func run() throws {
    guard redrive else { return try list() }
    try redriveLetters()
  }

  /// Whether there is a topic for dead letters. A consumer makes it for the first one.
  ///
  /// - Throws: if there is no topic either, because the path is wrong then.
  private func exist(_ paths: (letters: String, topic: String)) throws(QueueError) -> Bool {
    guard System.kind(paths.letters) == .nothing else { return true }
    _ = try TopicExtent(of: Topic(paths.topic))
    return false
  }

  // MARK: The list

  private func list() throws {
    let paths = try paths
    guard try exist(paths) else { return }
    let letters = Topic(paths.letters)
    let losses = Losses(of: paths.letters, ProgressBar(total: 0))
    var options = QueueReader.Options()
    options.maximumPayload = Consuming.everyPayload
    var reader = try QueueReader(
      topic: letters, from: try Self.first(in: letters), options: options
    ) { losses.report($0) }
    var output = Output(placesAreText: jsonOptions.jsonStrings)
    var left = limit ?? .max
    var hasHeading = false
    do throws(QueueError) {
      while left > 0, output.isOpen, let record = try reader.nextCopy() {
        let letter = try Self.letter(record, path: paths.letters)
        if json {
          output.put(letter, at: record.address, ordinal: record.ordinal, as: .json)
        } else {
          if !hasHeading {
            output.put(Self.row("address", "ordinal", "was at", "bytes") + "  reason\n")
            hasHeading = true
          }
          output.put(Self.row(letter, at: record.address))
        }
        left -= 1
      }
    } catch {
      // Print the dead letters before the error.
      try output.finish()
      throw error
    }
    try output.finish()
    if !losses.isEmpty { throw leaveDamaged() }
  }

  /// The position of the first dead letter that was not redriven.
  private static func first(in letters: Topic) throws(QueueError) -> Topic.Position {
    let consumer = try QueueConsumer.consumers(of: letters).first {
      $0.name == DeadLetter.redriveConsumerName
    }
    return consumer?.position.map { .address($0) } ?? .earliest
  }

  static func letter(
    _ record: QueueRecord, path: String
  ) throws(QueueError) -> DeadLetter {
    do throws(QueueError) {
      return try DeadLetter(record.payload)
    } catch {
      throw QueueError(error.code, error.message, path: path, address: record.address.rawValue)
    }
  }

  private static func row(_ letter: DeadLetter, at address: Address) -> String {
    row(
      "\(address)", "\(letter.ordinal)", "\(letter.address)", "\(letter.payload.count)")
      + "  \(Messages.onOneLine(letter.reason))\n"
  }

  private static func row(
    _ address: String, _ ordinal: String, _ from: String, _ bytes: String
  ) -> String {
    "\(Layout.right(address, 12)) \(Layout.right(ordinal, 12)) \(Layout.right(from, 12))"
      + " \(Layout.right(bytes, 10))"
  }

  // MARK: Redriving

  private func redriveLetters() throws {
    let paths = try paths
    let target = to ?? paths.topic
    guard try exist(paths) else { return Messages.say(Self.report(0, target)) }
    // Order: before any thread is started.
    let stop = try StopSignals.caught()
    let letters = Topic(paths.letters)
    let losses = Losses(of: paths.letters, ProgressBar(total: 0))
    var options = QueueWriter.Options()
    options.maximumPayload = try SlabDescription.largestPayload(in: letters)
    let writer = try QueueWriter(topic: Topic(target), options: options)
    RecoveryMessages.say(writer.recovery, position: writer.position, path: target)
    var redriven = 0
    do {
      try redriveAll(letters, to: writer, &redriven, losses, stop)
    } catch {
      Messages.say(Self.report(redriven, target))
      do throws(QueueError) {
        try writer.close()
      } catch let second {
        // A full disk, for example, fails an append and the close alike: report it once.
        if "\(second)" != "\(error)" { Messages.say(second) }
      }
      guard (error as? QueueError)?.code != .cancelled else { throw stop.interruption }
      throw error
    }
    try writer.close()
    Messages.say(Self.report(redriven, target))
    if !losses.isEmpty { throw leaveDamaged() }
  }

  /// Redrives up to the limit. Reports each loss, and continues after it.
  private func redriveAll(
    _ letters: Topic, to writer: QueueWriter, _ redriven: inout Int, _ losses: Losses,
    _ stop: StopSignals
  ) throws {
    let limit = Int(clamping: limit ?? .max)
    do {
      redriven = try runTask(cancelledBy: stop) {
        try await DeadLetter.redrive(from: letters, to: writer, upTo: limit) { losses.report($0) }
      }
    } catch let error as QueueError {
      redriven = error.appended
      throw error
    }
  }

  private static func report(_ count: Int, _ target: String) -> String {
    "\(Count.text(UInt64(count), "record")) appended again [\(target)]"
  }
}
