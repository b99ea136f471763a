// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The state in which a writer found a topic when it opened it, and the actions it took.
public struct RecoveryReport: Sendable, Hashable {
  /// The state in which a writer found the topic.
  @nonexhaustive
  public enum State: Sendable, Hashable {
    /// There was no topic. The writer created it.
    case created
    /// The last writer had closed the topic. This writer continues after its last record.
    case clean
    /// The last writer had not closed the topic.
    ///
    /// All sound records remain, and this writer starts a new epoch. No old byte was changed.
    case recovered
    /// The program queuefka wrote the topic (version 1).
    ///
    /// This writer continues after it in version 2.
    case migrated
  }

  /// The state in which the writer found the topic.
  public var state: State

  /// The number of sound records after the last proof of durability. 0 in a clean topic.
  ///
  /// The last writer's unclean end had put these records in doubt. They are on stable storage now.
  public var unprovenRecords: UInt64

  /// The damage in the part of the topic that recovery reads, about the last slab.
  ///
  /// `diskq verify` reads the whole topic. Readers report the same losses when they reach them.
  public var losses: [Loss]

  /// The end of the records that were there before this writer.
  public var end: Address

  /// The number of bytes after ``end`` that are not a sound record: a torn tail.
  ///
  /// 0 in a clean topic. The bytes stay in the file, but they are no longer part of the topic.
  /// Zeros at the end of a file are not counted: the writer had preallocated them.
  public var discardedBytes: UInt64

  package init(
    state: State, unprovenRecords: UInt64, losses: [Loss], end: Address, discardedBytes: UInt64
  ) {
    self.state = state
    self.unprovenRecords = unprovenRecords
    self.losses = losses
    self.end = end
    self.discardedBytes = discardedBytes
  }

  /// Whether the last writer had closed the topic, or there was no topic.
  public var wasClean: Bool { state == .clean || state == .created }
}

extension RecoveryReport: CustomStringConvertible {
  /// The report as a sentence, without a full stop.
  public var description: String {
    let found =
      switch state {
      case .created: "there was no topic, and the writer created it"
      case .clean: "the last writer had closed the topic"
      case .recovered: "the last writer had not closed the topic"
      case .migrated: "queuefka wrote the topic"
      }
    var parts = [found]
    if !wasClean {
      parts.append(
        "\(Words.count(unprovenRecords, "record")) after the last proof of durability"
          + " \(unprovenRecords == 1 ? "is" : "are") durable now")
    }
    if discardedBytes > 0 {
      parts.append("\(Words.count(discardedBytes, "byte")) of a torn tail are no part of it")
    }
    if !losses.isEmpty { parts.append(Words.count(UInt64(losses.count), "damaged range")) }
    if state != .created { parts.append("it goes on at address \(end)") }
    return parts.joined(separator: ", ")
  }
}
