// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Everything in one slab's file, in order, for people.
///
/// The file's name states its base. Its own header or marks state the topic's id. Other slabs do
/// not count, except that the slabs beside it show whether queuefka wrote it.
package struct SlabDump: ~Copyable {
  package enum Frame: Sendable, Equatable {
    case header(SlabHeader)
    case mark(MarkAt)
    case record(Record)
    /// Bytes that are not a sound frame.
    case neither(Range<Address>)
    /// Zeros at the end: preallocated space for frames.
    case room(Range<Address>)
  }

  package struct Record: Sendable, Hashable {
    package var address: Address
    /// Nil after damage, up to the next mark.
    package var ordinal: UInt64?
    package var payloadBytes: UInt64
    /// The first bytes of the payload. Empty for a very long one.
    package var beginning: [UInt8]
  }

  /// How many bytes of a payload are shown.
  private static let shownBytes = 64

  package let slab: SlabDescription
  package let topicID: UInt64?
  private var scan: SlabScan
  private var ordinal: UInt64?

  /// Opens a slab's file.
  ///
  /// - Parameter path: the path of the file, whose name must be a slab's.
  package init(path: String) throws(QueueError) {
    let (directory, name) = SlabDump.split(path)
    guard let base = SlabName.parse(name) else {
      throw QueueError(
        .invalidOption, "this is not the name of a slab, which is 20 decimal digits and .slab",
        path: path)
    }
    let storage: any TopicStorage
    do throws(QueueError) {
      storage = try Topic(directory).openForReading()
    } catch {
      throw error.code == .noSuchTopic ? SlabDump.noSlab(path) : error
    }
    guard let file = try SlabFile.open(base, in: storage) else { throw SlabDump.noSlab(path) }
    let index = TopicIndex(storage)
    try index.refresh()
    let version1 =
      index.holdsVersion1(base) ? try index.version1Length(of: file) : nil
    let topicID = version1 == nil ? try file.ownTopicID() : nil
    let slab = try SlabDescription(file, index)
    scan = try SlabScan(
      file, from: base, to: try file.end(), topicID: topicID, version1: version1,
      storage: storage)
    self.topicID = topicID
    self.slab = slab
    // Version 1 slabs state no ordinals. The slab at address 0 begins at the first record.
    ordinal = slab.ordinal ?? (base == 0 ? 0 : nil)
  }

  /// The next frame. Nil at the end of the file.
  package mutating func next() throws(QueueError) -> Frame? {
    switch try scan.next() {
    case .header(let header):
      ordinal = header.ordinal
      return .header(header)
    case .mark(let mark):
      ordinal = mark.mark.ordinal
      return .mark(mark)
    case .record(let address, let payloadBytes, let beginning):
      defer { ordinal = ordinal.map { $0 &+ 1 } }
      return .record(
        Record(
          address: Address(rawValue: address), ordinal: ordinal, payloadBytes: payloadBytes,
          beginning: beginning.map { scan.beginning(of: $0, upTo: Self.shownBytes) } ?? []))
    case .neither(let from, let to):
      ordinal = nil
      return .neither(Address(rawValue: from)..<Address(rawValue: to))
    case .room(let from, let to):
      return .room(Address(rawValue: from)..<Address(rawValue: to))
    case nil:
      return nil
    }
  }

  /// The directory and the name in a path.
  private static func split(_ path: String) -> (directory: String, name: String) {
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return (".", path) }
    let name = path[path.utf8.index(after: slash)...]
    return (slash == path.utf8.startIndex ? "/" : String(path[..<slash]), String(name))
  }

  private static func noSlab(_ path: String) -> QueueError {
    QueueError(.noSuchTopic, "there is no slab at this path: check it", path: path)
  }
}

extension SlabFile {
  /// The topic's id, as this slab alone states it.
  func ownTopicID() throws(QueueError) -> UInt64? {
    if let id = try head().topicID { return id }
    var marks = MarkSearch(self, topicID: nil)
    return try marks.first(from: base, limit: end())?.mark.topicID
  }
}
