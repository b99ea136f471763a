// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueWriter {
  /// Appends one record, and waits until it is at a level. Level reached: `level`.
  ///
  /// Tasks that wait for ``Durability/synced`` at the same time share one sync, which runs on the
  /// writer's own thread while others append. ``Durability/flushed`` is a write to the system's
  /// cache, by this task. At ``Options-swift.struct/maximumBytes`` with
  /// ``Options-swift.struct/WhenFull/wait`` it suspends the task until there is room.
  ///
  /// - Returns: the record's address, its name for ever.
  /// - Throws: as `append`, with ``QueueError/appended`` 0: the record is not in the log. With
  ///   `appended` 1 the record is in the log, at ``QueueError/address``, and only the level is in
  ///   doubt: `cancelled` at once where the task is; `noSpace` and `system` where it could not be
  ///   written yet and waits in the buffer; `syncFailed` and `fileRemoved` for good. Do not append it
  ///   again.
  /// - Complexity: as `append`, and the wait.
  @discardableResult
  public func append(
    _ payload: RawSpan, ensuring level: Durability
  ) async throws(QueueError) -> Address {
    // Most records come this way, and every call that might suspend has its price.
    let address =
      if let plain = try core.appendPlainly(payload) { Address(rawValue: plain) } else {
        try await core.appendSuspending(payload)
      }
    let end = address.rawValue + UInt64(FrameHeader.byteCount + payload.byteCount)
    do throws(QueueError) {
      try await core.reach(level, at: end)
    } catch {
      throw error.behind(1, at: address)
    }
    return address
  }

  /// Appends one record, and waits until it is at a level. Level reached: `level`.
  ///
  /// - Returns: the record's address, its name for ever.
  /// - Throws: as ``append(_:ensuring:)-(RawSpan,_)``.
  /// - Complexity: as ``append(_:ensuring:)-(RawSpan,_)``, and an array.
  @discardableResult
  @inlinable
  public func append(
    _ payload: some Collection<UInt8>, ensuring level: Durability
  ) async throws(QueueError) -> Address {
    try await append(Array(payload), ensuring: level)
  }

  /// Appends one record, and waits until it is at a level. Level reached: `level`.
  ///
  /// - Returns: the record's address, its name for ever.
  /// - Throws: as ``append(_:ensuring:)-(RawSpan,_)``.
  /// - Complexity: as ``append(_:ensuring:)-(RawSpan,_)``.
  @discardableResult
  public func append(
    _ payload: [UInt8], ensuring level: Durability
  ) async throws(QueueError) -> Address {
    // Safe: a span of bytes is its bytes, and the array outlives the call.
    unsafe try await append(payload.span.bytes, ensuring: level)
  }

  /// Appends one record, the text's UTF-8, and waits until it is at a level. Level reached: `level`.
  ///
  /// - Returns: the record's address, its name for ever.
  /// - Throws: as ``append(_:ensuring:)-(RawSpan,_)``.
  /// - Complexity: as ``append(_:ensuring:)-(RawSpan,_)``, and an array.
  @discardableResult
  @inlinable
  public func append(
    _ text: some StringProtocol, ensuring level: Durability
  ) async throws(QueueError) -> Address {
    try await append(Array(text.utf8), ensuring: level)
  }

  /// Appends a batch in its order, and waits until all of it is at a level. Level reached: `level`.
  ///
  /// - Returns: as `append(contentsOf:)`.
  /// - Throws: as `append(_:ensuring:)`; ``QueueError/appended`` says how many of the batch are in
  ///   the log.
  @discardableResult
  @inlinable
  public func append<Payloads: Sequence>(
    contentsOf payloads: Payloads, ensuring level: Durability
  ) async throws(QueueError) -> Range<Address> where Payloads.Element: Collection<UInt8> {
    try await append(batch: payloads.map { Array($0) }, ensuring: level)
  }

  /// Appends a batch of texts in its order, and waits until all of it is at a level. Level reached:
  /// `level`.
  ///
  /// - Returns: as `append(contentsOf:)`.
  /// - Throws: as ``append(contentsOf:ensuring:)-(Payloads,_)``.
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
      throw error.behind(batch.count, at: addresses.lowerBound)
    }
    return addresses
  }
}

extension WriterCore {
  /// As `append`, of a record that needs a second look; suspends the task where there is no room, or a
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
          throw error.behind(1, at: address)
        }
        return address
      case .noRoom:
        try await waitForRoom(forPayload: payload.byteCount)
      }
    }
  }

  /// As the other, for a batch.
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
  /// This error, where records landed and their level is in doubt.
  func behind(_ appended: Int, at address: Address) -> QueueError {
    let state = appended == 1 ? "the record is" : "the records are"
    var error = QueueError(
      code, "\(message); \(state) in the log, and only how durable is in doubt", path: path,
      address: address.rawValue, errno: errno, fileID: location.fileID, line: location.line)
    error.appended = appended
    return error
  }
}
