// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import DiskQueue
public import ServiceLifecycle

/// Does something from time to time until the group shuts down, and once more then: samples metrics,
/// syncs shards, writes a topic in memory to a disk.
public struct PeriodicService<C: Clock<Duration>>: Service {
  private let interval: Duration
  private let clock: C
  private let body: @Sendable () async throws -> Void

  /// - Parameters:
  ///   - interval: how long to wait between the end of one time and the next; above 0.
  ///   - clock: what the waiting is measured with.
  ///   - body: what to do. What it throws ends the service, and so the group.
  public init(
    every interval: Duration, clock: C = ContinuousClock(),
    _ body: @escaping @Sendable () async throws -> Void
  ) {
    self.interval = interval
    self.clock = clock
    self.body = body
  }

  /// Does it first when the interval has passed, and last when the group shuts down. Where the task is
  /// cancelled, as by another service that failed, there is no last time.
  ///
  /// - Throws: `invalidOption` for the interval; what the closure throws.
  public func run() async throws {
    guard interval > .zero else {
      throw QueueError(.invalidOption, "the interval is \(interval), and must be above 0")
    }
    while await waits() { try await body() }
    if !Task.isCancelled { try await body() }
  }

  /// False: the group shuts down, or the task is cancelled.
  private func waits() async -> Bool {
    do {
      try await cancelWhenGracefulShutdown { [clock, interval] in
        try await clock.sleep(for: interval)
      }
      return !isEnding
    } catch {
      // It was woken: a clock's sleep fails for nothing else.
      return false
    }
  }
}
