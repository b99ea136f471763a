// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue
import DiskQueueInspection

struct ReadCommand: ParsableCommand {
  enum AtDamage: String, CaseIterable, ExpressibleByArgument {
    case stop, skip
  }

  static let configuration = CommandConfiguration(
    commandName: "read",
    abstract: "Prints records.",
    discussion: """
      Of a sharded topic, read prints the records of all shards, a few of each shard in turn. They \
      are in order within a shard. json also has the shard.

      read reports every loss on standard error, and the exit status is then 1. If a writer has \
      the topic open, read prints the records that were flushed.

      With --follow, read also waits for a topic that does not exist yet. Ctrl-C, SIGTERM and \
      SIGHUP end it in order, with the same status. It first writes out all records in its buffer. \
      A second signal, a second later or more, ends it at once. If the reader of standard output \
      goes away, read ends, also while it waits. The status is then 0, or 1 after a loss.
      """
        + Examples.section([
          "The first ten records, each as an object of JSON.":
            "diskq read sensors --limit 10 --format json",
          "The records of the last two hours, and then each new one.":
            "diskq read sensors --from 2h --follow",
          "The records of one day.":
            "diskq read sensors --from 2026-11-21 --to 2026-11-22",
          "Copy a topic, whatever bytes its records have.":
            "diskq read a --format length-prefixed | diskq append b --length-prefixed",
          "The records that a consumer could not process.":
            "diskq read sensors.dead --dead-letters",
        ]))

  @Argument(help: "The topic's directory.", completion: .directory)
  var topic: String

  @Option(
    help: ArgumentHelp(
      """
      The position to begin at: earliest, latest, now, an address, ordinal:N, a time (ISO 8601, \
      UTC if it has no zone), or an age such as 2h or 1d12h. A time begins at the last mark before \
      it, and so somewhat early. (default: earliest)
      """, valueName: "start"),
    transform: Start.parsed)
  var from: Start?

  @Option(
    help: ArgumentHelp(
      """
      The position to end before, written as for --from. A time ends at the first mark after it, \
      and so somewhat late. (default: the end)
      """, valueName: "end"),
    transform: Start.parsed)
  var to: Start?

  @Flag(help: "At the end, wait for more records, and print each as soon as it is flushed.")
  var follow = false

  @Option(help: "Print at most so many records. (default: no limit)", transform: Whole.parsed)
  var limit: UInt64?

  @Option(
    help: """
      lines, json (one object a line: address, ordinal, length, and text or, if it is not UTF-8, \
      payload in base64), hex, raw (nothing between records) or length-prefixed (u32, \
      little-endian). Without --format, a terminal shows control characters, and bytes that are \
      not UTF-8, as \\xHH. (default: lines)
      """)
  var format: RecordFormat?

  @OptionGroup var jsonOptions: JSONOptions

  @Flag(
    help: """
      The topic holds dead letters of consume: print the records as they were. json also has the \
      reason, and their old position (originalAddress, originalOrdinal).
      """)
  var deadLetters = false

  @Option(help: "At damage: stop, or skip it and go on after it.")
  var damage: AtDamage = .skip

  @Option(
    help: ArgumentHelp(
      "Report records with a larger payload, and skip them. (default: no limit)",
      valueName: "size"),
    transform: Size.parsed)
  var maximumPayload: Size?

  private var options: QueueReader.Options {
    var options = QueueReader.Options()
    // The default refuses no record: the header of each slab states its largest payload.
    options.maximumPayload = maximumPayload?.count ?? Consuming.everyPayload
    return options
  }

  func validate() throws {
    try jsonOptions.check(isJSON: format == .json, "--format json")
    if follow, let to, to.address == nil, to.ordinal == nil {
      throw ValidationError("--to with --follow takes an address or ordinal:N")
    }
    try checkUsage { () throws(QueueError) in try options.validate() }
  }

  func run() throws {
    // Order: before any thread is started.
    let stop = follow ? try StopSignals.caught(orClosedOutput: true) : nil
    let arrival = try stop.map { try Arrival.wait(for: topic, until: $0) } ?? .wasThere
    guard arrival != .stopped else { return }
    if let shards = try StoredShards.arriving(at: topic, until: stop) {
      return try read(shards, arrival, stop)
    }
    do {
      try read(arrival, stop)
    } catch let error as QueueError where follow && error.code == .notATopic {
      // The directory is made before the file that says that it holds shards.
      guard let shards = try StoredShards.arriving(at: topic, until: stop) else { throw error }
      try read(shards, arrival, stop)
    }
  }

