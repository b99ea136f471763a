// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import ServiceLifecycle

/// Does something from time to time until the program ends, and once more then: samples metrics, syncs
/// a writer, writes a topic in memory to a disk.
public struct PeriodicService<C: Clock<Duration>>: Service {
  private let interval: Duration
  private let clock: C
  private let body: @Sendable () async throws -> Void

  /// - Parameters:
  ///   - interval: how long to wait between the end of one time and the next.
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

  /// Does it first when the interval has passed, and last when the group shuts down.
  ///
  /// - Throws: what the closure throws.
  public func run() async throws {
    while await waits() { try await body() }
    try await body()
  }

  /// False: the group shuts down, or the task is cancelled.
  private func waits() async -> Bool {
    do {
      try await cancelWhenGracefulShutdown { [clock, interval] in
        try await clock.sleep(for: interval)
      }
      return !Task.isShuttingDownGracefully && !Task.isCancelled
    } catch {
      return false
    }
  }
}
