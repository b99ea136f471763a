// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// Appends records, brings many at a time to the requested level, and then prints their addresses.
struct Appending: ~Copyable {
  /// At most so many records, and so many bytes, wait for their level, however fast the input is.
  private static let mostWaiting = 1 << 16
  private static let mostWaitingBytes = 8 << 20

  private let writer: QueueWriter
  private let level: Durability
  private let printsAddresses: Bool
  /// If not nil, an append waits for room until a stop is asked for here.
  private let roomUntil: StopSignals?
  private var output = Output()
  /// The addresses of records that have not reached their level.
  private var waiting: [UInt64] = []
  private var waitingRecords = 0
  private var waitingBytes = 0

  /// - Parameter roomUntil: ends the wait for room, if the writer waits for room.
  init(
    _ writer: QueueWriter, ensuring level: Durability, printsAddresses: Bool,
    waitingForRoomUntil roomUntil: StopSignals?
  ) {
    self.writer = writer
    self.level = level
    self.printsAddresses = printsAddresses
    self.roomUntil = roomUntil
  }

  /// - Returns: false if a stop was asked for while the record waited for room. It was then not
  ///   taken.
  mutating func append(_ payload: UnsafeRawBufferPointer) throws -> Bool {
    guard let address = try take(payload) else { return false }
    if level == .buffered {
      if printsAddresses { put(address.rawValue) }
      return true
    }
    if printsAddresses { waiting.append(address.rawValue) }
    waitingRecords += 1
    waitingBytes += payload.count
    if waitingRecords >= Self.mostWaiting || waitingBytes >= Self.mostWaitingBytes { try settle() }
    return true
  }

  /// Appends a record. Returns nil, and appends nothing, if a stop was asked for.
  private mutating func take(_ payload: UnsafeRawBufferPointer) throws -> Address? {
    guard let roomUntil else { return try writer.append(payload).address }
    if let record = try writer.appendIfRoom(payload.bytes) { return record.address }
    // The process that makes room may wait for these addresses.
    try settleBeforeWaiting()
    let (writer, copy) = (writer, Array(payload))
    do {
      return try runTask(cancelledBy: roomUntil) {
        try await writer.append(copy, ensuring: .buffered).address
      }
    } catch let error as QueueError where error.code == .cancelled {
      // If the task was cancelled after the append itself, the record is taken.
      return error.appended > 0 ? error.address : nil
    }
  }

  private mutating func put(_ address: UInt64) {
    output.put(decimal: address)
    output.put(UInt8(ascii: "\n"))
  }

  /// Brings all records to their level.
  private mutating func settle() throws {
    if waitingRecords > 0 {
      switch level {
      case .buffered: break
      case .flushed: try writer.flush()
      case .synced: try writer.sync()
      }
      waitingRecords = 0
      waitingBytes = 0
      for address in waiting { put(address) }
      waiting.removeAll(keepingCapacity: true)
    }
    // The reader of the addresses is gone, so no later address could reach it: fail now.
    if !output.isOpen { try output.flush() }
  }

  /// Settles, and prints every known address before the caller waits.
  mutating func settleBeforeWaiting() throws {
    try settle()
    try output.flush()
  }

  /// Settles and closes the topic. It also closes the topic if settling fails.
  mutating func finish() throws {
    var failure: (any Error)?
    do {
      try settleBeforeWaiting()
    } catch {
      failure = error
    }
    try writer.close()
    if let failure { throw failure }
  }
}
