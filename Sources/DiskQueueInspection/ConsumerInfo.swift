// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue

/// A consumer of a topic, and its distance from the end of the log.
public struct ConsumerInfo: Sendable {
  /// The consumer's name, state and position.
  public var consumer: QueueConsumer.Description
  /// How many records the log took after the consumer's position, including damaged and cleaned
  /// ones. Nil if that is unknown.
  public var records: UInt64?
  /// The bytes of the slabs between its position and the end of the log. They hold the frames of
  /// its records, and the marks and headers between them. 0 if no record is left. Nil if the
  /// position is unknown.
  public var bytes: UInt64?
  /// The consumer's holder: whether there is one now, and which process it is.
  public var holder: LockHolder

  /// Describes all consumers of a topic, by name. A consumer whose cursor was never written begins
  /// at the earliest record.
  ///
  /// - Throws: `noSuchTopic` or `notATopic` if there is no topic. `unsupportedFormat` if a newer
  ///   version wrote it, or a slab belongs to another topic. `system` if a file cannot be read.
  /// - Complexity: a few reads a slab and a consumer, and a walk over about the last slab.
  public static func all(of topic: Topic) throws(QueueError) -> [ConsumerInfo] {
    let consumers = try QueueConsumer.consumers(of: topic)
    guard !consumers.isEmpty else { return [] }
    let storage = try topic.openForReading()
    let holders = try Self.holders(of: consumers, in: storage)
    let index = TopicIndex(storage)
    try index.refresh()
    var walker = LogWalker(index, payloadLimit: 0, bufferSize: 1 << 18)
    try walker.seek(to: .latest, now: { 0 })
    let end = walker.position
    let ordinal = walker.ordinalIsCounted ? walker.ordinal : nil
    let extent = try TopicExtent(index.bases, in: index.storage)
    let bytesBeforeEnd = extent.bytes(before: Address(rawValue: end))
    let first = index.first ?? 0
    let firstOrdinal = first == 0 ? 0 : try index.ordinal(ofSlabAt: first)
    return zip(consumers, holders).map { consumer, holder in
      let isNew = consumer.state == .neverWritten
      guard let position = isNew ? Address(rawValue: first) : consumer.position else {
        return ConsumerInfo(consumer: consumer, records: nil, bytes: nil, holder: holder)
      }
      let before = isNew ? firstOrdinal : consumer.ordinal
      let bytesBefore = extent.bytes(before: position)
      let records = behind(before, position.rawValue, end: end, ordinal)
      // A consumer cannot acknowledge marks and headers alone.
      let hasRecords = records != 0 && bytesBeforeEnd > bytesBefore
      return ConsumerInfo(
        consumer: consumer, records: records, bytes: hasRecords ? bytesBeforeEnd - bytesBefore : 0,
        holder: holder)
    }
  }

  private static func holders(
    of consumers: [QueueConsumer.Description], in storage: any TopicStorage
  ) throws(QueueError) -> [LockHolder] {
    do throws(SystemError) {
      let directory = try storage.consumers(creating: false)
      return consumers.map { LockHolder(directory.lockState(of: CursorName.lock($0.name))) }
    } catch {
      throw .system(
        error, doing: "listing the consumers",
        path: storage.path + "/" + TopicLayout.consumersName)
    }
  }

  private static func behind(
    _ before: UInt64?, _ position: UInt64, end: UInt64, _ ordinal: UInt64?
  ) -> UInt64? {
    guard position < end else { return 0 }
    guard let before, let ordinal, ordinal >= before else { return nil }
    return ordinal - before
  }
}

extension ConsumerInfo: CustomStringConvertible {
  /// The consumer, and how many records and bytes are left for it, on one line.
  public var description: String {
    let left = bytes.map { ", \(Words.count($0, "byte"))" } ?? ""
    return "\(consumer), \(Words.records(records))\(left) left"
  }
}
