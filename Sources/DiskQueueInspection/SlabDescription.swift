// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue

/// A slab's file, described by its name, its size and its beginning. Nothing after its first mark
/// is read.
public struct SlabDescription: Sendable, Hashable {
  /// What a slab's beginning shows.
  public enum Condition: Sendable, Hashable {
    /// The header is sound, or it is a version 1 slab, which has no header.
    case sound
    /// The header is damaged, but the mark after it states the same.
    case headerDamaged
    /// Neither the header nor the mark after it is sound. The slab is just being made, torn, or
    /// damaged.
    case unreadable
    /// The header is sound, but was written for another name: the file was renamed or copied.
    case misnamed(stated: Address)
    /// The header is another topic's.
    case foreign
    /// The header is of a newer version, or uses flags that this version does not know.
    case unsupported(version: UInt16, flags: UInt16)
  }

  /// The address of the slab's first byte, by the file's name.
  public var base: Address
  /// The topic's path and the slab's name.
  public var path: String
  /// The file's size, in bytes.
  public var bytes: UInt64
  /// The version of the format. Nil if nothing states it.
  public var version: UInt16?
  /// What the slab's beginning shows.
  public var condition: Condition
  /// The ordinal of the slab's first record, as the header or the mark after it states it.
  public var ordinal: UInt64?
  /// Nanoseconds since 1970, as the header or the mark after it states it.
  public var stamp: UInt64?
  /// No payload of the slab is larger, as the header states it.
  public var largestPayload: UInt32?
  /// Whether the whole slab is past the end of its epoch's records, as a later epoch states it.
  public var isPassedOver: Bool

  /// Describes every slab of a topic, in the order of their addresses. Slabs that are cleaned
  /// meanwhile are left out.
  ///
  /// - Throws: `noSuchTopic` or `notATopic` if there is no topic, and `system` if a file cannot be
  ///   read.
  /// - Complexity: a few reads a slab.
  public static func all(of topic: Topic) throws(QueueError) -> [SlabDescription] {
    let index = TopicIndex(try topic.openForReading())
    try index.refresh()
    return try all(in: index)
  }

  /// An upper bound of the payload length in a topic: the highest one that a slab's header states.
  /// A slab without a header counts with its size. The bound is at least the default limit of
  /// writers and readers.
  ///
  /// - Throws: as `all(of:)`.
  public static func largestPayload(in topic: Topic) throws(QueueError) -> ByteCount {
    var largest = UInt64(Limits.defaultMaximumPayload)
    for slab in try all(of: topic) {
      largest = max(largest, slab.largestPayload.map(UInt64.init) ?? slab.bytes)
    }
    return .bytes(Int64(min(largest, UInt64(SlabFormat.largestPayload))))
  }

  static func all(in index: TopicIndex) throws(QueueError) -> [SlabDescription] {
    var slabs: [SlabDescription] = []
    slabs.reserveCapacity(index.bases.count)
    for base in index.bases {
      guard let slab = try SlabFile.open(base, in: index.storage) else { continue }
      slabs.append(try SlabDescription(slab, index))
    }
    return slabs
  }

  init(_ slab: SlabFile, _ index: TopicIndex) throws(QueueError) {
    base = Address(rawValue: slab.base)
    path = slab.path
    bytes = try slab.size()
    isPassedOver = index.isPassedOver(slab.base)
    guard !index.holdsVersion1(slab.base) else {
      version = 1
      condition = .sound
      return
    }
    let head = try slab.head()
    ordinal = head.ordinal
    stamp = head.stamp
    largestPayload = head.soundHeader?.largestPayload
    switch head.header {
    case .sound(let header):
      version = SlabFormat.version
      condition = header.topicID == index.topicID ?? header.topicID ? .sound : .foreign
    case .unsupported(let version, let flags):
      self.version = version
      condition = .unsupported(version: version, flags: flags)
    case .unsound:
      if let stated = try slab.statedBase() {
        version = SlabFormat.version
        condition = .misnamed(stated: Address(rawValue: stated))
      } else if head.firstMark != nil {
        version = SlabFormat.version
        condition = .headerDamaged
      } else {
        condition = .unreadable
      }
    }
  }
}

extension SlabDescription: CustomStringConvertible {
  /// The file's base, size, version and condition, on one line.
  public var description: String {
    let state =
      switch condition {
      case .sound: "sound"
      case .headerDamaged: "its header is damaged"
      case .unreadable: "unreadable"
      case .misnamed(let stated): "its header was written for address \(stated)"
      case .foreign: "of another topic"
      case .unsupported(let version, _): "of version \(version), which is not supported"
      }
    let format = version.map { "version \($0), " } ?? ""
    return "slab \(base): \(format)\(Words.count(bytes, "byte")), \(state) [\(path)]"
  }
}
