// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue

/// The result of reading all of a topic once, by the reader's rules and with the reader's own code.
public struct TopicVerification: Sendable {
  /// One finding about a topic.
  public enum Finding: Sendable {
    /// A name in the directory that is not part of a topic. Nothing uses it.
    case otherName(path: String)
    /// A slab whose header was written for another name.
    case misnamedSlab(path: String, stated: Address)
    /// Records that can never be read again. `path` is the slab that holds the first address.
    case loss(Loss, path: String)
    /// Bytes that are not part of the log. This is not damage.
    case tail(Tail)
    /// The log was not closed. This is not damage. The writer has it open, or ended without closing
    /// it.
    case notClosed(writer: LockHolder)
  }

  /// How many slabs there were.
  public private(set) var slabs: Int
  /// The size of all slabs' files, in bytes.
  public private(set) var bytes: UInt64
  /// How many sound records there are.
  public private(set) var records: UInt64 = 0
  /// The length of all sound payloads, in bytes.
  public private(set) var payloadBytes: UInt64 = 0
  /// How many ranges of addresses hold damage.
  public private(set) var damagedRanges: UInt64 = 0
  /// Records lost to damage, as far as their number is known.
  public private(set) var damagedRecords: UInt64 = 0
  /// Whether the number of records is unknown for any damaged range.
  public private(set) var damageIsUncounted = false
  /// How many slabs have a header that was written for another name.
  public private(set) var misnamedSlabs: UInt64 = 0
  /// The end of the log.
  public private(set) var end = Address(rawValue: 0)
  /// How the log ends.
  public private(set) var ending = LogEnding.empty

  /// Whether something is not as it was written.
  public var isDamaged: Bool { damagedRanges > 0 || misnamedSlabs > 0 }

  /// Records longer than this are checked in pieces.
  private static let bufferSize = 1 << 18
  /// After how many bytes progress is reported again.
  private static let progressStep: UInt64 = 1 << 20

  /// Reads all of a topic once, in constant memory.
  ///
  /// - Parameters:
  ///   - topic: is opened for reading.
  ///   - onProgress: called with the address reached, about once a mebibyte.
  ///   - onFinding: called with each finding when it is known: names, then losses, then tails.
  /// - Throws: as reading does. A read error is not damage.
  public init(
    of topic: Topic, onProgress: (Address) -> Void = { _ in }, onFinding: (Finding) -> Void
  ) throws(QueueError) {
    let storage = try topic.openForReading()
    // Order: as for `TopicInfo`.
    let writer = LockHolder(storage.lockState())
    let index = TopicIndex(storage)
    try index.refresh()
    let extent = try TopicExtent(index.bases, in: storage)
    slabs = extent.slabs.count
    bytes = extent.bytes
    try findNames(in: storage, onFinding)
    try findMisnamed(index, onFinding)
    try walk(index, onProgress, onFinding)
    try Tail.find(in: index, extent: extent, end: end.rawValue) { onFinding(.tail($0)) }
    if ending == .open {
      onFinding(.notClosed(writer: .writer(in: storage, before: writer, ending)))
    }
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

  /// Records that a cleaner removed or a recovery discarded during the walk are reported, but are
  /// not damage.
  private mutating func note(_ loss: Loss) {
    guard loss.cause == .damaged else { return }
    damagedRanges += 1
    let (sum, overflow) = damagedRecords.addingReportingOverflow(loss.records ?? 0)
    if !overflow { damagedRecords = sum }
    if overflow || loss.records == nil { damageIsUncounted = true }
  }
}

extension TopicVerification: CustomStringConvertible {
  /// The result on one line: the numbers of slabs, records and bytes, and the damage.
  public var description: String {
    var text =
      "\(Words.count(UInt64(slabs), "slab")), \(Words.count(records, "sound record")),"
      + " \(Words.count(bytes, "byte")), \(ending)"
    if damagedRanges > 0 {
      text +=
        ", \(Words.count(damagedRanges, "damaged range")) with"
        + " \(damageIsUncounted ? "at least " : "")\(Words.count(damagedRecords, "lost record"))"
    }
    if misnamedSlabs > 0 { text += ", \(Words.count(misnamedSlabs, "misnamed slab"))" }
    return isDamaged ? text : text + ", no damage"
  }
}

extension TopicVerification.Finding: CustomStringConvertible {
  /// The finding and its file, on one line.
  public var description: String {
    switch self {
    case .otherName(let path): "a name that is no slab's [\(path)]"
    case .misnamedSlab(let path, let stated):
      "a slab whose header was written for address \(stated) [\(path)]"
    case .loss(let loss, let path): "\(loss) [\(path)]"
    case .tail(let tail): "\(tail)"
    case .notClosed: "the topic is not closed"
    }
  }
}
