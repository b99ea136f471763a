// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// What reading all of a topic once showed, by the reader's rules and with their one judgement.
package struct TopicVerification: Sendable {
  /// One thing that is to be said of a topic.
  package enum Finding: Sendable {
    /// A name in the directory that is no part of a topic. Nothing looks at it.
    case otherName(path: String)
    /// A slab whose header was written for another name.
    case misnamedSlab(path: String, stated: Address)
    /// Records that can never be read again; `path` is the slab that the first address lies in.
    case loss(Loss, path: String)
    /// Bytes that are no part of the log, which is no damage.
    case tail(Tail)
    /// The log was not closed, which is no damage.
    case notClosed
  }

  package private(set) var slabs: Int
  package private(set) var bytes: UInt64
  /// Sound records.
  package private(set) var records: UInt64 = 0
  package private(set) var payloadBytes: UInt64 = 0
  package private(set) var damagedRanges: UInt64 = 0
  /// Records lost to damage, as far as their number is known.
  package private(set) var damagedRecords: UInt64 = 0
  /// Whether some range's number of records is not known.
  package private(set) var damageIsUncounted = false
  package private(set) var misnamedSlabs: UInt64 = 0
  /// Where the log ends.
  package private(set) var end = Address(rawValue: 0)
  package private(set) var ending = LogEnding.empty

  /// Whether something is not as it was written.
  package var isDamaged: Bool { damagedRanges > 0 || misnamedSlabs > 0 }

  /// Records longer than this are checked in pieces.
  private static let bufferSize = 1 << 18
  /// After how many bytes progress is told again.
  private static let progressStep: UInt64 = 1 << 20

  /// Reads all of a topic once, in constant memory.
  ///
  /// - Parameters:
  ///   - onProgress: takes the address that was come to, about once a mebibyte.
  ///   - onFinding: takes each finding when it is known: names, then losses, then tails.
  /// - Throws: as reading does. A read error is no damage.
  package init(
    of topic: Topic, onProgress: (Address) -> Void = { _ in }, onFinding: (Finding) -> Void
  ) throws(QueueError) {
    let storage = try topic.openForReading()
    let index = TopicIndex(storage)
    try index.refresh()
    let extent = try TopicExtent(index.bases, in: storage)
    slabs = extent.slabs.count
    bytes = extent.bytes
    try findNames(in: storage, onFinding)
    try findMisnamed(index, onFinding)
    try walk(index, onProgress, onFinding)
    try Tail.find(in: index, extent: extent, end: end.rawValue) { onFinding(.tail($0)) }
    if ending == .open { onFinding(.notClosed) }
  }

  private func findNames(
    in storage: any TopicStorage, _ onFinding: (Finding) -> Void
  ) throws(QueueError) {
    do throws(SystemError) {
      try storage.forEachName { name in
        guard SlabName.parse(name) == nil, name != TopicLayout.lockName,
          name != TopicLayout.consumersName
        else { return }
        onFinding(.otherName(path: storage.path + "/" + name))
      }
    } catch {
      throw .system(error, doing: "listing the topic", path: storage.path)
    }
  }

  private mutating func findMisnamed(
    _ index: TopicIndex, _ onFinding: (Finding) -> Void
  ) throws(QueueError) {
    for base in index.bases {
      guard let slab = try SlabFile.open(base, in: index.storage),
        let stated = try slab.statedBase()
      else { continue }
      misnamedSlabs += 1
      onFinding(.misnamedSlab(path: slab.path, stated: Address(rawValue: stated)))
    }
  }

  private mutating func walk(
    _ index: TopicIndex, _ onProgress: (Address) -> Void, _ onFinding: (Finding) -> Void
  ) throws(QueueError) {
    var walker = LogWalker(
      index, payloadLimit: UInt32(Self.bufferSize), bufferSize: Self.bufferSize)
    walker.startAtEarliest()
    var sinceProgress: UInt64 = 0
    walking: while true {
      let frame: UInt64
      switch try walker.step() {
      case .record(_, _, let payload):
        records &+= 1
        payloadBytes &+= UInt64(payload.count)
        frame = UInt64(FrameHeader.byteCount + payload.count)
      case .tooLarge(_, let count):
        records &+= 1
        payloadBytes &+= count
        frame = UInt64(FrameHeader.byteCount) &+ count
      case .loss(let loss):
        note(loss)
        onFinding(.loss(loss, path: index.path(of: loss)))
        continue
      case .end:
        break walking
      }
      sinceProgress &+= frame
      if sinceProgress >= Self.progressStep {
        sinceProgress = 0
        onProgress(Address(rawValue: walker.position))
      }
    }
    end = Address(rawValue: walker.position)
    ending = try LogEnding(walker)
  }

  /// What a cleaner removed, or a recovery discarded, while we read is told, and no damage.
  private mutating func note(_ loss: Loss) {
    guard loss.cause == .damaged else { return }
    damagedRanges += 1
    let (sum, overflow) = damagedRecords.addingReportingOverflow(loss.records ?? 0)
    if !overflow { damagedRecords = sum }
    if overflow || loss.records == nil { damageIsUncounted = true }
  }
}
