// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A thread that runs jobs one after the other, in the order in which they came.
///
/// Blocking disk work runs here rather than on the cooperative pool, which has a thread a core and
/// none to spare. The thread starts with the first job.
final class BackgroundThread: Sendable {
  private struct State {
    /// The running thread's jobs; nil while there is no thread.
    var queue: JobQueue?
    var isClosed = false
  }
  private let state = Mutex(State())

  /// Whether there is a thread now.
  var isRunning: Bool { state.withLock { $0.queue != nil } }

  /// Queues a job for when a time has passed, on the monotonic clock. It is dropped where the thread
  /// is stopped before. Fails as `submit`.
  func submit(
    after nanoseconds: UInt64, _ job: @escaping @Sendable () -> Void
  ) throws(SystemError) {
    let now = Syscalls.monotonicClock()
    let (deadline, overflow) = now.addingReportingOverflow(nanoseconds)
    try running { $0.add(job, at: overflow ? .max : deadline) }
  }

  /// Queues a job. Fails where the system has no thread to give; the job is then not queued.
  func submit(_ job: @escaping @Sendable () -> Void) throws(SystemError) {
    try running { $0.add(job) }
  }

  private func running(_ body: (JobQueue) -> Void) throws(SystemError) {
    try state.withLock { state throws(SystemError) in
      if let running = state.queue { return body(running) }
      guard !state.isClosed else {
        throw SystemError(errno: Errno.cancelled, call: "pthread_create")
      }
      let new = JobQueue()
      try new.start()
      body(new)
      state.queue = new
    }
  }

  /// Runs what is queued, drops what waits for its time, then ends the thread and waits for it; from
  /// one of its own jobs, it ends behind that one. A later job starts another thread.
  func stop() { end(forGood: false) }

  /// As `stop`, and takes no more jobs: `submit` fails with ECANCELED.
  func close() { end(forGood: true) }

  private func end(forGood: Bool) {
    let running = state.withLock { state in
      defer { state.queue = nil }
      if forGood { state.isClosed = true }
      return state.queue
    }
    running?.finish()
  }
}

/// The jobs of one thread, from its start to its end.
private final class JobQueue: @unchecked Sendable {
  // All that follows is guarded by the monitor.
  private let monitor = Syscalls.Monitor()
  private var jobs: [@Sendable () -> Void] = []
  /// In no order: they are few.
  private var timed: [(deadline: UInt64, job: @Sendable () -> Void)] = []
  private var isFinishing = false
  private var thread: Syscalls.Thread?

  func start() throws(SystemError) {
    let started = try Syscalls.startThread { [self] in
      while let job = next() { job() }
    }
    monitor.withLock { thread = started }
  }

  func add(_ job: @escaping @Sendable () -> Void) {
    monitor.withLock { jobs.append(job) }
    // Behind the lock: who is woken while it is held goes to sleep again, for it.
    monitor.wakeAll()
  }

  func add(_ job: @escaping @Sendable () -> Void, at deadline: UInt64) {
    monitor.withLock { timed.append((deadline, job)) }
    monitor.wakeAll()
  }

  func finish() {
    let (running, dropped) = monitor.withLock {
      isFinishing = true
      monitor.wakeAll()
      defer { timed = [] }
      return (thread, timed)
    }
    // Dropped outside the lock: a job may hold the last reference to something that ends a thread.
    _ = dropped
    guard let running else { return }
    if running.isCurrent { running.detach() } else { running.join() }
  }

  private func next() -> (@Sendable () -> Void)? {
    monitor.withLock {
      while true {
        let first = timed.indices.min { timed[$0].deadline < timed[$1].deadline }
        // What a time has come for goes first: jobs may never run out.
        if let first, timed[first].deadline <= Syscalls.monotonicClock() {
          return timed.remove(at: first).job
        }
        if !jobs.isEmpty { return jobs.removeFirst() }
        if isFinishing { return nil }
        guard let first else {
          monitor.wait()
          continue
        }
        monitor.wait(until: timed[first].deadline)
      }
    }
  }
}
