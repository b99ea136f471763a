// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

extension SlabCleaner {
  /// Cleans the topic now, and again each time an interval has passed, until the task is cancelled.
  /// Then it returns, between two removals at the latest.
  ///
  /// The disk is cleaned on a thread of its own. The closures are called one at a time.
  ///
  /// - Parameters:
  ///   - interval: how long to wait between two rounds. It must be above 0.
  ///   - retention: how much to keep.
  ///   - clock: the clock that measures the wait.
  ///   - onClean: called after each round, also if nothing was removed, and before `onError`.
  ///   - onError: called with the error of a round, and the next round tries again. Without it, the
  ///     error is thrown. A failed sync is always thrown: the system reports it once, and a later
  ///     round would go on as if nothing had happened.
  /// - Throws: `invalidOption`, before the first round. Otherwise as `clean`.
  public func run(
    every interval: Duration, keeping retention: Retention,
    clock: some Clock<Duration> = ContinuousClock(),
    onClean: @escaping @Sendable (Report) -> Void,
    onError: (@Sendable (QueueError) -> Void)? = nil
  ) async throws(QueueError) {
    try retention.validate()
    guard interval > .zero else {
      throw .invalidOption("the interval is \(interval.words), and must be above 0")
    }
    let thread = BackgroundThread()
    defer { thread.stop() }
    while !Task.isCancelled {
      let (report, error) = await round(retention, on: thread)
      onClean(report)
      if let error {
        guard let onError, !error.isFinal else { throw error }
        onError(error)
      }
      do {
        try await clock.sleep(for: interval)
      } catch {
        guard !Task.isCancelled else { return }
        throw QueueError(
          .cancelled,
          "the clock failed while waiting for the next round (\(error)): use a clock that ends a"
            + " sleep early only if the task is cancelled")
      }
    }
  }

  /// The outcome of a round, with the error that ended it, if there was one.
  private func round(
    _ retention: Retention, on thread: BackgroundThread
  ) async -> (Report, QueueError?) {
    let cancellation = Cancellation()
    let round = CleaningRound(
      storage: storage, retention: retention, now: environment.now, isDryRun: false,
      isCancelled: { cancellation.isCancelled.load(ordering: .relaxed) })
    let result: Result<(Report, QueueError?), QueueError> = await withTaskCancellationHandler {
      do throws(QueueError) {
        return .success(try await thread.run(path: storage.path) { round.outcome() })
      } catch {
        return .failure(error)
      }
    } onCancel: {
      cancellation.isCancelled.store(true, ordering: .relaxed)
    }
    switch result {
    case .success(let outcome): return outcome
    case .failure(let error): return (Report(removals: [], stopReason: .interrupted), error)
    }
  }

  private final class Cancellation: Sendable {
    let isCancelled = Atomic(false)
  }
}

extension CleaningRound {
  /// The removals, also if an error ended the round.
  fileprivate func outcome() -> (SlabCleaner.Report, QueueError?) {
    var removals: [SlabCleaner.Removal] = []
    do throws(QueueError) {
      let stopReason = try run { removals.append($0) }
      return (SlabCleaner.Report(removals: removals, stopReason: stopReason), nil)
    } catch {
      return (SlabCleaner.Report(removals: removals, stopReason: .interrupted), error)
    }
  }
}
