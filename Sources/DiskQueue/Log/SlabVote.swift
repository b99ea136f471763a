// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Decides which topic a directory belongs to if its slabs state more than one id.
///
/// The rule: the first 16 and the last 16 slabs vote with the ids that they state. The id that most
/// of them state is the topic's. After a tie, the id stated at the lowest address wins. Every slab
/// with another id is foreign.
struct SlabVote {
  /// How many slabs vote at each end.
  private static let votersAtEachEnd = 16

  private var stated: [(base: UInt64, topicID: UInt64)] = []

  /// The slabs that vote, ascending.
  static func voters(among bases: [UInt64]) -> [UInt64] {
    guard bases.count > 2 * votersAtEachEnd else { return bases }
    return Array(bases.prefix(votersAtEachEnd) + bases.suffix(votersAtEachEnd))
  }

  /// Notes the id that a slab states. Call it in the order of addresses.
  mutating func add(_ base: UInt64, _ topicID: UInt64) { stated.append((base, topicID)) }

  /// The topic's id. Nil if no slab states one.
  var winner: UInt64? {
    var counts: [UInt64: Int] = [:]
    for vote in stated { counts[vote.topicID, default: 0] += 1 }
    let most = counts.values.max()
    return stated.first { counts[$0.topicID] == most }?.topicID
  }

  /// The first slab that states another id.
  var firstLoser: UInt64? {
    let winner = winner
    return stated.first { $0.topicID != winner }?.base
  }
}

extension QueueError {
  static func foreignSlab(path: String, address: UInt64) -> QueueError {
    QueueError(
      .unsupportedFormat,
      "this slab belongs to another topic than most slabs in this directory: move it out, and try"
        + " again",
      path: path, address: address)
  }
}
