// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue
import DiskQueueInspection

struct RepairCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "repair",
    abstract: "Copies every sound record, in order, into a new topic.",
    discussion: """
      repair reads the old topic, and never changes it. The records get new addresses. The exit \
      status is 1 if some were lost. On Ctrl-C, SIGTERM or SIGHUP, repair reports how many records \
      it has copied, and ends by the signal. Remove the new topic then.
      """
        + Examples.section([
          "Copy the sound records of queue into queue.new.":
            "diskq repair queue queue.new",
          "Use the copy from then on, if no record was lost.":
            "diskq repair queue new && mv queue old && mv new queue",
          "Copy a topic from a disk that fails to another disk.":
            "diskq repair queue /mnt/other/queue",
        ]))

  @Argument(help: "The topic's directory.", completion: .directory)
  var topic: String

  @Argument(
    help: "The new topic's directory, which must be empty or not exist yet.",
    completion: .directory)
  var newTopic: String

  func run() throws {
    try checkTarget()
    let stop = try StopSignals.caught()
    let source = Topic(topic)
    let extent = try TopicExtent(of: source)
    let progress = ProgressBar(total: extent.bytes)
    defer { progress.clear() }
    let losses = Losses(of: topic, progress)
    var readerOptions = QueueReader.Options()
    readerOptions.maximumPayload = try SlabDescription.largestPayload(in: source)
    var reader = try QueueReader(topic: source, options: readerOptions) { losses.report($0) }

    var writerOptions = QueueWriter.Options()
    writerOptions.maximumPayload = readerOptions.maximumPayload
    var copied: UInt64 = 0
    do {
      let writer = try QueueWriter(topic: Topic(newTopic), options: writerOptions)
      guard writer.recovery.state == .created else {
        try writer.close()
        throw Failure("another writer made this topic at the same time", path: newTopic)
      }
      try copy(&reader, to: writer, &copied, stop) {
        progress.update(extent.bytes(before: $0))
      }
      try writer.close()
    } catch {
      progress.clear()
      Messages.say(error)
      let incomplete = Failure(
        "the copy is incomplete, with \(Count.text(copied, "record")): remove it, or name another"
          + " new topic, and repair again", path: newTopic)
      guard error is Interrupted else { throw incomplete }
      Messages.say(incomplete)
      throw error
    }
    progress.clear()
    guard !losses.isEmpty else {
      return Messages.say("\(Count.text(copied, "record")) copied, none lost [\(newTopic)]")
    }
    Messages.say("\(Count.text(copied, "record")) copied, \(losses.count) [\(newTopic)]")
    throw leaveDamaged()
  }

  private func copy(
    _ reader: inout QueueReader, to writer: QueueWriter, _ copied: inout UInt64,
    _ stop: StopSignals, onProgress: (Address) -> Void
  ) throws {
    let step = 1 << 20
    var sinceStep = 0
    while let record = try reader.next() {
      try writer.append(record.payload)
      copied += 1
      sinceStep += record.payload.count + 8
      guard sinceStep >= step else { continue }
      sinceStep = 0
      guard !stop.isStopped else { throw stop.interruption }
      onProgress(record.address)
    }
  }

  /// Refuses a new topic that is the old one, is inside it, or is not empty.
  private func checkTarget() throws {
    switch System.kind(newTopic) {
    case .nothing: break
    case .directory:
      guard try System.isEmptyDirectory(newTopic) else {
        throw Failure("the new topic's directory is not empty: choose a new one", path: newTopic)
      }
    case .other:
      throw Failure(
        "the new topic's path is, or leads through, something that is no directory: choose a new"
          + " one",
        path: newTopic)
    }
    guard let old = System.resolved(topic), let new = resolvedAncestor(of: newTopic) else { return }
    guard new != old, !new.hasPrefix(old == "/" ? old : old + "/") else {
      throw Failure("the new topic is inside the old one: choose another path", path: newTopic)
    }
  }

  /// The longest part of a path that exists, with its links resolved.
  private func resolvedAncestor(of path: String) -> String? {
    var path = path
    while true {
      if let resolved = System.resolved(path) { return resolved }
      while path.utf8.count > 1, path.utf8.last == UInt8(ascii: "/") { path.removeLast() }
      guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else {
        return System.resolved(".")
      }
      path = slash == path.startIndex ? "/" : String(path[..<slash])
    }
  }
}
