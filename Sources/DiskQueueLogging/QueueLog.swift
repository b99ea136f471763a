// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue
public import Logging

/// Logs the events of a topic, as sentences with metadata.
///
/// Pass its `record` functions to the types that report events:
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
/// It logs at these levels:
///
/// - `error`: the permanent end of a writer, other errors, and records lost to damage.
/// - `warning`: records that were cleaned or discarded before they were read, slabs that were
///   dropped, and polling instead of a watch.
/// - `notice`: a topic that was recovered.
/// - `info`: a topic that was created or opened, and slabs that a cleaner removed.
/// - `debug`: a new slab, and a topic that was closed.
/// - `trace`: each sync, and a cleaning that removed nothing.
///
/// Each message has its figures as metadata. All keys begin with `diskqueue.`. DiskQueue's article
/// *Logs, metrics and services* lists the keys of each message.
///
/// A library would normally log less by itself. Here you have requested it. Nothing is logged about
/// single records.
///
/// Threads and tasks may share a value. The cost of a call is that of the logger's handler.
public struct QueueLog: Sendable {
  private let logger: Logger

  /// The keys of the metadata. A message contains only the keys for which it has a value.
  enum Key {
    static let topic = "diskqueue.topic"
    static let address = "diskqueue.address"
    static let end = "diskqueue.end"
    static let records = "diskqueue.records"
    static let bytes = "diskqueue.bytes"
    static let unprovenRecords = "diskqueue.unproven_records"
    static let discardedBytes = "diskqueue.discarded_bytes"
    static let reason = "diskqueue.reason"
    static let cause = "diskqueue.cause"
    static let state = "diskqueue.state"
    static let milliseconds = "diskqueue.milliseconds"
    static let errno = "diskqueue.errno"
    static let path = "diskqueue.path"
    static let slabs = "diskqueue.slabs"
    static let stopReason = "diskqueue.stop_reason"
  }

  /// Makes a log for a topic.
  ///
  /// - Parameters:
  ///   - logger: The logger. Its label, level and metadata stay unchanged.
  ///   - topic: The topic of the messages.
  ///   - label: The value of `diskqueue.topic` in the metadata of each message. By default the
  ///     topic's description, which is the same for all topics in memory.
  public init(_ logger: Logger, topic: Topic, label: String? = nil) {
    var logger = logger
    logger[metadataKey: Key.topic] = "\(label ?? topic.description)"
    self.logger = logger
  }

  /// Logs an event of a writer. Assign it to `QueueWriter.Options.onEvent`.
  public func record(_ event: QueueWriter.Event) {
    switch event {
    case .opened(let report): record(report)
    case .rolled(let base):
      logger.debug("a new slab was started", metadata: [Key.address: "\(base)"])
    case .synced(let end, let duration):
      logger.trace(
        "everything before the end is on stable storage",
        metadata: [Key.end: "\(end)", Key.milliseconds: "\(duration / .milliseconds(1))"])
    case .dropped(let slab, let records, let bytes):
      logger.warning(
        "the oldest slab was removed to make room",
        metadata: merged(
          [Key.address: "\(slab)", Key.bytes: "\(bytes.bytes)"], Key.records, records))
    case .failed(let error):
      record(error)
    case .polling(let reason):
      logger.warning(
        "polling for changes four times a second", metadata: [Key.reason: "\(reason)"])
    case .closed:
      logger.debug("the topic is closed: all of it is on stable storage")
    @unknown default:
      logger.debug("\(event)")
    }
  }

  /// Logs the report of an opening. `record(_:)` of an event logs it, too.
  public func record(_ report: RecoveryReport) {
    var metadata: Logger.Metadata = [
      Key.state: "\(report.state)", Key.end: "\(report.end)",
    ]
    switch report.state {
    case .created: return logger.info("a new topic was created", metadata: metadata)
    case .clean: return logger.info("the topic is open", metadata: metadata)
    default: break
    }
    let (records, bytes) = (report.unprovenRecords, report.discardedBytes)
    metadata[Key.unprovenRecords] = "\(records)"
    metadata[Key.discardedBytes] = "\(bytes)"
    let cause = report.state == .migrated ? "queuefka wrote the topic" : "the topic was not closed"
    logger.notice(
      """
      \(cause): \(Words.count(records, "record")) \(records == 1 ? "was" : "were") not known to be \
      on stable storage, \(Words.count(bytes, "byte")) of a torn tail \
      \(bytes == 1 ? "was" : "were") discarded
      """,
      metadata: metadata)
    for loss in report.losses { record(loss) }
  }

  /// Logs a loss. Pass it to `QueueReader` and `QueueConsumer` as `onLoss`.
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

  /// Logs a round of cleaning.
  ///
  /// Pass it to `SlabCleaner.run(every:keeping:clock:onClean:onError:)`. A round that removed
  /// nothing is logged at `trace`.
  public func record(_ report: SlabCleaner.Report) {
    let reason: Logger.MetadataValue = "\(report.stopReason)"
    guard !report.removals.isEmpty else {
      return logger.trace("nothing was cleaned", metadata: [Key.stopReason: reason])
    }
    logger.info(
      "the oldest slabs were removed",
      metadata: merged(
        [
          Key.slabs: "\(report.removals.count)", Key.bytes: "\(report.removedBytes.bytes)",
          Key.stopReason: reason,
        ], Key.records, report.removedRecords))
  }

  /// Logs an error that was thrown, or that a cleaner passed to `onError`.
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
