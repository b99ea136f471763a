// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// A request to stop before the work is done. All verbs follow this policy.
///
/// - SIGINT (Ctrl-C), SIGTERM and SIGHUP ask for a stop. A verb that has work to finish catches the
///   first one and ends in order. A second one, a second later or more, ends it at once. The other
///   verbs end at once. A signal that was ignored when the program started stays ignored.
/// - Work without an end of its own is done when a stop is asked for, and the status is as usual:
///   `--follow`, `info --watch`, and `append` from a pipe or a terminal.
/// - Any other work is cut short. The program reports how far it came. It then ends by the same
///   signal (`Interrupted`), like the verbs that end at once. A shell shows 130, 143 or 129.
/// - SIGPIPE is ignored, so a write to a pipe without a reader fails. If a verb only prints, it is
///   then done, and the status is as usual. A verb that does more than print has failed.
/// - SIGQUIT ends the program at once. `info --watch` restores the terminal first.
final class StopSignals: Sendable {
  enum Cause: Equatable {
    case signal(Int32)
    /// Standard output is a pipe or a socket, and its reader is gone.
    case closedOutput
    /// A part of the work has failed, and its error will end the command.
    case failure
  }

  /// Readable once a stop is asked for.
  let descriptor: Int32
  private let writingEnd: Int32
  private let stopped = Atomic(false)
  private let first = Mutex<Cause?>(nil)
  private let wake = Mutex<(@Sendable () -> Void)?>(nil)

  /// Catches the signals until the process ends. Call it before any thread is started.
  ///
  /// - Parameter closedOutput: whether a stop is also asked for when the reader of standard output
  ///   goes away. Without it, only the next write notices that.
  static func caught(orClosedOutput closedOutput: Bool = false) throws(Failure) -> StopSignals {
    let ends = try System.makePipe()
    let signals = StopSignals(reading: ends.reading, writing: ends.writing)
    try System.catchStopSignals { signals.stop(.signal($0)) }
    if closedOutput, !System.isPlainFile(System.standardOutput) {
      try System.startThread {
        System.waitUntilClosed(System.standardOutput)
        signals.stop(.closedOutput)
      }
    }
    return signals
  }

  private init(reading: Int32, writing: Int32) {
    descriptor = reading
    writingEnd = writing
  }

  var isStopped: Bool { stopped.load(ordering: .relaxed) }

  /// The first cause of the stop, or nil if no stop was asked for.
  var cause: Cause? { first.withLock { $0 } }

  /// The error that work throws if a stop has cut it short.
  var interruption: any Error {
    switch cause {
    case .signal(let number): Interrupted(signal: number)
    case .closedOutput, .failure, nil: Failure.outputClosed
    }
  }

  /// Waits for a time, to the millisecond, or until a stop is asked for. Returns whether one is.
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

  /// Calls `wake` once a stop is asked for, or immediately if it already was. For callers that wait
  /// for something other than the descriptor.
  func onStop(_ wake: @escaping @Sendable () -> Void) {
    // Order: `wake` is set before `stopped` is read. `stop` does it the other way round, so that
    // one of the two always sees the other.
    self.wake.withLock { $0 = wake }
    if isStopped { wake() }
  }

  /// Asks for a stop, because a part of the work has failed.
  func ask() { stop(.failure) }

  private func stop(_ cause: Cause) {
    first.withLock { if $0 == nil { $0 = cause } }
    // Releasing: a thread that sees the stop sees its cause.
    stopped.store(true, ordering: .releasing)
    withUnsafeBytes(of: UInt8(0)) {
      // This cannot block: a new pipe takes one byte.
      try? System.write(writingEnd, $0, name: "a pipe")
    }
    wake.withLock { $0 }?()
  }
}

/// A signal cut the work short. It will end the program.
struct Interrupted: Error, CustomStringConvertible {
  let signal: Int32

  var description: String { "stopped by \(System.signalName(signal))" }
}
