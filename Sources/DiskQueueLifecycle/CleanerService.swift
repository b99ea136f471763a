// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue
public import ServiceLifecycle

/// Cleans a topic from time to time, until the program ends.
public struct CleanerService: Service {
  private let cleaner: SlabCleaner
  private let interval: Duration
  private let retention: Retention
  private let onClean: @Sendable (SlabCleaner.Report) -> Void
  private let onError: (@Sendable (QueueError) -> Void)?

  /// As `SlabCleaner.run(every:keeping:clock:onClean:onError:)`.
  ///
  /// - Parameters:
  ///   - cleaner: of the topic.
  ///   - interval: between two rounds; above 0.
  ///   - retention: how much to keep.
  ///   - onClean: called after each round, also if nothing was removed; for a log, and for metrics.
  ///   - onError: with it, a round that fails is told, and the next one tries again; without, it ends
  ///     the service, and so the group.
  public init(
    _ cleaner: SlabCleaner, every interval: Duration, keeping retention: Retention,
    onClean: @escaping @Sendable (SlabCleaner.Report) -> Void = { _ in },
    onError: (@Sendable (QueueError) -> Void)? = nil
  ) {
    self.cleaner = cleaner
    self.interval = interval
    self.retention = retention
    self.onClean = onClean
    self.onError = onError
  }

  /// Cleans now, and each time the interval has passed; ends between two removals.
  ///
  /// - Throws: `invalidOption`, before the first round; `syncFailed`; any other error where there is no
  ///   `onError`.
  public func run() async throws {
    try await cancelWhenGracefulShutdown {
      try await cleaner.run(
        every: interval, keeping: retention, onClean: onClean, onError: onError)
    }
  }
}
