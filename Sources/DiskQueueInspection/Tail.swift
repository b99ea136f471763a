// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue

/// Bytes of one slab's file that are not part of the log. Zeros at the file's end do not count.
public struct Tail: Sendable, Hashable {
  /// Why bytes are not part of the log.
  public enum Cause: Sendable, Hashable {
    /// A recovery put the log's end before these bytes. They stay in the file.
    case discarded
    /// The bytes are past the end of a log that was not recovered since. A crash left them, or a
    /// writer is about to finish them. The next recovery discards them.
    case afterEnd
  }

  /// Why the bytes are not part of the log.
  public var cause: Cause
  /// The path of the slab's file.
  public var path: String
  /// The addresses of the bytes. Empty if the file holds nothing.
  public var addresses: Range<Address>
  /// How many sound records there are in it. Nil if that cannot be known, as in version 1 slabs.
  public var records: UInt64?

  /// How many bytes there are.
  public var bytes: UInt64 { addresses.upperBound.rawValue - addresses.lowerBound.rawValue }
}

extension Tail {
  /// Finds every tail of a topic, in the order of their addresses.
  ///
  /// - Parameters:
  ///   - extent: the files' sizes, taken before the log was walked. Bytes written since are not a
  ///     tail.
  ///   - end: the address at which the log ends.
  static func find(
    in index: TopicIndex, extent: TopicExtent, end: UInt64, _ found: (Tail) -> Void
  ) throws(QueueError) {
    for slab in extent.slabs {
      guard let place = index.lastIndex(notAbove: slab.base), index.bases[place] == slab.base
      else { continue }
      let content = max(slab.base, min(index.limit(ofSlabAt: place), slab.end))
      if slab.base >= end || content > end, !index.isPassedOver(slab.base) {
        let tail = try make(.afterEnd, max(slab.base, end)..<content, of: slab.base, index)
        if let tail { found(tail) }
      }
      if slab.end > content {
        let tail = try make(.discarded, content..<slab.end, of: slab.base, index)
        if let tail { found(tail) }
      }
    }
  }

  /// Makes a tail. Nil if there are only zeros, or if the slab was cleaned meanwhile.
  private static func make(
    _ cause: Cause, _ addresses: Range<UInt64>, of base: UInt64, _ index: TopicIndex
  ) throws(QueueError) -> Tail? {
    guard let slab = try SlabFile.open(base, in: index.storage) else { return nil }
    let end = try slab.writtenEnd(of: addresses)
    guard end > addresses.lowerBound || addresses.isEmpty else { return nil }
    return Tail(
      cause: cause, path: slab.path,
      addresses: Address(rawValue: addresses.lowerBound)..<Address(rawValue: end),
      records: try countRecords(in: addresses, of: slab, index))
  }

  private static func countRecords(
    in addresses: Range<UInt64>, of slab: SlabFile, _ index: TopicIndex
  ) throws(QueueError) -> UInt64? {
    guard let topicID = index.topicID, !index.holdsVersion1(slab.base) else { return nil }
    var scan = try SlabScan(
      slab, from: addresses.lowerBound, to: addresses.upperBound, topicID: topicID, version1: nil,
      storage: index.storage)
    var count: UInt64 = 0
    while let item = try scan.next() {
      if case .record = item { count += 1 }
    }
    return count
  }
}

extension Tail: CustomStringConvertible {
  /// The addresses, the number of bytes, and why they are not part of the log, on one line.
  public var description: String {
    let reason =
      switch cause {
      case .discarded: "discarded by a recovery"
      case .afterEnd: "past the end of the log"
      }
    return "\(addresses.lowerBound) up to \(addresses.upperBound): \(Words.count(bytes, "byte")),"
      + " \(Words.records(records)), \(reason) [\(path)]"
  }
}
