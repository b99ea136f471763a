// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueWriter {
  /// Appends one record and waits until it reaches a level. Level reached: `level`.
  ///
  /// ``PayloadBytes`` lists the types of payloads. Any other collection of bytes, such as `Data`,
  /// is accepted as well.
  ///
  /// Tasks that wait for ``Durability/synced`` at the same time share one sync, which runs on the
  /// writer's own thread while others append. For ``Durability/flushed`` this task writes to the
  /// system's cache itself.
  ///
  /// If the topic is at ``Options-swift.struct/maximumBytes`` and the policy is
  /// ``Options-swift.struct/WhenFull/wait``, the task is suspended until there is room.
  ///
  /// - Returns: The record's permanent address, and its ordinal.
  /// - Throws: ``QueueError/appended`` distinguishes two cases:
  ///   - 0: the record is not in the log. The codes are those of `append`, and `cancelled`.
  ///   - 1: the record was appended, at ``QueueError/address``, and its level is in doubt. Do not
  ///     append it again while this writer works. The code states how far the record came:
  ///     - `cancelled`, immediately, if the task is cancelled. The record is in the log.
  ///     - `noSpace` or `system` if it could not be written yet. It waits in the writer's buffer.
  ///       The next flush that succeeds stores it. If the process ends before, it is lost.
  ///     - `syncFailed` or `fileRemoved`, permanently. The record may be lost. After a new writer
  ///       has opened the topic, ``Topic/record(at:maximumPayload:)`` finds it or not.
  /// - Complexity: As `append`, and the wait. The payload is copied into an array only if the task
  ///   waits for room.
  @discardableResult
  @inlinable
  public func append<Payload: PayloadBytes & ~Copyable & ~Escapable>(
    _ payload: borrowing Payload, ensuring level: Durability
  ) async throws(QueueError) -> AppendResult {
    let begun = try payload.withPayloadBytes { bytes throws(QueueError) in
      try beginAppending(bytes)
    }
    return try await finish(begun, ensuring: level)
  }

  /// Appends one record from `Data` or another collection of bytes, and waits until it reaches a
  /// level.
  ///
  /// Level reached: `level`.
  ///
  /// - Returns: The record's permanent address, and its ordinal.
  /// - Throws: As ``append(_:ensuring:)-(Payload,_)``.
  /// - Complexity: As ``append(_:ensuring:)-(Payload,_)``. Bytes that are not contiguous need a
  ///   temporary array.
  @discardableResult
  @inlinable
  @_disfavoredOverload
  public func append(
    _ payload: some Collection<UInt8>, ensuring level: Durability
  ) async throws(QueueError) -> AppendResult {
    let begun = try withBytes(of: payload) { bytes throws(QueueError) in
      try beginAppending(bytes)
    }
    return try await finish(begun, ensuring: level)
  }

  /// Appends several records in order and waits until all of them reach a level.
  ///
  /// Level reached: `level`.
  ///
  /// - Returns: As ``append(contentsOf:)-(Payloads)``.
  /// - Throws: As ``append(_:ensuring:)-(Payload,_)``. ``QueueError/appended`` is the number of
  ///   records of the batch that are in the log.
  @discardableResult
  @inlinable
  public func append<Payloads: Sequence>(
    contentsOf payloads: Payloads, ensuring level: Durability
  ) async throws(QueueError) -> BatchAppendResult where Payloads.Element: PayloadBytes {
    try await append(batch: payloads.copied(), ensuring: level)
  }

  /// Appends several records from `Data` or other collections of bytes, in order, and waits until
  /// all of them reach a level.
  ///
  /// Level reached: `level`.
  ///
  /// - Returns: As ``append(contentsOf:)-(Payloads)``.
  /// - Throws: As ``append(contentsOf:ensuring:)-(Payloads,_)``.
  @discardableResult
  @inlinable
  @_disfavoredOverload
  public func append<Collections: Sequence>(
    contentsOf payloads: Collections, ensuring level: Durability
  ) async throws(QueueError) -> BatchAppendResult where Collections.Element: Collection<UInt8> {
    try await append(batch: payloads.map { Array($0) }, ensuring: level)
  }

  @usableFromInline
  func append(
    batch: [[UInt8]], ensuring level: Durability
  ) async throws(QueueError) -> BatchAppendResult {
    let result = try await core.appendSuspending(batch)
    do throws(QueueError) {
      try await core.reach(level, at: result.addresses.upperBound.rawValue)
    } catch {
      throw error.after(batch.count, at: result.addresses.lowerBound)
    }
    return result
  }

  /// An append that went as far as it can without suspending the task.
  @usableFromInline
  enum BegunAppend: Sendable {
    /// The record is in the log.
    case appended(PlacedRecord)
    /// There was no room. A copy of the payload waits for some.
    case waits([UInt8])

    @usableFromInline
    struct PlacedRecord: Sendable {
      var result: AppendResult
      /// The address after the record.
      var end: UInt64
      /// Whether so much waits that it must be synced, whatever level the caller requested.
      var wantsSync = false
    }
  }

  /// Appends a record if there is room. Most records need no more than this, and every call that
  /// might suspend the task costs time.
  @usableFromInline
  func beginAppending(_ payload: RawSpan) throws(QueueError) -> BegunAppend {
    try core.beginAppending(payload)
  }

  /// Waits for room if an append has to, and then for a level.
  @usableFromInline
  func finish(
    _ begun: BegunAppend, ensuring level: Durability
  ) async throws(QueueError) -> AppendResult {
    let appended =
      switch begun {
      case .appended(let appended): appended
      case .waits(let payload): try await core.appendSuspending(payload)
      }
    do throws(QueueError) {
      try await core.reach(appended.wantsSync ? .synced : level, at: appended.end)
    } catch {
      throw error.after(1, at: appended.result.address)
    }
    return appended.result
  }
}

