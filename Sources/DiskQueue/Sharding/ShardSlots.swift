// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A shard's writer, while it is open, and who is in it.
final class ShardSlot: Sendable {
  private struct State {
    var writer: QueueWriter?
    /// How many calls are in the writer, which nobody closes meanwhile.
    var uses = 0
    /// When it was used last, by the pool's own count.
    var lastUse: UInt64 = 0
    /// What ended the shard's writer.
    var failure: QueueError?
  }
  private let state = Mutex(State())

  /// As a writer's own lock, it is tried some times before the kernel puts the thread to sleep.
  private static let tries = 40

  private func withState<R: Sendable, E>(
    _ body: (inout State) throws(E) -> R
  ) throws(E) -> R {
    for _ in 0..<Self.tries {
      if let result = try state.withLockIfAvailable({ (state) throws(E) -> R in try body(&state) })
      {
        return result
      }
      Syscalls.giveWay()
    }
    return try state.withLock { (state) throws(E) -> R in try body(&state) }
  }

  /// The writer, if it is open, for one call: `leave` is its end.
  ///
  /// - Parameter moment: of the call; nil: it does not count as a use.
  /// - Throws: what ended the shard's writer.
  func enter(at moment: UInt64?) throws(QueueError) -> QueueWriter? {
    try withState { state throws(QueueError) in
      if let failure = state.failure { throw failure }
      guard let writer = state.writer else { return nil }
      state.uses += 1
      if let moment { state.lastUse = moment }
      return writer
    }
  }

  func leave() { withState { $0.uses -= 1 } }

  /// When it was used last; nil: somebody is in it, or it is not open.
  var idleSince: UInt64? {
    state.withLock { $0.writer == nil || $0.uses > 0 ? nil : $0.lastUse }
  }

  /// Puts a writer there that was opened, and enters it.
  func put(_ writer: QueueWriter, enteredAt moment: UInt64) {
    state.withLock { state in
      state.writer = writer
      state.uses += 1
      state.lastUse = moment
    }
  }

  /// Puts a writer back that could not be closed.
  func putBack(_ writer: QueueWriter) { state.withLock { $0.writer = writer } }

  /// Takes the writer away, to be closed; nil: somebody is in it and it is to be idle, or there is none.
  func take(ifIdle: Bool) -> QueueWriter? {
    state.withLock { ifIdle && $0.uses > 0 ? nil : $0.writer.take() }
  }

  /// The shard's writer was ended: no other one is opened in its place.
  func end(_ failure: QueueError) { state.withLock { $0.failure = failure } }
}

/// A slot a shard, made when the shard is first asked for: 8 bytes for one that is not.
@safe
final class ShardSlots: @unchecked Sendable {
  let count: Int
  private let slots: UnsafeMutablePointer<AtomicLazyReference<ShardSlot>>

  /// - Precondition: `count` is above 0.
  init(count: Int) {
    self.count = count
    unsafe slots = .allocate(capacity: count)
    for shard in 0..<count { unsafe (slots + shard).initialize(to: AtomicLazyReference()) }
  }

  deinit {
    unsafe slots.deinitialize(count: count)
    unsafe slots.deallocate()
  }

  /// - Precondition: the shard is one of `count`.
  subscript(shard: Int) -> ShardSlot {
    precondition(shard >= 0 && shard < count, "no such shard")
    // Safe: the bounds were just checked.
    return unsafe slots[shard].load() ?? slots[shard].storeIfNil(ShardSlot())
  }
}
