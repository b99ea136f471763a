// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

struct ConsumersCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "consumers",
    abstract: "Lists a topic's consumers, sets one to a position, or deletes one.",
    discussion: """
      What is left for a consumer counts damaged and cleaned records as well. One that is damaged, or \
      that nobody comes back for, keeps clean from removing anything behind it: reset or delete it.
      """)

  @Argument(help: "The topic's directory.", completion: .directory)
  var topic: String

  @Option(
    help: ArgumentHelp("Set this consumer to a position, and print it.", valueName: "name"))
  var reset: String?

  @Option(
    help: ArgumentHelp(
      "The position: earliest, latest, now, an address, ordinal:N, a time or an age, as read takes it.",
      valueName: "position"),
    transform: Start.parsed)
  var to: Start?

  @Option(help: ArgumentHelp("Forget this consumer.", valueName: "name"))
  var delete: String?

  @Flag(help: "Print one JSON object a line, for each consumer.")
  var json = false

  @OptionGroup var jsonOptions: JSONOptions

  func validate() throws {
    guard reset == nil || delete == nil else {
      throw ValidationError("--reset and --delete exclude each other")
    }
    guard (reset == nil) == (to == nil) else {
      throw ValidationError("--reset NAME goes with --to POSITION")
    }
    guard delete == nil || !json else { throw ValidationError("--delete prints nothing") }
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