extension Sequence where Element: PayloadBytes {
  /// The payloads as arrays. An element that is an array is not copied.
  @inlinable
  func copied() throws(QueueError) -> [[UInt8]] {
    if Self.self == [[UInt8]].self, let arrays = self as? [[UInt8]] { return arrays }
    var copies: [[UInt8]] = []
    copies.reserveCapacity(underestimatedCount)
    for payload in self {
      copies.append(
        try payload.withPayloadBytes { bytes throws(QueueError) in Array(copying: bytes) })
    }
    return copies
  }
}

extension WriterCore {
  /// Appends a record as far as that is possible without waiting for room.
  func beginAppending(_ payload: RawSpan) throws(QueueError) -> QueueWriter.BegunAppend {
    if let result = try appendPlainly(payload) {
      return .appended(begun(result, payload.byteCount))
    }
    guard case .appended(let appended) = try attempt(payload) else {
      return .waits(Array(copying: payload))
    }
    return .appended(
      begun(appended.result, payload.byteCount, wantsSync: followUp(appended)))
  }

  private func begun(
    _ result: QueueWriter.AppendResult, _ payload: Int, wantsSync: Bool = false
  ) -> QueueWriter.BegunAppend.PlacedRecord {
    QueueWriter.BegunAppend.PlacedRecord(
      result: result, end: result.end(payload: payload).address.rawValue, wantsSync: wantsSync)
  }

  /// Appends a record that found no room. Suspends the task until there is some.
  func appendSuspending(
    _ payload: [UInt8]
  ) async throws(QueueError) -> QueueWriter.BegunAppend.PlacedRecord {
    while true {
      try await waitForRoom(forPayload: payload.count)
      let begun = try payload.withPayloadBytes { bytes throws(QueueError) in
        try beginAppending(bytes)
      }
      if case .appended(let appended) = begun { return appended }
    }
  }

  /// Appends a batch. Suspends the task if there is no room or a sync is due.
  func appendSuspending(
    _ payloads: [[UInt8]]
  ) async throws(QueueError) -> QueueWriter.BatchAppendResult {
    var batch = payloads.isEmpty ? BatchProgress(at: try openEnd()) : BatchProgress()
    while batch.count < payloads.count {
      try append(payloads.span, &batch)
      do throws(QueueError) {
        if batch.wantsSync {
          batch.wantsSync = false
          try await reach(.synced, at: batch.end.address.rawValue)
        } else if batch.count < payloads.count {
          try await waitForRoom(forPayload: payloads[batch.count].count)
        }
      } catch {
        throw error.after(batch.count)
      }
    }
    return batch.result
  }

  private func waitForRoom(forPayload payload: Int) async throws(QueueError) {
    let wait = try await onThread { core throws(QueueError) in
      try core.findRoom(forPayload: payload)
    }
    try await wait?.suspend()
  }
}

extension QueueError {
  /// Returns this error for records that were appended, and whose level is in doubt.
  func after(_ appended: Int, at address: Address) -> QueueError {
    var error = QueueError(
      code, "\(message). \(state(ofAppended: appended))", path: path, address: address.rawValue,
      errno: errno, fileID: location.fileID, line: location.line)
    error.appended = appended
    return error
  }

  /// States how far the appended records came, and what to do with them.
  private func state(ofAppended count: Int) -> String {
    let isOne = count == 1
    return switch code {
    case .noSpace, .system:
      // A flush failed. The bytes that it could not write are still in the buffer.
      isOne
        ? "The record waits in the writer's memory, and the next flush that succeeds stores it. If"
          + " the process ends before, it is lost. Do not append it again"
        : "The records that were not written wait in the writer's memory, and the next flush that"
          + " succeeds stores them. If the process ends before, they are lost. Do not append them"
          + " again"
    case .syncFailed, .fileRemoved:
      isOne
        ? "The record may be lost: read its address after a new writer has opened the topic"
        : "The records may be lost: read their addresses after a new writer has opened the topic"
    default:
      "\(isOne ? "The record is" : "The records are") in the log, and only the durability is in"
        + " doubt"
    }
  }
}
