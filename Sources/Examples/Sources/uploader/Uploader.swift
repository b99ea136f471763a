// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue
import Foundation
import Support

/// Sends the records of a topic to a server, in order, and then the records that are appended
/// later. After a kill at any moment, the next run continues after the last batch that the server
/// confirmed.
@main
struct Uploader: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "uploader",
    abstract: "Posts the records of a topic to a server, in batches.",
    discussion: """
      It waits for more records, until SIGTERM or Ctrl-C. If the server refuses a record \
      permanently, the record is put aside in the topic TOPIC.dead, with the server's reason.
      """)

  @Argument(help: "The topic's directory.")
  var topic: String

  @Option(help: "The server's URL.")
  var to: String

  @Option(help: "The most records in one request.")
  var batchSize = 500

  @Option(help: "The most milliseconds that a record waits for others, to share a request.")
  var linger: Int64 = 500

  @Flag(help: "End after sending all existing records.")
  var drain = false

  func validate() throws {
    // A retry does not correct these errors.
    guard let url = URL(string: to), ["http", "https"].contains(url.scheme), url.host != nil else {
      throw ValidationError("\(to) is not the URL of a server")
    }
    guard batchSize > 0 else { throw ValidationError("--batch-size must be at least 1") }
    guard linger >= 0 else { throw ValidationError("--linger must be at least 0") }
  }

  func run() async throws {
    // The closure gets records that were cleaned or damaged before they could be sent.
    let consumer = try QueueConsumer(topic: Topic(topic), name: "uploader") { say("missed: \($0)") }
    let server = Server(url: to)
    try await untilStopped {
      let batches = consumer.batches(
        upTo: batchSize, lingering: .milliseconds(linger), following: !drain)
      for try await batch in batches { try await upload(batch, to: server) }
    }
    try await consumer.close()
  }

  /// Acknowledges after the server's answer, never before it. After a kill in between, the next run
  /// sends the batch again. The server recognizes the records by their addresses.
  private func upload(_ batch: QueueConsumer.Batch, to server: Server) async throws {
    if case .taken = try await server.send(batch.map(Reading.init)) {
      return try await batch.acknowledge()
    }
    // Sending the records one by one finds those that the server refuses.
    for index in batch.indices {
      switch try await server.send([Reading(batch[index])]) {
      case .taken: try await batch.acknowledge(through: index)
      case .refused(let reason): try await batch.deadLetter(index, reason: reason)
      }
    }
  }
}
