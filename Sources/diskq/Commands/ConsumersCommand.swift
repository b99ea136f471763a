// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue
import DiskQueueInspection

struct ConsumersCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "consumers",
    abstract: "Lists a topic's consumers, sets one to a position, or deletes one.",
    discussion: """
      The records that are left for a consumer include damaged and cleaned ones. A damaged or \
      abandoned consumer keeps clean from removing the records that it has not acknowledged: reset \
      or delete it.
      """)

  @Argument(help: "The topic's directory.", completion: .directory)
  var topic: String

  @Option(
    help: ArgumentHelp("Set this consumer to a position, and print it.", valueName: "name"))
  var reset: String?

  @Option(
    help: ArgumentHelp(
      """
      The position: earliest, latest, now, an address, ordinal:N, a time or an age, written as for \
      read --from.
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
    guard reset == nil || delete == nil else {
      throw ValidationError("--reset and --delete exclude each other")
    }
    guard (reset == nil) == (to == nil) else {
      throw ValidationError("--reset NAME and --to POSITION need each other")
    }
    guard delete == nil || !json else {
      throw ValidationError("--delete prints nothing: leave out --json")
    }
    if let name = reset ?? delete { try checkConsumer(name) }
    try jsonOptions.check(isJSON: json, "--json")
  }

  func run() throws {
    let topic = Topic(topic)
    if let delete { return try QueueConsumer.delete(delete, of: topic) }
    if let reset, let to { try QueueConsumer.reset(reset, of: topic, to: to.position) }
    let consumers = try ConsumerInfo.all(of: topic).filter {
      reset == nil || $0.consumer.name == reset
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
