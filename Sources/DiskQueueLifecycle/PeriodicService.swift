// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import DiskQueue
public import ServiceLifecycle

/// Calls a closure at an interval until the group shuts down, and once more then.
///
/// Use it to sample metrics, to sync shards, or to write a topic in memory to a disk.
public struct PeriodicService<C: Clock<Duration>>: Service, CustomStringConvertible {
  private let interval: Duration
  private let clock: C
  private let body: @Sendable () async throws -> Void

  /// Makes the service of a closure.
  ///
  /// - Parameters:
  ///   - interval: The time from the end of one call to the next call. Above 0.
  ///   - clock: The clock that measures the interval.
  ///   - body: The work. An error that it throws ends the service and its group.
  public init(
    every interval: Duration, clock: C = ContinuousClock(),
    _ body: @escaping @Sendable () async throws -> Void
  ) {
    self.interval = interval
    self.clock = clock
    self.body = body
  }

  /// The service and its interval, as a group logs it.
  public var description: String { "PeriodicService: every \(interval.words)" }

  /// Calls the closure at the interval, and once more when the group shuts down.
  ///
  /// The first call comes when the interval has passed. If the task is cancelled, for example
  /// because another service failed, there is no last call.
  ///
  /// - Throws: `invalidOption` for the interval. The errors of the closure.
  public func run() async throws {
    guard interval > .zero else {
      throw QueueError(.invalidOption, "the interval is \(interval.words), and must be above 0")
    }
    try await withCancellationError {
      while await waits() { try await body() }
      if !Task.isCancelled { try await body() }
    }
  }

  /// Waits for the interval. Returns false if the group shuts down or the task is cancelled.
  private func waits() async -> Bool {
    do {
      try await cancelWhenGracefulShutdown { [clock, interval] in
        try await clock.sleep(for: interval)
      }
      return !isEnding
    } catch {
      // It was woken: a clock's sleep fails for no other reason.
      return false
    }
  }
}
