// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue
import DiskQueueLifecycle
import Logging
import ServiceLifecycle
import Support

/// A server that stores what its clients post, and gives it to other clients, as pages or as
/// streams that go on. It ends in order on SIGTERM and Ctrl-C.
@main
struct RecordService: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "service",
    abstract: "Appends posted records to a topic, and serves its records over HTTP.",
    discussion: """
      It listens on this machine only. Its first line of output is the URL of the records.

        POST /records                    stores the body, and answers with its ordinal. On a full
                                         disk it may answer 202 with an address instead: the
                                         record waits in memory, so do not send it again
        GET /record?address=ADDRESS      answers with the record at the address
        GET /records?from=ORDINAL        answers with up to 100 records from there on. If there
                                         is none yet, &wait=SECONDS waits for one
        GET /stream?from=ORDINAL         answers with all records, and with new ones as they come
      """)

  @Argument(help: "The topic's directory.")
  var topic: String

  @Option(help: "The port to listen at. With 0, any free port.")
  var port: UInt16 = 0

  func run() async throws {
    // Opening recovers the topic. It blocks, so it comes before the first request.
    let writer = try QueueWriter(topic: Topic(topic))
    let server = try await RecordServer(writer: writer, port: port)
    // A group shuts down from its last service to its first: the writer is closed after the server
    // has answered its last request. If the writer fails for good, the group ends with its error.
    let group = ServiceGroup(
      services: [WriterService(writer), server],
      gracefulShutdownSignals: [.sigterm, .sigint],
      logger: Logger(label: "service", factory: { _ in SwiftLogNoOpLogHandler() }))
    try await group.run()
  }
}
