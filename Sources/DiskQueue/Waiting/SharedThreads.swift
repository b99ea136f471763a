// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A few threads for blocking calls that have no object of their own, such as a reader, which could
/// own a thread.
///
/// A call gets a new thread, unless `limit` threads are at work. Then it waits for its turn in the
/// order of the calls. A thread that finds no call to make ends.
final class SharedThreads: Sendable {
  /// For the reading of pages, and for looks at a topic that does not exist yet. 16 reads at once
  /// keep a disk busy. A thousand requests at once must not start a thousand threads.
  static let pages = SharedThreads(limit: 16)

  private struct State {
    /// How many threads run.
    var threads = 0
    /// The jobs that no thread has taken yet, the first one first.
    var jobs: [@Sendable () -> Void] = []
  }
  private let state = Mutex(State())
  private let limit: Int

  init(limit: Int) { self.limit = limit }

  /// How many threads run, for tests.
  var threadCount: Int { state.withLock { $0.threads } }

  /// Runs blocking work on one of the threads, and suspends the task until it is done.
  ///
  /// - Throws: `cancelled`, at once, if the task is cancelled. Work that has not begun by then is
  ///   dropped. Otherwise it is finished, and its result is dropped. `system`, if the system starts
  ///   no thread.
  func run<R: Sendable>(
    path: String, _ body: @escaping @Sendable () throws(QueueError) -> R
  ) async throws(QueueError) -> R {
    let work = Work(body)
    do throws(SystemError) {
      try submit { work.run() }
    } catch {
      throw .system(error, doing: "starting a thread", path: path)
    }
    do throws(QueueError) {
      try await work.done.wait(for: 1)
    } catch {
      work.drop()
      throw error
    }
    guard let result = work.result else { throw .cancelled() }
    return try result.get()
  }

  private func submit(_ job: @escaping @Sendable () -> Void) throws(SystemError) {
    try state.withLock { state throws(SystemError) in
      state.jobs.append(job)
      guard state.threads < limit else { return }
      do throws(SystemError) {
        try Syscalls.startThread { self.work() }.detach()
        state.threads += 1
      } catch {
        // One of the other threads takes the job.
        guard state.threads == 0 else { return }
        state.jobs.removeLast()
        throw error
      }
    }
  }

  private func work() {
    while let job = next() { job() }
  }

  private func next() -> (@Sendable () -> Void)? {
    state.withLock { state in
      guard state.jobs.isEmpty else { return state.jobs.removeFirst() }
      state.threads -= 1
      return nil
    }
  }

  /// Work and its result.
  private final class Work<R: Sendable>: Sendable {
    private struct State {
      /// Nil once it has begun, or was dropped.
      var body: (@Sendable () throws(QueueError) -> R)?
      var result: Result<R, QueueError>?
    }
    private let state: Mutex<State>
    /// 1 when there is a result.
    let done = Progress()

    init(_ body: @escaping @Sendable () throws(QueueError) -> R) {
      state = Mutex(State(body: body))
    }

    var result: Result<R, QueueError>? { state.withLock { $0.result } }

    func drop() { state.withLock { $0.body = nil } }

    func run() {
      guard let body = state.withLock({ $0.body.take() }) else { return }
      let result: Result<R, QueueError>
      do throws(QueueError) {
        result = .success(try body())
      } catch {
        result = .failure(error)
      }
      state.withLock { $0.result = result }
      done.advance()
    }
  }
}
