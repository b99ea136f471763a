// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Steps of the walk for callers that take many records at once.

extension LogWalker {
  /// Passes the mark at `position`, if the window holds it and it changes nothing: no loss is being
  /// counted, and the mark states the ordinal that was counted. Otherwise returns false, and the
  /// next `slowStep` decides.
  // Not inlined: a loop over records would load what is checked here for each record.
  @inline(never)
  mutating func passBufferedMark() -> Bool {
    guard damage == nil, pending == nil, arrival == nil, owedLoss == nil, ordinalIsCounted,
      let found = window.mark(at: position, topicID: topicID), found.mark.ordinal == ordinal
    else { return false }
    passAgreeing(found)
    return true
  }

  /// The losses before an address that were not reported yet. A walk that starts at the address
  /// reports the others.
  mutating func takeUnreportedLosses(before address: UInt64) -> [Loss] {
    var losses: [Loss] = []
    if let owed = owedLoss.take() { losses.append(owed) }
    if let loss = pendingLoss(before: address) { losses.append(loss) }
    return losses
  }

  private func pendingLoss(before address: UInt64) -> Loss? {
    guard let pending, pending.to <= address else { return nil }
    let way = arrival.flatMap { $0.leavesOut ? $0 : nil }
    // The number is above this bound if the ordinal was moved back over discarded records.
    let isCounted =
      pending.isCounted && pending.isExactAfter && pending.advanced <= UInt64(Int64.max)
    return Loss(
      way?.cause ?? .damaged, from: min(way?.from ?? .max, pending.from), to: pending.to,
      records: isCounted ? pending.advanced : nil)
  }
}
