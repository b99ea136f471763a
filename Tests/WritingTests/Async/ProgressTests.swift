// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("A number that tasks and threads wait for")
struct ProgressTests {
  private static let failure = QueueError(.closed, "ended by the test")
  private static let refusal = QueueError(.syncFailed, "refused by the test")

  /// Makes a state with a waiter for each target. Returns the waiters' ids in the order of the
  /// targets.
  private func waiting(_ targets: UInt64...) -> (ProgressState<Int>, [UInt64]) {
    var state = ProgressState<Int>()
    var ids: [UInt64] = []
    for (number, target) in targets.enumerated() {
      if case .waits(let id) = state.enter(number, for: target) { ids.append(id) }
    }
    return (state, ids)
  }

  @Test("who comes behind the number does not wait")
  func reached() {
    var state = ProgressState<Int>()
    #expect(state.advance(to: 5) == [])
    for target in UInt64(0)...5 {
      guard case .reached = state.enter(1, for: target) else {
        Issue.record("\(target) is reached")
        continue
      }
    }
    guard case .waits = state.enter(1, for: 6) else {
      Issue.record("6 is not reached")
      return
    }
    #expect(state.waiterCount == 1)
  }

  @Test("those whose number was come to are woken, once, and the others wait on")
  func advances() {
    var (state, ids) = waiting(1, 4, 2, 3, 4)
    #expect(Set(ids).count == 5)
    #expect(state.advance(to: 2).sorted() == [0, 2])
    #expect(state.waiterCount == 3)
    #expect(state.advance(to: 2) == [])
    // The value never goes back.
    #expect(state.advance(to: 1) == [])
    #expect(state.value == 2)
    #expect(state.advance(to: .max).sorted() == [1, 3, 4])
    #expect(state.waiterCount == 0)
  }

  @Test("the rejected are told once; who comes later waits")
  func rejected() {
    var (state, _) = waiting(1, 2)
    #expect(state.rejectAll().sorted() == [0, 1])
    #expect(state.rejectAll() == [])
    guard case .waits = state.enter(7, for: 1) else {
      Issue.record("it goes on")
      return
    }
  }

  @Test("behind the end nobody waits, what was reached stays so, and the first reason counts")
  func ended() {
    var (state, _) = waiting(3, 2)
    #expect(state.advance(to: 1) == [])
    #expect(state.end(Self.failure).sorted() == [0, 1])
    #expect(state.end(Self.refusal) == [])
    guard case .failed(let error) = state.enter(9, for: 2) else {
      Issue.record("nobody waits any more")
      return
    }
    #expect(error.code == .closed)
    guard case .reached = state.enter(9, for: 1) else {
      Issue.record("1 was reached")
      return
    }
    #expect(state.waiterCount == 0)
  }

  @Test("who leaves is not woken, and who was woken cannot leave")
  func left() {
    var (state, ids) = waiting(1, 1)
    #expect(state.leave(ids[0]) == 0)
    #expect(state.leave(ids[0]) == nil)
    #expect(state.advance(to: 1) == [1])
    #expect(state.leave(ids[1]) == nil)
  }

  /// Returns how the wait of each of 100 tasks ended: the error's code, or nil without an error.
  private func hundredTasks(
    on progress: Progress, cancelling isCancelled: @escaping @Sendable (Int) -> Bool,
    then act: () -> Void
  ) async -> [QueueError.Code?] {
    let arrived = Progress()
    let tasks = (0..<100).map { number in
      Task { () -> QueueError.Code? in
        do throws(QueueError) {
          try await progress.wait(for: UInt64(1 + number)) { arrived.advance() }
          return nil
        } catch {
          return error.code
        }
      }
    }
    try? await arrived.wait(for: 100)
    for (number, task) in tasks.enumerated() where isCancelled(number) { task.cancel() }
    var codes = [QueueError.Code?](repeating: nil, count: 100)
    // Await these before `act` wakes the others. Cancellation alone ends their waits.
    for number in 0..<100 where isCancelled(number) { codes[number] = await tasks[number].value }
    act()
    for number in 0..<100 where !isCancelled(number) { codes[number] = await tasks[number].value }
    return codes
  }

  @Test("of a hundred tasks, the cancelled half ends at once, and the other when it is its turn")
  func cancelsHalf() async {
    let progress = Progress()
    let codes = await hundredTasks(
      on: progress, cancelling: { $0 % 2 == 0 },
      then: {
        for value in UInt64(1)...100 { progress.advance(to: value) }
      })
    #expect(codes == (0..<100).map { $0 % 2 == 0 ? .cancelled : nil })
    #expect(progress.value == 100)
  }

  @Test("a rejection reaches all who wait, an end also those who come")
  func rejectsAndEnds() async {
    let progress = Progress()
    let rejected = await hundredTasks(
      on: progress, cancelling: { _ in false },
      then: {
        progress.reject(Self.refusal)
      })
    #expect(rejected == Array(repeating: .syncFailed, count: 100))
    let ended = await hundredTasks(
      on: progress, cancelling: { _ in false },
      then: {
        progress.end(Self.failure)
      })
    #expect(ended == Array(repeating: .closed, count: 100))
    await #expect(throws: QueueError.self) { try await progress.wait(for: 1) }
    #expect(queueError { try progress.waitBlocking(for: 1) }?.code == .closed)
  }

  @Test("a task that is cancelled before it waits does not begin to")
  func cancelledBefore() async {
    let progress = Progress()
    let started = Progress()
    let task = Task { () -> QueueError.Code? in
      withUnsafeCurrentTask { $0?.cancel() }
      do throws(QueueError) {
        try await progress.wait(for: 1) { started.advance() }
        return nil
      } catch {
        return error.code
      }
    }
    #expect(await task.value == .cancelled)
    #expect(started.value == 0)
  }

  @Test("threads and tasks wait side by side")
  func threadsAndTasks() async throws {
    let progress = Progress()
    let arrived = Progress()
    let left = Progress()
    let threads = (0..<8).map { _ in BackgroundThread() }
    for thread in threads {
      try thread.submit {
        do throws(QueueError) {
          for value in UInt64(1)...100 {
            arrived.advance()
            try progress.waitBlocking(for: value)
          }
          left.advance()
        } catch {
          left.end(error)
        }
      }
    }
    try await arrived.wait(for: 8)
    for _ in 0..<100 { progress.advance() }
    try await left.wait(for: 8)
    for thread in threads { thread.stop() }
    #expect(progress.value == 100)
  }
}
