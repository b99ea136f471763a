// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A record whose payload decodes to a value.
///
/// It is an element of ``ValueRecords`` and of ``ValueConsumer/Batch``.
public struct ValueRecord<Codec: PayloadCodec>: Sendable {
  /// The record: address, ordinal and bytes.
  public let record: QueueRecord
  private let codec: Codec
  private let path: String?

  init(_ record: QueueRecord, codec: Codec, path: String?) {
    self.record = record
    self.codec = codec
    self.path = path
  }

  /// Decodes the value. Each call decodes it again.
  ///
  /// - Throws: `notCoded`, with the record's address, if the codec refuses the payload.
  /// - Complexity: As the codec's.
  public func value() throws(QueueError) -> Codec.Value {
    try codec.value(of: record.payload, at: record.address, path: path)
  }
}

extension QueueRecord {
  /// Decodes the payload.
  ///
  /// ```swift
  /// import DiskQueueFoundation
  ///
  /// while let record = try reader.nextCopy() {
  ///   print(try record.value(JSONCodec<Reading>()).celsius)
  /// }
  /// ```
  ///
  /// - Throws: `notCoded`, with the record's address, if the codec refuses the payload.
  /// - Complexity: As the codec's.
  public func value<Codec: PayloadCodec>(_ codec: Codec) throws(QueueError) -> Codec.Value {
    try codec.value(of: payload, at: address, path: nil)
  }
}

extension BorrowedRecord {
  /// Decodes the payload. A codec takes an array, so this copies the bytes.
  ///
  /// - Throws: `notCoded`, with the record's address, if the codec refuses the payload.
  /// - Complexity: O(payload), with one allocation, and the codec's.
  public func value<Codec: PayloadCodec>(_ codec: Codec) throws(QueueError) -> Codec.Value {
    try copy().value(codec)
  }
}
