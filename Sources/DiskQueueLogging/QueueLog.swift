// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue
public import Logging

/// Writes what becomes of a topic to a logger, as sentences with metadata.
///
/// It is handed to whatever tells something:
///
/// ```swift
/// import DiskQueueLogging
/// import Logging
///
/// let log = QueueLog(Logger(label: "sensors"), topic: "sensors")
/// var options = QueueWriter.Options()
/// options.onEvent = log.record
/// let writer = try QueueWriter(topic: "sensors", options: options)
/// let uploader = try QueueConsumer(topic: "sensors", name: "uploader", onLoss: log.record)
/// ```
///
/// Levels: `error` for the end of a writer and for records that damage took; `warning` for records that
/// are gone in other ways before they were read; `notice` for a topic that was recovered; `info` for
/// one that was opened, and for what a cleaner removed; `debug` for slabs that are begun and a topic
/// that is closed; `trace` for each sync. That is more than a library would log of its own: here you
/// have asked for it. Nothing is logged of single records.
///
/// Safe to share among threads and tasks. A call costs what the logger's handler takes.
public struct QueueLog: Sendable {
  private let logger: Logger

  /// The metadata's keys; none is in a message that has nothing to say of it.
  enum Key {
    static let topic = "diskqueue.topic"
    static let address = "diskqueue.address"
    static let end = "diskqueue.end"
    static let records = "diskqueue.records"
    static let bytes = "diskqueue.bytes"
    static let cause = "diskqueue.cause"
    static let state = "diskqueue.state"
    static let milliseconds = "diskqueue.milliseconds"
    static let errno = "diskqueue.errno"
    static let path = "diskqueue.path"
    static let slabs = "diskqueue.slabs"
    static let kept = "diskqueue.kept"
  }

  /// - Parameters:
  ///   - logger: where to. Its label, level and metadata stay what they are.
  ///   - topic: what it is about.
  ///   - label: put into the metadata of each message, as `diskqueue.topic`. By default what the topic is
  ///     written as, which all those in memory have in common.
  public init(_ logger: Logger, topic: Topic, label: String? = nil) {
    var logger = logger
    logger[metadataKey: Key.topic] = "\(label ?? topic.description)"
    self.logger = logger
  }

  /// For `QueueWriter.Options.onEvent`.
  public func record(_ event: QueueWriter.Event) {
    switch event {
    case .opened(let report): record(report)
    case .rolled(let base):
      logger.debug("a slab is full: the next one is begun", metadata: [Key.address: "\(base)"])
    case .synced(let end, let duration):
      logger.trace(
        "all before the end is on stable storage",
        metadata: [Key.end: "\(end)", Key.milliseconds: "\(duration / .milliseconds(1))"])
    case .dropped(let slab, let records, let bytes):
      logger.warning(
        "the oldest slab was removed for want of room",
        metadata: merged(
          [Key.address: "\(slab)", Key.bytes: "\(bytes.bytes)"], Key.records, records))
    case .failed(let error):
      record(error)
    case .polling(let reason):
      logger.warning(
        "changes are looked for four times a second", metadata: ["reason": "\(reason)"])
    case .closed:
      logger.debug("the topic is closed: all of it is on stable storage")
    @unknown default:
      logger.debug("\(event)")
    }
  }

  /// What opening a topic for writing found; `record(_:)` of an event does it as well.
  public func record(_ report: RecoveryReport) {
    var metadata: Logger.Metadata = [
      Key.state: "\(report.state)", Key.end: "\(report.end)",
    ]
    guard !report.wasClean else {
      return logger.info("the topic is open", metadata: metadata)
    }
    metadata[Key.records] = "\(report.keptRecords)"
    metadata[Key.bytes] = "\(report.discardedBytes)"
    logger.notice(
      "the topic had not been closed, and was recovered: its sound records are kept",
      metadata: metadata)
    for loss in report.losses { record(loss) }
  }

  /// For the closures of `QueueReader` and `QueueConsumer`.
  public func record(_ loss: Loss) {
    let (level, cause): (Logger.Level, String) =
      switch loss.cause {
      case .damaged: (.error, "damaged")
      case .cleaned: (.warning, "cleaned")
      case .discarded: (.warning, "discarded")
      @unknown default: (.warning, "\(loss.cause)")
      }
    logger.log(
      level: level, "records are lost: \(loss)",
      metadata: merged(
        [
          Key.cause: "\(cause)", Key.address: "\(loss.addresses.lowerBound)",
          Key.end: "\(loss.addresses.upperBound)",
        ], Key.records, loss.records))
  }

  /// For `SlabCleaner.run(every:keeping:clock:onClean:onError:)`. A round that removed
  /// nothing is logged at `trace`.
  public func record(_ report: SlabCleaner.Report) {
    let kept: Logger.MetadataValue = "\(report.kept)"
    guard !report.removals.isEmpty else {
      return logger.trace("nothing was to be cleaned", metadata: [Key.kept: kept])
    }
    let bytes = report.removals.reduce(0) { $0 + $1.bytes.bytes }
    let records = report.removals.reduce(0 as UInt64?) { sum, removal in
      sum.flatMap { sum in removal.records.map { sum + $0 } }
    }
    logger.info(
      "the oldest slabs were cleaned",
      metadata: merged(
        [Key.slabs: "\(report.removals.count)", Key.bytes: "\(bytes)", Key.kept: kept],
        Key.records, records))
  }

  /// For what is thrown, and for a cleaner's `onError`.
  public func record(_ error: QueueError) {
    if let loss = error.loss { return record(loss) }
    var metadata: Logger.Metadata = [:]
    if let path = error.path { metadata[Key.path] = "\(path)" }
    if let address = error.address { metadata[Key.address] = "\(address)" }
    if let errno = error.errno { metadata[Key.errno] = "\(errno)" }
    logger.error("\(error.message)", metadata: metadata)
  }

  private func merged(
    _ metadata: Logger.Metadata, _ key: String, _ count: UInt64?
  ) -> Logger.Metadata {
    guard let count else { return metadata }
    return metadata.merging([key: "\(count)"]) { $1 }
  }
}
