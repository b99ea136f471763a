// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension Topic {
  /// Looks up one record by its address, for a task such as the handler of a server's request.
  ///
  /// ```swift
  /// let stored = try writer.append("21.5")
  /// try await writer.flush()
  /// let record = try await topic.record(at: stored.address)
  /// print(record.ordinal, record.text ?? "binary")
  /// ```
  ///
  /// It never blocks a thread of the cooperative pool: it reads on the threads of
  /// ``page(from:upTo:waiting:options:)``. Nothing stays open afterwards. If you look up many
  /// records, use ``QueueReader/record(at:)``: the reader opens the topic once.
  ///
  /// - Parameters:
  ///   - address: The record's address.
  ///   - maximumPayload: The largest payload that it returns. 16 MiB by default, as the writer's.
  ///     It must be 0 bytes to 4 GiB less 17 bytes.
  /// - Throws: One of these codes:
  ///   - `notARecord` if no record starts there. The error's `address` is the start of the record
  ///     that contains the address, if there is one.
  ///   - `cleaned` if the record was cleaned. After the range of an address is cleaned, this is
  ///     also the answer for an address that was never that of a record.
  ///   - `damaged` or `discarded` if the record was lost.
  ///   - `beyondLatest` if the record was not appended or flushed yet.
  ///   - `payloadTooLarge` if the payload is above `maximumPayload`.
  ///   - `noSuchTopic`, `notATopic`, `unsupportedFormat`, `invalidOption` or `system`.
  ///   - `cancelled`, immediately, if the task is cancelled.
  /// - Complexity: As of opening a ``QueueReader``, and of its ``QueueReader/record(at:)``.
  public func record(
    at address: Address, maximumPayload: ByteCount = .mebibytes(16)
  ) async throws(QueueError) -> QueueRecord {
    try await lookUp(maximumPayload) { reader throws(QueueError) in
      try reader.record(at: address).copy()
    }
  }

  /// Looks up one record by its ordinal. Otherwise it behaves like ``record(at:maximumPayload:)``.
  ///
  /// - Parameters:
  ///   - ordinal: The record's ordinal, counted from 0.
  ///   - maximumPayload: As for ``record(at:maximumPayload:)``.
  /// - Throws: As ``record(at:maximumPayload:)``. `notARecord` means that the ordinal is in damage
  ///   of an unknown number of records.
  /// - Complexity: As of opening a ``QueueReader``, and of its ``QueueReader/record(ordinal:)``.
  public func record(
    ordinal: UInt64, maximumPayload: ByteCount = .mebibytes(16)
  ) async throws(QueueError) -> QueueRecord {
    try await lookUp(maximumPayload) { reader throws(QueueError) in
      try reader.record(ordinal: ordinal).copy()
    }
  }

  private func lookUp(
    _ maximumPayload: ByteCount,
    _ find: @escaping @Sendable (inout QueueReader) throws(QueueError) -> QueueRecord
  ) async throws(QueueError) -> QueueRecord {
    // A lookup needs no larger buffer.
    let options = QueueReader.Options(maximumPayload: maximumPayload, bufferSize: .kibibytes(64))
    try options.validate()
    if Task.isCancelled { throw .cancelled() }
    // The working directory may change while the task waits.
    let topic = anchored()
    return try await topic.onThread { () throws(QueueError) in
      var reader = try QueueReader(topic: topic, options: options)
      return try find(&reader)
    }
  }
}
