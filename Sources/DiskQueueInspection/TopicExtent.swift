// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue

/// The sizes of a topic's slabs at one moment. Progress is measured against them.
///
/// Holds 24 bytes a slab.
public struct TopicExtent: Sendable {
  struct SlabExtent: Sendable {
    var base: UInt64
    var bytes: UInt64
    /// The bytes of all slabs before it.
    var before: UInt64

    /// The address after the file's last byte.
    var end: UInt64 { bytes > .max - base ? .max : base + bytes }
  }

  /// Ascending.
  private(set) var slabs: [SlabExtent] = []
  /// The bytes of all slabs.
  public private(set) var bytes: UInt64 = 0

  /// Takes the sizes of a topic's slabs.
  ///
  /// - Throws: `noSuchTopic` or `notATopic` if there is no topic, and `system` if a file cannot be
  ///   read.
  /// - Complexity: one listing, and one look at each slab's size.
  public init(of topic: Topic) throws(QueueError) {
    let storage = try topic.openForReading()
    try self.init(try TopicIndex.slabs(in: storage), in: storage)
  }

  init(_ bases: [UInt64], in storage: any TopicStorage) throws(QueueError) {
    slabs.reserveCapacity(bases.count)
    for base in bases {
      guard let slab = try SlabFile.open(base, in: storage) else { continue }
      let size = try slab.size()
      slabs.append(SlabExtent(base: base, bytes: size, before: bytes))
      bytes &+= size
    }
  }

  /// Returns how many bytes of the slabs are before an address.
  ///
  /// - Complexity: O(log *n*) for *n* slabs.
  public func bytes(before address: Address) -> UInt64 {
    var low = 0
    var high = slabs.count
    while low < high {
      let middle = (low + high) / 2
      if slabs[middle].base > address.rawValue { high = middle } else { low = middle + 1 }
    }
    guard low > 0 else { return 0 }
    let slab = slabs[low - 1]
    return slab.before &+ min(slab.bytes, address.rawValue - slab.base)
  }
}
