// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue
import DiskQueueInspection

struct ConsumersCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "consumers",
    abstract: "Lists a topic's consumers, and creates, moves or deletes one.",
    discussion: """
      A consumer that is created holds its records from then on: a cleaner keeps them until the \
      consumer acknowledges them. consume creates its consumer by itself.

      The records that are left for a consumer include damaged and cleaned ones. A damaged or \
      abandoned consumer keeps clean from removing the records that it has not acknowledged: reset \
      or delete it.
      """
        + Examples.section([
          "List the consumers, and how much is left for each.":
            "diskq consumers queue",
          "Deliver the last two hours again.":
            "diskq consumers queue --reset mail --to 2h",
          "Skip all records up to now.":
            "diskq consumers queue --reset mail --to latest",
          "Keep all records from now on for a consumer that is started later.":
            "diskq consumers queue --create audit --at latest",
          "Forget the consumer.":
            "diskq consumers queue --delete mail",
        ]))

  @Argument(help: "The topic's directory.", completion: .directory)
  var topic: String

  @Option(
    help: ArgumentHelp("Set this consumer to a position, and print it.", valueName: "name"))
  var reset: String?

  @Option(
    help: ArgumentHelp(
      "Create this consumer at a position, without reading, and print it.", valueName: "name"))
  var create: String?

  @Option(
    help: ArgumentHelp(
      "With --create, the position of the first record, written as for --to.",
      valueName: "position"),
    transform: Start.parsed)
  var at: Start?

  @Option(
    help: ArgumentHelp(
      """
      With --reset, the position: earliest, latest, now, an address, ordinal:N, a time or an age, \
      written as for read --from.
      """,
      valueName: "position"),
    transform: Start.parsed)
  var to: Start?

  @Option(help: ArgumentHelp("Delete this consumer.", valueName: "name"))
  var delete: String?

  @Flag(help: "Print one JSON object a line for each consumer.")
  var json = false

  @OptionGroup var jsonOptions: JSONOptions

  func validate() throws {
    guard [create, reset, delete].count(where: { $0 != nil }) <= 1 else {
      throw ValidationError("--create, --reset and --delete exclude each other: give one of them")
    }
    guard (create == nil) == (at == nil) else {
      throw ValidationError("--create NAME and --at POSITION need each other")
    }
    guard (reset == nil) == (to == nil) else {
      throw ValidationError("--reset NAME and --to POSITION need each other")
    }
    guard delete == nil || !json else {
      throw ValidationError("--delete prints nothing: leave out --json")
    }
    if let name = create ?? reset ?? delete { try checkConsumer(name) }
    try jsonOptions.check(isJSON: json, "--json")
  }

  func run() throws {
    let topic = Topic(topic)
    if let delete { return try QueueConsumer.delete(delete, of: topic) }
    if let create, let at { try QueueConsumer.create(create, of: topic, at: at.position) }
    if let reset, let to { try QueueConsumer.reset(reset, of: topic, to: to.position) }
    let shown = create ?? reset
    let consumers = try ConsumerInfo.all(of: topic).filter {
      shown == nil || $0.consumer.name == shown
    }
    var output = Output(placesAreText: jsonOptions.jsonStrings)
    if json {
      for consumer in consumers { output.putLine(ConsumerRows.object(consumer)) }
    } else if !consumers.isEmpty {
      output.put(ConsumerRows.table(consumers))
    }
    try output.finish()
  }
}
