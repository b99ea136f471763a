// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The records of a reader as an asynchronous sequence of values.
///
/// Make one with ``QueueReader/values(_:following:)`` or ``QueueReader/Records/values(_:)``.
///
/// ```swift
/// import DiskQueueFoundation
///
/// for try await found in reader.values(JSONCodec<Reading>()) {
///   print(found.record.address, try found.value().celsius)
/// }
/// ```
///
/// A record is decoded when you ask for its value. If the codec refuses it, the sequence continues
/// with the next record. Otherwise it behaves like ``QueueReader/Records``.
public struct ValueRecords<Codec: PayloadCodec>: AsyncSequence, Sendable {
  /// The sequence consists of records whose payload decodes to a value.
  public typealias Element = ValueRecord<Codec>
  /// Every error of the sequence is a ``QueueError``.
  public typealias Failure = QueueError

  /// The sequence of the records.
  public let records: QueueReader.Records
  private let codec: Codec
  private let path: String?

  fileprivate init(records: QueueReader.Records, codec: Codec, path: String?) {
    self.records = records
    self.codec = codec
    self.path = path
  }

  /// Makes an iterator. It continues after the record that was returned last.
  public func makeAsyncIterator() -> AsyncIterator {
    AsyncIterator(base: records.makeAsyncIterator(), codec: codec, path: path)
  }

  /// Iterates over ``ValueRecords``.
  public struct AsyncIterator: AsyncIteratorProtocol, Sendable {
    fileprivate var base: QueueReader.Records.AsyncIterator
    fileprivate let codec: Codec
    fileprivate let path: String?

    /// Returns the next record, and decodes nothing yet.
    ///
    /// It behaves like `next()` of the iterator of ``QueueReader/Records``.
    ///
    /// - Throws: As the iterator of ``QueueReader/Records``.
    public mutating func next(
      isolation actor: isolated (any Actor)? = #isolation
    ) async throws(QueueError) -> ValueRecord<Codec>? {
      guard let record = try await base.next(isolation: actor) else { return nil }
      return ValueRecord(record, codec: codec, path: path)
    }
  }
}

extension QueueReader {
  /// Returns the values from ``position`` on, as an asynchronous sequence.
  ///
  /// - Parameters:
  ///   - codec: Decodes the payloads.
  ///   - following: Whether to wait at the end of the log for more records. See
  ///     ``records(following:)``.
  public consuming func values<Codec: PayloadCodec>(
    _ codec: Codec, following: Bool = false
  ) -> ValueRecords<Codec> {
    let path = topic.description
    return ValueRecords(records: records(following: following), codec: codec, path: path)
  }
}

extension QueueReader.Records {
  /// Returns these records with their values.
  public func values<Codec: PayloadCodec>(_ codec: Codec) -> ValueRecords<Codec> {
    ValueRecords(records: self, codec: codec, path: nil)
  }
}
