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
///   do throws(QueueError) { try metrics.sample() } catch { metrics.record(error) }
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
  /// What changes from look to look.
  private struct State {
    /// As of the last look.
    var statistics = QueueWriter.Statistics()
    /// Those that may come to have no value: then they are gone, by name and consumer.
    var gauges: [GaugeKey: Gauge] = [:]
  }
  private struct GaugeKey: Hashable {
    var name: String
    var consumer: String?
  }
  private let state = Mutex(State())

  /// Makes the metrics, with 0 where nothing was counted yet.
  ///
  /// - Parameters:
  ///   - topic: the topic to look at. Of a sharded topic, the directory: only ``sample()`` is not for
  ///     it.
  ///   - label: the dimension `topic`. By default what the topic is written as, which all those in memory
  ///     have in common.
  ///   - factory: where the metrics are made; the system's by default.
  public init(
    topic: Topic, label: String? = nil, factory: any MetricsFactory = MetricsSystem.factory
  ) {
    let dimensions = [("topic", label ?? "\(topic)")]
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
  }

  // MARK: Told

  /// For `QueueWriter.Options.onEvent`: the durations of syncs, records that are dropped, recoveries, and
  /// what ends the writer. Losses that a recovery met are left to those who read, and are told as well.
  public func record(_ event: QueueWriter.Event) {
    switch event {
    case .opened(let report):
      if !report.wasClean { recoveries.increment() }
    case .synced(_, let duration):
      syncDuration.recordNanoseconds(Int64(duration / .nanoseconds(1)))
    case .dropped(_, let records, _):
      recordsDropped.increment(by: records ?? 0)
    case .failed(let error):
      record(error)
    case .rolled, .closed, .polling: break  // As the statistics say.
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

  /// Counts what a writer did since the last look: of a `QueueWriter`, a `ShardedWriter` or a
  /// `DiskChannel`, one after the other. Another one than at the last look began at 0, and the one before
  /// it is done with: look at that once more when it is closed, before the next. A look that comes later
  /// than one behind it counts nothing.
  ///
  /// - Complexity: O(1).
  public func record(_ statistics: QueueWriter.Statistics) {
    let before = state.withLock { state -> QueueWriter.Statistics? in
      let last = state.statistics
      let isLate =
        statistics.writer < last.writer
        || statistics.writer == last.writer && !statistics.isBehind(last)
      guard !isLate else { return nil }
      state.statistics = statistics
      return statistics.writer == last.writer ? last : QueueWriter.Statistics()
    }
    guard let before else { return }
    recordsAppended.increment(by: statistics.records - before.records)
    payloadBytesAppended.increment(by: statistics.payloadBytes - before.payloadBytes)
    bytesWritten.increment(by: statistics.writtenBytes - before.writtenBytes)
    flushes.increment(by: statistics.flushes - before.flushes)
    syncs.increment(by: statistics.syncs - before.syncs)
    slabsRolled.increment(by: statistics.slabs - before.slabs)
    slabsDropped.increment(by: statistics.droppedSlabs - before.droppedSlabs)
    bufferedBytes.record(statistics.bufferedBytes)
    unsyncedRecords.record(statistics.unsyncedRecords)
    if statistics.payloadBytes > 0 {
      writeAmplification.record(
        Double(statistics.writtenBytes) / Double(statistics.payloadBytes))
    }
  }

  /// Looks at the topic: how much it holds, and how far behind each consumer is, also those of other
  /// processes. A metric whose value is not known any more is destroyed.
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
    var values: [GaugeKey: UInt64] = [:]
    values[GaugeKey(name: "records")] = info.records
    for consumer in consumers {
      let name = consumer.consumer.name
      values[GaugeKey(name: "consumer_lag_records", consumer: name)] = consumer.records
      values[GaugeKey(name: "consumer_lag_bytes", consumer: name)] = consumer.bytes
    }
    state.withLock { state in
      for (key, gauge) in state.gauges where values[key] == nil {
        gauge.destroy()
        state.gauges[key] = nil
      }
      for (key, value) in values {
        let gauge = state.gauges[key] ?? make(key)
        state.gauges[key] = gauge
        gauge.record(value)
      }
    }
  }

  private func make(_ key: GaugeKey) -> Gauge {
    Gauge(
      label: "diskqueue_\(key.name)",
      dimensions: dimensions + (key.consumer.map { [("consumer", $0)] } ?? []),
      factory: factory)
  }
}

extension QueueWriter.Statistics {
  /// Whether all that only grows is at least as much.
  fileprivate func isBehind(_ other: QueueWriter.Statistics) -> Bool {
    records >= other.records && payloadBytes >= other.payloadBytes
      && writtenBytes >= other.writtenBytes && flushes >= other.flushes && syncs >= other.syncs
      && slabs >= other.slabs && droppedSlabs >= other.droppedSlabs
  }
}

extension QueueError.Code {
  /// The case's name, without what it holds.
  fileprivate var name: String {
    String("\(self)".prefix { $0 != "(" })
  }
}
