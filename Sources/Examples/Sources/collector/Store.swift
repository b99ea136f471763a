// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Foundation

/// What was taken, each reading once, though it may come more often.
///
/// Each is stored behind the address that it has at the uploader, which sends in order: so the last
/// record says what was taken, and is written with it or not at all. A collector of many devices
/// keeps an address for each.
actor Store {
  private let writer: QueueWriter
  private var last: Address?

  init(topic: Topic) throws {
    // In this order: opening the writer settles which records a crash left.
    writer = try QueueWriter(topic: topic)
    var reader = try QueueReader(topic: topic)
    if let ordinal = try reader.ordinals().last {
      let payload = try reader.record(ordinal: ordinal).copy().payload
      let address = String(decoding: payload.prefix { $0 != UInt8(ascii: ",") }, as: UTF8.self)
      last = Address(address)
      guard last != nil else { throw NoCollection(topic: topic) }
    }
  }

  /// Returns when they are on stable storage: only then may the uploader forget them.
  func take(_ readings: [(address: Address, payload: Data)]) async throws {
    for (address, payload) in readings {
      // It came before, and the uploader was not told.
      if let last, address <= last { continue }
      try writer.append(Array("\(address),".utf8) + payload)
      last = address
    }
    try await writer.sync()
  }

  func close() async throws { try await writer.close() }

  struct NoCollection: Error, CustomStringConvertible {
    let topic: Topic
    var description: String { "\(topic) is a topic that no collector made" }
  }
}
