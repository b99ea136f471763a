// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

struct RestoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore",
    abstract: "Copies a snapshot to the path of a topic that does not exist.",
    discussion: """
      The topic gets the addresses, the ordinals and the consumers of the snapshot, and stays the \
      same topic. restore never overwrites anything: move the rest of the old topic \
      away first.

      Two rules follow from the shared identity. Never append to the old topic again, and never to \
      the snapshot: that gives one address to two records. Records that the old topic took after \
      the snapshot are not in the restored one, and it may give their addresses again. If a \
      program has seen such records and remembers addresses, use repair instead, which gives every \
      record a new address.

      The topic is durable when the command ends. Ctrl-C, SIGTERM and SIGHUP stop it, and it then \
      removes the unfinished copy. If it is killed, a directory TOPIC.partial-… is left: remove it.
      """
        + Examples.section([
          "Restore a topic whose disk was replaced.":
            "diskq restore /backup/queue /var/lib/queue",
          "Restore beside the damaged topic, and compare the two.":
            "diskq restore /backup/queue queue.restored && diskq info queue.restored",
          "Use the restored topic in place of the old one.":
            "diskq restore /backup/queue new && mv queue old && mv new queue",
        ]))

  @Argument(help: "The snapshot's directory.", completion: .directory)
  var snapshot: String

  @Argument(
    help: "The topic's directory, which must be empty or not exist yet.", completion: .directory)
  var topic: String

  func run() throws {
    try CopyReport.run("restored", topic) { isStopped throws(QueueError) in
      try Topic(topic).restore(from: snapshot, isStopped: isStopped)
    }
  }
}
