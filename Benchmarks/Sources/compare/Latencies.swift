// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Histogram
import Report

/// The times of single calls, over all rounds of a contestant.
final class Latencies {
  private var histogram = Histogram<UInt64>(numberOfSignificantValueDigits: .three)
  private var syncs: UInt64 = 0
  private var calls: UInt64 = 0

  func add(_ nanoseconds: [UInt64]) {
    for time in nanoseconds { histogram.record(time) }
    calls += UInt64(nanoseconds.count)
  }

  /// Counts the syncs that `body` requests from the system.
  func countingSyncs<R>(_ body: () async throws -> R) async rethrows -> R {
    let before = Peer.syncs
    defer { syncs += Peer.syncs - before }
    return try await body()
  }

  /// A percentile in microseconds.
  func percentile(_ percent: Double) -> Double {
    Double(histogram.valueAtPercentile(percent)) / 1e3
  }

  /// The figures for the list of all contestants below the table.
  var figures: [String: Double] {
    [
      "p50 µs": percentile(50).rounded(digits: 3), "p99 µs": percentile(99).rounded(digits: 3),
      "p99.9 µs": percentile(99.9).rounded(digits: 3),
      "records/sync": (Double(calls) / Double(max(1, syncs))).rounded(digits: 3),
    ]
  }

  var percentiles: [String: Double] { figures.filter { $0.key.hasPrefix("p") } }
}
