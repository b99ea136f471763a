// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// What opening a topic for writing found, and what became of it.
public struct RecoveryReport: Sendable, Hashable {
  /// How the topic was found.
  @nonexhaustive
  public enum State: Sendable, Hashable {
    /// There was none; it was made.
    case created
    /// The last writer had closed it; this one goes on behind it.
    case clean
    /// The last writer had not closed it. What was sound is kept, and this writer starts a new
    /// epoch: nothing old was changed.
    case recovered
    /// It was written by queuefka (version 1). This writer goes on in version 2 behind it.
    case migrated
  }

  /// How the topic was found.
  public var state: State

  /// Sound records behind the last proof of durability: those that the end of the last writer had
  /// put in doubt. They are on stable storage now. 0 in a clean topic.
  public var keptRecords: UInt64

  /// Damage in the part of the topic that recovery looks at, which is about the last slab; `diskq
  /// verify` looks at all of it. Readers report the same losses in passing.
  public var losses: [Loss]

  /// Where the records before this writer's end.
  public var end: Address

  /// Bytes behind `end` that make no sound record: a torn tail. They stay where they are, and are
  /// no part of the topic any more. 0 in a clean topic. Zeros that a file ends with are not counted:
  /// they are room that the writer had made for itself.
  public var discardedBytes: UInt64

  package init(
    state: State, keptRecords: UInt64, losses: [Loss], end: Address, discardedBytes: UInt64
  ) {
    self.state = state
    self.keptRecords = keptRecords
    self.losses = losses
    self.end = end
    self.discardedBytes = discardedBytes
  }

  /// Whether the last writer had closed the topic, or there was none.
  public var wasClean: Bool { state == .clean || state == .created }
}
