// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A ``QueueWriter`` that appends values instead of payloads.
///
/// Make one with ``QueueWriter/values(_:)``. To flush, sync or close, call ``writer``.
///
/// ```swift
/// import DiskQueueFoundation
///
/// let writer = try QueueWriter(topic: "readings")
/// let readings = writer.values(JSONCodec<Reading>())
/// try readings.append(Reading(celsius: 21.5))
/// try await readings.append(Reading(celsius: 21.7), ensuring: .synced)
/// try await writer.close()
/// ```
///
/// Any number of threads and tasks may append.
public struct ValueWriter<Codec: PayloadCodec>: Sendable {
  /// The writer that appends the payloads.
  public let writer: QueueWriter
  private let codec: Codec

  fileprivate init(writer: QueueWriter, codec: Codec) {
    self.writer = writer
    self.codec = codec
  }

  /// Encodes and appends one value. Level reached: `buffered`.
  ///
  /// - Returns: As `append` of ``QueueWriter``.
  /// - Throws: As `append` of ``QueueWriter``. Also `notCoded` if the codec refuses the value:
  ///   nothing was appended.
  /// - Complexity: As the codec's, and O(payload).
  @discardableResult
  public func append(_ value: Codec.Value) throws(QueueError) -> QueueWriter.AppendResult {
    try writer.append(try payload(of: value))
  }

  /// Encodes and appends one value, and waits until it reaches a level. Level reached: `level`.
  ///
  /// - Returns: As `append(_:ensuring:)` of ``QueueWriter``.
  /// - Throws: As `append(_:ensuring:)` of ``QueueWriter``. Also `notCoded` if the codec refuses
  ///   the value: nothing was appended.
  /// - Complexity: As the codec's, O(payload), and the wait.
  @discardableResult
  public func append(
    _ value: Codec.Value, ensuring level: Durability
  ) async throws(QueueError) -> QueueWriter.AppendResult {
    try await writer.append(try payload(of: value), ensuring: level)
  }

  /// Encodes several values, and then appends them in order. Level reached: `buffered`.
  ///
  /// - Returns: As `append(contentsOf:)` of ``QueueWriter``.
  /// - Throws: As `append(contentsOf:)` of ``QueueWriter``. Also `notCoded` if the codec refuses
  ///   one of the values: none of them was appended.
  /// - Complexity: As the codec's for each value. All payloads are in memory at once.
  @discardableResult
  public func append(
    contentsOf values: some Sequence<Codec.Value>
  ) throws(QueueError) -> QueueWriter.BatchAppendResult {
    try writer.append(contentsOf: try payloads(of: values))
  }

  /// Encodes several values, appends them in order, and waits until all of them reach a level.
  ///
  /// Level reached: `level`.
  ///
  /// - Returns: As `append(contentsOf:ensuring:)` of ``QueueWriter``.
  /// - Throws: As `append(contentsOf:ensuring:)` of ``QueueWriter``. Also `notCoded` if the codec
  ///   refuses one of the values: none of them was appended.
  /// - Complexity: As the codec's for each value, and the wait. All payloads are in memory at once.
  @discardableResult
  public func append(
    contentsOf values: some Sequence<Codec.Value>, ensuring level: Durability
  ) async throws(QueueError) -> QueueWriter.BatchAppendResult {
    try await writer.append(contentsOf: try payloads(of: values), ensuring: level)
  }

  private func payload(of value: Codec.Value) throws(QueueError) -> [UInt8] {
    try codec.payload(of: value, for: writer.topic)
  }

  private func payloads(of values: some Sequence<Codec.Value>) throws(QueueError) -> [[UInt8]] {
    try values.map { value throws(QueueError) in try payload(of: value) }
  }
}

extension QueueWriter {
  /// Returns this writer with values instead of payloads.
  ///
  /// Several value writers may share one writer.
  public func values<Codec: PayloadCodec>(_ codec: Codec) -> ValueWriter<Codec> {
    ValueWriter(writer: self, codec: codec)
  }
}
