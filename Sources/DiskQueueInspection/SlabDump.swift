// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue

/// Everything in one slab's file, in order, for people.
///
/// The file's name states its base. Its own header or marks state the topic's id. Other slabs do
/// not count, except that the slabs beside it show whether queuefka wrote it.
public struct SlabDump: ~Copyable {
  /// One part of the file. The parts follow each other without a gap.
  public enum Part: Sendable, Hashable {
    /// The header, with which a slab begins.
    case header(Header)
    /// A mark between records.
    case mark(Mark)
    /// A record with a sound checksum.
    case record(Record)
    /// Bytes that are not a sound frame.
    case neither(Range<Address>)
    /// Zeros at the end: preallocated space for frames.
    case preallocated(Range<Address>)
  }

  /// What the header and every mark state about the log at their address.
  public struct Statement: Sendable, Hashable {
    /// The ordinal of the next record.
    public var ordinal: UInt64
    /// When the writer made it, in nanoseconds since 1970, by the writer's clock.
    public var stamp: UInt64
    /// Everything below this address was durable by then.
    public var synced: Address
    /// A recovery ended the log of the epochs before at this address. There is no record between
    /// it and the base of this epoch's first slab.
    public var kept: Address
  }

  /// The first 80 bytes of a slab.
  public struct Header: Sendable, Hashable {
    /// The address of the slab's first byte.
    public var base: Address
    /// No payload of the slab is larger, in bytes.
    public var largestPayload: UInt32
    /// What the header states about the log.
    public var statement: Statement
  }

  /// A frame of 48 bytes that states the position in the log again.
  public struct Mark: Sendable, Hashable {
    /// The address of the mark's first byte.
    public var address: Address
    /// What the mark states about the log.
    public var statement: Statement
    /// Whether the writer closed the topic with this mark.
    public var closesTopic: Bool
  }

  /// A record, without its payload.
  public struct Record: Sendable, Hashable {
    /// The record's address.
    public var address: Address
    /// The record's ordinal. Nil after damage, up to the next mark.
    public var ordinal: UInt64?
    /// The length of the payload, in bytes.
    public var payloadBytes: UInt64
    /// The first bytes of the payload, at most 64. Empty for a payload above 64 KiB.
    public var beginning: [UInt8]
  }

  /// How many bytes of a payload are shown.
  private static let shownBytes = 64

  /// The file, by its name, size and beginning.
  public let slab: SlabDescription
  /// The id of the topic, as this slab states it. Nil for version 1, and if no header or mark is
  /// sound.
  public let topicID: TopicID?
  private var scan: SlabScan
  private var ordinal: UInt64?

  /// Opens a slab's file.
  ///
  /// - Parameter path: the path of the file, whose name must be a slab's.
  /// - Throws: `invalidOption` if the name is not a slab's, `noSuchTopic` if there is no such file,
  ///   `notATopic` if the path leads through a file or a link, and `system` if it cannot be read.
  public init(path: String) throws(QueueError) {
    let (directory, name) = SlabDump.split(path)
    guard let base = SlabName.parse(name) else {
      throw QueueError(
        .invalidOption,
        "a slab's name is 20 decimal digits and .slab, but this path ends differently: name a slab",
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
    self.topicID = topicID.map(TopicID.init(rawValue:))
    self.slab = slab
    // Version 1 slabs state no ordinals. The slab at address 0 begins at the first record.
    ordinal = slab.ordinal ?? (base == 0 ? 0 : nil)
  }

  /// Returns the next part of the file. Nil at its end.
  ///
  /// - Throws: `system` if the file cannot be read.
  public mutating func next() throws(QueueError) -> Part? {
    switch try scan.next() {
    case .header(let header):
      ordinal = header.ordinal
      return .header(Header(header))
    case .mark(let mark):
      ordinal = mark.mark.ordinal
      return .mark(Mark(mark))
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
      return .preallocated(Address(rawValue: from)..<Address(rawValue: to))
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

extension SlabDump.Header {
  fileprivate init(_ header: SlabHeader) {
    base = Address(rawValue: header.base)
    largestPayload = header.largestPayload
    statement = SlabDump.Statement(
      ordinal: header.ordinal, stamp: header.stamp, synced: Address(rawValue: header.synced),
      kept: Address(rawValue: header.kept))
  }
}

extension SlabDump.Mark {
  fileprivate init(_ found: MarkAt) {
    address = Address(rawValue: found.address)
    statement = SlabDump.Statement(
      ordinal: found.mark.ordinal, stamp: found.mark.stamp,
      synced: Address(rawValue: found.mark.synced), kept: Address(rawValue: found.mark.kept))
    closesTopic = found.mark.closes(at: found.address)
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
