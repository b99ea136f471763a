// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A thread that runs jobs one after the other, in the order in which they came.
///
/// Blocking disk work runs here rather than on the cooperative pool, which has a thread a core and
/// none to spare. The thread starts with the first job.
final class BackgroundThread: @unchecked Sendable {
  // All that follows is guarded by the monitor.
  private let monitor = Syscalls.Monitor()
  private var jobs: [@Sendable () -> Void] = []
  private var isStopping = false
  private var thread: Syscalls.Thread?

  /// Queues a job. Fails where the system has no thread to give; the job is then not queued.
  func submit(_ job: @escaping @Sendable () -> Void) throws(SystemError) {
    let failure: SystemError? = monitor.withLock {
      if thread == nil {
        do throws(SystemError) {
          thread = try Syscalls.startThread { [self] in run() }
        } catch {
          return error
        }
      }
      jobs.append(job)
      monitor.wakeAll()
      return nil
    }
    if let failure { throw failure }
  }

  /// Runs what is queued, then ends the thread and waits for it. Not from one of its own jobs.
  func stop() {
    let running = monitor.withLock {
      isStopping = true
      monitor.wakeAll()
      defer { thread = nil }
      return thread
    }
    running?.join()
  }

  private func run() {
    while let job = nextJob() { job() }
  }

  private func nextJob() -> (@Sendable () -> Void)? {
    monitor.withLock {
      while jobs.isEmpty, !isStopping { monitor.wait() }
      return jobs.isEmpty ? nil : jobs.removeFirst()
    }
  }
}
