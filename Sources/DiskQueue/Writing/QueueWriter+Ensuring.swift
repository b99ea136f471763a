// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueWriter {
  /// Appends one record and waits until it reaches a level. Level reached: `level`.
  ///
  /// Tasks that wait for ``Durability/synced`` at the same time share one sync, which runs on the
  /// writer's own thread while others append. For ``Durability/flushed`` this task writes to the
  /// system's cache itself.
  ///
  /// If the topic is at ``Options-swift.struct/maximumBytes`` and the policy is
  /// ``Options-swift.struct/WhenFull/wait``, the task is suspended until there is room.
  ///
  /// - Returns: The record's permanent address.
  /// - Throws: ``QueueError/appended`` distinguishes two cases:
  ///   - 0: the record is not in the log. The codes are those of `append`, and `cancelled`.
  ///   - 1: the record is in the log, at ``QueueError/address``, and only its level is in doubt. Do
  ///     not append it again. `cancelled` is thrown immediately if the task is cancelled. `noSpace`
  ///     or `system` means that the record could not be written yet and waits in the buffer.
  ///     `syncFailed` or `fileRemoved` is permanent.
  /// - Complexity: As `append`, and the wait.
  @discardableResult
  public func append(
    _ payload: RawSpan, ensuring level: Durability
  ) async throws(QueueError) -> Address {
    // Most records take this path, and every call that might suspend costs time.
    let address =
      if let plain = try core.appendPlainly(payload) { Address(rawValue: plain) } else {
        try await core.appendSuspending(payload)
      }
    let end = address.rawValue + UInt64(FrameHeader.byteCount + payload.byteCount)
    do throws(QueueError) {
      try await core.reach(level, at: end)
    } catch {
      throw error.after(1, at: address)
    }
    return address
  }

  /// Appends one record from any collection of bytes and waits until it reaches a level.
  ///
  /// Level reached: `level`.
  ///
  /// - Returns: The record's permanent address.
  /// - Throws: As ``append(_:ensuring:)-(RawSpan,_)``.
  /// - Complexity: As ``append(_:ensuring:)-(RawSpan,_)``, and an array.
  @discardableResult
  @inlinable
  public func append(
    _ payload: some Collection<UInt8>, ensuring level: Durability
  ) async throws(QueueError) -> Address {
    try await append(Array(payload), ensuring: level)
  }

  /// Appends one record from an array and waits until it reaches a level. Level reached: `level`.
  ///
  /// - Returns: The record's permanent address.
  /// - Throws: As ``append(_:ensuring:)-(RawSpan,_)``.
  /// - Complexity: As ``append(_:ensuring:)-(RawSpan,_)``.
  @discardableResult
  public func append(
    _ payload: [UInt8], ensuring level: Durability
  ) async throws(QueueError) -> Address {
    // Safe: a span of bytes is its bytes, and the array outlives the call.
    unsafe try await append(payload.span.bytes, ensuring: level)
  }

  /// Appends one record with the UTF-8 bytes of a text and waits until it reaches a level.
  ///
  /// Level reached: `level`.
  ///
  /// - Returns: The record's permanent address.
  /// - Throws: As ``append(_:ensuring:)-(RawSpan,_)``.
  /// - Complexity: As ``append(_:ensuring:)-(RawSpan,_)``, and an array.
  @discardableResult
  @inlinable
  public func append(
    _ text: some StringProtocol, ensuring level: Durability
  ) async throws(QueueError) -> Address {
    try await append(Array(text.utf8), ensuring: level)
  }

  /// Appends several records in order and waits until all of them reach a level.
  ///
  /// Level reached: `level`.
  ///
  /// - Returns: As `append(contentsOf:)`.
  /// - Throws: As ``append(_:ensuring:)-(RawSpan,_)``. ``QueueError/appended`` is the number of
  ///   records of the batch that are in the log.
  @discardableResult
  @inlinable
  public func append<Payloads: Sequence>(
    contentsOf payloads: Payloads, ensuring level: Durability
  ) async throws(QueueError) -> Range<Address> where Payloads.Element: Collection<UInt8> {
    try await append(batch: payloads.map { Array($0) }, ensuring: level)
  }

  /// Appends several texts in order and waits until all of them reach a level.
  ///
  /// Level reached: `level`.
  ///
  /// - Returns: As `append(contentsOf:)`.
  /// - Throws: As ``append(contentsOf:ensuring:)-(Payloads,_)``.
  @discardableResult
  @inlinable
  public func append<Texts: Sequence>(
    contentsOf texts: Texts, ensuring level: Durability
  ) async throws(QueueError) -> Range<Address> where Texts.Element: StringProtocol {
    try await append(batch: texts.map { Array($0.utf8) }, ensuring: level)
  }

  @usableFromInline
  func append(
    batch: [[UInt8]], ensuring level: Durability
  ) async throws(QueueError) -> Range<Address> {
    let addresses = try await core.appendSuspending(batch)
    do throws(QueueError) {
      try await core.reach(level, at: addresses.upperBound.rawValue)
    } catch {
      throw error.after(batch.count, at: addresses.lowerBound)
    }
    return addresses
  }
}

extension WriterCore {
  /// Appends a record that did not fit the fast path. Suspends the task if there is no room or a
  /// sync is due.
  func appendSuspending(_ payload: RawSpan) async throws(QueueError) -> Address {
    while true {
      switch try attempt(payload) {
      case .appended(let appended):
        let address = Address(rawValue: appended.address)
        guard followUp(appended) else { return address }
        do throws(QueueError) {
          try await reach(
            .synced, at: appended.address + UInt64(FrameHeader.byteCount + payload.byteCount))
        } catch {
          throw error.after(1, at: address)
        }
        return address
      case .noRoom:
        try await waitForRoom(forPayload: payload.byteCount)
      }
    }
  }

  /// Appends a batch. Otherwise it behaves like the function for one record.
  func appendSuspending(_ payloads: [[UInt8]]) async throws(QueueError) -> Range<Address> {
    var batch = BatchProgress()
    if payloads.isEmpty { batch.end = try openPosition() }
    while batch.count < payloads.count {
      try append(payloads.span, &batch)
      do throws(QueueError) {
        if batch.wantsSync {
          batch.wantsSync = false
          try await reach(.synced, at: batch.end)
        } else if batch.count < payloads.count {
          try await waitForRoom(forPayload: payloads[batch.count].count)
        }
      } catch {
        throw error.after(batch.count)
      }
    }
    return batch.addresses
  }

  private func waitForRoom(forPayload payload: Int) async throws(QueueError) {
    let wait = try await onThread { core throws(QueueError) in
      try core.findRoom(forPayload: payload)
    }
    try await wait?.suspend()
  }
}

extension QueueError {
  /// Returns this error for records that are in the log, and whose level is in doubt.
  func after(_ appended: Int, at address: Address) -> QueueError {
    let state = appended == 1 ? "The record is" : "The records are"
    var error = QueueError(
      code, "\(message). \(state) in the log, and only the durability is in doubt", path: path,
      address: address.rawValue, errno: errno, fileID: location.fileID, line: location.line)
    error.appended = appended
    return error
  }
}
