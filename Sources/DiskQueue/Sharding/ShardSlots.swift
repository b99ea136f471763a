// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// A shard's writer while it is open, and the calls in it.
final class ShardSlot: Sendable {
  private struct State {
    var writer: QueueWriter?
    /// How many calls are in the writer. Meanwhile it is not closed.
    var uses = 0
    /// The time of its last use, by the pool's own count.
    var lastUse: UInt64 = 0
    /// The error that ended the shard's writer.
    var failure: QueueError?
  }
  private let state = Mutex(State())

  /// As with a writer's own lock: the lock is tried some times before the kernel puts the thread to
  /// sleep.
  private static let tries = 40

  private func withState<R: Sendable, E>(
    _ body: (inout State) throws(E) -> R
  ) throws(E) -> R {
    for _ in 0..<Self.tries {
      if let result = try state.withLockIfAvailable({ (state) throws(E) -> R in try body(&state) })
      {
        return result
      }
      Syscalls.yield()
    }
    return try state.withLock { (state) throws(E) -> R in try body(&state) }
  }

  /// The writer, if it is open, for one call. The call ends with `leave`.
  ///
  /// - Parameter moment: the time of the call. Nil if the call does not count as a use.
  /// - Throws: the error that ended the shard's writer.
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

  /// The writer, if it is open. The caller must keep it from being closed by other means.
  var openWriter: QueueWriter? { state.withLock { $0.writer } }

  /// The time of its last use. Nil if a call is in it, or if it is not open.
  var idleSince: UInt64? {
    state.withLock { $0.writer == nil || $0.uses > 0 ? nil : $0.lastUse }
  }

  /// Puts in a writer that was opened, and enters it.
  func put(_ writer: QueueWriter, enteredAt moment: UInt64) {
    state.withLock { state in
      state.writer = writer
      state.uses += 1
      state.lastUse = moment
    }
  }

  /// Puts back a writer that could not be closed.
  func putBack(_ writer: QueueWriter) { state.withLock { $0.writer = writer } }

  /// Takes the writer out, to close it. Nil if there is none, or if a call is in it and `ifIdle` is
  /// true.
  func take(ifIdle: Bool) -> QueueWriter? {
    state.withLock { ifIdle && $0.uses > 0 ? nil : $0.writer.take() }
  }

  /// Notes that the shard's writer was ended. No other one is opened for the shard.
  func end(_ failure: QueueError) { state.withLock { $0.failure = failure } }
}

/// One slot for each shard, made when the shard is first asked for. Before that, it takes 8 bytes.
///
/// An `AtomicLazyReference` for each shard would do the same, but costs 700 instructions a look,
/// because it is not inlined.
@safe
final class ShardSlots: @unchecked Sendable {
  let count: Int
  /// References to the slots, owned here. 0 if not made yet. None is ever changed again.
  private let slots: UnsafeMutablePointer<Atomic<UInt>>

  /// - Precondition: `count` is above 0.
  init(count: Int) {
    self.count = count
    unsafe slots = .allocate(capacity: count)
    for shard in 0..<count { unsafe (slots + shard).initialize(to: Atomic(0)) }
  }

  deinit {
    for shard in 0..<count {
      unsafe Self.reference(slots[shard].load(ordering: .acquiring))?.release()
    }
    unsafe slots.deinitialize(count: count)
    unsafe slots.deallocate()
  }

  /// - Precondition: the shard is one of `count`.
  subscript(shard: Int) -> ShardSlot {
    precondition(shard >= 0 && shard < count, "no such shard")
    // Safe: the bounds were just checked.
    let known = unsafe slots[shard].load(ordering: .acquiring)
    if let slot = unsafe Self.reference(known) { return unsafe slot.takeUnretainedValue() }
    return make(shard)
  }

  @inline(never)
  private func make(_ shard: Int) -> ShardSlot {
    let new = unsafe Unmanaged.passRetained(ShardSlot())
    let (isOurs, _) = unsafe slots[shard].compareExchange(
      expected: 0, desired: UInt(bitPattern: new.toOpaque()), ordering: .acquiringAndReleasing)
    if isOurs { return unsafe new.takeUnretainedValue() }
    unsafe new.release()
    return self[shard]
  }

  /// Safe for references that `make` has stored, for as long as `self` exists.
  private static func reference(_ bits: UInt) -> Unmanaged<ShardSlot>? {
    unsafe UnsafeRawPointer(bitPattern: bits).map { unsafe Unmanaged.fromOpaque($0) }
  }
}
