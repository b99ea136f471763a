// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Synchronization

/// A kind of failure that strikes at the call of some number.
enum FaultKind: CaseIterable {
  /// Any call fails with EIO. A sync that fails loses its data, while the cache shows it as before.
  case failsOnce, failsForGood
  /// A call that changes the disk, other than a removal, fails with ENOSPC.
  case fullOnce, fullForGood
  /// A call that opens a file fails with EMFILE.
  case noDescriptorOnce, noDescriptorForGood
  /// A write stops halfway. The next write succeeds, fails with EIO, or fails with ENOSPC.
  case shortWrite, shortWriteThenFails, shortWriteThenFull

  var isForGood: Bool {
    switch self {
    case .failsForGood, .fullForGood, .noDescriptorForGood: true
    default: false
    }
  }

  var isShortWrite: Bool {
    switch self {
    case .shortWrite, .shortWriteThenFails, .shortWriteThenFull: true
    default: false
    }
  }

  var errno: Int32 {
    switch self {
    case .failsOnce, .failsForGood, .shortWriteThenFails: Errno.io
    case .fullOnce, .fullForGood, .shortWriteThenFull: Errno.noSpace
    case .noDescriptorOnce, .noDescriptorForGood: Errno.tooManyFiles
    case .shortWrite: 0
    }
  }

  func concerns(_ call: SimulatedStorage.Call) -> Bool {
    switch self {
    case .failsOnce, .failsForGood: true
    case .fullOnce, .fullForGood: call.changes && !call.isRemoval
    case .noDescriptorOnce, .noDescriptorForGood: call.opens
    case .shortWrite: false
    // The call after the cut: the rest of the same write.
    case .shortWriteThenFails, .shortWriteThenFull: call.isWrite
    }
  }
}

extension SimulatedStorage.Call {
  var isRemoval: Bool { if case .remove = self { true } else { false } }

  var opens: Bool {
    switch self {
    case .open, .create, .lock, .lockFile, .consumers, .list: true
    default: false
    }
  }

  /// Whether a failure of this call is final.
  var makesDurable: Bool {
    switch self {
    case .sync, .syncDirectory, .syncParent, .syncConsumers: true
    default: false
    }
  }

  /// Whether the call checks which file a name leads to.
  ///
  /// After a sync, this check is a part of the sync: nothing is acknowledged until it succeeds, and
  /// a failure is final. Before a removal or an opening, it is a call like any other.
  var looksAtName: Bool {
    switch self {
    case .identify, .namesStamp: true
    default: false
    }
  }
}

/// A fault at one call, armed on a storage, and the calls that it struck.
final class FaultPlan: Sendable {
  let kind: FaultKind
  private let number: Int
  private struct State {
    var seen = 0
    var hits: [SimulatedStorage.Call] = []
    var hasHitCheck = false
    var previous: SimulatedStorage.Call?
  }
  private let state = Mutex(State())
  private let shortWrites: ShortWriteStorage

  /// Arms the fault.
  init(
    _ kind: FaultKind, at number: Int, on storage: SimulatedStorage,
    through shortWrites: ShortWriteStorage
  ) {
    self.kind = kind
    self.number = number
    self.shortWrites = shortWrites
    switch kind {
    case .shortWrite:
      shortWrites.cut(write: number, then: nil)
    case .shortWriteThenFails, .shortWriteThenFull:
      let plan = self
      // The first half of the write is the first call that the fault sees. It strikes at the
      // second.
      shortWrites.cut(write: number) { [weak plan] in
        plan?.arm(storage) { [weak plan] in plan?.strikesBehindCut($0) ?? false }
      }
    default:
      arm(storage) { [self] in strikes($0) }
    }
  }

  private func arm(
    _ storage: SimulatedStorage,
    _ strikes: @escaping @Sendable (SimulatedStorage.Call) -> Bool
  ) {
    storage.setFault(
      SimulatedStorage.Fault(.fail(kind.errno), at: 1, isLasting: true, of: strikes))
  }

  private func strikes(_ call: SimulatedStorage.Call) -> Bool {
    state.withLock { state in
      let previous = state.previous
      state.previous = call
      guard kind.concerns(call) else { return false }
      state.seen += 1
      guard kind.isForGood ? state.seen >= number : state.seen == number else { return false }
      state.hits.append(call)
      // If a name is gone, the library lists the names, because a cleaner may have removed the
      // file.
      if call.looksAtName || call == .list && previous?.looksAtName ?? false {
        state.hasHitCheck = true
      }
      return true
    }
  }

  private func strikesBehindCut(_ call: SimulatedStorage.Call) -> Bool {
    guard kind.concerns(call) else { return false }
    return state.withLock { state in
      state.seen += 1
      guard state.seen == 2 else { return false }
      state.hits.append(call)
      return true
    }
  }

  /// The calls that failed.
  var hits: [SimulatedStorage.Call] { state.withLock { $0.hits } }

  /// Whether it struck a check of a name, which may have been a part of a sync.
  var hasHitCheck: Bool { state.withLock { $0.hasHitCheck } }

  /// Whether the scenario reached the call at all.
  var hasStruck: Bool { kind.isShortWrite ? shortWrites.hits > 0 : !hits.isEmpty }
}
