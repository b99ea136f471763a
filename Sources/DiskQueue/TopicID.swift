// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Identifies a topic, independent of its path.
///
/// The first writer chooses the id at random, and every slab and mark bears it. A copy of a topic,
/// such as a snapshot, has the id of the original. So if two paths have the same id, they hold
/// records of one topic. A topic that was removed and created again has another id.
///
/// An encoder gets the text of 16 digits, because many programs round large numbers. A decoder may
/// supply the text or a number.
public struct TopicID: RawRepresentable, Sendable, Hashable, Codable, LosslessStringConvertible {
  /// The id as a 64-bit number, for storage outside DiskQueue.
  public var rawValue: UInt64

  /// Makes an id from a number that ``rawValue`` returned earlier.
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// Parses 16 hexadecimal digits in the form that ``description`` writes.
  ///
  /// Returns nil for any other text.
  public init?(_ description: String) {
    guard let value = UInt64(description, radix: 16) else { return nil }
    self.init(rawValue: value)
    guard self.description == description else { return nil }
  }

  /// The id as 16 hexadecimal digits in lower case.
  public var description: String {
    let digits = String(rawValue, radix: 16)
    return String(repeating: "0", count: 16 - digits.utf8.count) + digits
  }
}

extension TopicID {
  /// Decodes the 16 digits that ``encode(to:)`` writes, or a number.
  ///
  /// - Throws: A `DecodingError` for anything else.
  public init(from decoder: any Decoder) throws {
    try self.init(textOrNumberFrom: decoder, form: "an id of a topic is 16 hexadecimal digits")
  }

  /// Encodes the 16 digits of ``description``.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}

extension Topic {
  /// Returns the topic's id, or nil if the topic has no slab that states one.
  ///
  /// It is nil in a topic that queuefka wrote (version 1). The next writer gives it an id.
  ///
  /// - Throws: `noSuchTopic`, `notATopic`, `unsupportedFormat` or `system`.
  /// - Complexity: A listing of the directory, and a few reads. If the beginnings of slabs are
  ///   damaged, a search for a mark.
  public func id() throws(QueueError) -> TopicID? {
    let index = TopicIndex(try openForReading())
    try index.refresh()
    return index.topicID.map(TopicID.init(rawValue:))
  }
}
