// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A thread that runs jobs one after the other, in the order in which they came.
///
/// Blocking disk work runs here rather than on the cooperative pool, which has a thread a core and
/// none to spare. The thread starts with the first job.
final class BackgroundThread: Sendable {
  /// The running thread's jobs; nil while there is no thread.
  private let queue = Mutex<JobQueue?>(nil)

  /// Queues a job. Fails where the system has no thread to give; the job is then not queued.
  func submit(_ job: @escaping @Sendable () -> Void) throws(SystemError) {
    try queue.withLock { queue throws(SystemError) in
      if let running = queue { return running.add(job) }
      let new = JobQueue()
      try new.start()
      new.add(job)
      queue = new
    }
  }

  /// Runs what is queued, then ends the thread and waits for it. Not from one of its own jobs. A
  /// later job starts another thread.
  func stop() {
    let running = queue.withLock { queue in
      defer { queue = nil }
      return queue
    }
    running?.finish()
  }
}

/// The jobs of one thread, from its start to its end.
private final class JobQueue: @unchecked Sendable {
  // All that follows is guarded by the monitor.
  private let monitor = Syscalls.Monitor()
  private var jobs: [@Sendable () -> Void] = []
  private var isFinishing = false
  private var thread: Syscalls.Thread?

  func start() throws(SystemError) {
    let started = try Syscalls.startThread { [self] in
      while let job = next() { job() }
    }
    monitor.withLock { thread = started }
  }

  func add(_ job: @escaping @Sendable () -> Void) {
    monitor.withLock {
      jobs.append(job)
      monitor.wakeAll()
    }
  }

  func finish() {
    let running = monitor.withLock {
      isFinishing = true
      monitor.wakeAll()
      return thread
    }
    running?.join()
  }

  private func next() -> (@Sendable () -> Void)? {
    monitor.withLock {
      while jobs.isEmpty, !isFinishing { monitor.wait() }
      return jobs.isEmpty ? nil : jobs.removeFirst()
    }
  }
}
