// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The wish to end, by Ctrl-C or SIGTERM: work that is under way ends in order. A second one, a
/// second later or more, ends the process at once.
final class StopSignals: Sendable {
  /// Readable once a stop is asked for.
  let descriptor: Int32
  private let writingEnd: Int32
  private let stopped = Atomic(false)
  private let wake = Mutex<(@Sendable () -> Void)?>(nil)

  /// Catches the signals from now on, to the end of the process. To be made before any thread.
  static func caught() throws(Failure) -> StopSignals {
    let ends = try System.makePipe()
    let signals = StopSignals(reading: ends.reading, writing: ends.writing)
    try System.catchStopSignals { signals.stop() }
    return signals
  }

  private init(reading: Int32, writing: Int32) {
    descriptor = reading
    writingEnd = writing
  }

  var isStopped: Bool { stopped.load(ordering: .relaxed) }

  /// Waits so long, to the millisecond, or until a stop is asked for; whether it is.
  func isAskedFor(within time: Duration) -> Bool {
    let end = ContinuousClock.now + time
    while !isStopped {
      let left = ContinuousClock.now.duration(to: end)
      guard left > .zero else { return false }
      let milliseconds = min(left, .seconds(3600)) / .milliseconds(1)
      _ = System.wait(
        for: descriptor, orFor: nil, milliseconds: Int32(milliseconds.rounded(.up)))
    }
    return true
  }

  /// Calls `wake` once a stop is asked for, at once if it was; for who waits for something else than
  /// the descriptor.
  func onStop(_ wake: @escaping @Sendable () -> Void) {
    // In this order, and the other way round in `stop`: one of the two sees the other.
    self.wake.withLock { $0 = wake }
    if isStopped { wake() }
  }

  private func stop() {
    stopped.store(true, ordering: .relaxed)
    withUnsafeBytes(of: UInt8(0)) {
      // A pipe that was just made takes a byte.
      try? System.write(writingEnd, $0, name: "a pipe")
    }
    wake.withLock { $0 }?()
  }
}
