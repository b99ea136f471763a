// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// Appends records, brings many at a time to the requested level, and then prints their addresses.
struct Appending<Target: AppendTarget>: ~Copyable {
  /// At most so many records, and so many bytes, wait for their level, however fast the input is.
  private static var mostWaiting: Int { 1 << 16 }
  private static var mostWaitingBytes: Int { 8 << 20 }

  private(set) var target: Target
  private let level: Durability
  private let printsAddresses: Bool
  /// If not nil, an append waits for room until a stop is asked for here.
  private let roomUntil: StopSignals?
  private var output = Output()
  /// The addresses of records that have not reached their level.
  private var waiting: [Target.Place] = []
  private var waitingRecords = 0
  private var waitingBytes = 0

  /// - Parameter roomUntil: ends the wait for room, if the writer waits for room.
  init(
    _ target: Target, ensuring level: Durability, printsAddresses: Bool,
    waitingForRoomUntil roomUntil: StopSignals?
  ) {
    self.target = target
    self.level = level
    self.printsAddresses = printsAddresses
    self.roomUntil = roomUntil
  }

  /// - Returns: false if a stop was asked for while the record waited for room. It was then not
  ///   taken.
  mutating func append(_ payload: UnsafeRawBufferPointer) throws -> Bool {
    guard let place = try take(payload) else { return false }
    if level == .buffered {
      if printsAddresses { put(place) }
      return true
    }
    if printsAddresses { waiting.append(place) }
    waitingRecords += 1
    waitingBytes += payload.count
    if waitingRecords >= Self.mostWaiting || waitingBytes >= Self.mostWaitingBytes { try settle() }
    return true
  }

  /// Appends a record. Returns nil, and appends nothing, if a stop was asked for.
  private mutating func take(_ payload: UnsafeRawBufferPointer) throws -> Target.Place? {
    guard let roomUntil else { return try target.append(payload) }
    if let place = try target.appendIfRoom(payload) { return place }
    // The process that makes room may wait for these addresses.
    try settleBeforeWaiting()
    return try target.append(payload, waitingUntil: roomUntil)
  }

  private mutating func put(_ place: Target.Place) {
    place.put(on: &output)
    output.put(UInt8(ascii: "\n"))
  }

  /// Brings all records to their level.
  private mutating func settle() throws {
    if waitingRecords > 0 {
      switch level {
      case .buffered: break
      case .flushed: try target.flush()
      case .synced: try target.sync()
      }
      waitingRecords = 0
      waitingBytes = 0
      for place in waiting { put(place) }
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
    try target.close()
    if let failure { throw failure }
  }
}
