// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import CoreMetrics
public import DiskQueue
internal import Synchronization

/// Counts what becomes of a topic, by swift-metrics.
///
/// Some of it is told as it happens: hand this to whatever tells something. The rest is looked at from
/// time to time, by ``record(_:)-(QueueWriter.Statistics)`` and ``sample()``, in a loop of yours or in a
/// service:
///
/// ```swift
/// import DiskQueueLifecycle
/// import DiskQueueMetrics
///
/// let metrics = QueueMetrics(topic: "sensors")
/// var options = QueueWriter.Options()
/// options.onEvent = metrics.record
/// let writer = try QueueWriter(topic: "sensors", options: options)
/// let uploader = try QueueConsumer(topic: "sensors", name: "uploader", onLoss: metrics.record)
/// let sampler = PeriodicService(every: .seconds(10)) {
///   metrics.record(writer.statistics)
///   try metrics.sample()
/// }
/// ```
///
/// All metrics have the dimension `topic`; their names are in the module's page. Nothing is done a
/// record: appending costs the same with and without.
///
/// Safe to share among threads and tasks.
public final class QueueMetrics: Sendable {
  private let topic: Topic
  private let dimensions: [(String, String)]
  // Sendable by what they promise: swift-metrics' handlers are.
  private let factory: any MetricsFactory

  private let recordsAppended: Counter
  private let payloadBytesAppended: Counter
  private let bytesWritten: Counter
  private let flushes: Counter
  private let syncs: Counter
  private let slabsRolled: Counter
  private let slabsDropped: Counter
  private let recordsDropped: Counter
  private let recoveries: Counter
  private let syncDuration: CoreMetrics.Timer
  private let bufferedBytes: Gauge
  private let unsyncedRecords: Gauge
  private let writeAmplification: Gauge

  private let slabsRemoved: Counter
  private let recordsRemoved: Counter
  private let bytesRemoved: Counter

  private let slabs: Gauge
  private let sizeBytes: Gauge
  private let records: Gauge

  /// What changes from look to look.
  private struct State {
    /// As of the last look.
    var statistics = QueueWriter.Statistics()
    /// A consumer's, by its name.
    var lags: [String: (records: Gauge, bytes: Gauge)] = [:]
  }
  private let state = Mutex(State())

  /// Makes the metrics, with 0 where nothing was counted yet.
  ///
  /// - Parameters:
  ///   - topic: the topic to look at, and, as it is written, the dimension `topic`. Of a sharded topic,
  ///     the directory: only ``sample()`` is not for it.
  ///   - factory: where the metrics are made; the system's by default.
  public init(topic: Topic, factory: any MetricsFactory = MetricsSystem.factory) {
    let dimensions = [("topic", "\(topic)")]
    func counter(_ name: String) -> Counter {
      Counter(label: "diskqueue_\(name)", dimensions: dimensions, factory: factory)
    }
    func gauge(_ name: String) -> Gauge {
      Gauge(label: "diskqueue_\(name)", dimensions: dimensions, factory: factory)
    }
    self.topic = topic
    self.dimensions = dimensions
    self.factory = factory
    recordsAppended = counter("records_appended_total")
    payloadBytesAppended = counter("payload_bytes_appended_total")
    bytesWritten = counter("bytes_written_total")
    flushes = counter("flushes_total")
    syncs = counter("syncs_total")
    slabsRolled = counter("slabs_rolled_total")
    slabsDropped = counter("slabs_dropped_total")
    recordsDropped = counter("records_dropped_total")
    recoveries = counter("recoveries_total")
    syncDuration = Timer(
      label: "diskqueue_sync_duration", dimensions: dimensions, factory: factory)
    bufferedBytes = gauge("buffered_bytes")
    unsyncedRecords = gauge("unsynced_records")
    writeAmplification = gauge("write_amplification")
    slabsRemoved = counter("slabs_removed_total")
    recordsRemoved = counter("records_removed_total")
    bytesRemoved = counter("bytes_removed_total")
    slabs = gauge("slabs")
    sizeBytes = gauge("size_bytes")
    records = gauge("records")
  }

  // MARK: Told

  /// For `QueueWriter.Options.onEvent`: the durations of syncs, records that
  /// are dropped, recoveries, and what ends the writer.
  public func record(_ event: QueueWriter.Event) {
    switch event {
    case .opened(let report):
      if !report.wasClean { recoveries.increment() }
      for loss in report.losses { record(loss) }
    case .synced(_, let duration):
      syncDuration.recordNanoseconds(Int64(duration / .nanoseconds(1)))
    case .dropped(_, let records, _):
      recordsDropped.increment(by: records ?? 0)
    case .failed(let error):
      record(error)
    case .rolled, .closed: break  // As the statistics say.
    @unknown default: break
    }
  }

