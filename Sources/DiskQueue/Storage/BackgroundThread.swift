// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A thread that runs jobs one after the other, in the order in which they were queued.
///
/// Blocking disk work runs here, not on the cooperative pool: that pool has one thread per core and
/// none to spare. The thread starts with the first job.
final class BackgroundThread: Sendable {
  private struct State {
    /// The jobs of the running thread. Nil while there is no thread.
    var queue: JobQueue?
    var isClosed = false
  }
  private let state = Mutex(State())

  /// Whether there is a thread now.
  var isRunning: Bool { state.withLock { $0.queue != nil } }

  /// Queues a job to run after a time, on the monotonic clock. If the thread is stopped before, the
  /// job is dropped. Fails like `submit`.
  func submit(
    after nanoseconds: UInt64, _ job: @escaping @Sendable () -> Void
  ) throws(SystemError) {
    let now = Syscalls.monotonicClock()
    let (deadline, overflow) = now.addingReportingOverflow(nanoseconds)
    try running { $0.add(job, at: overflow ? .max : deadline) }
  }

  /// Queues a job. If the system cannot start a thread, this fails, and the job is not queued.
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

  /// Runs the queued jobs, drops the timed ones, then ends the thread and waits for its end. If one
  /// of its own jobs calls this, it does not wait: the thread ends after that job and the queued
  /// ones. A later job starts another thread.
  func stop() { end(forGood: false) }

  /// Like `stop`, and takes no more jobs: `submit` then fails with ECANCELED.
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
  // The monitor guards everything below.
  private let monitor = Syscalls.Monitor()
  private var jobs: [@Sendable () -> Void] = []
  /// Unordered: there are few.
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
    // Wake after the lock is released. A thread that is woken while it is held sleeps again, on the
    // lock.
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
    // Dropped outside the lock: a job may hold the last reference to an object that ends a thread.
    _ = dropped
    guard let running else { return }
    if running.isCurrent { running.detach() } else { running.join() }
  }

  private func next() -> (@Sendable () -> Void)? {
    monitor.withLock {
      while true {
        let first = timed.indices.min { timed[$0].deadline < timed[$1].deadline }
        // Timed jobs that are due run first: the queue of other jobs may never be empty.
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
