// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import CoreMetrics
public import DiskQueue
import DiskQueueInspection
internal import Synchronization

/// Publishes the metrics of a topic with swift-metrics.
///
/// Some metrics come from events: pass the `record` functions to the types that report events. The
/// others come from samples: call ``record(_:)-(QueueWriter.Statistics)`` and ``sample()`` at an
/// interval, in your own loop or in a service:
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
/// All metrics have the dimension `topic`. Their names are in DiskQueue's article *Logs, metrics
/// and services*. There is no work per record: appending costs the same with and without metrics.
///
/// Threads and tasks may share an object.
public final class QueueMetrics: Sendable {
  private let topic: Topic
  private let dimensions: [(String, String)]
  // Sendable by the promise of swift-metrics: its handlers are.
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
  /// The values that change between two samples.
  private struct State {
    /// The statistics of the last call.
    var statistics = QueueWriter.Statistics()
    /// The gauges whose value may become unknown, by name and consumer. A gauge without a value is
    /// removed.
    var gauges: [GaugeKey: Gauge] = [:]
  }
  private struct GaugeKey: Hashable {
    var name: String
    var consumer: String?
  }
  private let state = Mutex(State())

  /// Makes the metrics of a topic. All counters begin at 0.
  ///
  /// - Parameters:
  ///   - topic: The topic to sample. For a sharded topic, its directory: everything except
  ///     ``sample()`` works for it.
  ///   - label: The value of the dimension `topic`. By default the topic's description, which is
  ///     the same for all topics in memory.
  ///   - factory: The factory that makes the metrics. The system's factory by default.
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

  // MARK: Events

  /// Counts an event of a writer. Assign it to `QueueWriter.Options.onEvent`.
  ///
  /// It counts the durations of syncs, dropped records, recoveries, and the error that ends the
  /// writer. It does not count the losses in a recovery report, because readers report them as
  /// well.
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
    case .rolled, .closed, .polling: break  // The statistics count the slabs.
    @unknown default: break
    }
  }

  /// Counts a loss.
  ///
  /// Pass it to `QueueReader` and `QueueConsumer` as `onLoss`. A loss of an unknown number of
  /// records counts as a loss of 0 records.
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

  /// Counts a round of cleaning.
  ///
  /// Pass it to `SlabCleaner.run(every:keeping:clock:onClean:onError:)`.
  public func record(_ report: SlabCleaner.Report) {
    for removal in report.removals {
      slabsRemoved.increment()
      recordsRemoved.increment(by: removal.records ?? 0)
      bytesRemoved.increment(by: removal.bytes.bytes)
    }
  }

  /// Counts an error that was thrown, or that a cleaner passed to `onError`.
  ///
  /// It counts errors by code, and a loss as a loss.
  public func record(_ error: QueueError) {
    if let loss = error.loss { return record(loss) }
    Counter(
      label: "diskqueue_errors_total", dimensions: dimensions + [("code", error.code.name)],
      factory: factory
    ).increment()
  }

  // MARK: Samples

  /// Counts the work of a writer since the last call.
  ///
  /// The statistics may be those of a `QueueWriter`, a `ShardedWriter` or a `DiskChannel`. Record
  /// several writers one after the other. The counts of a new writer begin at 0. After you close
  /// the previous writer, record its statistics once more, before those of the new writer.
  /// Statistics that are older than those of an earlier call count nothing.
  ///
  /// - Complexity: O(1).
  public func record(_ statistics: QueueWriter.Statistics) {
    let before = state.withLock { state -> QueueWriter.Statistics? in
      let last = state.statistics
      let isLate =
        statistics.writer < last.writer
        || statistics.writer == last.writer && !statistics.isAtLeast(last)
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

  /// Samples the topic's size and the lag of each consumer.
  ///
  /// The consumers may be in other processes. A metric whose value is no longer known is destroyed.
  /// Blocks the thread for some reads, which the operating system mostly has in its cache.
  ///
  /// - Throws: `noSuchTopic`, `notATopic`, `unsupportedFormat` or `system`. No metric is set then.
  /// - Complexity: Some reads per slab and per consumer, and a walk through about the last slab.
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
  /// Whether every value that only grows is at least as large.
  fileprivate func isAtLeast(_ other: QueueWriter.Statistics) -> Bool {
    records >= other.records && payloadBytes >= other.payloadBytes
      && writtenBytes >= other.writtenBytes && flushes >= other.flushes && syncs >= other.syncs
      && slabs >= other.slabs && droppedSlabs >= other.droppedSlabs
  }
}

extension QueueError.Code {
  /// The name of the case, without its associated value.
  fileprivate var name: String {
    String("\(self)".prefix { $0 != "(" })
  }
}
