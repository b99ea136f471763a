// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue
import DiskQueueInspection

struct SnapshotCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "snapshot",
    abstract: "Copies a topic to another directory, while it is in use.",
    discussion: """
      The copy is a topic with the same addresses, ordinals and consumers. It holds every record \
      that was flushed before the start. An older snapshot of the same topic at the path is \
      replaced in one step, so cron may run snapshot again and again. Anything else at the path is \
      refused, and stays unchanged.

      The snapshot is durable when the command ends. Ctrl-C, SIGTERM and SIGHUP stop it, and it \
      then removes the unfinished copy. If it is killed, a directory PATH.partial-… is left: \
      remove it. In either case the path leads to the older snapshot.

      Read a snapshot, or restore it. Never append to the topic and to its snapshot: that gives \
      one address to two records.
      """
        + Examples.section([
          "Copy a topic to another disk.":
            "diskq snapshot queue /backup/queue",
          "Check the copy.":
            "diskq snapshot queue /backup/queue && diskq verify /backup/queue",
          "Update the copy, for example from cron.":
            "diskq snapshot /var/lib/queue /backup/queue",
        ]))

  @Argument(help: "The topic's directory.", completion: .directory)
  var topic: String

  @Argument(
    help: "The snapshot's directory: nothing yet, or an older snapshot of this topic.",
    completion: .directory)
  var path: String

  func run() throws {
    try CopyReport.run("copied", path) { isStopped throws(QueueError) in
      try Topic(topic).snapshot(to: path, isStopped: isStopped)
    }
  }
}

/// A copy and the report on it.
enum CopyReport {
  /// Makes a copy, and reports its size. A signal stops it, and the copy is then removed.
  static func run(
    _ verb: String, _ path: String,
    _ copy: (_ isStopped: () -> Bool) throws(QueueError) -> Void
  ) throws {
    // Order: before any thread is started.
    let stop = try StopSignals.caught()
    do throws(QueueError) {
      try copy { stop.isStopped }
    } catch {
      guard error.code == .cancelled else { throw error }
      Messages.say("stopped: nothing was \(verb), and the unfinished copy was removed [\(path)]")
      throw stop.interruption
    }
    Messages.say(try sentence(verb, path))
  }

  private static func sentence(_ verb: String, _ path: String) throws(QueueError) -> String {
    let info = try TopicInfo(of: Topic(path))
    let records =
      info.records.map { Count.text($0, "record") } ?? "an unknown number of records"
    return "\(records) \(verb), \(HumanSize.text(info.bytes)) [\(path)]"
  }
}
