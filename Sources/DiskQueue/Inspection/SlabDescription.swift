// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// What one slab's file is, by its name, size and beginning: nothing behind its first mark is read.
package struct SlabDescription: Sendable, Hashable {
  package enum Condition: Sendable, Hashable {
    /// The header is sound; or it is a version 1 slab, which has none.
    case sound
    /// The header is damaged, and the mark behind it says what it said.
    case headerDamaged
    /// Neither the header nor the mark behind it is sound: just being made, torn, or damaged.
    case unreadable
    /// The header is sound, and was written for another name: a renamed or copied file.
    case misnamed(stated: Address)
    /// The header is another topic's.
    case foreign
    /// The header is of a newer version, or uses flags that this one does not know.
    case unsupported(version: UInt16, flags: UInt16)
  }

  package var base: Address
  /// The topic's path and the slab's name.
  package var path: String
  /// The file's size.
  package var bytes: UInt64
  /// nil where nothing tells.
  package var version: UInt16?
  package var condition: Condition
  /// Of the slab's first record, by the header or the mark behind it.
  package var ordinal: UInt64?
  /// Nanoseconds since 1970, by the header or the mark behind it.
  package var stamp: UInt64?
  /// No payload of the slab is larger, by the header.
  package var largestPayload: UInt32?
  /// Whether all of it lies where a later epoch says that no records are.
  package var isPassedOver: Bool

  /// Describes every slab of a topic, in the order of their addresses. Slabs that are cleaned
  /// meanwhile are left out.
  package static func all(of topic: Topic) throws(QueueError) -> [SlabDescription] {
    let index = TopicIndex(try topic.openForReading())
    try index.refresh()
    return try all(in: index)
  }

  /// What no payload of a topic is longer than: by the slabs' headers, by its size for a slab that
  /// has none, and at least what writers and readers take by default.
  package static func largestPayload(in topic: Topic) throws(QueueError) -> ByteCount {
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
