// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue
public import ServiceLifecycle

/// Cleans a topic at an interval, until the program ends.
public struct CleanerService: Service, CustomStringConvertible {
  private let cleaner: SlabCleaner
  private let interval: Duration
  private let retention: Retention
  private let onClean: @Sendable (SlabCleaner.Report) -> Void
  private let onError: (@Sendable (QueueError) -> Void)?

  /// Makes the service of a cleaner.
  ///
  /// The parameters are those of `SlabCleaner.run(every:keeping:clock:onClean:onError:)`.
  ///
  /// - Parameters:
  ///   - cleaner: The cleaner of the topic.
  ///   - interval: The time between two rounds. Above 0.
  ///   - retention: How much to keep.
  ///   - onClean: Called after each round, even if nothing was removed. Use it for a log and for
  ///     metrics.
  ///   - onError: Receives the error of a round, and the next round tries again. Without it, an
  ///     error ends the service and its group.
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

  /// The service, its topic, the interval and the retention, as a group logs it.
  public var description: String {
    "CleanerService: \(cleaner), every \(interval.words), \(retention)"
  }

  /// Cleans now, and again each time that the interval has passed.
  ///
  /// At the shutdown it ends between two removals.
  ///
  /// - Throws: `invalidOption`, before the first round. `syncFailed`. Any other error if there is
  ///   no `onError`.
  public func run() async throws {
    try await cancelWhenGracefulShutdown {
      try await cleaner.run(
        every: interval, keeping: retention, onClean: onClean, onError: onError)
    }
  }
}