  /// For the closures of `QueueReader` and `QueueConsumer`. A loss of an unknown
  /// number of records counts as a loss of none.
  public func record(_ loss: Loss) {
    let cause =
      switch loss.cause {
      case .damaged: "damaged"
      case .cleaned: "cleaned"
      case .discarded: "discarded"
      @unknown default: "other"
      }
    let dimensions = dimensions + [("cause", cause)]
    Counter(label: "diskqueue_losses_total", dimensions: dimensions, factory: factory)
      .increment()
    Counter(label: "diskqueue_records_lost_total", dimensions: dimensions, factory: factory)
      .increment(by: loss.records ?? 0)
  }

  /// For `SlabCleaner.run(every:keeping:clock:onClean:onError:)`.
  public func record(_ report: SlabCleaner.Report) {
    for removal in report.removals {
      slabsRemoved.increment()
      recordsRemoved.increment(by: removal.records ?? 0)
      bytesRemoved.increment(by: removal.bytes.bytes)
    }
  }

  /// For what is thrown, and for a cleaner's `onError`: by code, and a loss as a loss.
  public func record(_ error: QueueError) {
    if let loss = error.loss { return record(loss) }
    Counter(
      label: "diskqueue_errors_total", dimensions: dimensions + [("code", error.code.name)],
      factory: factory
    ).increment()
  }

  // MARK: Looked at

  /// Counts what a writer did since the last look: of a `QueueWriter`, a
  /// `ShardedWriter` or a `DiskChannel`, and always of the same one. Where the
  /// counts are lower than at the last look, it is taken for a new one, which began at 0.
  ///
  /// - Complexity: O(1).
  public func record(_ statistics: QueueWriter.Statistics) {
    let before = state.withLock { state in
      defer { state.statistics = statistics }
      return statistics.records < state.statistics.records
        || statistics.writtenBytes < state.statistics.writtenBytes ? .init() : state.statistics
    }
    recordsAppended.increment(by: statistics.records &- before.records)
    payloadBytesAppended.increment(by: statistics.payloadBytes &- before.payloadBytes)
    bytesWritten.increment(by: statistics.writtenBytes &- before.writtenBytes)
    flushes.increment(by: statistics.flushes &- before.flushes)
    syncs.increment(by: statistics.syncs &- before.syncs)
    slabsRolled.increment(by: statistics.slabs &- before.slabs)
    slabsDropped.increment(by: statistics.droppedSlabs &- before.droppedSlabs)
    bufferedBytes.record(statistics.bufferedBytes)
    unsyncedRecords.record(statistics.unsyncedRecords)
    if statistics.payloadBytes > 0 {
      writeAmplification.record(
        Double(statistics.writtenBytes) / Double(statistics.payloadBytes))
    }
  }

  /// Looks at the topic: how much it holds, and how far behind each consumer is, also those of other
  /// processes.
  ///
  /// Blocks the thread for some reads of what the system mostly has in its cache.
  ///
  /// - Throws: `noSuchTopic`, `notATopic`, `unsupportedFormat`, `system`: nothing is set then.
  /// - Complexity: some reads a slab and a consumer, and a walk of about the last slab.
  public func sample() throws(QueueError) {
    let info = try TopicInfo(of: topic)
    let consumers = try ConsumerInfo.all(of: topic)
    slabs.record(info.slabs.count)
    sizeBytes.record(info.bytes)
    if let count = info.records { records.record(count) }
    state.withLock { state in
      let names = Set(consumers.map(\.consumer.name))
      for (name, lag) in state.lags where !names.contains(name) {
        lag.records.destroy()
        lag.bytes.destroy()
        state.lags[name] = nil
      }
      for consumer in consumers {
        let lag = state.lags[consumer.consumer.name] ?? makeLag(consumer.consumer.name)
        state.lags[consumer.consumer.name] = lag
        if let behind = consumer.records { lag.records.record(behind) }
        if let behind = consumer.bytes { lag.bytes.record(behind) }
      }
    }
  }

  private func makeLag(_ consumer: String) -> (records: Gauge, bytes: Gauge) {
    let dimensions = dimensions + [("consumer", consumer)]
    return (
      Gauge(
        label: "diskqueue_consumer_lag_records", dimensions: dimensions, factory: factory),
      Gauge(label: "diskqueue_consumer_lag_bytes", dimensions: dimensions, factory: factory)
    )
  }
}

extension QueueError.Code {
  /// The case's name, without what it holds.
  fileprivate var name: String {
    String("\(self)".prefix { $0 != "(" })
  }
}
