// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// Appends records, brings them to the level that was asked for, many at a time, and prints their
/// addresses then.
struct Appending: ~Copyable {
  /// So much waits for a level at the most, however fast the input is.
  private static let mostWaiting = 1 << 16
  private static let mostWaitingBytes = 8 << 20

  private let writer: QueueWriter
  private let level: Durability
  private let printsAddresses: Bool
  /// Not nil: room is waited for, until a stop is asked for.
  private let roomUntil: StopSignals?
  private var output = Output()
  /// The addresses of records that have not reached their level.
  private var waiting: [UInt64] = []
  private var waitingRecords = 0
  private var waitingBytes = 0

  /// - Parameter roomUntil: where the writer waits for room, what ends the wait.
  init(
    _ writer: QueueWriter, ensuring level: Durability, printsAddresses: Bool,
    waitingForRoomUntil roomUntil: StopSignals?
  ) {
    self.writer = writer
    self.level = level
    self.printsAddresses = printsAddresses
    self.roomUntil = roomUntil
  }

  /// - Returns: false: a stop was asked for while the record waited for room, and it was not taken.
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

  /// nil: a stop was asked for, and it is not taken.
  private mutating func take(_ payload: UnsafeRawBufferPointer) throws -> Address? {
    guard let roomUntil else { return try writer.append(payload) }
    if let address = try writer.appendIfRoom(payload.bytes) { return address }
    // Who makes room may wait for these addresses.
    try settleBeforeWaiting()
    let (writer, copy) = (writer, Array(payload))
    do {
      return try runTask(cancelledBy: roomUntil) {
        try await writer.append(copy, ensuring: .buffered)
      }
    } catch let error as QueueError where error.code == .cancelled {
      // Cancelled in what followed the append, it is taken all the same.
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
    // Whoever reads the addresses is gone: nobody would learn of what is appended from now on.
    if !output.isOpen { try output.flush() }
  }

  /// Settles, and hands over every address: nobody is to wait for what we know while we wait.
  mutating func settleBeforeWaiting() throws {
    try settle()
    try output.flush()
  }

  /// Settles and closes the topic; closes it as well where settling fails.
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
