// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Converts values to payloads and back.
///
/// Pass a codec to `values(_:)` of a writer, a reader, a consumer or a channel. To decode a single
/// record, call ``QueueRecord/value(_:)``.
///
/// The product `DiskQueueFoundation` contains a codec for `Codable` values. It is a separate
/// product, because it depends on Foundation.
public protocol PayloadCodec<Value>: Sendable {
  /// The type of the values.
  associatedtype Value

  /// Encodes a value as the bytes of a payload. Several tasks may call it at the same time.
  ///
  /// - Throws: Any error. The writer or the channel then appends nothing and throws `notCoded`,
  ///   with this error as ``QueueError/underlyingError``.
  func encode(_ value: Value) throws -> [UInt8]

  /// Decodes a value from the bytes of a payload. Several tasks may call it at the same time.
  ///
  /// An older or a newer program may have written the bytes.
  ///
  /// - Throws: Any error. The call that asked for the value then throws `notCoded`, with the
  ///   record's address and with this error as ``QueueError/underlyingError``.
  func decode(_ payload: [UInt8]) throws -> Value
}

extension PayloadCodec {
  /// Encodes a value for a topic.
  func payload(of value: Value, for topic: Topic) throws(QueueError) -> [UInt8] {
    do {
      return try encode(value)
    } catch {
      throw QueueError(
        .notCoded,
        "the codec cannot encode the value (\(error)), and nothing of the call was appended:"
          + " correct the value, or the codec",
        path: topic.description, underlyingError: error)
    }
  }

  /// Decodes the value of a record.
  ///
  /// - Parameter path: The topic of the record, if it is known.
  func value(
    of payload: [UInt8], at address: Address, path: String?
  ) throws(QueueError) -> Value {
    do {
      return try decode(payload)
    } catch {
      throw QueueError(
        .notCoded,
        "the codec cannot decode the record (\(error)): skip it, make it a dead letter, or leave"
          + " it to a program that knows its format",
        path: path, address: address.rawValue, underlyingError: error)
    }
  }
}