  private func read(_ arrival: Arrival.Outcome, _ stop: StopSignals?) throws {
    let topic = Topic(topic)
    // Only for a plain file: any other output itself shows how far the command is.
    let isShown =
      !follow && ProgressBar.isPossible && System.isPlainFile(System.standardOutput)
    let extent = isShown ? try TopicExtent(of: topic) : nil
    let progress = ProgressBar(total: extent?.bytes ?? 0)
    let losses = Losses(of: self.topic, progress)
    let report: @Sendable (Loss) -> Void = { losses.report($0) }
    var reader = try QueueReader(
      topic: topic, from: from?.position(in: arrival) ?? .earliest, options: options,
      onLoss: damage == .skip ? report : nil)
    from?.reportLaterStart(at: reader.position, path: self.topic)
    let end = try to.map { try End($0, of: topic) } ?? End()
    if let stop {
      stop.onStop(try reader.makeWaitEnder())
      if let reason = reader.pollingReason() { Messages.say(reason) }
    }
    var output = Output(
      placesAreText: jsonOptions.jsonStrings, escapesLines: RecordFormat.escapesLines(format))
    defer { progress.clear() }
    do throws(QueueError) {
      try print(&reader, to: &output, upTo: end, losses, until: stop) { address in
        if let extent { progress.update(extent.bytes(before: address)) }
      }
    } catch {
      // Print the records before the error.
      try output.finish()
      guard let loss = error.loss else { throw error }
      losses.report(loss)
    }
    try output.finish()
    progress.clear()
    if !losses.isEmpty { throw leaveDamaged() }
  }

  private func read(
    _ shards: StoredShards, _ arrival: Arrival.Outcome, _ stop: StopSignals?
  ) throws {
    guard to == nil, !deadLetters else {
      throw Failure(
        "of a sharded topic, read prints all shards together, without --to and --dead-letters:"
          + " leave them out, or name a shard, such as"
          + " \(TopicPath.trimmed(topic))/\(ShardName.string(0))", path: topic)
    }
    let reading = ShardedReading(
      topic: shards.topic, start: from?.position(in: arrival) ?? .earliest, follows: follow,
      limit: limit ?? .max, format: format ?? .lines,
      escapesLines: RecordFormat.escapesLines(format), jsonStrings: jsonOptions.jsonStrings,
      skipsDamage: damage == .skip, options: options)
    if try reading.run(until: stop) { throw leaveDamaged() }
  }

  /// The first record that is not printed.
  private struct End {
    var address = UInt64.max
    var ordinal = UInt64.max

    init() {}

    init(_ position: Start, of topic: Topic) throws(QueueError) {
      if let address = position.address {
        self.address = address.rawValue
      } else if let ordinal = position.ordinal {
        self.ordinal = ordinal
      } else {
        address = try topic.end(before: position.position).rawValue
      }
    }
  }

  /// Prints up to an end, the limit, or a loss if the reader has no `onLoss`. With `stop`, it waits
  /// for more at the end of the log until a stop is asked for.
  private func print(
    _ reader: inout QueueReader, to output: inout Output, upTo end: End, _ losses: Losses,
    until stop: StopSignals?, onProgress: (Address) -> Void
  ) throws(QueueError) {
    var left = limit ?? .max
    while true {
      try printToEnd(
        &reader, to: &output, upTo: end, &left, losses, until: stop, onProgress: onProgress)
      guard let stop, left > 0 else { return }
      // Write out every printed record before the wait.
      output.drain()
      guard output.isOpen else { return }
      do throws(QueueError) {
        try reader.waitForMoreBlocking()
      } catch {
        guard error.code != .cancelled else { return }
        throw error
      }
      guard !stop.isStopped else { return }
    }
  }

  private func printToEnd(
    _ reader: inout QueueReader, to output: inout Output, upTo end: End, _ left: inout UInt64,
    _ losses: Losses, until stop: StopSignals?, onProgress: (Address) -> Void
  ) throws(QueueError) {
    // Read these once: the parser's property wrappers take longer than reading a record.
    let (format, deadLetters) = (format ?? .lines, deadLetters)
    let progressStep = 1 << 20
    var sinceProgress = 0
    while left > 0, output.isOpen, stop?.isStopped != true {
      do throws(QueueError) {
        guard let record = try reader.next() else {
          // Do not wait for a record that is not wanted.
          if reader.position.rawValue >= end.address { left = 0 }
          return
        }
        guard record.address.rawValue < end.address, record.ordinal < end.ordinal else {
          left = 0
          return
        }
        if record.ordinal &+ 1 == end.ordinal { left = 1 }
        if deadLetters {
          let letter = try DeadLettersCommand.letter(record.copy(), path: topic)
          output.put(letter, at: record.address, ordinal: record.ordinal, as: format)
        } else {
          output.put(record, as: format)
        }
        sinceProgress &+= record.payload.count &+ 8
        left &-= 1
      } catch {
        guard error.code == .payloadTooLarge else { throw error }
        losses.tellPassed(error)
      }
      if sinceProgress >= progressStep {
        sinceProgress = 0
        onProgress(reader.position)
      }
    }
  }
}
